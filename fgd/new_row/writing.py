"""The story: check everything that a row is made of, then write its files."""

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from fgd import recipe
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.files import write_text
from fgd.new_row.data import check_masks, checked
from fgd.new_row.fit import fit, one_scale, splits_with_masks
from fgd.new_row.request import RowRequest
from fgd.new_row.texts import dataset_text, row_text, schedule_of, suite_text, with_row
from fgd.recipe import own
from fgd.recipe.own import check_points
from fgd.suite import ARMS, Suite, check_row_name, load_suite

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Written:
    """The suite to run, all files that were written, and lines on what was found."""

    suite: Path
    files: list[Path]
    notes: list[str]


def write(request: RowRequest) -> Written:
    """Check everything that a row is made of, and write its files.

    Raises:
        FGDError: something is wrong; then nothing was written.
    """
    request = _as_the_suite_trains(request)
    _check_names(request)
    texts = {}
    images, scale = None, request.img_scale
    if request.suite.exists():
        suite = load_suite(request.suite)
        _check_settings(request, suite)
        check_masks(suite, splits_with_masks(request))
        classes, batch = recipe.data_classes(suite) or (), suite.total_batch
        scale = recipe.image_scale(suite)
        notes = [f"data      as {request.suite} says"]
        texts[request.suite] = with_row(request)
    else:
        data = checked(request, splits_with_masks(request))
        classes, images, notes = data.classes, data.images, data.notes
        batch = (request.gpus or 1) * (request.samples_per_gpu or 2)
        texts |= data.texts
        texts[request.dataset] = dataset_text(request, data)
        texts[request.suite] = suite_text(request, data.images)
    fitting = fit(request, classes)
    notes += one_scale(fitting.student, scale)
    schedule = schedule_of(request, fitting.student, images=images, batch=batch)
    texts[request.row] = row_text(request, fitting, schedule)
    _compose(request, texts)
    for path, text in texts.items():
        write_text(path, text)
    return Written(request.suite, list(texts), notes + fitting.notes + schedule.notes)


def _as_the_suite_trains(request: RowRequest) -> RowRequest:
    """The request, its teacher one to be trained if the folder's suite trains it for other rows."""
    if request.checkpoint is not None or not request.suite.exists():
        return request
    trains = load_suite(request.suite).trains(own.name_of(request.teacher))
    return replace(request, train_teacher=request.train_teacher or trains)


def _check_names(request: RowRequest) -> None:
    suite = request.suite.stem
    for what, name in (("the row", request.name), ("the folder, which names the suite", suite)):
        if not _NAME.fullmatch(name):
            raise FGDError(f"{what}: {name!r} may hold letters, digits, _ and - alone")
    check_row_name(request.name, "--name")
    if (root() / "configs" / "suites" / f"{suite}.yaml").exists():
        raise FGDError(
            f"{request.folder}: {suite!r} is a suite of configs/suites; take another name"
        )
    if request.row == request.dataset:
        raise FGDError(f"the row: {request.row} describes the data; take another name for the row")
    if request.row.exists():
        raise FGDError(f"{request.row}: is there already; take another name for the row")
    if not request.suite.exists():
        made = [
            request.dataset,
            *(request.cleaned(name) for name in request.splits if request.clean),
        ]
        for path in made:
            if path.exists():
                raise FGDError(f"{path}: is there already; move it, or give another --out")
    if not request.suite.exists() and (request.train is None or request.val is None):
        raise FGDError(f"{request.suite}: is a new suite; name its training and validation data")
    if request.suite.exists() and (request.train or request.val or request.clean):
        raise FGDError(f"{request.suite}: has its data already; a row of other data needs its own")
    is_file = request.teacher.endswith(".py")
    if is_file and request.checkpoint is None and not request.train_teacher:
        raise FGDError(
            f"teacher {request.teacher}: is a config; give its checkpoint, too "
            "(--teacher-checkpoint), or have it trained (--train-teacher)"
        )
    if request.train_teacher and (request.checkpoint or request.ap):
        raise FGDError("a teacher that is to be trained has no checkpoint and no AP yet")
    if request.ap is not None:
        check_points(request.ap, "the teacher's AP")
        if not is_file:
            raise FGDError(
                f"teacher {request.teacher!r} is a name of the model zoo, which says its AP; give "
                "one for a teacher of your own alone"
            )
    if request.checkpoint is not None and not is_file:
        raise FGDError(
            f"teacher {request.teacher!r} is a name of the model zoo, which brings its checkpoint. "
            "For a checkpoint of your own, give the path of its config (.py)"
        )


def _check_settings(request: RowRequest, suite: Suite) -> None:
    """Whether what is asked for is what the folder's suite says for all of its rows."""
    for option, wanted, there in (
        ("--gpus", request.gpus, suite.gpus),
        ("--samples-per-gpu", request.samples_per_gpu, suite.samples_per_gpu),
        ("--img-scale", request.img_scale, recipe.image_scale(suite)),
    ):
        there = tuple(there) if isinstance(there, list) else there
        if wanted is not None and wanted != there:
            raise FGDError(
                f"{request.suite}: has its settings already, and {option} {_words(wanted)} is not "
                f"{_words(there)}. Leave the option out, change the suite, or write the row into "
                "another folder"
            )


def _words(setting: int | tuple[int, ...] | None) -> str:
    if setting is None:
        return "the detectors' own"
    return ",".join(map(str, setting)) if isinstance(setting, tuple) else str(setting)


def _compose(request: RowRequest, texts: dict[Path, str]) -> None:
    """Plan the suite and compose row and teacher, from files in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        for path, text in texts.items():
            (Path(folder) / path.name).write_text(text, encoding="utf-8")
        file = Path(folder) / request.suite.name
        file.write_text(yaml.safe_dump(_elsewhere(request, texts)), encoding="utf-8")
        try:
            loaded = load_suite(file)
            recipe.plan(loaded)
            row = recipe.load_row(request.name, loaded)
            for arm in ARMS:
                recipe.compose(loaded, row, arm)
            recipe.compose_teacher(loaded, row.teacher)
        except FGDError as error:  # that folder is gone when it is read
            raise FGDError(str(error).replace(folder, str(request.folder))) from error


def _elsewhere(request: RowRequest, texts: dict[Path, str]) -> dict[str, Any]:
    """The suite with its new row, to be read in another folder: the other rows stay where they are.

    Its `base` is where it is, too; so is its data set unless that is new.
    """
    suite = yaml.safe_load(texts[request.suite])
    here = request.suite.parent.absolute()
    suite["rows"] = [
        str(here / row) if row.endswith(".py") and row != request.row.name else row
        for row in suite["rows"]
    ]
    if "base" in suite:
        suite["base"] = str(here / suite["base"])
    if request.dataset not in texts:
        suite["dataset"] = load_suite(request.suite).dataset
    return suite
