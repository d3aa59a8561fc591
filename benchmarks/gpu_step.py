"""A training step on a GPU under each setting: time, images a second, peak memory and its parts."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from detectors import SIZES, batch_of, distiller, for_detector, suite_of, unfolded_teacher
from loss import OneByOne, PublishedLoss, synchronize
from step import PARTS, split_steps, tapped

from fgd.precision import Precision
from fgd.suite import Suite
from fgd.training.step import Trainable

IMAGES = 2
_WARM, _ROUNDS = 2, 8
# Settings that are timed in turns: precision, NHWC.
SETTINGS = {"fp32": ("fp32", False), "bf16": ("bf16", False), "bf16, NHWC": ("bf16", True)}


def measure(device: str, rows: list[str], published: Path | None) -> dict[str, Any]:
    """Figures of each row."""
    name = "coco" if device == "cuda" else "mini"
    found: dict[str, Any] = {"suite": name, "image": list(SIZES[name]), "batch": IMAGES, "rows": {}}
    with suite_of(name) as suite:
        for row in rows:
            found["rows"][row] = _row(suite, row, torch.device(device), published)
            if device == "cuda":
                torch.cuda.empty_cache()
    return found


def _row(suite: Suite, row: str, device: torch.device, published: Path | None) -> dict[str, Any]:
    built = distiller(suite, row, device)
    batch = for_detector(batch_for(suite, device), built)
    ours = built.teacher, built.distill_losses
    both = {"FGD": ours}
    if published is not None:
        # As the published code: the teacher as its config has it, a loss a level.
        losses = {
            key: PublishedLoss(published, own.teacher_channels)
            for key, own in built.distill_losses.items()
        }
        teacher = tapped(built, unfolded_teacher(suite, row, device))
        both["published"] = teacher, OneByOne(losses).to(device)
    found: dict[str, Any] = {"settings": {}, "parts": {}}
    for label, (precision, nhwc) in SETTINGS.items():
        layout = torch.channels_last if nhwc else torch.contiguous_format
        found["settings"][label] = _timed(built, both, batch, device, precision, layout)
        if not nhwc:
            _become(built, *ours)
            found["parts"][label] = split_steps(built, batch, device, precision, 5)
    return found


def _become(built: Any, teacher: torch.nn.Module, losses: torch.nn.Module) -> None:
    built._unregistered[0], built.distill_losses = teacher, losses


def batch_for(suite: Suite, device: torch.device) -> dict:
    return batch_of(IMAGES, SIZES[suite.name], 10 if suite.mini else 80, device)


def stepper(
    built: torch.nn.Module, batch: dict, device: torch.device, precision: str
) -> Callable[[], None]:
    """A training step of a distiller without a wait of its own."""
    trainable = Trainable(built, device, distributed=False, precision=Precision(precision, device))
    optimizer = torch.optim.SGD(built.parameters(), lr=1e-6, momentum=0.9)

    def run() -> None:
        optimizer.zero_grad()
        trainable.train_step(batch, optimizer)["loss"].backward()
        optimizer.step()

    return run


def _timed(
    built: Any,
    versions: dict[str, tuple[torch.nn.Module, torch.nn.Module]],
    batch: dict,
    device: torch.device,
    precision: str,
    layout: torch.memory_format,
) -> dict[str, dict[str, float | None]]:
    """Each version's step, in turns, so that all meet the same load of the host."""
    steps: dict[str, Callable[[], None]] = {}
    for name, version in versions.items():
        _become(built, *version)
        built.to(memory_format=layout)
        steps[name] = stepper(built, batch, device, precision)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    peaks: dict[str, int | None] = dict.fromkeys(steps)
    for round_ in range(_WARM + _ROUNDS):
        for name, run in steps.items():
            _become(built, *versions[name])
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            synchronize(device.type)
            start = time.perf_counter()
            run()
            synchronize(device.type)
            if round_ >= _WARM:
                seconds[name].append(time.perf_counter() - start)
            if device.type == "cuda":
                peaks[name] = torch.cuda.max_memory_allocated()
    return {
        name: {
            "seconds": statistics.median(times),
            "fastest": min(times),
            "peak_bytes": peaks[name],
        }
        for name, times in seconds.items()
    }


def measure_compiled(device: str, row: str = "retinanet_r50") -> dict[str, float]:
    """Seconds of the teacher alone and of a whole step, its backbone compiled or not."""
    torch_device = torch.device(device)
    found = {}
    with suite_of("coco" if device == "cuda" else "mini") as suite:
        built = distiller(suite, row, torch_device)
        batch = for_detector(batch_for(suite, torch_device), built)

        def teacher() -> None:
            with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                built.teacher.extract_feat(batch["img"])

        step = stepper(built, batch, torch_device, "bf16")
        for name, run in {"teacher, bf16": teacher, "step, bf16": step}.items():
            found[name] = _fastest(run, device)
        started = time.perf_counter()
        built.teacher.backbone.compile(dynamic=True)  # COCO's batches have hundreds of sizes
        teacher()
        synchronize(device)
        found["compiling"] = time.perf_counter() - started
        for name, run in {"teacher, bf16": teacher, "step, bf16": step}.items():
            found[f"{name}, teacher compiled"] = _fastest(run, device)
    return found


def _fastest(run: Callable[[], None], device: str) -> float:
    seconds = []
    for _ in range(8):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def report(found: dict[str, Any]) -> str:
    """Markdown."""
    height, width = found["image"]
    lines = [f"## A step, {found['batch']} images of {width}x{height}"]
    for row, figures in found["rows"].items():
        lines += ["", f"| {row} | loss | ms | images/s | of the published | peak MB |"]
        lines += ["|---|---|--:|--:|--:|--:|"]
        for name, versions in figures["settings"].items():
            last = versions.get("published", versions["FGD"])["seconds"]
            for version, each in versions.items():
                seconds, peak = each["seconds"], each["peak_bytes"]
                speed, megabytes = found["batch"] / seconds, 0 if peak is None else peak / 1e6
                lines.append(
                    f"| {name} | {version} | {1e3 * seconds:.1f} | {speed:.1f} | "
                    f"{seconds / last:.2f} | {megabytes:.0f} |"
                )
        lines += ["", f"| {row}, parts, ms | {' | '.join(PARTS[1:])} | loss, % |"]
        lines += ["|---|" + "--:|" * len(PARTS)]
        for name, parts in figures["parts"].items():
            share = parts["loss"] / sum(parts[part] for part in PARTS[1:])
            cells = " | ".join(f"{1e3 * parts[part]:.1f}" for part in PARTS[1:])
            lines.append(f"| {name} | {cells} | {100 * share:.1f} |")
    return "\n".join(lines)


def report_compiled(found: dict[str, float]) -> str:
    """Markdown."""
    lines = ["## retinanet_r50 with a compiled teacher", "", "| | ms |", "|---|--:|"]
    return "\n".join(lines + [f"| {name} | {1e3 * s:.1f} |" for name, s in found.items()])
