"""What a suite needs before its rows can be trained: teachers and backbones, and where from."""

from collections.abc import Mapping

from fgd.checkout import root
from fgd.errors import FGDError, suggestion
from fgd.heads import heads
from fgd.recipe.checks import (
    check_backbone,
    check_fit,
    check_obtainable,
    check_one_file,
    check_stated_rates,
    check_train_teachers,
)
from fgd.recipe.composing import compose, compose_teacher
from fgd.recipe.data import images_of
from fgd.recipe.detectors import (
    backbone_checkpoint,
    backbone_key,
    load_detector,
    load_teacher,
    own_detectors,
)
from fgd.recipe.own import OwnDetector
from fgd.recipe.rows import Row, load_row
from fgd.suite import ARMS, Run, Suite
from fgd.suite.plan import (
    DetectorInfo,
    FromZoo,
    OwnFiles,
    Plan,
    RowPlan,
    Source,
    SplitFiles,
    Teacher,
    TrainedHere,
)
from fgd.zoo.index import search

# How papers write what mmdet calls these classes.
_MODEL_NAMES = {
    "FasterRCNN": "Faster R-CNN",
    "MaskRCNN": "Mask R-CNN",
    "RepPointsDetector": "RepPoints",
}


def plan(suite: Suite) -> Plan:
    """What the suite's rows need, without importing a single model.

    Raises:
        FGDError: a row is unknown or does not fit together.
    """
    owned = own_detectors(suite)
    rows: dict[str, RowPlan] = {}
    teachers: dict[str, Teacher] = {}
    backbones: dict[str, str] = {}
    detectors: dict[str, DetectorInfo] = {}
    masks: set[str] = set()
    check_stated_rates(suite)
    _check_mini_names(suite, owned)
    for name in suite.rows:
        row = load_row(name, suite)
        student = load_detector(suite, row.student, owned=owned, learns=True)
        teacher = load_teacher(suite, row.teacher, owned)
        check_fit(suite, row, student, teacher)
        _check_baseline(suite, row)
        check_backbone(row, student.model)
        backbone = _add_backbone(suite, backbones, student.model)
        source: Source
        if suite.trains(row.teacher):
            check_one_file(f"row {name}: the teacher {row.teacher}", teacher.model)
            source = TrainedHere(_add_backbone(suite, backbones, teacher.model), suite.least_ap)
        else:
            own = owned.get(row.teacher)
            check_obtainable(suite, row, own)
            source = _brought(own)
        for detector, model, learns in (
            (row.student, student.model, True),
            (row.teacher, teacher.model, suite.trains(row.teacher)),
        ):
            detectors[detector] = _described(detector, model)
            masks |= splits_with_masks(model, learns=learns)
        teachers[row.teacher] = Teacher(row.teacher, source)
        rows[name] = RowPlan(
            name=name,
            baseline=row.baseline_of or name,
            student=row.student,
            teacher=row.teacher,
            backbone=backbone,
            kinds=tuple(heads(student.model)),
            published=row.published,
        )
    check_train_teachers(suite, teachers)
    return Plan(rows, teachers, backbones, detectors, frozenset(masks))


def digests(suite: Suite, plan: Plan) -> dict[str, str]:
    """A hash of the configs that `fgd compose` writes, by their folder in the results.

    A suite's file names many rows. As a parameter of the rules that compose, this hash makes a row
    train anew exactly when its own recipe has changed.
    """
    layout = suite.layout
    found = {
        layout.teacher_folder(name): compose_teacher(suite, name).digest for name in plan.teachers
    }
    for name in plan.rows:
        row = load_row(name, suite)
        for arm in ARMS:
            composed = compose(suite, row, arm)
            for seed in suite.seeds:
                composed.training.seed = seed  # all that depends on it
                found[layout.run_folder(Run(name, arm, seed))] = composed.digest
    return found


def split_files(suite: Suite) -> dict[str, SplitFiles]:
    """The files of "train" and "val", as all rows of the suite read them."""
    data = compose(suite, load_row(suite.rows[0], suite), "baseline").detector.data
    found = {}
    for split in ("train", "val"):
        files = data[split].get("dataset", data[split])
        classes = tuple(files.get("classes") or ())
        found[split] = SplitFiles(
            files["ann_file"], files["img_prefix"], classes, images_of(suite, split)
        )
    return found


def splits_with_masks(model: dict, *, learns: bool) -> set[str]:
    """The splits of the data whose objects need masks for a detector's sake.

    Args:
        model: its mmdet model config.
        learns: whether it is trained; any is evaluated.
    """
    if "mask" not in heads(model):
        return set()
    return {"train", "val"} if learns else {"val"}


def _described(name: str, model: dict) -> DetectorInfo:
    kind = _MODEL_NAMES.get(model["type"], model["type"])
    if model["type"] == "CascadeRCNN":
        kind = "Cascade Mask R-CNN" if "mask_head" in model["roi_head"] else "Cascade R-CNN"
    return DetectorInfo(name, kind, _backbone_words(model["backbone"]))


def _backbone_words(backbone: dict) -> str:
    if "depth" not in backbone:
        return backbone["type"]
    letter = "X" if backbone["type"] == "ResNeXt" else "R"
    channels = backbone.get("base_channels", 64)
    return f"{letter}{backbone['depth']}" + ("" if channels == 64 else f"x{channels}")


def _brought(own: OwnDetector | None) -> Source:
    """Where a teacher comes from that the suite does not train."""
    if own is None:
        return FromZoo()
    assert own.checkpoint is not None  # as `check_obtainable` says
    return OwnFiles(own.checkpoint, own.sha256, own.ap)


def _add_backbone(suite: Suite, backbones: dict[str, str], model: dict) -> str | None:
    """Note that a detector's backbone is needed; its key, or None where it starts from scratch."""
    checkpoint = backbone_checkpoint(model)
    if checkpoint is None:
        return None
    key = backbone_key(suite, checkpoint)
    backbones[key] = checkpoint
    return key


def _check_mini_names(suite: Suite, owned: Mapping[str, OwnDetector]) -> None:
    """Refuse a misspelt name of a detector, whose size or epochs would change nothing.

    A name that resembles none may be of a row that only other suites have.
    """
    if suite.mini is None:
        return
    shipped = [path.stem for path in (root() / "configs" / "detectors").glob("*.py")]
    known = {*search(""), *shipped, *owned}
    for name in suite.mini.detectors:
        if name not in known and (close := suggestion(name, known)):
            raise FGDError(
                f"suite {suite.name}: mini.detectors has {name!r}, which is no detector{close}"
            )


def _check_baseline(suite: Suite, row: Row) -> None:
    """Whether the row's student, trained alone, is the student of the row that it names."""
    if row.baseline_of is None:
        return
    origin = f"row {row.name}: baseline_of {row.baseline_of!r}"
    if row.baseline_of not in suite.rows:
        raise FGDError(f"{origin}: the suite has no such row; it has {', '.join(suite.rows)}")
    other = load_row(row.baseline_of, suite)
    if other.baseline_of is not None:
        raise FGDError(f"{origin}: that row has no baseline of its own; name {other.baseline_of!r}")
    ours, theirs = (compose(suite, each, "baseline").detector.to_dict() for each in (row, other))
    differing = sorted(key for key in ours if ours[key] != theirs[key])
    if differing:
        raise FGDError(
            f"{origin}: the two students are not trained alike, they differ in "
            f"{', '.join(differing)}. Leave the key out, and the row trains a baseline of its own"
        )
