"""The story: check everything that a row is made of, then write its files."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from fgd import recipe
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.files import write_text
from fgd.new_row.data import checked
from fgd.new_row.fit import fit, splits_with_masks
from fgd.new_row.texts import dataset_text, row_text, suite_text, with_row
from fgd.new_row.wish import Wish
from fgd.recipe.own import check_points
from fgd.suite import ARMS, Suite, load_suite

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Written:
    """The suite to run, all files that were written, and lines on what was found."""

    suite: Path
    files: list[Path]
    notes: list[str]


def write(wish: Wish) -> Written:
    """Check everything that a row is made of, and write its files.

    Raises:
        FGDError: something is wrong; then nothing was written.
    """
    _check_names(wish)
    dataset = wish.folder / "dataset.py"
    texts = {}
    if wish.suite.exists():
        suite = load_suite(wish.suite)
        _check_settings(wish, suite)
        classes = recipe.data_classes(suite) or ()
        notes = [f"data      as {wish.suite} says"]
        texts[wish.suite] = with_row(wish)
    else:
        data = checked(wish, splits_with_masks(wish))
        classes, notes = data.classes, data.notes
        texts |= data.texts
        texts[dataset] = dataset_text(wish, data)
        texts[wish.suite] = suite_text(wish, data.images)
    fitting = fit(wish, classes)
    texts[wish.row] = row_text(wish, fitting)
    _compose(wish, texts, dataset)
    for path, text in texts.items():
        write_text(path, text)
    return Written(wish.suite, list(texts), notes + fitting.notes)


def _check_names(wish: Wish) -> None:
    suite = wish.suite.stem
    for what, name in (("the row", wish.name), ("the folder, which names the suite", suite)):
        if not _NAME.fullmatch(name):
            raise FGDError(f"{what}: {name!r} may hold letters, digits, _ and - alone")
    if (root() / "configs" / "suites" / f"{suite}.yaml").exists():
        raise FGDError(f"{wish.folder}: {suite!r} is a suite of configs/suites; take another name")
    if wish.row.exists():
        raise FGDError(f"{wish.row}: is there already; take another name for the row")
    if not wish.suite.exists() and (wish.train is None or wish.val is None):
        raise FGDError(f"{wish.suite}: is a new suite; name its training and validation data")
    if wish.suite.exists() and (wish.train or wish.val or wish.clean):
        raise FGDError(f"{wish.suite}: has its data already; a row of other data needs its own")
    is_file = wish.teacher.endswith(".py")
    if is_file and wish.checkpoint is None and not wish.train_teacher:
        raise FGDError(
            f"teacher {wish.teacher}: is a config; give its checkpoint, too, or have it trained"
        )
    if wish.train_teacher and (wish.checkpoint or wish.ap):
        raise FGDError("a teacher that is to be trained has no checkpoint and no AP yet")
    if wish.ap is not None:
        check_points(wish.ap, "the teacher's AP")
        if not is_file:
            raise FGDError(
                f"teacher {wish.teacher!r} is a name of the model zoo, which says its AP; give one "
                "for a teacher of your own alone"
            )
    if wish.checkpoint is not None and not is_file:
        raise FGDError(
            f"teacher {wish.teacher!r} is a name of the model zoo, which brings its checkpoint. "
            "For a checkpoint of your own, give the path of its config (.py)"
        )


def _check_settings(wish: Wish, suite: Suite) -> None:
    """Whether what is asked for is what the folder's suite says for all of its rows."""
    for option, asked, there in (
        ("--gpus", wish.gpus, suite.gpus),
        ("--samples-per-gpu", wish.samples_per_gpu, suite.samples_per_gpu),
        ("--img-scale", wish.img_scale, recipe.image_scale(suite)),
    ):
        there = tuple(there) if isinstance(there, list) else there
        if asked is not None and asked != there:
            raise FGDError(
                f"{wish.suite}: has its settings already, and {option} {_words(asked)} is not "
                f"{_words(there)}. Leave the option out, change the suite, or write the row into "
                "another folder"
            )


def _words(setting: int | tuple[int, ...] | None) -> str:
    if setting is None:
        return "the detectors' own"
    return ",".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)


def _compose(wish: Wish, texts: dict[Path, str], dataset: Path) -> None:
    """Compose both arms of the row, from files in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in texts.items():
            (Path(folder) / path.name).write_text(text, encoding="utf-8")
        suite = yaml.safe_load(texts[wish.suite]) | {"rows": [wish.row.name]}
        suite.pop("cluster", None)  # it can name other rows
        if dataset not in texts:
            suite["dataset"] = str(wish.suite.parent.absolute() / suite["dataset"])
        file = Path(folder) / wish.suite.name
        file.write_text(yaml.safe_dump(suite), encoding="utf-8")
        loaded = load_suite(file)
        recipe.plan(loaded)
        for arm in ARMS:
            recipe.compose(loaded, recipe.load_row(wish.name, loaded), arm)
