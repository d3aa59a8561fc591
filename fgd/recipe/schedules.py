"""How long and at which rate a detector is trained: as published, or a mini suite's own way."""

from mmcv import Config

from fgd.recipe.detectors import mini_detector
from fgd.recipe.rows import Row
from fgd.suite import Suite, rate

SCHEDULE = ("optimizer", "optimizer_config", "lr_config", "runner")


def own_schedule(suite: Suite, name: str, role: str) -> dict | None:
    """The schedule of a suite that has one; None at full size."""
    if suite.mini is None:
        return None
    detector = mini_detector(suite, name)
    optimizer = dict(suite.mini["schedule"]["optimizer"])
    optimizer["lr"] = detector.get("lr", optimizer["lr"])
    return dict(
        optimizer=optimizer,
        optimizer_config=dict(
            grad_clip=dict(max_norm=suite.mini["schedule"]["grad_clip"], norm_type=2)
        ),
        lr_config=dict(
            policy="OneCycle", max_lr=optimizer["lr"], **suite.mini["schedule"]["one_cycle"]
        ),
        runner=dict(
            type="EpochBasedRunner",
            max_epochs=detector.get("epochs", suite.mini[role]["epochs"]),
        ),
    )


def published_schedule(row: Row, student: Config) -> dict:
    """The row's schedule over the student's own, for steps of `row.base_batch` images."""
    return dict(
        optimizer=student.optimizer | row.optimizer,
        optimizer_config=row.optimizer_config,
        lr_config=student.lr_config | row.lr_config,
        runner=row.runner,
    )


def follow_batch(suite: Suite, schedule: dict, recipe: dict, base_batch: int) -> dict:
    """The schedule at the suite's total batch; `recipe` records what it was for."""
    recipe["learning_rate"] = rate.recorded(schedule, base_batch)
    return rate.scaled(schedule, suite.total_batch, base_batch)
