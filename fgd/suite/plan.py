"""What a suite needs before its rows can be trained, as plain data; `fgd.recipe.plan` finds it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class FromZoo:
    """A teacher that is downloaded from mmdet's model zoo, by its name."""

    kind: Literal["zoo"] = "zoo"


@dataclass(frozen=True)
class TrainedHere:
    """A teacher that the suite trains and publishes itself.

    Attributes:
        backbone: key of the backbone that its training starts from; None for one from scratch.
        least_ap: AP x 100 that it has to reach to be published; 0 for any.
    """

    backbone: str | None
    least_ap: int | float = 0
    kind: Literal["trained"] = "trained"


@dataclass(frozen=True)
class OwnFiles:
    """A teacher that is the user's own files.

    Attributes:
        checkpoint: its weights.
        sha256: hex digits that the checkpoint's SHA-256 begins with; "" if nobody said.
        ap: AP x 100 on the suite's validation set that it has to reach; 0 for any.
    """

    checkpoint: Path
    sha256: str = ""
    ap: int | float = 0
    kind: Literal["own"] = "own"


Source = FromZoo | TrainedHere | OwnFiles


@dataclass(frozen=True)
class Teacher:
    """A teacher, and where it comes from."""

    name: str
    source: Source


@dataclass(frozen=True)
class RowPlan:
    """What a row is made of.

    Attributes:
        name: of the row.
        baseline: the row that trains the baseline; another one's if `baseline_of` says so.
        student, teacher: names of detectors.
        backbone: key of the backbone that the student starts from; None for one from scratch.
        kinds: of AP that the student has, "box", "mask" or both.
        published: AP x 100 that was published for it, by arm and kind.
    """

    name: str
    baseline: str
    student: str
    teacher: str
    backbone: str | None
    kinds: tuple[str, ...]
    published: dict[str, int | float] = field(default_factory=dict)

    def trained_by(self, arm: str) -> str:
        """The row that trains one of this row's arms."""
        return self.baseline if arm == "baseline" else self.name


@dataclass(frozen=True)
class DetectorInfo:
    """A detector for people's eyes.

    Attributes:
        name: what the row file calls it, mostly a name of the model zoo.
        model: kind of detector, for example "Faster R-CNN".
        backbone: "R50", "X101"; a narrow one's base channels follow: "R50x8".
    """

    name: str
    model: str
    backbone: str


@dataclass(frozen=True)
class SplitFiles:
    """One of "train" and "val" of a suite's data.

    Attributes:
        annotations: COCO's JSON.
        images: folder of the images.
        classes: the names that the data set's config gives them; none where they are COCO's.
        number: of images, if the config says how many there have to be.
    """

    annotations: str
    images: str
    classes: tuple[str, ...] = ()
    number: int | None = None


@dataclass(frozen=True)
class Plan:
    """What a suite needs before its rows can be trained.

    Attributes:
        rows: by name, in the suite's order.
        teachers: by name.
        backbones: by key, the name that `fgd download` finds the backbone by.
        detectors: students and teachers by name, in the suite's size.
        masks: splits of the data whose objects all need masks: "train" where one is learned, "val"
            where one is measured.
    """

    rows: dict[str, RowPlan]
    teachers: dict[str, Teacher]
    backbones: dict[str, str]
    detectors: dict[str, DetectorInfo]
    masks: frozenset[str]
