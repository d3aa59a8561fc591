"""What the distiller is told of a row."""

from dataclasses import asdict
from typing import Any

from fgd.pair import Pair, convolved_levels
from fgd.pair.taps import FPN_TAPS, NECK
from fgd.recipe.rows import Row


def distill_of(row: Row, pair: Pair) -> dict:
    """A row's `distill` as a composed config has it.

    There the published tap goes without saying, so that a row is the same run as ever. A row itself
    means the neck's output if it says nothing; where that is the same tensor, it is composed alike.

    Args:
        pair: its detectors, as their configs tell.
    """
    distill = dict(row.distill)
    taps = distill.get("taps", NECK)
    if taps == NECK:
        models = (pair.student.model, pair.teacher.model)
        same = all(set(distill["levels"]) <= convolved_levels(m or {}) for m in models)
        taps = FPN_TAPS if same else NECK
    if taps == FPN_TAPS:
        distill.pop("taps", None)
    else:
        distill["taps"] = taps
    if distill.pop("renormalise", False):
        distill["renormalise"] = _views(pair)
    return distill


def _views(pair: Pair) -> dict[str, dict[str, Any] | None]:
    views = {"student": pair.student.normalisation, "teacher": pair.teacher.normalisation}
    return {role: None if view is None else asdict(view) for role, view in views.items()}
