"""The text of each file that is written."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mmcv import Config

from fgd.checkout import root
from fgd.configs import read_config
from fgd.errors import FGDError
from fgd.new_row.data import Data
from fgd.new_row.fit import Fit
from fgd.new_row.request import RowRequest
from fgd.pair.taps import NECK
from fgd.recipe import own
from fgd.recipe.schedules import base_batch, detectors_schedule
from fgd.suite import load_suite, rate
from fgd.suite.layout import default_results


@dataclass(frozen=True)
class Schedule:
    """How long and at which rate a new row's student is trained, in the row's words.

    Attributes:
        base_batch: images a step, which `lr` and what is counted in iterations are for.
        lr_config: what differs from the student's own.
        notes: what the user should know of it.
    """

    lr: float
    base_batch: int
    lr_config: dict[str, Any]
    optimizer_config: dict[str, Any]
    epochs: int
    notes: list[str]


def schedule_of(
    request: RowRequest, config: Config, *, images: int | None = None, batch: int | None = None
) -> Schedule:
    """The student's schedule, fitted to the epochs that are asked for and to the data.

    Args:
        config: the student's.
        images: that it is trained on; None if they are not known.
        batch: images a step; None if they are not known.
    """
    own_schedule = detectors_schedule(request.student, config)
    own_epochs = own_schedule["runner"]["max_epochs"]
    epochs = own_epochs if request.epochs is None else request.epochs
    base = base_batch(config)
    lr_config, notes = _in_length(own_schedule["lr_config"], epochs, own_epochs)
    if images is not None:
        steps = max(1, round(images / base))
        fitted, note = rate.fitting_warmup(own_schedule["lr_config"], steps, epochs)
        if note is not None:
            lr_config |= {key: fitted[key] for key in ("warmup_iters", "warmup_by_epoch")}
            notes.append(f"warm-up   with {base} images a step {note}")
    optimizer_config = own_schedule["optimizer_config"]
    if not optimizer_config.get("grad_clip"):
        optimizer_config = read_config(_base("schedule_2x")).optimizer_config
    clip = optimizer_config["grad_clip"]["max_norm"]
    notes.append(f"gradients are clipped at a norm of {clip:g}")
    lr = config.optimizer.lr if request.lr is None else request.lr
    if batch is not None:
        followed = "" if batch == base else f", so {lr * batch / base:g} at this suite's {batch}"
        notes.append(f"rate      {lr:g} for {base} images a step{followed} (--lr, base_batch)")
    return Schedule(lr, base, lr_config, dict(optimizer_config), epochs, notes)


def _in_length(own: dict, epochs: int, own_epochs: int) -> tuple[dict[str, Any], list[str]]:
    """What of a policy is counted in epochs, for another number of them, and notes on it."""
    lr_config, notes = {}, []
    factor = epochs / own_epochs
    if "step" in own and own.get("by_epoch", True):
        lr_config["step"] = _scaled(own["step"], factor)
    if "periods" in own and own.get("by_epoch", True) and epochs != own_epochs:
        *first, end = (max(1, round(period * factor)) for period in own["periods"])
        lr_config["periods"] = [*first, max(end, epochs - sum(first))]
    if (last := own.get("num_last_epochs")) is not None and epochs != own_epochs:
        fewer = min(max(1, round(last * factor)), epochs - 1)
        lr_config["num_last_epochs"] = fewer
        notes.append(
            f"rate      its lowest, and images without mosaics, in the last {fewer} of "
            f"{epochs} epochs ({last} of {own_epochs} in the student's config)"
        )
    return lr_config, notes


def row_text(request: RowRequest, fit: Fit, schedule: Schedule) -> str:
    kind, weights = _weights(fit.student.model)
    scratch = "from_scratch = True\n" if request.from_scratch else ""
    others = {"inherit_except": fit.inherit_except} if fit.inherit_except else {}
    taps = {} if request.taps == NECK else {"taps": request.taps}
    pixels = {"renormalise": True} if request.renormalise else {}
    distill = {"levels": fit.levels} | taps | pixels | {"inherit": fit.inherit} | others | weights
    return f"""\
