"""A training step of every row, split into its parts, and each option of the step by itself."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectors import SIZES, batch_of, distiller, for_detector, suite_of, unfolded_teacher
from loss import OneByOne, PublishedLoss, device_name, interleaved_seconds, synchronize
from mmcv.runner import build_optimizer
from mmdet.datasets import build_dataset

import fgd.loss.reductions
from fgd import recipe
from fgd.data.batches import Collate, to_device
from fgd.data.pixels import finish_on_device
from fgd.pair.taps import FPN_TAPS, Recorder
from fgd.precision import PRECISIONS, Precision
from fgd.suite import Suite
from fgd.training.sampling import SampleKey, SeededDataset
from fgd.training.step import Trainable

PARTS = ("data", "teacher", "student", "loss", "backward", "optimizer")
OPTION_ROW = "retinanet_r50"


class Clock:
    """Seconds spent in wrapped functions, by name."""

    def __init__(self, device: torch.device) -> None:
        self._device = device.type
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, function: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            synchronize(self._device)
            start = time.perf_counter()
            result = function(*args, **kwargs)
            synchronize(self._device)
            self.seconds[name] = self.seconds.get(name, 0) + time.perf_counter() - start
            return result

        return timed


def split(suite: Suite, row: str, device: torch.device, images: int, rounds: int) -> dict:
    """Seconds of each part of a row's step; the fastest of `rounds` steps."""
    built = distiller(suite, row, device)
    classes = 10 if suite.mini else 80
    batch = for_detector(batch_of(images, SIZES[suite.name], classes, device), built)
    config = recipe.compose(suite, recipe.load_row(row), "fgd").training
    return split_steps(built, batch, device, "fp32", rounds, config.optimizer)


def split_steps(
    built: Any,
    batch: dict,
    device: torch.device,
    precision: str,
    rounds: int,
    optimizer: dict | None = None,
) -> dict:
    """Seconds of each part of a distiller's step; the fastest of `rounds` steps.

    Args:
        optimizer: its settings; those of most rows by default.
    """
    clock = Clock(device)
    losses, teacher = built.distill_losses, built.teacher
    extract, forward = teacher.extract_feat, losses.forward
    teacher.extract_feat, losses.forward = clock("teacher", extract), clock("loss", forward)
    trainable = Trainable(built, device, distributed=False, precision=Precision(precision, device))
    optimizer = build_optimizer(
        built, optimizer or dict(type="SGD", lr=1e-6, momentum=0.9, weight_decay=1e-4)
    )
    passes = fgd.loss.reductions.passes_for(
        next(built.parameters()).detach().to(PRECISIONS[precision])[None, None]
    )
    gradient = passes.gradient
    passes.gradient = clock("loss gradient", gradient)
    run = clock("forward", trainable.train_step)
    backward = clock("backward", torch.Tensor.backward)
    step = clock("optimizer", optimizer.step)
    best: dict[str, float] = {}
    try:
        for round_ in range(rounds + 1):
            clock.seconds.clear()
            optimizer.zero_grad()
            backward(run(batch, optimizer)["loss"])
            step()
            if round_ > 0 and sum(clock.seconds.values()) < sum(best.values() or [1e9]):
                best = dict(clock.seconds)
    finally:
        passes.gradient = gradient
        teacher.extract_feat, losses.forward = extract, forward
    return {
        "teacher": best["teacher"],
        "student": best["forward"] - best["teacher"] - best["loss"],
        "loss": best["loss"] + best["loss gradient"],
        "backward": best["backward"] - best["loss gradient"],
        "optimizer": best["optimizer"],
        "parameters": sum(p.numel() for p in built.parameters() if p.requires_grad),
    }


def data_seconds(suite: Suite, row: str, images: int, folder: Path) -> float:
    """Seconds in which one process loads and augments a batch, from a written set of digits."""
    # They need scikit-learn, which a machine that only steps may lack.

    # They need scikit-learn, which a machine that only steps may lack.
    from fgd.mini import digits
    from fgd.mini.scene import CLASSES

    if not (folder / "annotations").exists():
        digits.write(folder, train=images, val=1, size=128 if suite.mini else 640)
    config = recipe.compose(suite, recipe.load_row(row), "baseline").training.data.train
    config.ann_file = str(folder / "annotations" / "instances_train.json")
    config.img_prefix = str(folder / "train")
    config.classes = CLASSES
    dataset = build_dataset(config)
    finish_on_device(dataset)
    seeded, collate = SeededDataset(dataset), Collate(images)

    def load() -> float:
        start = time.perf_counter()
        batch = collate([seeded[SampleKey(i % len(dataset), i)] for i in range(images)])
        to_device(batch, torch.device("cpu"))
        return time.perf_counter() - start

    return min(load() for _ in range(3))


def options(
    suite: Suite, device: torch.device, images: int, rounds: int, published: Path | None
) -> dict:
    """Seconds of the teacher alone and of a whole step under each option."""
    classes = 10 if suite.mini else 80
    batch = batch_of(images, SIZES[suite.name], classes, device)
    return {
        "teacher": _teacher_options(suite, device, batch["img"], rounds),
        "step": _step_options(suite, device, batch, rounds, published),
    }


