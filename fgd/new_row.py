"""A row for one's own data: its files, written only if everything in them fits together.

The checks build both detectors and run them on a small image, so that what `fgd new-row` accepts is
what a training will accept.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from mmcv import Config
from mmdet.models import build_detector
from torch import nn

from fgd import compat, recipe
from fgd.checkout import root
from fgd.checkpoint import read_checkpoint
from fgd.data.coco import check as check_data
from fgd.errors import FGDError
from fgd.files import write_text
from fgd.rate import BASE_BATCH
from fgd.recipe import own
from fgd.recipe.own import OwnDetector
from fgd.suite import ARMS, load_suite
from fgd.weights import inherit, load_strictly

compat.apply()

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_IMAGE = 128  # pixels; every level of an FPN still has one


@dataclass(frozen=True)
class Split:
    """A COCO-format annotation file and the folder of its images."""

    annotations: Path
    images: Path


@dataclass(frozen=True)
class Wish:
    """What the user asks for; None leaves it to the student's config or to what the models allow.

    Attributes:
        name: of the row.
        folder: of the files; its name is the suite's.
        student: a name of the zoo, or the path of a config.
        teacher: the same.
        checkpoint: the weights of a teacher that is a config.
        train_teacher: whether the suite trains the teacher first, on the same data.
        ap: box AP in points that such a teacher reaches.
        train, val: the data; None where the folder's suite has them already.
        levels: FPN levels to distil.
        inherit: whether the student starts with the teacher's neck and head.
        epochs: of the student's training.
        lr: learning rate, for as many images a step as the student's config says, or 16.
        img_scale: largest width and height of an image, in pixels.
        from_scratch: whether the student's backbone starts from random weights.
    """

    name: str
    folder: Path
    student: str
    teacher: str
    checkpoint: Path | None = None
    train_teacher: bool = False
    ap: float | None = None
    train: Split | None = None
    val: Split | None = None
    levels: tuple[int, ...] | None = None
    inherit: bool | None = None
    epochs: int | None = None
    lr: float | None = None
    img_scale: tuple[int, int] | None = None
    from_scratch: bool = False
    gpus: int = 1
    samples_per_gpu: int = 2

    @property
    def suite(self) -> Path:
        """The suite's file."""
        return self.folder / f"{self.folder.absolute().name}.yaml"

    @property
    def row(self) -> Path:
        """The row's file."""
        return self.folder / f"{self.name}.py"


@dataclass(frozen=True)
class Fit:
    """How student and teacher go together.

    Attributes:
        student: the student's config, its heads with the data's classes.
        levels: that are distilled.
        inherit: whether the student starts with the teacher's neck and head.
        notes: what was found, lines for the user.
    """

    student: Config
    levels: list[int]
    inherit: bool
    notes: list[str]


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
        classes = recipe.data_classes(load_suite(wish.suite)) or ()
        notes = [f"data      as {wish.suite} says"]
        texts[wish.suite] = _with_row(wish)
    else:
        train, val = _check_splits(wish)
        classes = tuple(train["per_class"])
        notes = [
            f"data      {train['images']} training and {val['images']} validation images, "
            f"{len(classes)} classes: {', '.join(classes)}"
        ]
        texts[dataset] = _dataset_text(wish, classes)
        texts[wish.suite] = _suite_text(wish, train["images"])
    fit = _fit(wish, classes)
    texts[wish.row] = _row_text(wish, fit)
    _compose(wish, texts, dataset)
    for path, text in texts.items():
        write_text(path, text)
    return Written(wish.suite, list(texts), notes + fit.notes)


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
    if wish.suite.exists() and (wish.train or wish.val):
        raise FGDError(f"{wish.suite}: has its data already; a row of other data needs its own")
    is_file = wish.teacher.endswith(".py")
    if is_file and wish.checkpoint is None and not wish.train_teacher:
        raise FGDError(
            f"teacher {wish.teacher}: is a config; give its checkpoint, too, or have it trained"
        )
    if wish.train_teacher and (wish.checkpoint or wish.ap):
        raise FGDError("a teacher that is to be trained has no checkpoint and no AP yet")
    if wish.checkpoint is not None and not is_file:
        raise FGDError(
            f"teacher {wish.teacher!r} is a name of the model zoo, which brings its checkpoint. "
            "For a checkpoint of your own, give the path of its config (.py)"
        )


def _check_splits(wish: Wish) -> tuple[dict, dict]:
    """`fgd.data.coco.check`'s reports of both splits, whose classes are the same."""
    train = check_data(wish.train.annotations, wish.train.images, strict=True)
    classes = list(train["per_class"])
    val = check_data(wish.val.annotations, wish.val.images, classes=classes, strict=True)
    if val["other_classes"]:
        raise FGDError(
            f"{wish.val.annotations}: has {val['other_classes']} objects of categories that "
            f"{wish.train.annotations} does not have"
        )
    return train, val


