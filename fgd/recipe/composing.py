"""The configs of a training: suite, row and detectors put together."""

import copy
from pathlib import Path
from typing import Any, NamedTuple

from mmcv import Config

from fgd.config_text import config_text
from fgd.configs import read_once
from fgd.digest import digest
from fgd.errors import FGDError, suggestion
from fgd.files import write_text
from fgd.pretrained import parts
from fgd.recipe.buildable import check_buildable
from fgd.recipe.checks import check_fit, check_stated_rates, pair_of
from fgd.recipe.data import data_of, image_scale, size_model
from fgd.recipe.detectors import (
    backbone_checkpoint,
    backbone_key,
    load_detector,
    load_teacher,
    own_detectors,
)
from fgd.recipe.distilling import distill_of
from fgd.recipe.hooks import moving_average, plain_epochs
from fgd.recipe.rows import Row, load_row
from fgd.recipe.schedules import (
    SCHEDULE,
    base_batch,
    detectors_schedule,
    follow_batch,
    own_schedule,
    published_schedule,
)
from fgd.recipe.supported import repeats
from fgd.suite import ARMS, Suite, rate


class Composed(NamedTuple):
    """`training` is what `fgd train` takes, `detector` the same detector for mmdet's own tools."""

    training: Config
    detector: Config

    @property
    def digest(self) -> str:
        """A hash of both."""
        return digest(config.to_dict() for config in self)


def compose(suite: Suite, row: Row, arm: str, seed: int | None = None) -> Composed:
    """The configs of one training: arm "fgd" distils, arm "baseline" trains the student alone.

    Args:
        seed: one of the suite's; the first one by default.

    Raises:
        FGDError: an unknown arm, seed or detector, or levels or inheritance that student and
            teacher do not allow.
    """
    if arm not in ARMS:
        raise FGDError(f"unknown arm {arm!r}: expected {' or '.join(ARMS)}")
    seed = suite.seed if seed is None else seed
    if seed not in suite.seeds:
        listed = ", ".join(map(str, suite.seeds))
        raise FGDError(f"suite {suite.name} has no seed {seed}: it has {listed}")
    student = load_detector(suite, row.student, owned=row.own, learns=True)
    recipe = dict(suite=suite.name, row=row.name, arm=arm, student=row.student, teacher=row.teacher)
    schedule = own_schedule(suite, row.student, "student")
    if schedule is None:
        schedule = follow_batch(suite, published_schedule(row, student), recipe, row.base_batch)
    detector = _detector_config(suite, student, schedule)
    training = _training_config(suite, student, detector, recipe, seed)
    if arm == "fgd":
        teacher = load_teacher(suite, row.teacher, row.own)
        check_fit(suite, row, student, teacher)
        training.merge_from_dict(_imports(student, teacher))
        teacher.model.backbone.init_cfg = None
        if teacher.model.get("init_cfg"):  # of the whole detector: all is the checkpoint's
            teacher.model.init_cfg = None
        for part in parts(teacher.model):
            if part.config.get("init_cfg"):  # a C4 detector's last stage: all is the checkpoint's
                part.start_from_scratch()
        training.model = dict(
            type="FGDDistiller",
            student=detector.model,
            teacher=teacher.model,
            teacher_checkpoint=suite.layout.teacher(row.teacher).checkpoint,
            distill=distill_of(row, pair_of(suite, row, student, teacher)),
        )
    return Composed(training, detector)


def compose_teacher(suite: Suite, name: str) -> Composed:
    """The configs of a teacher: to evaluate it, and to train it.

    At full size its training is the one that its own config describes, at the learning rate of the
    suite's batch. One whose config describes none, such as one of mmdet 3, is evaluated alone.
    """
    teacher = load_teacher(suite, name, own_detectors(suite))
    recipe: dict[str, Any] = dict(suite=suite.name, teacher=name)
    schedule = own_schedule(suite, name, "teacher")
    if schedule is None:
        schedule = {key: teacher[key] for key in SCHEDULE if key in teacher}
        if suite.trains(name):
            schedule = detectors_schedule(name, teacher)
            check_buildable(name, schedule)
            if (times := repeats(teacher.data.train)) > 1:
                recipe["repeats"] = times
        if schedule:
            schedule = follow_batch(suite, schedule, recipe, base_batch(teacher))
    detector = _detector_config(suite, teacher, schedule)
    training = _training_config(suite, teacher, detector, recipe, suite.seed)
    return Composed(training, detector)


@read_once()
def write_row(
    suite: Suite,
    name: str,
    *,
    arm: str,
    out: str | Path,
    seed: int | None = None,
    planned: str | None = None,
) -> str:
    """Write `config.py` and `student.py` of a row's arm into the folder `out`.

    Args:
        planned: the digest that they have to have.

    Returns:
        The arithmetic of batch and learning rate, in words.

    Raises:
        FGDError: as `compose`, the suite has no such row, or is not as it was planned.
    """
    suite.check_rows([name])  # refuses a row of no suite, or of another
    check_stated_rates(suite)
    composed = compose(suite, load_row(name, suite), arm, seed)
    _check_planned(suite, composed, planned)
    write_text(Path(out) / "student.py", _detector_text(suite, composed.detector))
    write_text(Path(out) / "config.py", config_text(composed.training))
    return _batch_and_rate(suite, composed.training)