def _teacher_options(suite: Suite, device: torch.device, img: torch.Tensor, rounds: int) -> dict:
    plain = unfolded_teacher(suite, OPTION_ROW, device)
    folded = distiller(suite, OPTION_ROW, device).teacher
    last = distiller(suite, OPTION_ROW, device).teacher.to(memory_format=torch.channels_last)
    compiled = distiller(suite, OPTION_ROW, device).teacher
    compiled.backbone.compile(dynamic=True)  # COCO's batches have hundreds of sizes
    clock = Clock(device)

    def run(name: str, teacher: Any, mode: Any = torch.no_grad, low: bool = False) -> Callable:
        def extract() -> float:
            clock.seconds.clear()
            with mode(), torch.autocast(device.type, torch.bfloat16, enabled=low):
                clock(name, teacher.extract_feat)(img)
            return clock.seconds[name]

        return extract

    steps = {
        "as configured": run("a", plain),
        "inference mode": run("b", plain, torch.inference_mode),
        "batch norm folded": run("c", folded),
        "folded, channels last": run("d", last),
        "folded, bf16": run("e", folded, low=True),
        "folded, bf16, channels last": run("f", last, low=True),
        "folded, compiled": run("g", compiled),
        "folded, compiled, bf16": run("h", compiled, low=True),
    }
    return interleaved_seconds(steps, rounds)


def _step_options(
    suite: Suite, device: torch.device, batch: dict, rounds: int, published: Path | None
) -> dict:
    def step(precision: str, channels_last: bool = False, loss: Path | None = None) -> Callable:
        built = distiller(suite, OPTION_ROW, device)
        if loss is not None:
            built._unregistered[0] = tapped(built, unfolded_teacher(suite, OPTION_ROW, device))
            losses = {
                name: PublishedLoss(loss, own.teacher_channels)
                for name, own in built.distill_losses.items()
            }
            built.distill_losses = OneByOne(losses).to(device)
        if channels_last:
            built.to(memory_format=torch.channels_last)
        trainable = Trainable(
            built, device, distributed=False, precision=Precision(precision, device)
        )
        fused = dict(fused=True) if precision == "fp16" else {}
        optimizer = torch.optim.SGD(built.parameters(), lr=1e-6, momentum=0.9, **fused)
        scaler = trainable.precision.scaler
        inputs = for_detector(batch, built)

        def run() -> float:
            synchronize(device.type)
            start = time.perf_counter()
            optimizer.zero_grad()
            scaler.scale(trainable.train_step(inputs, optimizer)["loss"]).backward()
            scaler.step(optimizer)
            scaler.update()
            synchronize(device.type)
            return time.perf_counter() - start

        return run

    steps = {
        "fp32": step("fp32"),
        "fp32, channels last": step("fp32", channels_last=True),
        "bf16": step("bf16"),
        "bf16, channels last": step("bf16", channels_last=True),
        "fp16": step("fp16"),
    }
    if published is not None:
        steps["published loss, teacher as configured, fp32"] = step("fp32", loss=published)
    return interleaved_seconds(steps, rounds)


def tapped(built: Any, teacher: Any) -> Any:
    """Let the distiller see this teacher's features."""
    built._teacher_features = Recorder(teacher, FPN_TAPS, "teacher")
    return teacher


def measure(
    device: str, rows: list[str], images: int, rounds: int, published: Path | None, folder: Path
) -> dict:
    """All figures of the report."""
    torch_device = torch.device(device)
    name = "coco" if device == "cuda" else "mini"
    with suite_of(name) as suite:
        steps = {}
        for row in rows:
            parts = split(suite, row, torch_device, images, rounds)
            steps[row] = {"data": data_seconds(suite, row, images, folder / name), **parts}
        chosen = options(suite, torch_device, images, rounds, published)
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "suite": name,
        "image": list(SIZES[name]),
        "batch": images,
        "rows": steps,
        "options": chosen,
    }


def report(result: dict) -> str:
    """Markdown."""
    height, width = result["image"]
    lines = [
        f"## A training step, suite {result['suite']}, {result['batch']} images of "
        f"{width}x{height}, ms",
        "",
        f"| row | {' | '.join(PARTS)} | loss, % of the step without data |",
        "|---|" + "--:|" * (len(PARTS) + 1),
    ]
    for row, parts in result["rows"].items():
        share = parts["loss"] / sum(parts[part] for part in PARTS if part != "data")
        cells = " | ".join(f"{1e3 * parts[part]:.1f}" for part in PARTS)
        lines.append(f"| {row} | {cells} | {100 * share:.1f} |")
    for title, key in (("The teacher alone", "teacher"), ("The step", "step")):
        table = result["options"][key]
        first = next(iter(table.values()))["seconds"]
        lines += ["", f"### {title} of {OPTION_ROW} under each option", ""]
        lines += ["| option | fastest ms | of the first |", "|---|--:|--:|"]
        lines += [
            f"| {name} | {1e3 * value['seconds']:.1f} | {value['seconds'] / first:.2f} |"
            for name, value in table.items()
        ]
    return "\n".join(lines)
