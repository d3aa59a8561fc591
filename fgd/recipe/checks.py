"""Whether a row's parts fit each other and its suite, as far as their configs tell."""

from collections.abc import Iterable

from mmcv import Config

from fgd.classes import compare
from fgd.errors import FGDError, suggestion
from fgd.pair import Member, Pair, normalisation_of
from fgd.pretrained import parts
from fgd.recipe.data import data_classes, own_classes, split_of
from fgd.recipe.detectors import backbone_checkpoint
from fgd.recipe.own import OwnDetector
from fgd.recipe.rows import Row, load_row
from fgd.suite import Suite, rate
from fgd.zoo import find


def pair_of(suite: Suite, row: Row, student: Config, teacher: Config) -> Pair:
    """A row's detectors, as their configs tell."""
    return Pair(
        _member("student", row.student, student.model, split_of(suite, student, "train")),
        _member("teacher", row.teacher, teacher.model, split_of(suite, teacher, "test")),
        origin=f"row {row.name}",
    )


def check_fit(suite: Suite, row: Row, student: Config, teacher: Config) -> None:
    """Whether a row's detectors fit each other and the data, as far as their configs tell.

    The distiller looks again at what it has built.
    """
    _check_trained(suite, row)
    pair = pair_of(suite, row, student, teacher)
    classes = data_classes(suite)
    pair.check_classes(len(classes) if classes else None, suite.dataset)
    if classes and row.teacher in row.own and not suite.trains(row.teacher):
        _check_order(row.own[row.teacher], teacher, classes)
    pair.check_levels(row.distill["levels"])
    if row.distill["inherit"]:
        pair.check_inheritance(row.distill.get("inherit_except", ()))
    if not row.distill.get("renormalise"):
        pair.check_normalisation()


def _check_trained(suite: Suite, row: Row) -> None:
    """Whether a teacher that the suite trains brings no weights, which would be trained over."""
    own = row.own.get(row.teacher)
    if own is None or own.checkpoint is None or not suite.trains(row.teacher):
        return
    if suite.mini is not None:
        trained = f"suite {suite.name} trains all of its teachers (mini)"
        instead = "name a suite without mini"
    else:
        trained = f"suite {suite.name} trains {row.teacher} (train_teachers)"
        instead = "take it out of there"
    raise FGDError(
        f"row {row.name}: teacher.checkpoint {own.checkpoint} would not be used, for {trained}: "
        f"{instead}, or name the config alone (teacher = '{own.config}')"
    )


def _check_order(own: OwnDetector, teacher: Config, classes: tuple[str, ...]) -> None:
    """Whether the classes that a teacher's config says are the data's; it may say none.

    What its checkpoint says is compared when it is evaluated.
    """
    known = own_classes(teacher, str(own.config))
    if known is not None:
        compare(known, classes, str(own.config))


def _member(role: str, name: str, model: dict, data: dict) -> Member:
    return Member(role, model, name, normalisation_of(data))


def check_stated_rates(suite: Suite) -> None:
    """Whether the learning rates that a suite states are those that follow from its batch."""
    for name, stated in (suite.learning_rates or {}).items():
        origin = f"suite {suite.name}: learning_rates.{name}"
        if name not in suite.rows:
            raise FGDError(f"{origin}: the suite has no such row; it has {', '.join(suite.rows)}")
        if suite.mini is not None:
            raise FGDError(f"{origin}: this suite has its own rates, under `mini`; leave it out")
        row = load_row(name, suite)
        lr, gpus, images = row.optimizer["lr"], suite.gpus, suite.samples_per_gpu
        rate.check_stated(
            origin,
            stated=stated,
            lr=lr,
            base_batch=row.base_batch,
            gpus=gpus,
            samples_per_gpu=images,
        )


def check_backbone(row: Row, student: dict) -> None:
    """Whether the student's backbone starts from what the row says: a checkpoint, or nothing.

    What else starts from weights (the last stage of a C4 detector) has to start from the same.
    """
    checkpoint = backbone_checkpoint(student)
    if checkpoint is None and not row.from_scratch:
        raise FGDError(
            f"row {row.name}: the config of the student {row.student} names no checkpoint for its "
            "backbone (backbone.init_cfg of type Pretrained); if it is to be trained from scratch, "
            "set from_scratch = True in the row (`fgd new-row --from-scratch`)"
        )
    if checkpoint is not None and row.from_scratch:
        raise FGDError(
            f"row {row.name}: from_scratch is set, but the backbone of the student {row.student} "
            f"starts from {checkpoint}; remove one of the two"
        )
    check_one_file(f"row {row.name}: the student {row.student}", student)


def check_one_file(origin: str, model: dict) -> None:
    """Whether all parts of a detector that start from weights start from its backbone's.

    Args:
        origin: the detector, for an error.
    """
    checkpoint = backbone_checkpoint(model)
    for part in parts(model):
        if part.checkpoint != checkpoint:
            raise FGDError(
                f"{origin}: its model.{part.path} starts from {part.checkpoint}, its backbone from "
                f"{checkpoint or 'nothing'}, and here they start from one file. Name the same, or "
                "none, in a copy of the config"
            )


def check_obtainable(suite: Suite, row: Row, own: OwnDetector | None) -> None:
    """Whether a teacher that the suite does not train has weights somewhere.

    Args:
        own: the teacher, if it is the user's own files.
    """
    if own is not None:
        if own.checkpoint is None:
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
