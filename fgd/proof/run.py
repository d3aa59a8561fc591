"""The rehearsal of a row, read top to bottom."""

import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcv import Config
from mmdet.models import build_detector
from torch import Tensor

from fgd import progress, recipe
from fgd.checkpoint import read_checkpoint
from fgd.config_text import config_text
from fgd.distiller import FGDDistiller
from fgd.errors import FGDError, listing
from fgd.files import write_text
from fgd.pair import Member, Pair, Shape, level_strides
from fgd.proof.complexity import IMAGE, Complexity, complexity
from fgd.proof.data import make_backbone, make_teacher, rehearsal_suite
from fgd.suite import Suite
from fgd.training import train
from fgd.training.optimizer import build_optimizer


@dataclass(frozen=True)
class LevelShapes:
    """A distilled level on the rehearsal's image; shapes are (channels, height, width)."""

    level: int
    stride: int
    student: Shape
    teacher: Shape


@dataclass(frozen=True)
class Proof:
    """What a row's rehearsal showed.

    Attributes:
        row, student, teacher: names.
        sizes: of "student" and "teacher".
        levels: every distilled level.
        sources: number of the student's tensors by where they start from, as the check of the
            training found them.
        with_gradient: number of the student's parameter tensors that the step gave a gradient.
        frozen: names of the others; the config froze every one of them.
        losses: every term of the step's loss.
        seconds: that the rehearsal took.
    """

    row: str
    student: str
    teacher: str
    sizes: dict[str, Complexity]
    levels: list[LevelShapes]
    sources: dict[str, int]
    with_gradient: int
    frozen: list[str]
    losses: dict[str, float]
    seconds: float


def prove(suite: Suite, name: str, size: int = 256, measured: tuple[int, int] = IMAGE) -> Proof:
    """Rehearse a row of a suite: everything of a training but the data and the downloads.

    Student and teacher are built as large as the suite has them, from the row's own recipe. Two
    images and checkpoints of random weights, in the model zoo's format, are made in a temporary
    folder; on them `fgd.training` trains one step, check of the starting weights included.

    Args:
        size: of the images, in pixels; a multiple of the coarsest level's stride.
        measured: height and width of the image that GFLOPs are counted for.

    Raises:
        FGDError: the row is wrong; a level has another shape than its stride and the necks' widths
            say; a parameter that is not frozen got no gradient or one that is not finite.
    """
    started = time.monotonic()
    row = recipe.load_row(name, suite)
    _check_size(suite, row, size)
    with tempfile.TemporaryDirectory(prefix="fgd-proof-") as folder:
        rehearsal = rehearsal_suite(suite, row, Path(folder), size)
        config = _compose(rehearsal, row, Path(folder))
        _make_checkpoints(rehearsal, row)
        distiller = build_detector(config.model)
        levels = check_levels(distiller, config.model, size)
        train(Path(folder) / "config.py", Path(folder) / "run", Path(folder) / "trained.pth")
        state = read_checkpoint(Path(folder) / "trained.pth")
        with_gradient, frozen = check_gradients(distiller, config, state["optimizer"])
        entry = progress.read(Path(folder) / "run")[-1]
        sources = _sources(Path(folder) / "run")
    return Proof(
        row=name,
        student=row.student,
        teacher=row.teacher,
        sizes={role: complexity(config.model[role], measured) for role in ("student", "teacher")},
        levels=levels,
        sources=sources,
        with_gradient=with_gradient,
        frozen=frozen,
        losses={key: value for key, value in entry.items() if "loss" in key},
        seconds=round(time.monotonic() - started, 1),
    )


def check_levels(distiller: FGDDistiller, model: dict, size: int) -> list[LevelShapes]:
    """Compare the features of both detectors with what strides and widths of the necks say.

    Args:
        model: the distiller's config.
        size: of a square image, in pixels.

    Raises:
        FGDError: a level has another shape.
    """
    pair = Pair(Member("student", model["student"]), Member("teacher", model["teacher"]))
    shapes = {
        level: (tuple(ours.shape[1:]), tuple(theirs.shape[1:]))
        for level, (ours, theirs) in _features(distiller, size).items()
    }
    pair.check_features(shapes, size, distiller.teachers_level)
    return [LevelShapes(level, size // both[0][-1], *both) for level, both in shapes.items()]


def check_gradients(
    distiller: FGDDistiller, config: Config, optimizer: dict
) -> tuple[int, list[str]]:
    """What the step did to the student's parameters.

    An optimizer keeps a state for exactly the parameters that had a gradient.

    Args:
        distiller: as it was built for the training.
        optimizer: its state after the first step.

    Returns:
        The number of parameters with a gradient, and the names of the frozen ones.

    Raises:
        FGDError: a parameter is neither, or its gradient is not finite.
    """
    names = {id(parameter): name for name, parameter in distiller.named_parameters()}
    groups = build_optimizer(distiller, config.optimizer).param_groups
    order = [names[id(parameter)] for group in groups for parameter in group["params"]]
    states = {order[number]: state for number, state in optimizer["state"].items()}

    students = dict(distiller.student.named_parameters())
    frozen = [name for name, parameter in students.items() if not parameter.requires_grad]
    without = [n for n in students if n not in frozen and f"student.{n}" not in states]
    wrong = [n for n in students if not _finite(states.get(f"student.{n}", {}))]
    for found, fault in (
        (without, "got no gradient from a training step, though they are not frozen"),
        (wrong, "got a gradient that is not finite"),
    ):
        if found:
            raise FGDError(
                f"{len(found)} of {len(students)} parameters of the student {fault}: "
                f"{listing(found)}"
            )
    return len(students) - len(frozen), frozen


def _check_size(suite: Suite, row: recipe.Row, size: int) -> None:
    model = recipe.compose(suite, row, "fgd").training.model.student
    strides = level_strides(model) or [1]  # unknown ones are measured
    if size % max(strides):
        raise FGDError(
            f"row {row.name}: images of {size} pixels: expected a multiple of {max(strides)}, the "
            "coarsest level's stride"
        )


def _compose(suite: Suite, row: recipe.Row, folder: Path) -> Config:
    """The training of one step: an epoch has as many images as a batch."""
    config = recipe.compose(suite, row, "fgd").training
    config.runner.max_epochs = 1
    config.lr_config.warmup = None  # there is but one step
    config.pop("validation", None)  # whether the student sees anything is not the question
    write_text(folder / "config.py", config_text(config))
    return config


def _make_checkpoints(suite: Suite, row: recipe.Row) -> None:
    backbone = recipe.plan(suite).rows[row.name].backbone
    if backbone is not None:
        make_backbone(suite, recipe.compose(suite, row, "baseline").detector.model, backbone)
    make_teacher(suite, row.teacher)


def _features(distiller: FGDDistiller, size: int) -> dict[int, tuple[Tensor, Tensor]]:
    return distiller.features(next(distiller.parameters()).new_zeros(1, 3, size, size))


def _sources(work_dir: Path) -> dict[str, int]:
    return json.loads((work_dir / "weights.json").read_text())["summary"]["tensors"]


def _finite(state: dict[str, Any]) -> bool:
    tensors = (value for value in state.values() if isinstance(value, Tensor))
    return all(bool(tensor.isfinite().all()) for tensor in tensors)
