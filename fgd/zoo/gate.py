"""Whether a teacher is the one that the zoo publishes: its AP says so before days of training."""

from typing import Any

from fgd.errors import FGDError
from fgd.suite.settings import TOLERANCE
from fgd.zoo import ZooModel


def check_teacher(
    metrics: dict[str, Any], model: ZooModel, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Compare a teacher's measured AP with its published one.

    Args:
        metrics: `fgd evaluate`'s report of the teacher.
        model: its entry in the zoo.
        tolerance: how far below the published AP it may be, in points.

    Returns:
        {"teacher", "sha256", "tolerance", and for "box" and "mask": measured and published AP}

    Raises:
        FGDError: it is another file than the zoo's, an AP is too low, or nothing was published that
            could be compared.
    """
    if not metrics["sha256"].startswith(model.hash8):
        raise FGDError(
            f"teacher {model.name}: its file has the sha256 {metrics['sha256'][:8]}..., the zoo's "
            f"{model.hash8}...: it is not the published checkpoint. Remove it and download it again"
        )
    report = {"teacher": model.name, "sha256": metrics["sha256"], "tolerance": tolerance}
    for kind, published in (("box", model.box_ap), ("mask", model.mask_ap)):
        if published is None or kind not in metrics:
            continue
        measured = 100 * metrics[kind]["AP"]
        report[kind] = {"measured": round(measured, 2), "published": published}
        if measured < published - tolerance:
            raise FGDError(
                f"teacher {model.name} has {kind} AP {measured:.2f}, {published - measured:.2f} "
                f"below the published {published} (tolerated: {tolerance}). A student would learn "
                "from a wrong teacher: check that the data are those of the published figure "
                "(COCO val2017) and that its checkpoint and config are the zoo's"
            )
    if not report.keys() & {"box", "mask"}:
        found = " and ".join(kind for kind in ("box", "mask") if kind in metrics)
        raise FGDError(
            f"teacher {model.name} was measured by its {found} AP, and the zoo publishes none for "
            "it: whether it is the published one cannot be told. Name it in the row by its files, "
            "config and checkpoint, with the `ap` that it should reach"
        )
    return report


def check_own(
    metrics: dict[str, Any], name: str, ap: float, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Compare the measured AP of the user's own teacher with the AP that its row says.

    Args:
        metrics: `fgd evaluate`'s report of the teacher.
        ap: in points, of boxes, or of masks where it has no boxes; 0 where the row says none.
        tolerance: how far below it may be, in points.

    Returns:
        As `check_teacher`; the row's AP stands under "published".

    Raises:
        FGDError: the AP is too low.
    """
    kind = "box" if "box" in metrics else "mask"
    measured = 100 * metrics[kind]["AP"]
    if measured < ap - tolerance:
        raise FGDError(
            f"teacher {name} has {kind} AP {measured:.2f}, {ap - measured:.2f} below the {ap} that "
            f"its row says (tolerated: {tolerance}). A student would learn from a wrong teacher: "
            "check that checkpoint and config belong together, that the classes stand in the order "
            "it was trained with, and that its test pipeline normalises as in training"
        )
    return {
        "teacher": name,
        "sha256": metrics["sha256"],
        "tolerance": tolerance,
        kind: {"measured": round(measured, 2), "published": ap},
    }


def summary(report: dict[str, Any]) -> str:
    """`check_teacher`'s report as one line of a log."""
    parts = [
        f"{kind} AP {report[kind]['measured']} (expected {report[kind]['published']})"
        for kind in ("box", "mask")
        if kind in report
    ]
    return f"teacher {report['teacher']}: {', '.join(parts)}"
