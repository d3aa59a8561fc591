"""What the rows need of a GPU's memory: the figures of `fgd memory`, and what they mean."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fgd.checkout import root
from fgd.files import write_json

# mmdet's zoo says how much plain students took on GPUs with two images: 0.95 (RetinaNet) to 1.36
# (Mask R-CNN) of what is counted for them.
MARGIN = 0.5
DRIVER_GB = 0.6  # of a CUDA context with the libraries that training loads


@dataclass(frozen=True)
class Memory:
    """What a process of a training needs of its GPU in float32, in GB (10^9 bytes).

    Attributes:
        fixed: weights of student and teacher, gradients, and the optimizer's state.
        image: what a step keeps for each image of 1333x800.
    """

    fixed: float
    image: float

    def of(self, images: int) -> float:
        """With so many images a process, the margin and the driver's share included."""
        return (self.fixed + images * self.image) * (1 + MARGIN) + DRIVER_GB


def file() -> Path:
    """Where the figures are kept."""
    return root() / "configs" / "memory.json"


def known() -> dict[str, Memory]:
    """The figures by row."""
    if not file().exists():
        return {}
    return {row: Memory(**figures) for row, figures in json.loads(file().read_text()).items()}


def keep(path: Path, found: dict[str, Memory]) -> None:
    """Write figures into a file, beside those of other rows that it has."""
    before = json.loads(path.read_text()) if path.exists() else {}
    write_json(path, dict(sorted((before | {r: asdict(m) for r, m in found.items()}).items())))


def verdict(gigabytes: float, images: int = 2) -> tuple[list[str], list[str]]:
    """The known rows that fit into a GPU with so many images, and those that do not; in words."""
    fitting: list[str] = []
    others: list[str] = []
    for row, needed in known().items():
        words = f"{row} {needed.of(images):.0f}"
        (fitting if needed.of(images) <= gigabytes else others).append(words)
    return fitting, others
