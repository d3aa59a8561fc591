"""What the distiller is told of a row."""

from fgd.pair import convolved_levels
from fgd.pair.taps import FPN_TAPS, NECK
from fgd.recipe.rows import Row


def distill_of(row: Row, student: dict, teacher: dict) -> dict:
    """A row's `distill` as a composed config has it.

    There the published tap goes without saying, so that a row is the same run as ever. A row itself
    means the neck's output if it says nothing; where that is the same tensor, it is composed alike.

    Args:
        student, teacher: model configs.
    """
    taps = row.distill.get("taps", NECK)
    if taps == NECK:
        same = all(set(row.distill["levels"]) <= convolved_levels(m) for m in (student, teacher))
        taps = FPN_TAPS if same else NECK
    if taps == FPN_TAPS:
        return {key: value for key, value in row.distill.items() if key != "taps"}
    return row.distill | {"taps": taps}
