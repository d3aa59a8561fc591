"""How busy a GPU is during a training iteration, and what its host waits for."""

import time
from typing import Any

import torch
from detectors import distiller, for_detector, suite_of
from gpu_step import batch_for, stepper
from loss import synchronize
from torch.profiler import ProfilerActivity, profile
from waits import synchronising_calls

_ROUNDS = 5


def measure(device: str, row: str = "retinanet_r50") -> dict[str, Any]:
    """Of `_ROUNDS` iterations in a row: wall time, time in kernels, and calls that wait."""
    torch_device = torch.device(device)
    found: dict[str, Any] = {}
    with suite_of("coco" if device == "cuda" else "mini") as suite:
        built = distiller(suite, row, torch_device)
        batch = for_detector(batch_for(suite, torch_device), built)
        for precision in ("fp32", "bf16"):
            run = stepper(built, batch, torch_device, precision)
            found[precision] = _profiled(run, device)
        found["waits"] = synchronising_calls(run, device)
    return found


def _profiled(run: Any, device: str) -> dict[str, Any]:
    run()
    activities = [ProfilerActivity.CPU]
    if device == "cuda":
        activities.append(ProfilerActivity.CUDA)
    synchronize(device)
    start = time.perf_counter()
    for _ in range(_ROUNDS):
        run()
    synchronize(device)
    wall = (time.perf_counter() - start) / _ROUNDS
    with profile(activities=activities) as recorded:
        for _ in range(_ROUNDS):
            run()
        synchronize(device)
    events = recorded.key_averages()
    kernels = [e for e in events if e.device_type == torch.autograd.DeviceType.CUDA]
    waiting = [e for e in events if e.key in ("cudaStreamSynchronize", "cudaDeviceSynchronize")]
    longest = sorted(kernels, key=lambda e: -e.self_device_time_total)[:12]
    return {
        "wall": wall,
        "busy": sum(e.self_device_time_total for e in kernels) / 1e6 / _ROUNDS,
        "kernels": sum(e.count for e in kernels) / _ROUNDS,
        "waits": sum(e.count for e in waiting) / _ROUNDS,
        "waiting": sum(e.self_cpu_time_total for e in waiting) / 1e6 / _ROUNDS,
        "longest": [
            (e.key[:80], e.count / _ROUNDS, e.self_device_time_total / 1e6 / _ROUNDS)
            for e in longest
        ],
    }


def report(found: dict[str, Any]) -> str:
    """Markdown."""
    lines = [
        "## Waits: retinanet_r50, an iteration of many in a row",
        "",
        "| | wall ms | kernels ms | kernels | waits | waiting ms |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name in ("fp32", "bf16"):
        row = found[name]
        lines.append(
            f"| {name} | {1e3 * row['wall']:.1f} | {1e3 * row['busy']:.1f} | {row['kernels']:.0f} "
            f"| {row['waits']:.0f} | {1e3 * row['waiting']:.1f} |"
        )
    for name in ("fp32", "bf16"):
        for kernel, times, seconds in found[name]["longest"]:
            lines.append(f"- {name}: {1e3 * seconds:.2f} ms in {times:.0f} x `{kernel}`")
    lines += ["", "| line that waits | times |", "|---|--:|"]
    lines += [f"| `{line}` | {count} |" for line, count in found["waits"].items()]
    return "\n".join(lines)
