"""Whether a row's parts fit each other and its suite, as far as their configs tell."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

from mmcv import Config

from fgd.errors import FGDError, suggestion
from fgd.heads import level_strides
from fgd.recipe.data import data_classes, split_of
from fgd.recipe.detectors import backbone_checkpoint, number_of_classes
from fgd.recipe.normalisation import Normalisation, alike, normalisation_of
from fgd.recipe.rows import Row, load_row
from fgd.suite import Suite, rate
from fgd.zoo import find

_LATERAL = "neck.lateral_convs.0.conv.weight"  # its shape follows from the backbone's channels


def check_fit(suite: Suite, row: Row, student: Config, teacher: Config) -> None:
    """Whether a row's detectors fit each other and the data, as far as their configs tell."""
    _check_classes(suite, row, student.model, teacher.model)
    _check_levels(row, student.model, teacher.model)
    _check_inheritance(suite, row, student.model, teacher.model)
    _check_normalisation(suite, row, student, teacher)


def _check_classes(suite: Suite, row: Row, student: dict, teacher: dict) -> None:
    classes = data_classes(suite)
    for name, model in ((row.student, student), (row.teacher, teacher)):
        if classes and number_of_classes(model) != len(classes):
            raise FGDError(
                f"row {row.name}: {name} tells {number_of_classes(model)} classes apart, and the "
                f"data set {suite.dataset} has {len(classes)}. A teacher has to be trained on the "
                "data: "
                "give your own checkpoint, or let the suite train it (train_teachers); in a mini "
                "suite the number is mini.size.classes"
            )


def _check_levels(row: Row, student: dict, teacher: dict) -> None:
    ours, theirs = level_strides(student), level_strides(teacher)
    if ours is None or theirs is None:
        return  # the distiller runs both necks on an image before it trains
    for role, name, known in zip(
        ("student", "teacher"), (row.student, row.teacher), (ours, theirs), strict=True
    ):
        beyond = [level for level in row.distill["levels"] if level >= len(known)]
        if beyond:
            raise FGDError(
                f"row {row.name}: distill.levels has {beyond[0]}, but the {role} {name} has the "
                f"FPN levels 0 to {len(known) - 1}"
            )
    if ours[0] != theirs[0]:
        raise FGDError(
            f"row {row.name}: FPN level 0 has stride {ours[0]} in the student {row.student} "
            f"and {theirs[0]} in the teacher {row.teacher}: their features differ in height "
            "and width"
        )


def _check_inheritance(suite: Suite, row: Row, student: dict, teacher: dict) -> None:
    """What can be seen without building the models; fgd.weights.inherit compares every tensor."""
    if not row.distill["inherit"]:
        return
    channels = student["neck"]["in_channels"], teacher["neck"]["in_channels"]
    if any(fnmatchcase(_LATERAL, each) for each in row.distill.get("inherit_except", ())):
        channels = (), ()  # they may differ
    for what, ours, theirs in (
        ("detector", student["type"], teacher["type"]),
        ("neck's in_channels", *channels),
        ("number of classes", number_of_classes(student), number_of_classes(teacher)),
    ):
        if ours != theirs:
            raise FGDError(
                f"row {row.name}: distill.inherit needs a teacher with the student's neck and "
                f"head, but the {what} of {row.student} is {ours} and of {row.teacher} {theirs}; "
                "set inherit=False, leave out what differs (inherit_except) or choose another "
                "teacher"
                + (
                    f"; here the channels follow from mini.detectors.{row.student} and "
                    f".{row.teacher}, depth and base_channels"
                    if suite.mini
                    else ""
                )
            )


def _check_normalisation(suite: Suite, row: Row, student: Config, teacher: Config) -> None:
    """The teacher sees the student's training images, and its AP was that of its own test images.

    So a teacher of other numbers passes the gate, and teaches noise.
    """
    ours = normalisation_of(split_of(suite, student, "train"))
    theirs = normalisation_of(split_of(suite, teacher, "test"))
    if not alike(ours, theirs):
        raise FGDError(
            f"row {row.name}: the student {row.student} gets its images as {_or_raw(ours)}, the "
            f"teacher {row.teacher} as {_or_raw(theirs)}. In distillation the teacher sees the "
            "student's images, which would be noise to it: choose detectors whose pipelines have "
            "the same Normalize, or give the student the teacher's together with a backbone that "
            "was pretrained with it"
        )


def _or_raw(normalisation: Normalisation | None) -> str:
    return "BGR from 0 to 255 (no Normalize)" if normalisation is None else str(normalisation)


def check_stated_rates(suite: Suite) -> None:
    """Whether the learning rates that a suite states are those that follow from its batch."""
    for name, stated in (suite.learning_rates or {}).items():
        place = f"suite {suite.name}: learning_rates.{name}"
        if name not in suite.rows:
            raise FGDError(f"{place}: the suite has no such row; it has {', '.join(suite.rows)}")
        if suite.mini is not None:
            raise FGDError(f"{place}: this suite has its own rates, under `mini`; leave it out")
        row = load_row(name, suite)
        lr, gpus, images = row.optimizer["lr"], suite.gpus, suite.samples_per_gpu
        rate.check_stated(place, stated, lr, row.base_batch, gpus, images)


def check_backbone(row: Row, student: dict) -> None:
    """Whether the student's backbone starts from what the row says: a checkpoint, or nothing."""
    checkpoint = backbone_checkpoint(student)
    if checkpoint is None and not row.from_scratch:
        raise FGDError(
            f"row {row.name}: the config of the student {row.student} names no checkpoint for its "
            "backbone (backbone.init_cfg of type Pretrained); if it is to be trained from scratch, "
            "set from_scratch = True in the row"
        )
    if checkpoint is not None and row.from_scratch:
        raise FGDError(
            f"row {row.name}: from_scratch is set, but the backbone of the student {row.student} "
            f"starts from {checkpoint}; remove one of the two"
        )


def check_obtainable(suite: Suite, row: Row) -> None:
    """Whether a teacher that the suite does not train has weights somewhere."""
    if row.teacher in row.own:
        if row.own[row.teacher].checkpoint is None:
            raise FGDError(
                f"row {row.name}: its teacher {row.teacher} is a config alone. Name its weights, "
                "too (teacher = dict(config='...', checkpoint='...')), or add it to train_teachers "
                f"of suite {suite.name}"
            )
        return
    try:
        find(row.teacher)
    except FGDError as error:
        raise FGDError(
            f"row {row.name}: its teacher cannot be downloaded ({error}); to train it as part of "
            f"the suite, add it to train_teachers of suite {suite.name}"
        ) from error


def check_train_teachers(suite: Suite, teachers: Iterable[str]) -> None:
    """Whether every teacher that the suite is to train is one that its rows learn from."""
    for name in suite.train_teachers:
        if name not in teachers:
            raise FGDError(
                f"suite {suite.name}: train_teachers has {name!r}, but no row learns from it"
                f"{suggestion(name, teachers)}"
            )
