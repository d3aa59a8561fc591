"""The zoo's models that a student can learn from, and why the others cannot teach it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fgd.errors import FGDError, suggestion
from fgd.heads import number_of_classes
from fgd.pair import Member, Pair, alike
from fgd.teachers.facts import Built, Facts


@dataclass(frozen=True)
class Teacher:
    """What a model is to a student.

    Attributes:
        facts: of the model.
        reason: why it cannot teach the student; "" if it can.
        levels: the teacher's level by the student's that would learn from it.
        strides: of these levels.
        own: why the student cannot start with its neck and head; "" if it can.
    """

    facts: Facts
    reason: str = ""
    levels: Mapping[int, int] | None = None
    strides: tuple[float, ...] = ()
    own: str = ""


@dataclass(frozen=True)
class Matches:
    """Attributes:
    student: the model that learns.
    teachers: that fit, the best AP first.
    others: how many models do not, by the reason.
    """

    student: Facts
    teachers: list[Teacher]
    others: Counter[str]


def match(student: str, known: Mapping[str, Facts]) -> Matches:
    """The teachers of a student.

    Args:
        student: its name in the zoo.
        known: facts of all models, by name.

    Raises:
        FGDError: there is no such model, or it cannot be used.
    """
    if student not in known:
        raise FGDError(f"mmdet's model zoo has no model {student!r}{suggestion(student, known)}")
    learner = known[student]
    if learner.model is None:
        raise FGDError(f"{student}: {learner.fault}")
    judgements = [judged(learner, other) for other in known.values() if other.name != student]
    teachers = [teacher for teacher in judgements if not teacher.reason]
    return Matches(
        learner,
        sorted(teachers, key=lambda t: (-_ap(t.facts, learner), t.facts.name)),
        Counter(teacher.reason for teacher in judgements if teacher.reason),
    )


def judged(student: Facts, teacher: Facts) -> Teacher:
    """Whether a model can teach a student, as far as their configs tell.

    Args:
        student: one whose config can be read.
        teacher: any.
    """
    assert student.model is not None
    reason = _excluded(student, teacher)
    if reason:
        return Teacher(teacher, reason)
    pair = Pair(
        Member("student", student.model, student.name),
        Member("teacher", teacher.model, teacher.name),
    )
    levels = pair.match_levels(pair.common_levels())
    known = pair.student.levels or {}
    strides = tuple(known[level].stride for level in levels)
    # Where backbones have other widths, the convolutions that neck.in_channels are of are left out.
    obstacles = [each for each in pair.obstacles() if not each.startswith("neck.in_channels ")]
    return Teacher(teacher, "", levels, strides, obstacles[0] if obstacles else "")


def compared(student: Facts, teacher: Teacher, models: Mapping[str, Built | None]) -> Teacher:
    """A teacher of `judged`, its neck and head compared as they are built, too.

    Args:
        models: built ones by name, the two among them.
    """
    ours, theirs = models[student.name], models[teacher.facts.name]
    if teacher.own or ours is None or theirs is None:
        return teacher
    pair = Pair(
        Member("student", student.model, tensors=ours.tensors),
        Member("teacher", teacher.facts.model, tensors=theirs.tensors),
    )
    # As `fgd new-row` does: what follows from backbones of other widths is left out.
    obstacles = pair.obstacles(pair.other_shapes("neck."))
    return replace(teacher, own=obstacles[0] if obstacles else "")


def _excluded(student: Facts, teacher: Facts) -> str:
    if teacher.model is None:
        return "cannot be downloaded or read"
    if teacher.dataset != student.dataset:
        return "trained on other data"
    assert student.model is not None
    ours, theirs = (number_of_classes(each.model or {}) for each in (student, teacher))
    if theirs is None:
        return "tells no classes apart"
    if ours != theirs:
        return "tells other classes apart"
    if not alike(student.trained, teacher.tested):
        return "sees other pixels (distill.renormalise would turn them)"
    pair = Pair(Member("student", student.model), Member("teacher", teacher.model))
    if pair.student.levels is None or pair.teacher.levels is None:
        return "its levels are known once it is built"
    if not pair.common_levels():
        return "has no level of a stride of the student's"
    if _ap(teacher, student) <= _ap(student, student):
        return "has no higher AP than the student"
    return ""


def _ap(facts: Facts, student: Facts) -> float:
    """The AP that teachers go by: of boxes, or of masks for a student that has none of boxes."""
    by_boxes = student.box_ap is not None or student.mask_ap is None
    return (facts.box_ap if by_boxes else facts.mask_ap) or 0.0
