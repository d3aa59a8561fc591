"""Whether student and teacher go together: both are built and run on a small image."""

from dataclasses import dataclass
from pathlib import Path

import torch
from mmcv import Config
from mmdet.models import build_detector
from torch import nn

from fgd import compat, recipe
from fgd.checkpoint import read_checkpoint
from fgd.classes import checkpoint_classes, compare
from fgd.errors import FGDError
from fgd.new_row.wish import Wish
from fgd.recipe import own
from fgd.recipe.asked import check_asked, repeats
from fgd.recipe.own import OwnDetector
from fgd.weights import inherit, load_strictly

compat.apply()

_IMAGE = 128  # pixels; every level of an FPN still has one


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


def splits_with_masks(wish: Wish) -> set[str]:
    """The splits of the data, "train" and "val", whose objects need masks."""
    student = _config(wish.student, learns=True).model
    teacher = _config(wish.teacher, learns=wish.train_teacher).model
    return recipe.splits_with_masks(student, True) | recipe.splits_with_masks(
        teacher, wish.train_teacher
    )


def fit(wish: Wish, classes: tuple[str, ...]) -> Fit:
    """Build both detectors and see what goes together."""
    config = _config(wish.student, learns=True)
    theirs = _config(wish.teacher, learns=wish.train_teacher)
    if classes:
        config.model = recipe.with_classes(config.model, len(classes))
        if wish.train_teacher:
            theirs.model = recipe.with_classes(theirs.model, len(classes))
    student, teacher = _build(config), _build(theirs)
    notes = []
    if (times := repeats(config.data.train)) > 1:
        notes.append(f"epochs    the student's config repeats its data {times} times; each counts")
    if wish.checkpoint is not None:
        notes += _load(wish, teacher, classes)
    ours, maps = _feature_maps(student, "student"), _feature_maps(teacher, "teacher")
    levels = _levels(wish, ours, maps)
    strides = ", ".join(str(_IMAGE // ours[level][1]) for level in levels)
    notes.append(
        f"levels    {', '.join(map(str, levels))} with strides {strides}; "
        f"{ours[levels[0]][0]} channels in the student, {maps[levels[0]][0]} in the teacher"
    )
    inherits, others, reason = _inherits(wish, student, teacher)
    notes.append(f"inherit   {reason}")
    return Fit(config, levels, inherits, others, notes)


def _config(detector: str, learns: bool) -> Config:
    if detector.endswith(".py"):
        path = Path(detector).absolute()
        config = own.load_config(OwnDetector(path.stem, path))
    else:
        config = recipe.known_config(detector)
    if learns:
        check_asked(own.name_of(detector), config)
    return config


def _build(config: Config) -> nn.Module:
    model = config.model.copy()
    model.backbone = dict(model.backbone, init_cfg=None)
    return build_detector(model).eval()


def _load(wish: Wish, teacher: nn.Module, classes: tuple[str, ...]) -> list[str]:
    """Prove that the teacher's checkpoint is its config's, and that it means the same classes."""
    checkpoint = read_checkpoint(wish.checkpoint)
    load_strictly(teacher, checkpoint["state_dict"], str(wish.checkpoint))
    known = checkpoint_classes(checkpoint["meta"], str(wish.checkpoint))
    note = compare(known, classes, str(wish.checkpoint)) if known and classes else None
    return [f"classes   {note}"] if note else []


@torch.no_grad()
def _feature_maps(detector: nn.Module, role: str) -> list[tuple[int, int, int]]:
    """Channels, height and width of every FPN level that can be distilled, of a small image."""
    convs = getattr(getattr(detector, "neck", None), "fpn_convs", None)
    if convs is None:
        raise FGDError(
            f"the {role} has no neck.fpn_convs, where an FPN's features come from. For another "
            "pyramid write the row by hand, with distill.taps: configs/distillers/yolox_m.py is one"
        )
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


def _inherits(wish: Wish, student: nn.Module, teacher: nn.Module) -> tuple[bool, list[str], str]:
    """Whether the student starts with the teacher's neck and head, but for which, and why."""
    if wish.inherit is False:
        return False, [], "no, as you say"
    others = _neck_of_other_shape(student, teacher)
    try:
        inherit(student, teacher, others)
    except FGDError as error:
        if wish.inherit:
            raise
        return False, [], "no, neck and head are not the teacher's (" + _first(str(error)) + ")"
    but = f", but for {', '.join(others)}" if others else ""
    return True, others, f"the student starts with the teacher's neck and head{but}"


def _neck_of_other_shape(student: nn.Module, teacher: nn.Module) -> list[str]:
    """The neck's tensors that follow from the channels of backbones of different widths."""
    theirs = teacher.state_dict()
    return [
        name
        for name, tensor in student.state_dict().items()
        if name.startswith("neck.") and name in theirs and theirs[name].shape != tensor.shape
    ]


def _first(listing: str) -> str:
    return listing.split(": ", 1)[1].split(";")[0]
