"""What a suite needs before its rows can be trained: teachers and backbones, and where from."""

from dataclasses import dataclass

from fgd.errors import FGDError
from fgd.heads import heads
from fgd.recipe.checks import (
    check_backbone,
    check_fit,
    check_obtainable,
    check_stated_rates,
    check_train_teachers,
)
from fgd.recipe.composing import compose
from fgd.recipe.detectors import (
    backbone_checkpoint,
    backbone_key,
    load_detector,
    load_teacher,
    own_detectors,
)
from fgd.recipe.own import OwnDetector
from fgd.recipe.rows import Row, load_row
from fgd.suite import Suite


@dataclass(frozen=True)
class RowPlan:
    """What a row is made of.

    Attributes:
        name: of the row.
        baseline: the row that trains the baseline; another one's if `baseline_of` says so.
        student, teacher: names of detectors.
        backbone: key of the backbone that the student starts from; None for one from scratch.
        kinds: of AP that the student has, "box", "mask" or both.
    """

    name: str
    baseline: str
    student: str
    teacher: str
    backbone: str | None
    kinds: tuple[str, ...]

    def folder(self, run: str) -> str:
        """Where a training ("fgd", "baseline/seed1") lies in the suite's results."""
        return f"{self.baseline if run.split('/')[0] == 'baseline' else self.name}/{run}"


@dataclass(frozen=True)
class TeacherPlan:
    """Where a teacher comes from.

    Attributes:
        trained: whether the suite trains it; otherwise it is downloaded.
        backbone: key of the backbone that this training starts from, if there are both.
        own: the user's own files, in place of a download.
    """

    trained: bool
    backbone: str | None = None
    own: OwnDetector | None = None


@dataclass(frozen=True)
class Plan:
    """What a suite needs before its rows can be trained.

    Attributes:
        rows: by name, in the suite's order.
        teachers: by name.
        backbones: by key, the name that `fgd download` finds the backbone by.
        masks: splits of the data whose objects all need masks: "train" where one is learned, "val"
            where one is measured.
    """

    rows: dict[str, RowPlan]
    teachers: dict[str, TeacherPlan]
    backbones: dict[str, str]
    masks: frozenset[str]


def plan(suite: Suite) -> Plan:
    """What the suite's rows need, without importing a single model.

    Raises:
        FGDError: a row is unknown or does not fit together.
    """
    owned = own_detectors(suite)
    rows: dict[str, RowPlan] = {}
    teachers: dict[str, TeacherPlan] = {}
    backbones: dict[str, str] = {}
    masks: set[str] = set()
    check_stated_rates(suite)
    for name in suite.rows:
        row = load_row(name, suite)
        student = load_detector(suite, row.student, owned, learns=True)
        teacher = load_teacher(suite, row.teacher, owned)
        check_fit(suite, row, student, teacher)
        _check_baseline(suite, row)
        check_backbone(row, student.model)
        needed = [backbone_checkpoint(student.model)]
        if suite.trains(row.teacher):
            needed.append(backbone_checkpoint(teacher.model))
        else:
            check_obtainable(suite, row)
        for model, learns in ((student.model, True), (teacher.model, suite.trains(row.teacher))):
            masks |= splits_with_masks(model, learns)
        keys = [_add_backbone(backbones, checkpoint) for checkpoint in needed]
        teachers[row.teacher] = TeacherPlan(
            suite.trains(row.teacher),
            backbone=keys[1] if suite.trains(row.teacher) else None,
            own=owned.get(row.teacher),
        )
        rows[name] = RowPlan(
            name=name,
            baseline=row.baseline_of or name,
            student=row.student,
            teacher=row.teacher,
            backbone=keys[0],
            kinds=tuple(heads(student.model)),
        )
    check_train_teachers(suite, teachers)
    return Plan(rows, teachers, backbones, frozenset(masks))


def splits_with_masks(model: dict, learns: bool) -> set[str]:
    """The splits of the data whose objects need masks for a detector's sake.

    Args:
        model: its mmdet model config.
        learns: whether it is trained; any is evaluated.
    """
    if "mask" not in heads(model):
        return set()
    return {"train", "val"} if learns else {"val"}


def _add_backbone(backbones: dict[str, str], checkpoint: str | None) -> str | None:
    """Note that a backbone is needed; its key, or None where there is none."""
    if checkpoint is None:
        return None
    key = backbone_key(checkpoint)
    if backbones.setdefault(key, checkpoint) != checkpoint:
        raise FGDError(
            f"two backbones are called {key!r}: {checkpoint} and {backbones[key]}. Rename the file "
            "of one"
        )
    return key


def _check_baseline(suite: Suite, row: Row) -> None:
    """Whether the row's student, trained alone, is the student of the row that it names."""
    if row.baseline_of is None:
        return
    place = f"row {row.name}: baseline_of {row.baseline_of!r}"
    if row.baseline_of not in suite.rows:
        raise FGDError(f"{place}: the suite has no such row; it has {', '.join(suite.rows)}")
    other = load_row(row.baseline_of, suite)
    if other.baseline_of is not None:
        raise FGDError(f"{place}: that row has no baseline of its own; name {other.baseline_of!r}")
    ours, theirs = (compose(suite, each, "baseline").detector.to_dict() for each in (row, other))
    differing = sorted(key for key in ours if ours[key] != theirs[key])
    if differing:
        raise FGDError(
            f"{place}: the two students are not trained alike, they differ in "
            f"{', '.join(differing)}. Leave the key out, and the row trains a baseline of its own"
        )
