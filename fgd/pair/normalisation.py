"""How a detector's pipelines turn pixels into numbers: mmdet's `Normalize`."""

from dataclasses import dataclass

from fgd.pair.steps import steps

# Caffe's backbones come with the mean 102.98 or 103.53, and are the same otherwise.
_SAME_MEAN = 1.0  # levels of 255
_SAME_STD = 0.01  # of the larger one


@dataclass(frozen=True)
class Normalisation:
    """What is subtracted from the pixels' channels and what they are divided by.

    Attributes:
        mean, std: by channel, in levels of 255.
        to_rgb: whether the channels are red, green, blue; as images are read, it is the reverse.
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


def normalisation_of(data: dict) -> Normalisation | None:
    """The first `Normalize` of a data set's pipeline; None where pixels stay as they are read.

    Args:
        data: a split of an mmdet config's `data`.
    """
    step = next(steps(data, "Normalize"), None)
    if step is None:
        return None
    mean, std = (tuple(float(value) for value in step[key]) for key in ("mean", "std"))
    return Normalisation(mean, std, step.get("to_rgb", True))


def alike(ours: Normalisation | None, theirs: Normalisation | None) -> bool:
    """Whether two detectors see the same in an image; one without `Normalize` is like none else."""
    if ours is None or theirs is None:
        return ours is theirs
    return ours.is_like(theirs)
