"""Which categories of an annotation file are classes, and in which order."""

from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from fgd.errors import FGDError, suggestion

_BACKGROUND = ("background", "bg")


def groups(categories: Sequence[dict[str, Any]], used: Collection[Any]) -> list[str]:
    """The names of categories that evidently are no classes.

    They have no object, and others name them as their supercategory, as below the root category
    that Roboflow writes; or they are called background, which detectors have no class for.

    Args:
        used: ids of the categories that have objects.
    """
    above = {
        category.get("supercategory")
        for category in categories
        if category.get("supercategory") != category["name"]
    }
    return [
        category["name"]
        for category in categories
        if category["id"] not in used
        and (category["name"] in above or _plain(category["name"]) in _BACKGROUND)
    ]


def _plain(name: str) -> str:
    return name.casefold().strip(" _")


def ordered(
    file: Path,
    categories: Sequence[dict[str, Any]],
    *,
    objects: Counter[Any],
    names: Sequence[str],
    source: str,
) -> list[dict[str, Any]]:
    """The categories of these names in this order; new ones for names that the file lacks.

    Args:
        objects: how many objects a category has, by its id.
        source: where the names are from, for a message.

    Raises:
        FGDError: objects are of a category that is not among the names.
    """
    own = {category["name"]: category for category in categories}
    for name, category in own.items():
        if name not in names and objects[category["id"]]:
            raise FGDError(
                f"{file}: has {objects[category['id']]} objects of {name!r}, and {source} has no "
                f"such category{suggestion(name, names)}"
            )
    free = max((category["id"] for category in categories), default=0)
    found = []
    for name in names:
        if name not in own:
            free += 1
        found.append(own.get(name, {"id": free, "name": name}))
    return found
