"""The loss on a GPU: beside the published one and the floor, and its kernels by name.

Three clocks, since a GPU works beside its host: `alone` waits for the device at every pass,
`queued` lets passes queue up, as a training step does, `busy` is the sum of the kernels' own times.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from loss import CHANNELS, LEVELS, Step, device_name, make_loss, synchronize
from torch.profiler import ProfilerActivity, profile

BATCHES = (2, 16)
_QUEUED = 20


def measure(device: str, published: Path | None) -> dict[str, Any]:
    """All figures of the report."""
    scale = 1 if device == "cuda" else 16  # a rehearsal
    levels = tuple((-(-h // scale), -(-w // scale)) for h, w in LEVELS)
    bandwidth = copy_bandwidth(device)
    found: dict[str, Any] = {
        "device": device_name(device),
        "bytes_a_second": bandwidth,
        "batches": {},
    }
    kinds = {"fgd": ("fgd", torch.float32), "fgd, bf16": ("fgd", torch.bfloat16)}
    if published is not None:
        kinds["published"] = ("published", torch.float32)
        kinds["published, bf16"] = ("published", torch.bfloat16)
    for batch in BATCHES if device == "cuda" else (2,):
        rows = {}
        for label, (name, dtype) in kinds.items():
            # The published loss has float32 weights: within autocast, as in its training.
            step = Step(make_loss(name, published), device, dtype, batch=batch, levels=levels)
            rows[label] = _clocks(_within(step, dtype, device), device)
            size = torch.finfo(dtype).bits // 8
            # Two reads of both maps and one write of the gradient.
            moved = 5 * size * batch * CHANNELS * sum(h * w for h, w in levels)
            rows[label]["floor"] = moved / bandwidth
            del step
        found["batches"][batch] = rows
    return found


def _within(step: Step, dtype: torch.dtype, device: str) -> Callable[[], None]:
    def run() -> None:
        for tensor in (*step.students.values(), *step.loss.parameters()):
            tensor.grad = None
        with torch.autocast(device, torch.bfloat16, enabled=dtype == torch.bfloat16):
            losses = step.loss(step.students, step.teachers, step.boxes, step.shapes)
        sum(losses.values()).backward()

    return run


def _clocks(run: Callable[[], None], device: str) -> dict[str, Any]:
    queued_passes = _QUEUED if device == "cuda" else 2
    for _ in range(3):
        run()
    alone = []
    for _ in range(queued_passes):
        synchronize(device)
        start = time.perf_counter()
        run()
        synchronize(device)
        alone.append(time.perf_counter() - start)
    start = time.perf_counter()
    for _ in range(queued_passes):
        run()
    submitted = time.perf_counter() - start
    synchronize(device)
    queued = time.perf_counter() - start
    peak = None
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        peak = torch.cuda.max_memory_allocated() - before
    return {
        "alone": statistics.median(alone),
        "queued": queued / queued_passes,
        "submitting": submitted / queued_passes,
        "peak_bytes": peak,
        **_kernels(run, device),
    }


def _kernels(run: Callable[[], None], device: str) -> dict[str, Any]:
    """Seconds that the device computes, how many kernels that is, and the longest by name."""
    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with profile(activities=activities) as recorded:
        run()
        synchronize(device)
    if device != "cuda":
        return {"busy": None, "kernels": None, "longest": []}
    kernels: dict[str, list[float]] = {}
    for event in recorded.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            kernels.setdefault(event.name, []).append(event.device_time / 1e6)
    ordered = sorted(kernels.items(), key=lambda item: -sum(item[1]))
    return {
        "busy": sum(sum(times) for times in kernels.values()),
        "kernels": sum(len(times) for times in kernels.values()),
        "longest": [(name[:70], len(times), sum(times)) for name, times in ordered[:8]],
    }


def copy_bandwidth(device: str) -> float:
    """Bytes read and written a second by a copy much larger than the caches."""
    source = torch.ones(2**28 if device == "cuda" else 2**24, device=device)
    target = torch.empty_like(source)
    seconds = []
    for _ in range(6):
        synchronize(device)
        start = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(seconds)


def report(found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        f"## The loss, forward and backward; a copy moves {found['bytes_a_second'] / 1e9:.0f} GB/s",
    ]
    for batch, rows in found["batches"].items():
        lines += [
            "",
            f"| batch {batch} | alone ms | queued ms | submitting ms | busy ms | kernels "
            "| floor ms | peak MB |",
            "|---|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for name, row in rows.items():
            times = (row[key] for key in ("alone", "queued", "submitting", "busy"))
            cells = " | ".join("" if t is None else f"{1e3 * t:.3f}" for t in times)
            peak = "" if row["peak_bytes"] is None else f"{row['peak_bytes'] / 1e6:.0f}"
            lines.append(
                f"| {name} | {cells} | {row['kernels'] or ''} | {1e3 * row['floor']:.3f} | {peak} |"
            )
        for name, row in rows.items():
            for kernel, times, seconds in row["longest"]:
                lines.append(f"- {name}: {1e3 * seconds:.3f} ms in {times} x `{kernel}`")
    return "\n".join(lines)
