"""How a detector's pipelines turn pixels into numbers: mmdet's `Normalize`, of what it reads."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fgd.pair.steps import steps

# Caffe's backbones come with the mean 102.98 or 103.53, and are the same otherwise.
_SAME_MEAN = 1.0  # levels of 255
_SAME_STD = 0.01  # of the larger one


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from the pixels' channels and what they are divided by.

    Attributes:
        mean, std: by channel, in levels of 255.
        to_rgb: whether the channels are red, green, blue; else blue, green, red.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    to_rgb: bool

    def __str__(self) -> str:
        order = "RGB" if self.to_rgb else "BGR"
        return f"{order} with the mean {list(self.mean)} and std {list(self.std)}"

    def is_like(self, other: "Normalisation") -> bool:
        """Whether a detector that was trained with one sees the same in the other's images."""
        return (
            self.to_rgb == other.to_rgb
            and len(self.mean) == len(other.mean)
            and all(abs(a - b) <= _SAME_MEAN for a, b in zip(self.mean, other.mean, strict=True))
            and all(
                abs(a - b) <= _SAME_STD * max(a, b)
                for a, b in zip(self.std, other.std, strict=True)
            )
        )


# What the pixels are as images are read, where no key says otherwise.
RAW = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), to_rgb=False)


def sees_rgb(load: Mapping[str, Any] | None, normalise: Mapping[str, Any] | None) -> bool:
    """Whether a detector sees red, green, blue; else it sees blue, green, red.

    `Normalize.to_rgb` reverses the channels, of whatever order it gets them in.

    Args:
        load: the pipeline's `LoadImageFromFile`, if it has one.
        normalise: its `Normalize`, if it has one.
    """
    load = load or {}
    # mmcv 1.7.2 does so for the flag "color" alone; of all others it gives BGR, whatever is asked.
    reads_rgb = load.get("channel_order") == "rgb" and load.get("color_type", "color") == "color"
    reverses = normalise is not None and bool(normalise.get("to_rgb", True))
    return reads_rgb != reverses


def normalisation_of(data: dict) -> Normalisation | None:
    """What a data set's pipeline makes of pixels; None where they stay as they are read, BGR.

    Args:
        data: a split of an mmdet config's `data`; its first `LoadImageFromFile` and `Normalize`
            count.
    """
    load, step = (next(steps(data, kind), None) for kind in ("LoadImageFromFile", "Normalize"))
    rgb = sees_rgb(load, step)
    if step is None:
        return replace(RAW, to_rgb=True) if rgb else None
    mean, std = (tuple(float(value) for value in step[key]) for key in ("mean", "std"))
    return Normalisation(mean, std, rgb)


def alike(ours: Normalisation | None, theirs: Normalisation | None) -> bool:
    """Whether two detectors see the same in an image; None is an image as it is read."""
    return (ours or RAW).is_like(theirs or RAW)