def _fit(wish: Wish, classes: tuple[str, ...]) -> Fit:
    """Build both detectors and see what goes together."""
    config, theirs = _config(wish.student), _config(wish.teacher)
    if classes:
        config.model = recipe.with_classes(config.model, len(classes))
        if wish.train_teacher:
            theirs.model = recipe.with_classes(theirs.model, len(classes))
    student, teacher = _build(config), _build(theirs)
    notes = []
    if wish.checkpoint is not None:
        notes += _load(wish, teacher, classes)
    ours, maps = _feature_maps(student, "student"), _feature_maps(teacher, "teacher")
    levels = _levels(wish, ours, maps)
    strides = ", ".join(str(_IMAGE // ours[level][1]) for level in levels)
    notes.append(
        f"levels    {', '.join(map(str, levels))} with strides {strides}; "
        f"{ours[levels[0]][0]} channels in the student, {maps[levels[0]][0]} in the teacher"
    )
    inherits, reason = _inherits(wish, student, teacher)
    notes.append(f"inherit   {reason}")
    return Fit(config, levels, inherits, notes)


def _config(detector: str) -> Config:
    if detector.endswith(".py"):
        path = Path(detector).absolute()
        return own.load_config(OwnDetector(path.stem, path))
    return recipe.known_config(detector)


def _build(config: Config) -> nn.Module:
    model = config.model.copy()
    model.backbone = dict(model.backbone, init_cfg=None)
    return build_detector(model).eval()


def _load(wish: Wish, teacher: nn.Module, classes: tuple[str, ...]) -> list[str]:
    """Prove that the teacher's checkpoint is its config's, and that it means the same classes."""
    checkpoint = read_checkpoint(wish.checkpoint)
    load_strictly(teacher, checkpoint["state_dict"], str(wish.checkpoint))
    known = tuple(checkpoint.get("meta", {}).get("CLASSES") or ())
    if not known or not classes or known == classes:
        return []
    if sorted(known) == sorted(classes):
        raise FGDError(
            f"{wish.checkpoint}: was trained with the classes in the order {', '.join(known)}; the "
            f"data have {', '.join(classes)}. Reorder the categories of the annotation files"
        )
    return [f"classes   the teacher calls them {', '.join(known)}"]


@torch.no_grad()
def _feature_maps(detector: nn.Module, role: str) -> list[tuple[int, int, int]]:
    """Channels, height and width of every FPN level that can be distilled, of a small image."""
    convs = getattr(getattr(detector, "neck", None), "fpn_convs", None)
    if convs is None:
        raise FGDError(f"the {role} has no neck.fpn_convs; FGD needs a detector with an FPN")
    features = detector.extract_feat(torch.zeros(1, 3, _IMAGE, _IMAGE))
    return [tuple(feature.shape[1:]) for feature, _ in zip(features, convs, strict=False)]


def _levels(wish: Wish, ours: list[tuple], theirs: list[tuple]) -> list[int]:
    """The wished levels, or all that both have; their maps are equally large."""
    common = range(min(len(ours), len(theirs)))
    levels = list(common if wish.levels is None else wish.levels)
    for level in levels:
        if level not in common:
            raise FGDError(
                f"level {level}: student and teacher have the FPN levels 0 to {common[-1]} in "
                "common that can be distilled"
            )
        if ours[level][1:] != theirs[level][1:]:
            strides = [_IMAGE // maps[level][1] for maps in (ours, theirs)]
            raise FGDError(
                f"level {level} has stride {strides[0]} in the student {wish.student} and "
                f"{strides[1]} in the teacher {wish.teacher}: their features differ in height and "
                "width. Choose detectors whose FPNs start alike (one-stage ones at stride 8, "
                "two-stage ones at 4)"
            )
    return levels


def _inherits(wish: Wish, student: nn.Module, teacher: nn.Module) -> tuple[bool, str]:
    """Whether the student starts with the teacher's neck and head, and why."""
    if wish.inherit is False:
        return False, "no, as you say"
    try:
        inherit(student, teacher)
    except FGDError as error:
        if wish.inherit:
            raise
        return False, "no, neck and head are not the teacher's (" + _first(str(error)) + ")"
    return True, "the student starts with the teacher's neck and head"


def _first(listing: str) -> str:
    return listing.split(": ", 1)[1].split(";")[0]


def _row_text(wish: Wish, fit: Fit) -> str:
    config = fit.student
    kind, weights = _weights(config.model)
    lr = config.optimizer.lr if wish.lr is None else wish.lr
    epochs = config.runner.max_epochs if wish.epochs is None else wish.epochs
    lr_config = {}
    if "step" in config.lr_config:
        lr_config["step"] = _scaled(config.lr_config.step, epochs / config.runner.max_epochs)
    clip = own.read_config(_base("schedule_2x")).optimizer_config
    base = config.get("auto_scale_lr", {}).get("base_batch_size", BASE_BATCH)
    scratch = "from_scratch = True\n" if wish.from_scratch else ""
    distill = {"levels": fit.levels, "inherit": fit.inherit} | weights
    return f"""\
# The row {wish.name}, written by `fgd new-row`. docs/reference.md has all keys.
student = {_detector(wish.student)!r}
teacher = {_teacher(wish)}
# Strengths as published for COCO ({kind}).
distill = {_call(distill)}
# What is not here is as in the student's config. The learning rate is for `base_batch` images.
optimizer = {_call({"lr": lr})}
base_batch = {base}
optimizer_config = {_call(clip)}
lr_config = {_call(lr_config)}
runner = {_call({"type": config.runner.type, "max_epochs": epochs})}
{scratch}"""


def _teacher(wish: Wish) -> str:
    if wish.checkpoint is None:
        return repr(_detector(wish.teacher))
    files = {"config": _detector(wish.teacher), "checkpoint": str(wish.checkpoint.absolute())}
    return _call(files | ({} if wish.ap is None else {"ap": wish.ap}))


def _detector(given: str) -> str:
    return str(Path(given).absolute()) if given.endswith(".py") else given


def _scaled(steps: int | list[int], factor: float) -> int | list[int]:
    if isinstance(steps, int):
        return max(1, round(steps * factor))
    return [max(1, round(step * factor)) for step in steps]


def _weights(model: dict) -> tuple[str, dict[str, float]]:
    """The kind of a detector, and the strengths that are published for it."""
    if "roi_head" in model:
        kind = "two_stage"
    elif "anchor_generator" in model.get("bbox_head", {}):
        kind = "anchor_one_stage"
    else:
        kind = "anchor_free"
    return kind.replace("_", " "), own.read_config(_base(kind)).distill.to_dict()


def _base(name: str) -> Path:
    return root() / "configs" / "distillers" / "_base_" / f"{name}.py"


def _call(values: dict[str, Any]) -> str:
    """A dictionary as configs write it, one argument a line where there are many."""
    arguments = [f"{key}={_literal(value)}" for key, value in values.items()]
    line = f"dict({', '.join(arguments)})"
    if len(line) <= 80:
        return line
    return "dict(\n    " + ",\n    ".join(arguments) + ")"


def _literal(value: Any) -> str:
    return _call(value) if isinstance(value, dict) else repr(value)


def _dataset_text(wish: Wish, classes: tuple[str, ...]) -> str:
    scale = "" if wish.img_scale is None else f"img_scale={wish.img_scale}"
    parts = {"train": wish.train, "val": wish.val, "test": wish.val}
    splits = "".join(
        f"    {name}=dict(\n        type='CocoDataset',\n        classes=classes,\n"
        f"        ann_file={str(split.annotations.absolute())!r},\n"
        f"        img_prefix={str(split.images.absolute()) + '/'!r}),\n"
        for name, split in parts.items()
    )
    return f"""\
# The data of suite {wish.suite.stem}, written by `fgd new-row`.
data_root = ''
# Replaces these settings in the detectors' own pipelines, the rest of which stays.
pipeline = dict({scale})
classes = {classes!r}
data = dict(
{splits})
"""


def _suite_text(wish: Wish, images: int) -> str:
    name = wish.suite.stem
    # A state an epoch, for an epoch of one's own data is seldom long.
    steps = max(1, images // (wish.gpus * wish.samples_per_gpu))
    trained = f"train_teachers: [{own.name_of(wish.teacher)}]\n" if wish.train_teacher else ""
    return f"""\
# Rows on one's own data, written by `fgd new-row`. docs/reference.md has all keys; for Slurm add a
# `cluster:` section (docs/cluster.md).
name: {name}
rows:
  - {wish.row.name}
results: results/{name}
dataset: dataset.py
{trained}seed: 0
gpus: {wish.gpus}
samples_per_gpu: {wish.samples_per_gpu}
workers_per_gpu: 2
checkpoint_interval: {min(1000, steps)}
log_interval: {min(50, steps)}
precision: auto
validation: {{interval: 1}}
curves: [tensorboard]
"""


def _with_row(wish: Wish) -> str:
    """The suite's file with one row more; its comments stay."""
    text = wish.suite.read_text(encoding="utf-8")
    teacher = own.name_of(wish.teacher)
    if wish.train_teacher and not load_suite(wish.suite).trains(teacher):
        raise FGDError(f"{wish.suite}: is there already; add {teacher} to its train_teachers first")
    extended = re.sub(r"(?m)^rows:[ \t]*$", f"rows:\n  - {wish.row.name}", text, count=1)
    if extended == text:
        raise FGDError(f"{wish.suite}: has no line `rows:` with a row in each line below it")
    return extended


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
