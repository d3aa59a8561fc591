"""Whether student and teacher go together: both are built and run on a small image."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcv import Config
from torch import nn

from fgd import compat, recipe
from fgd.checkpoint import read_checkpoint
from fgd.classes import checkpoint_classes, compare
from fgd.errors import FGDError
from fgd.new_row.request import RowRequest
from fgd.pair import Level, Member, Pair, an_image, normalisation_of
from fgd.pair.taps import built
from fgd.recipe import own
from fgd.recipe.building import build, check_pipeline
from fgd.recipe.own import OwnDetector
from fgd.recipe.schedules import counts_iterations, detectors_schedule
from fgd.recipe.supported import check_supported, repeats, without_teacher
from fgd.weights import load_strictly

compat.apply()


@dataclass(frozen=True)
class Fit:
    """How student and teacher go together.

    Attributes:
        student: the student's config, its heads with the data's classes.
        levels: that are distilled.
        inherit: whether the student starts with the teacher's neck and head.
        inherit_except: tensors of these that cannot fit.
        notes: what was found, lines for the user.
    """

    student: Config
    levels: list[int]
    inherit: bool
    inherit_except: list[str]
    notes: list[str]


def splits_with_masks(request: RowRequest) -> set[str]:
    """The splits of the data, "train" and "val", whose objects need masks."""
    student = _config(request.student, learns=True).model
    teacher = _config(request.teacher, learns=request.train_teacher).model
    return recipe.splits_with_masks(student, learns=True) | recipe.splits_with_masks(
        teacher, learns=request.train_teacher
    )


def fit(request: RowRequest, classes: tuple[str, ...]) -> Fit:
    """Build both detectors and see what goes together."""
    config = _config(request.student, learns=True)
    theirs = _config(request.teacher, learns=request.train_teacher)
    if classes:
        config.model = recipe.with_classes(config.model, len(classes))
        if request.train_teacher:
            theirs.model = recipe.with_classes(theirs.model, len(classes))
    names = own.name_of(request.student), own.name_of(request.teacher)
    student, teacher = build(names[0], config.model).eval(), build(names[1], theirs.model).eval()
    notes = []
    if (times := repeats(config.data.train)) > 1:
        notes.append(f"epochs    the student's config repeats its data {times} times; each counts")
    if counts_iterations(config):
        epochs = detectors_schedule(names[0], config)["runner"]["max_epochs"]
        notes.append(
            f"epochs    the student's config counts {config.runner.max_iters} iterations; on COCO "
            f"they are {epochs}, whatever they are on these data: --epochs says otherwise"
        )
    check_pipeline(names[0], config)
    meta = {} if request.checkpoint is None else _load(request.checkpoint, teacher)
    if classes and not request.train_teacher:
        notes += _same_classes(request, theirs, meta, classes)
    data = request.suite if request.train is None else request.train.annotations
    Pair(
        Member("student", config.model, names[0]), Member("teacher", theirs.model, names[1])
    ).check_classes(len(classes) or None, str(data))
    image = an_image(config.data.train)
    members = [
        built(role, name, model=model, detector=detector, taps=request.taps, image=image)
        for role, name, model, detector in (
            ("student", names[0], config.model, student),
            ("teacher", names[1], theirs.model, teacher),
        )
    ]
    pair = Pair(members[0], members[1])
    levels = list(pair.common_levels() if request.levels is None else request.levels)
    notes += _levels(pair, levels)
    pair.check_sizes(pair.match_levels(levels), image)
    inherits, others, reason = _inherits(request, pair)
    notes.append(f"inherit   {reason}")
    return Fit(config, levels, inherits, others, notes)


def one_scale(student: Config, scale: Any) -> list[str]:
    """That a student's images have one size where its config draws from several, in words.

    Args:
        student: its config.
        scale: that all images get; None if they keep the config's.
    """
    drawn = recipe.drawn_scales(student.data.train) if scale else []
    if not drawn:
        return []
    several = max(map(len, drawn))
    return [
        f"scale     all images are {scale[0]},{scale[1]}, where the student's config draws from "
        f"{several} scales; to keep these, leave --img-scale out (img_scale in dataset.py)"
    ]


def other_pixels(student: str, teacher: str, *, train_teacher: bool) -> str:
    """How a student and a teacher see other pixels, in words; "" if they do not.

    Args:
        student, teacher, train_teacher: as a `RowRequest` has them.
    """
    ours, theirs = _config(student, learns=True), _config(teacher, learns=train_teacher)
    views = normalisation_of(ours.data.train), normalisation_of(theirs.data.test)
    return Pair(
        Member("student", name=own.name_of(student), normalisation=views[0]),
        Member("teacher", name=own.name_of(teacher), normalisation=views[1]),
    ).other_pixels()


def _levels(pair: Pair, levels: list[int]) -> list[str]:
    """Which levels are distilled, in words.

    Raises:
        FGDError: student and teacher have none that go together, or not these.
    """
    ours, theirs = pair.student.measured, pair.teacher.measured
    assert ours is not None and theirs is not None  # of built detectors
    if not levels:
        raise FGDError(
            f"{pair.student} has features of the strides {_strides(ours.values())}, {pair.teacher} "
            f"of {_strides(theirs.values())}: none of the same size. Choose a teacher that has them"
        )
    matched = pair.match_levels(levels)
    strides = _strides(ours[level] for level in levels)
    channels = ours[levels[0]].channels, theirs[matched[levels[0]]].channels
    others = ""
    if levels != list(matched.values()):
        others = f"; from the teacher's {', '.join(map(str, matched.values()))}"
    return [
        f"levels    {', '.join(map(str, levels))} with strides {strides}{others}; "
        f"{channels[0]} channels in the student, {channels[1]} in the teacher"
    ]


def _strides(levels: Iterable[Level]) -> str:
    return ", ".join(f"{level.stride:g}" for level in levels)


def _config(detector: str, *, learns: bool) -> Config:
    if detector.endswith(".py"):
        path = Path(detector).absolute()
        config = own.load_config(OwnDetector(path.stem, path), learns=learns)
    else:
        config = recipe.known_config(detector)
    if learns:
        check_supported(own.name_of(detector), config)
    else:
        config.model = without_teacher(config.model)
    return config


def _load(path: Path, teacher: nn.Module) -> dict[str, Any]:
    """Prove that the teacher's checkpoint is its config's; what the checkpoint says beside it."""
    checkpoint = read_checkpoint(path)
    load_strictly(teacher, checkpoint["state_dict"], str(path))
    meta: dict[str, Any] = checkpoint["meta"]
    return meta


def _same_classes(
    request: RowRequest, teacher: Config, meta: dict[str, Any], classes: tuple[str, ...]
) -> list[str]:
    """Whether the teacher's labels mean the data's classes, in words where that needs some.

    Args:
        teacher: its config, which says them where the checkpoint does not.
        meta: of its checkpoint; of a model of the zoo none is known before it is downloaded.
    """
    source, file = str(request.checkpoint), "checkpoint"
    known = checkpoint_classes(meta, source)
    if known is None:
        source, file = request.teacher, "config"
        known = recipe.known_classes(teacher, source)
        if known is not None and len(known) != len(classes):
            return []  # the heads' numbers are compared with the data's, too
    if known is None:
        return [
            "classes   neither checkpoint nor config of the teacher names its classes; that they "
            "are the data's, in their order, is trusted"
        ]
    note = compare(known, classes, source, file=file)
    return [f"classes   {note}"] if note else []


def _inherits(request: RowRequest, pair: Pair) -> tuple[bool, list[str], str]:
    """Whether the student starts with the teacher's neck and head, but for which, and why."""
    if request.inherit is False:
        return False, [], "no, as you say"
    # The neck's tensors of other shapes follow from backbones of other widths.
    others = pair.other_shapes("neck.")
    if request.inherit:
        pair.check_inheritance(others)
    elif obstacles := pair.obstacles(others):
        return False, [], f"no, neck and head are not the teacher's ({obstacles[0]})"
    but = f", but for {', '.join(others)}" if others else ""
    return True, others, f"the student starts with the teacher's neck and head{but}"