@read_once()
def write_teacher(suite: Suite, name: str, out: str | Path, planned: str | None = None) -> str:
    """Write `config.py` and `detector.py` of a teacher into the folder `out`.

    Args:
        planned: the digest that they have to have.

    Returns:
        The arithmetic of batch and learning rate, in words.

    Raises:
        FGDError: no row of the suite learns from it, or the suite is not as it was planned.
    """
    teachers = {load_row(row, suite).teacher for row in suite.rows}
    if name not in teachers:
        raise FGDError(
            f"suite {suite.name}: no row learns from {name!r}{suggestion(name, teachers)}; its "
            f"teachers are {', '.join(sorted(teachers))}"
        )
    composed = compose_teacher(suite, name)
    _check_planned(suite, composed, planned)
    write_text(Path(out) / "detector.py", _detector_text(suite, composed.detector))
    write_text(Path(out) / "config.py", config_text(composed.training))
    return _batch_and_rate(suite, composed.training)


def _check_planned(suite: Suite, composed: Composed, planned: str | None) -> None:
    """Refuse configs of a suite that was edited since the workflow was planned.

    What else is composed of the plan may be of before: a student and its baseline would differ.
    """
    if planned not in (None, composed.digest):
        raise FGDError(
            f"{suite.file}: it, or a file that it names, has changed since the workflow was "
            "planned. Start the workflow again"
        )


def _detector_text(suite: Suite, detector: Config) -> str:
    noted = rate.note(suite.total_batch) if "optimizer" in detector else ""
    return noted + config_text(detector)


def _batch_and_rate(suite: Suite, training: Config) -> str:
    if "optimizer" not in training:
        return f"{training.recipe.teacher} is not trained: its config says how it detects alone"
    words = (
        f"{suite.gpus} GPUs x {suite.samples_per_gpu} images = {suite.total_batch} images a step; "
        f"{rate.of_config(training)}"
    )
    if times := training.recipe.get("repeats"):
        epochs = training.runner.max_epochs
        words += f"; {epochs // times} epochs of data repeated {times} times = {epochs} epochs"
    return words


def _detector_config(suite: Suite, config: Config, schedule: dict) -> Config:
    """A plain mmdet config: what mmdet's own tools/train.py and tools/test.py take."""
    model = copy.deepcopy(config.model)
    size_model(model, image_scale(suite))
    if (checkpoint := backbone_checkpoint(model)) is not None:
        path = suite.layout.backbone(backbone_key(suite, checkpoint))
        for part in parts(model):  # all of one file, or the plan refuses them
            part.start_from(path)
    return Config(
        dict(
            model=model,
            data=data_of(suite, config),
            evaluation=config.get("evaluation", dict(metric="bbox")),
            checkpoint_config=dict(interval=1),
            log_config=dict(interval=suite.log_interval, hooks=[dict(type="TextLoggerHook")]),
            custom_hooks=config.get("custom_hooks", [dict(type="NumClassCheckHook")]),
            dist_params=dict(backend="nccl"),
            log_level="INFO",
            load_from=None,
            resume_from=None,
            workflow=[("train", 1)],
            **_imports(config),
            **schedule,
        )
    )


def _imports(*configs: Config) -> dict:
    """The `custom_imports` of all of them: modules that register what the configs name."""
    found = [config.custom_imports for config in configs if config.get("custom_imports")]
    if not found:
        return {}
    modules: list[str] = []
    for each in found:
        named = each["imports"]
        modules += [named] if isinstance(named, str) else named
    allowed = all(each.get("allow_failed_imports", False) for each in found)
    return {
        "custom_imports": {
            "imports": list(dict.fromkeys(modules)),
            "allow_failed_imports": allowed,
        }
    }


def _training_config(
    suite: Suite, own: Config, detector: Config, recipe: dict, seed: int
) -> Config:
    """What `fgd train` reads, and nothing else.

    Args:
        own: the detector's config, with its own schedule.
        detector: with this suite's.
    """
    options = _imports(detector)
    if backbone_checkpoint(detector.model) is None:
        options["from_scratch"] = True
    if own.get("find_unused_parameters"):
        options["find_unused_parameters"] = True
    name = recipe.get("student", recipe["teacher"])
    learns = "student" in recipe or suite.trains(name)
    if learns and (last := plain_epochs(name, own, detector)) is not None:
        options["last_epochs"] = last
    if suite.validation:
        options["validation"] = dict(suite.validation.said())
    if learns and (average := moving_average(name, detector)):
        options["ema"] = average
    return Config(
        dict(
            {key: detector[key] for key in ("model", "data", *SCHEDULE) if key in detector},
            seed=seed,
            total_batch=suite.total_batch,
            precision=suite.precision,
            channels_last=suite.channels_last,
            checkpoint=dict(interval=suite.checkpoint_interval),
            log=dict(
                interval=suite.log_interval,
                **({"curves": list(suite.curves)} if suite.curves else {}),
            ),
            watch=dict(suite.watch.said() if suite.watch else {}),
            recipe=recipe,
            **options,
        )
    )
