"""The loss's two passes on a GPU under several tile sizes: bytes a second against a copy's.

    python benchmarks/gpu_kernels.py [--kernels FILE ...] [--sizes 4096x16 2048x8 ...]

FILE is another version of fgd/loss/kernels.py to compare with. A size: elements a tile x warps.
"""

import argparse
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import torch
from gpu_loss import copy_bandwidth
from loss import CHANNELS, LEVELS

from fgd.loss import kernels
from fgd.loss.plain import Reductions

_LAUNCHES = 20


def seconds(run: Callable[[], object]) -> float:
    """Of one launch among many in a row, by the device's own clock."""
    run()
    torch.cuda.synchronize()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(_LAUNCHES):
        run()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3 / _LAUNCHES


def passes(version: ModuleType, batch: int, pixels: int, dtype: torch.dtype) -> tuple[float, float]:
    """Seconds of `reduce` and of `gradient` for maps of a level."""
    torch.manual_seed(0)
    student, teacher = torch.randn(2, batch, CHANNELS, pixels, device="cuda").to(dtype)
    masks = torch.rand(batch, 2, pixels, device="cuda")
    mask_s, mask_t = torch.randn(2, CHANNELS, device="cuda")
    reduced, softmaxes = version.reduce(student, teacher, masks, mask_s, mask_t, 0.1)
    grad = Reductions(*(torch.rand_like(value) for value in reduced))
    return (
        seconds(lambda: version.reduce(student, teacher, masks, mask_s, mask_t, 0.1)),
        seconds(
            lambda: version.gradient(
                student, teacher, masks, mask_s, reduced.sums, softmaxes, 0.1, grad
            )
        ),
    )


def load(file: Path) -> ModuleType:
    """Another version of the kernels, from its file."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kernels", type=Path, nargs="+", default=[])
    parser.add_argument("--sizes", nargs="+", default=["4096x16", "2048x8", "2048x16", "1024x4"])
    parser.add_argument("--programs", type=int, nargs="+", default=[1024, 4096])
    arguments = parser.parse_args()
    bandwidth = copy_bandwidth("cuda")
    print(f"{torch.cuda.get_device_name()}: a copy moves {bandwidth / 1e9:.0f} GB/s")
    print("version size programs type batch pixels | reduce ms, of the floor | gradient ms, of it")
    for version in [kernels, *map(load, arguments.kernels)]:
        for size in arguments.sizes:
            version._TILE, version._WARPS = map(int, size.split("x"))
            for dtype in (torch.float32, torch.bfloat16):
                for programs in arguments.programs:
                    version._PROGRAMS = programs
                    for batch, (height, width) in ((16, LEVELS[0]), (2, LEVELS[0]), (2, LEVELS[2])):
                        pixels = height * width
                        one_map = batch * CHANNELS * pixels * torch.finfo(dtype).bits / 8
                        first, second = passes(version, batch, pixels, dtype)
                        name = version.__name__.split(".")[-1]
                        kind = str(dtype).removeprefix("torch.")
                        print(
                            f"{name} {size} {programs} {kind} {batch} {pixels} | "
                            f"{1e3 * first:.3f} {first * bandwidth / one_map / 2:.2f} | "
                            f"{1e3 * second:.3f} {second * bandwidth / one_map / 3:.2f}",
                            flush=True,
                        )


if __name__ == "__main__":
    main()
