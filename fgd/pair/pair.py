"""The one class that answers whether a student and a teacher go together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

from fgd.errors import FGDError, listing
from fgd.heads import number_of_classes
from fgd.pair.meaning import differences
from fgd.pair.normalisation import Normalisation, alike
from fgd.pair.strides import copied_levels, level_channels, level_strides

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Level:
    """A level of a detector's pyramid.

    Attributes:
        stride: pixels of the image between two positions of its feature map.
        channels: of its feature map; None if the config does not say.
        size: height and width of its feature map, of the image that it was measured on.
        copied: whether it holds nothing that the level before does not have.
    """

    stride: float
    channels: int | None = None
    size: tuple[int, ...] | None = field(default=None, compare=False)
    copied: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Member:
    """A student or a teacher, as far as it is known.

    Attributes:
        role: "student" or "teacher".
        model: its mmdet model config.
        name: what a row calls it; "" where there is no row.
        normalisation: of the images that it sees; None for pixels as they are read.
        measured: the levels of the built detector, by the index that `distill.levels` has.
        tensors: shapes in the built detector's state dict, by name.
    """

    role: str
    model: dict | None = None
    name: str = ""
    normalisation: Normalisation | None = None
    measured: Mapping[int, Level] | None = None
    tensors: Mapping[str, Shape] | None = None

    def __str__(self) -> str:
        return f"the {self.role} {self.name}".rstrip()

    @cached_property
    def levels(self) -> Mapping[int, Level] | None:
        """Levels by index: as measured, or as the config says; None where neither tells."""
        if self.measured is not None or self.model is None:
            return self.measured
        strides = level_strides(self.model)
        if strides is None:
            return None
        channels, copied = level_channels(self.model, len(strides)), copied_levels(self.model)
        levels = enumerate(zip(strides, channels, strict=True))
        return {number: Level(*both, copied=number in copied) for number, both in levels}

    @property
    def inheritable(self) -> dict[str, Shape]:
        """Shapes of everything but the backbone, of a detector that was built."""
        assert self.tensors is not None
        return {name: s for name, s in self.tensors.items() if not name.startswith("backbone.")}


@dataclass(frozen=True)
class Pair:
    """A student and the teacher that it is to learn from.

    Every `check_...` raises an FGDError that names what does not fit and what to do.

    Attributes:
        student, teacher: what is known of them.
        origin: what an error begins with, for example "row retinanet_r50"; "" for nothing.
    """

    student: Member
    teacher: Member
    origin: str = ""

    @property
    def _members(self) -> tuple[Member, Member]:
        return self.student, self.teacher

    def _refused(self, reason: str) -> FGDError:
        return FGDError(f"{self.origin}: {reason}" if self.origin else reason)

    def check_classes(self, number: int | None, data: str) -> None:
        """Whether both tell as many classes apart as the data have.

        Args:
            number: of classes; None where the data leave it to the detectors.
            data: the data set, for an error.
        """
        for member in self._members:
            known = None if member.model is None else number_of_classes(member.model)
            if known is None:
                raise self._refused(
                    f"{member} tells no classes apart: expected a detector with a bbox_head or a "
                    "mask_head of num_classes, whose AP can be measured; choose one"
                )
            if number not in (None, known):
                raise self._refused(
                    f"{member} tells {known} classes apart, and the data set {data} has {number}. "
                    "A teacher has to be trained on the data: let the suite train it "
                    "(train_teachers, `fgd new-row --train-teacher`), or give your own files "
                    "(`fgd new-row --teacher CONFIG.py --teacher-checkpoint FILE.pth`); in a mini "
                    "suite the number is mini.size.classes"
                )

    def check_normalisation(self) -> None:
        """Whether the teacher sees in the student's images what it was trained on.

        Its AP was that of its own test images, so a teacher of other numbers passes the gate, and
        teaches noise.
        """
        if other := self.other_pixels():
            raise self._refused(
                f"{other}. In distillation the teacher sees the student's images, which would be "
                "noise to it: let them be normalised anew for it (distill.renormalise = True, `fgd "
                "new-row --renormalise`), or choose detectors whose pipelines have the same "
                "Normalize"
            )

    def other_pixels(self) -> str:
        """How the two see other pixels, as the beginning of a sentence; "" if they do not."""
        ours, theirs = (member.normalisation for member in self._members)
        if alike(ours, theirs):
            return ""
        return (
            f"{self.student} gets its images as {_or_raw(ours)}, {self.teacher} as "
            f"{_or_raw(theirs)}"
        )

    def common_levels(self) -> list[int]:
        """The student's levels that the teacher is known to have, too.

        Not those that an FPN only pools: they hold nothing that the level before does not.
        """
        ours, theirs = (member.levels or {} for member in self._members)
        matched = {level: self._teachers_level(level) for level in sorted(ours)}
        return [
            level
            for level, other in matched.items()
            if other is not None and not ours[level].copied and not theirs[other].copied
        ]

    def _teachers_level(self, level: int) -> int | None:
        """The teacher's level that goes with one of the student's: the same, or of its stride."""
        ours, theirs = (member.levels or {} for member in self._members)
        stride = ours[level].stride
        fitting = [number for number in sorted(theirs) if theirs[number].stride == stride]
        return level if level in fitting else next(iter(fitting), None)

    def match_levels(self, levels: Iterable[int]) -> dict[int, int]:
        """The teacher's level that each of the student's learns from.

        It is the one of the same number if its stride is the same. Otherwise it is the one of the
        same stride: a two-stage detector's levels begin at stride 4, a one-stage one's at 8.

        Args:
            levels: of the student.

        Raises:
            FGDError: the student has no such level, or the teacher none that goes with it.
        """
        students, teachers = self.student.levels, self.teacher.levels
        found = {}
        for level in levels:
            if students is not None and level not in students:
                raise self._refused(
                    f"distill.levels has {level}, but {self.student} has the FPN levels "
                    f"{min(students)} to {max(students)}"
                )
            if students is None or teachers is None:
                found[level] = level  # the distiller measures both before it trains
                continue
            match = self._teachers_level(level)
            if match is None:
                raise self._refused(self._no_match(level, students[level], teachers))
            found[level] = match
        return found

    def _no_match(self, level: int, ours: Level, teachers: Mapping[int, Level]) -> str:
        strides = ", ".join(f"{each.stride:g}" for each in teachers.values())
        return (
            f"FPN level {level} has stride {ours.stride:g} in {self.student}, and {self.teacher} "
            f"has {strides}: there is no level with features of the same size. Leave the level out "
            "of distill.levels, or choose a teacher that has it"
        )

    def check_levels(self, levels: Iterable[int]) -> None:
        """Whether the teacher has a level for each of these; as `match_levels`."""
        self.match_levels(levels)

    def check_sizes(self, matched: Mapping[int, int], image: tuple[int, int]) -> None:
        """Whether both have feature maps of one size on an image that strides do not divide.

        NAS-FPN drops what is left over, an FPN does not.

        Args:
            matched: the teacher's level by the student's.
            image: height and width of the one that both were measured on.
        """
        ours, theirs = self.student.measured, self.teacher.measured
        assert ours is not None and theirs is not None
        for level, other in matched.items():
            sizes = [_shape(each.size or ()) for each in (ours[level], theirs[other])]
            if sizes[0] != sizes[1]:
                raise self._refused(
                    f"of an image of {_shape(image)} pixels level {level} of {self.student} has "
                    f"features of {sizes[0]}, level {other} of {self.teacher} of {sizes[1]}. Pad "
                    "images in the student's pipeline to a multiple of the coarsest stride (Pad, "
                    "size_divisor), or leave the level out of distill.levels"
                )

    def check_features(
        self,
        shapes: Mapping[int, tuple[Shape, Shape]],
        size: int,
        matched: Mapping[int, int] | None = None,
    ) -> None:
        """Whether the features that are distilled are those that the configs tell, if they do.

        Args:
            shapes: (channels, height, width) in the student and in the teacher, by level.
            size: of the square image that they are of, in pixels; a multiple of every stride.
            matched: the teacher's level by the student's; the same by default.
        """
        for level, pair in shapes.items():
            numbers = (level, (matched or {}).get(level, level))
            for member, number, shape in zip(self._members, numbers, pair, strict=True):
                if member.levels is None:
                    continue
                known = member.levels[number]
                side = None if known.stride is None else int(size / known.stride)
                expected = (known.channels or shape[0], side or shape[1], side or shape[2])
                if shape != expected:
                    raise self._refused(
                        f"FPN level {level} of {member}: expected features of {_shape(expected)} "
                        f"on a {size}x{size} image, got {_shape(shape)}: check distill.taps"
                    )

    def obstacles(self, exceptions: Iterable[str] = ()) -> list[str]:
        """Why the student cannot start with the teacher's neck and head; empty if it can.

        Args:
            exceptions: shell patterns of the student's tensors that keep their own initialisation
                (`distill.inherit_except`).
        """
        exceptions = list(exceptions)
        found = []
        if self.student.model is not None and self.teacher.model is not None:
            found += _config_obstacles(self.student.model, self.teacher.model, exceptions)
        if self.student.tensors is not None and self.teacher.tensors is not None:
            found += _tensor_obstacles(
                self.student.inheritable, self.teacher.inheritable, exceptions
            )
        return found

    def check_inheritance(self, exceptions: Iterable[str] = ()) -> None:
        """Whether the student can start with the teacher's neck and head.

        Args:
            exceptions: as in `obstacles`.
        """
        found = self.obstacles(exceptions)
        if found:
            of = f" (of {self.teacher.name})" if self.teacher.name else ""
            raise self._refused(
                f"{self.student} cannot inherit the teacher's neck and head{of}: {listing(found)}. "
                "Set distill.inherit to False, leave out what differs (distill.inherit_except), or "
                "choose a teacher of the same neck and head"
            )

    def inherited(self, exceptions: Iterable[str] = ()) -> list[str]:
        """The student's tensors that start with the teacher's values, if there are no obstacles.

        Args:
            exceptions: as in `obstacles`.
        """
        exceptions = list(exceptions)
        theirs = self.teacher.inheritable
        return [
            name
            for name in self.student.inheritable
            if not _fits(name, exceptions) and (name in theirs or not of_loss(name))
        ]

    def other_shapes(self, part: str) -> list[str]:
        """Tensors that both have, in other shapes.

        Args:
            part: what their names begin with, for example "neck."
        """
        ours, theirs = self.student.inheritable, self.teacher.inheritable
        return [
            name
            for name, shape in ours.items()
            if name.startswith(part) and name in theirs and theirs[name] != shape
        ]


def of_loss(name: str) -> bool:
    """Whether a tensor belongs to a loss: what GHM counts, which means nothing to a detector."""
    return any(module.startswith("loss") for module in name.split(".")[:-1])


def _config_obstacles(student: dict, teacher: dict, exceptions: list[str]) -> list[str]:
    found = list(differences(student, teacher, exceptions))
    ours, theirs = (_in_channels(model) for model in (student, teacher))
    if ours != theirs and not any(pattern.startswith(("neck.", "*")) for pattern in exceptions):
        found.append(
            f"neck.in_channels is {ours} in the student, {theirs} in the teacher (in a mini suite "
            "they follow from mini.detectors, depth and base_channels)"
        )
    return found


def _tensor_obstacles(
    ours: dict[str, Shape], theirs: dict[str, Shape], exceptions: list[str]
) -> list[str]:
    found = []
    for name in sorted(ours.keys() | theirs.keys()):
        if of_loss(name) and (name not in ours or name not in theirs):
            continue
        if name not in ours:
            found.append(f"{name} is in the teacher alone")
        elif _fits(name, exceptions):
            continue
        elif name not in theirs:
            found.append(f"{name} is in the student alone")
        elif ours[name] != theirs[name]:
            found.append(
                f"{name} is {_shape(ours[name])} in the student, {_shape(theirs[name])} in the "
                "teacher"
            )
    return found


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _in_channels(model: dict) -> list[int] | None:
    """Of the neck, or the first of several, which are its backbone's."""
    neck = model.get("neck")
    neck = neck[0] if isinstance(neck, list) else neck
    return neck and neck.get("in_channels")


def _or_raw(normalisation: Normalisation | None) -> str:
    return "BGR from 0 to 255 (no Normalize)" if normalisation is None else str(normalisation)


def _shape(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a scalar"
