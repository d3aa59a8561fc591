"""Time and peak memory of the FGD loss, forward and backward.

Compares fgd.loss.FGDLoss with a plain implementation of the paper and, where there is a checkout of
the published code, with that, on the five feature maps of a RetinaNet.
"""

import importlib.util
import multiprocessing
import re
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from fgd.loss import FGDLoss, PyramidLoss, paper
from fgd.markdown import table

CHANNELS = 256
HEIGHT, WIDTH = 800, 1344
LEVELS = ((100, 168), (50, 84), (25, 42), (13, 21), (7, 11))
BATCH, BOXES = 2, 7
BOXES_TRIED = (0, 1, 10, 100, 300)
BATCHES_TRIED = (1, 2, 4, 8)
SCALES_TRIED = (0.25, 0.5, 1.0)  # of height and width


class PaperLoss(FGDLoss):
    """The paper's equations one after the other, a loop over the boxes included."""

    def forward(self, *arguments) -> Tensor:
        weights = self.alpha, self.beta, self.gamma, self.lambda_
        terms = paper.parts(self, *arguments)
        return sum(weight * term for weight, term in zip(weights, terms, strict=True))


class PublishedLoss(nn.Module):
    """The published loss, loaded from its file alone, under the arguments of FGDLoss."""

    def __init__(self, checkout: Path, channels: int = CHANNELS) -> None:
        super().__init__()
        # The file registers its class with the sibling package `builder`: a stand-in for that.
        for name in ("published", "published.losses", "published.builder"):
            sys.modules[name] = types.ModuleType(name)
        sys.modules["published.builder"].DISTILL_LOSSES = types.SimpleNamespace(
            register_module=lambda: lambda cls: cls
        )
        path = checkout / "mmdet/distillation/losses/fgd.py"
        spec = importlib.util.spec_from_file_location("published.losses.fgd", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.loss = module.FeatureLoss(channels, channels, name="level", gamma_fgd=5e-4)

    def forward(self, student, teacher, gt_bboxes, img_shapes) -> Tensor:
        metas = [{"img_shape": (*shape, 3)} for shape in img_shapes]
        return self.loss(student, teacher, gt_bboxes, metas)


class OneByOne(nn.ModuleDict):
    """Losses that know nothing of each other, under the arguments of PyramidLoss."""

    def forward(self, students, teachers, gt_bboxes, img_shapes) -> dict[str, Tensor]:
        return {
            name: loss(students[name], teachers[name], gt_bboxes, img_shapes)
            for name, loss in self.items()
        }


class Step:
    """A loss's forward and backward pass over all levels of one random batch."""

    def __init__(
        self,
        loss: nn.Module,
        device: str,
        dtype: torch.dtype = torch.float32,
        batch: int = BATCH,
        boxes: int = BOXES,
        levels: tuple[tuple[int, int], ...] = LEVELS,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        self.device = device
        self.loss = loss.to(device)
        self.students, self.teachers = (
            {
                name: torch.randn(batch, CHANNELS, *level, generator=generator).to(device, dtype)
                for name, level in zip(loss, levels, strict=True)
            }
            for _ in range(2)
        )
        for student in self.students.values():
            student.requires_grad_()
        corner, size = torch.rand(2, batch, boxes, 2, generator=generator)
        image = torch.tensor([WIDTH, HEIGHT])
        start = corner * image * 0.9
        self.boxes = list(
            torch.cat([start, torch.minimum(start + 8 + 300 * size, image)], dim=2).to(device)
        )
        self.shapes = [(HEIGHT, WIDTH)] * batch

    def __call__(self) -> float:
        """Run the step; return its seconds."""
        for tensor in (*self.students.values(), *self.loss.parameters()):
            tensor.grad = None
        synchronize(self.device)
        start = time.perf_counter()
        losses = self.loss(self.students, self.teachers, self.boxes, self.shapes)
        sum(losses.values()).backward()
        synchronize(self.device)
        return time.perf_counter() - start


def synchronize(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def interleaved_seconds(
    steps: dict[str, Callable[[], float]], rounds: int
) -> dict[str, dict[str, float]]:
    """Fastest and median seconds of each step, taken in turns so that all meet the same load."""
    times = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            seconds = step()
            if round_ > 0:  # the first one warms up
                times[name].append(seconds)
    return {
        name: {"seconds": min(values), "median_seconds": statistics.median(values)}
        for name, values in times.items()
    }


def make_loss(name: str, published: Path | None, levels: int = len(LEVELS)) -> nn.ModuleDict:
    """A loss a level, called together."""
    torch.manual_seed(0)
    if name == "fgd":
        return PyramidLoss({str(n): FGDLoss(CHANNELS, CHANNELS) for n in range(levels)})
    if name == "paper":
        return OneByOne({str(n): PaperLoss(CHANNELS, CHANNELS) for n in range(levels)})
    return OneByOne({str(n): PublishedLoss(published) for n in range(levels)})


def peak_bytes(name: str, dtype: torch.dtype, device: str, published: Path | None) -> int:
    """Memory that a step takes beyond its inputs; to be called in a fresh process."""
    # Loads libraries, which are not to count.
    Step(make_loss(name, published, levels=1), device, dtype, levels=((8, 8),))()
    step = Step(make_loss(name, published), device, dtype)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return torch.cuda.max_memory_allocated() - before
    # Sets the peak to what is resident now. Unlike getrusage's ru_maxrss, it is the process's own
    # and not inherited from the parent.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_resident_bytes()
    step()
    return peak_resident_bytes() - before


def peak_resident_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def device_name(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[1]


def copy_bandwidth(device: str) -> float:
    """Bytes read and written a second by a copy of 256 MiB."""
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)

    def copy() -> float:
        synchronize(device)
        start = time.perf_counter()
        target.copy_(source)
        synchronize(device)
        return time.perf_counter() - start

    return 2 * source.nbytes / min(copy() for _ in range(6))


def measure(device: str, rounds: int, published: Path | None) -> dict:
    """All figures of the report."""
    candidates = {
        "fgd": ("fgd", torch.float32),
        "fgd, bfloat16": ("fgd", torch.bfloat16),
        "paper": ("paper", torch.float32),
    }
    if published is not None:
        candidates["published"] = ("published", torch.float32)

    losses = interleaved_seconds(
        {
            label: Step(make_loss(name, published), device, dtype)
            for label, (name, dtype) in candidates.items()
        },
        rounds,
    )
    # A fresh process each: the peak of a process never falls.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for label, (name, dtype) in candidates.items():
            losses[label]["peak_bytes"] = pool.apply(peak_bytes, (name, dtype, device, published))

    loss = make_loss("fgd", None)
    boxes = {n: Step(loss, device, boxes=n) for n in BOXES_TRIED}
    boxes = interleaved_seconds(boxes, rounds)
    batches = {n: Step(loss, device, batch=n) for n in BATCHES_TRIED}
    batches = interleaved_seconds(batches, rounds)

    sizes = {
        f"{round(WIDTH * scale)}x{round(HEIGHT * scale)}": Step(
            loss, device, levels=tuple((round(h * scale), round(w * scale)) for h, w in LEVELS)
        )
        for scale in SCALES_TRIED
    }
    sizes = interleaved_seconds(sizes, rounds)

    bandwidth = copy_bandwidth(device)
    # Two reads of both feature maps and one write of the gradient: the gradient needs sums over the
    # whole map.
    moved = 5 * 4 * BATCH * CHANNELS * sum(height * width for height, width in LEVELS)
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "batch": BATCH,
        "boxes_an_image": BOXES,
        "losses": losses,
        "by_boxes": boxes,
        "by_batch": batches,
        "by_size": sizes,
        "floor": {"bytes_a_second": bandwidth, "seconds": moved / bandwidth},
    }


def report(result: dict) -> str:
    """Markdown."""
    losses, reference = result["losses"], list(result["losses"])[-1]
    bound = result["floor"]
    floor = f"floor: bytes over {bound['bytes_a_second'] / 1e9:.1f} GB/s of a copy"
    header = ["loss", "fastest ms", "median ms", "peak MB", f"time of {reference}'s", "memory"]
    lines = [
        [
            name,
            f"{1e3 * row['seconds']:.1f}",
            f"{1e3 * row['median_seconds']:.1f}",
            f"{row['peak_bytes'] / 1e6:.0f}",
            f"{row['seconds'] / losses[reference]['seconds']:.3f}",
            f"{row['peak_bytes'] / losses[reference]['peak_bytes']:.2f}",
        ]
        for name, row in losses.items()
    ]
    parts = [
        f"## The loss, forward and backward: {len(LEVELS)} levels of a {WIDTH}x{HEIGHT} image, "
        f"{CHANNELS} channels, batch {result['batch']}, {result['boxes_an_image']} boxes an image",
        table(header, [*lines, [floor, f"{1e3 * bound['seconds']:.1f}", "", "", "", ""]], left=1),
    ]
    for title, key in (
        ("boxes an image", "by_boxes"),
        ("batch", "by_batch"),
        ("image size", "by_size"),
    ):
        rows = result[key]
        times = ["ms", *(f"{1e3 * row['seconds']:.1f}" for row in rows.values())]
        parts.append(table([title, *map(str, rows)], [times], left=1))
    return "\n\n".join(parts)
