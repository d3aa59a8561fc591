"""What the user asks for."""

from dataclasses import dataclass
from pathlib import Path

from fgd.pair.taps import NECK


@dataclass(frozen=True)
class Split:
    """A COCO-format annotation file and the folder of its images."""

    annotations: Path
    images: Path


@dataclass(frozen=True)
class RowRequest:
    """What the user asks for; None leaves it to the student's config or to what the models allow.

    Attributes:
        name: of the row.
        folder: of the files; its name is the suite's.
        student: a name of the zoo, or the path of a config.
        teacher: the same.
        checkpoint: the weights of a teacher that is a config.
        train_teacher: whether the suite trains the teacher first, on the same data.
        ap: box AP in points that such a teacher reaches.
        train, val: the data; None where the folder's suite has them already.
        clean: whether the annotation files are mended, into the folder.
        all_categories: whether categories that evidently are no classes are classes.
        levels: to distil, of the student.
        taps: where features are taken, as `distill.taps` has it.
        renormalise: whether the teacher gets the student's images normalised as its own.
        inherit: whether the student starts with the teacher's neck and head.
        epochs: of the student's training.
        lr: learning rate, for as many images a step as the student's config says, or 16.
        img_scale: largest width and height of an image, in pixels.
        from_scratch: whether the student's backbone starts from random weights.
        gpus, samples_per_gpu: of a new suite; 1 and 2 where nothing is said.
    """

    name: str
    folder: Path
    student: str
    teacher: str
    checkpoint: Path | None = None
    train_teacher: bool = False
    ap: float | None = None
    train: Split | None = None
    val: Split | None = None
    clean: bool = False
    all_categories: bool = False
    levels: tuple[int, ...] | None = None
    taps: str = NECK
    renormalise: bool = False
    inherit: bool | None = None
    epochs: int | None = None
    lr: float | None = None
    img_scale: tuple[int, int] | None = None
    from_scratch: bool = False
    gpus: int | None = None
    samples_per_gpu: int | None = None

    @property
    def splits(self) -> dict[str, Split]:
        """The data that are named, "train" and "val"."""
        named = {"train": self.train, "val": self.val}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def suite(self) -> Path:
        """The suite's file."""
        return self.folder / f"{self.folder.absolute().name}.yaml"

    @property
    def row(self) -> Path:
        """The row's file."""
        return self.folder / f"{self.name}.py"

    @property
    def dataset(self) -> Path:
        """The file of a new suite's data."""
        return self.folder / "dataset.py"

    def cleaned(self, split: str) -> Path:
        """The mended annotation file of a split of a new suite's data."""
        return self.folder / f"{split}_clean.json"