# The row {request.name}, written by `fgd new-row`. docs/reference.md has all keys.
student = {_detector(request.student)!r}
teacher = {_teacher(request)}
# Strengths as published for COCO ({kind}).
distill = {_call(distill)}
# What is not here is as in the student's config. The learning rate is for `base_batch` images.
optimizer = {_call({"lr": schedule.lr})}
base_batch = {schedule.base_batch}
optimizer_config = {_call(schedule.optimizer_config)}
lr_config = {_call(schedule.lr_config)}
runner = {_call({"type": "EpochBasedRunner", "max_epochs": schedule.epochs})}
{scratch}"""


def _teacher(request: RowRequest) -> str:
    if request.checkpoint is None:
        return repr(_detector(request.teacher))
    files = {"config": _detector(request.teacher), "checkpoint": str(request.checkpoint.absolute())}
    return _call(files | ({} if request.ap is None else {"ap": request.ap}))


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
    return kind.replace("_", " "), read_config(_base(kind)).distill.to_dict()


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


def dataset_text(request: RowRequest, data: Data) -> str:
    scale = "" if request.img_scale is None else f"img_scale={request.img_scale}"
    parts = data.splits | {"test": data.splits["val"]}
    splits = "".join(
        f"    {name}=dict(\n        type='CocoDataset',\n        classes=classes,\n"
        f"        ann_file={str(split.annotations.absolute())!r},\n"
        f"        img_prefix={str(split.images.absolute()) + '/'!r}),\n"
        for name, split in parts.items()
    )
    return f"""\
# The data of suite {request.suite.stem}, written by `fgd new-row`.
data_root = ''
# Replaces these settings in the detectors' own pipelines, the rest of which stays.
pipeline = dict({scale})
classes = {data.classes!r}
data = dict(
{splits})
"""


def suite_text(request: RowRequest, images: int) -> str:
    name = request.suite.stem
    # A state an epoch, for an epoch of one's own data is seldom long.
    gpus, samples = request.gpus or 1, request.samples_per_gpu or 2
    steps = max(1, images // (gpus * samples))
    trained = f"train_teachers: [{own.name_of(request.teacher)}]\n" if request.train_teacher else ""
    return f"""\
# Rows on one's own data, written by `fgd new-row`. docs/reference.md has all keys; for Slurm add a
# `cluster:` section (docs/cluster.md).
name: {name}
rows:
  - {request.row.name}
results: {default_results(name)}
dataset: dataset.py
{trained}seed: 0
gpus: {gpus}
samples_per_gpu: {samples}
workers_per_gpu: 2
checkpoint_interval: {min(1000, steps)}
log_interval: {min(50, steps)}
precision: auto
validation: {{interval: 1}}
curves: [tensorboard]
"""


def with_row(request: RowRequest) -> str:
    """The suite's file with one row more, and its teacher if it is to be trained; comments stay."""
    text = request.suite.read_text(encoding="utf-8")
    suite, teacher = load_suite(request.suite), own.name_of(request.teacher)
    text = _with_entry(request.suite, text, "rows", request.row.name)
    if not request.train_teacher or suite.trains(teacher):
        return text
    if _entries(text, "train_teachers") is None:  # none, or its base's
        names = ", ".join([*suite.train_teachers, teacher])
        return re.sub(r"(?m)^(?=rows:)", f"train_teachers: [{names}]\n", text, count=1)
    return _with_entry(request.suite, text, "train_teachers", teacher)


def _with_entry(file: Path, text: str, key: str, entry: str) -> str:
    """A suite's text with one more entry in a list, however the list is written.

    Raises:
        FGDError: it is written in no way that is known.
    """
    before = _entries(text, key)
    in_brackets = rf"(?m)^({key}:[ \t]*\[)(\s*\])?"
    in_lines = rf"(?m)^({key}:[ \t]*(?:#.*)?\n(?:[ \t]*(?:#.*)?\n)*)([ \t]*- )"
    extended = re.sub(in_brackets, lambda m: f"{m[1]}{entry}{']' if m[2] else ', '}", text, count=1)
    if extended == text:
        extended = re.sub(in_lines, lambda m: f"{m[1]}{m[2]}{entry}\n{m[2]}", text, count=1)
    if before is None or _entries(extended, key) != [entry, *before]:
        raise FGDError(f"{file}: cannot be given {entry!r} in its {key!r}: add it there by hand")
    return extended


def _entries(text: str, key: str) -> list[Any] | None:
    """The list of a key in a suite's text; None where there is none, or the text is broken."""
    try:
        entries = yaml.safe_load(text).get(key)
    except yaml.YAMLError:
        return None
    return entries if isinstance(entries, list) else None
