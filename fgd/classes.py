"""Class names as configs and checkpoints hold them, and whether two lists mean the same labels."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fgd.errors import FGDError

Names = tuple[str, ...]
_LISTED = 12  # names in a message; COCO has 80


def config_classes(value: Any, origin: str) -> Names | None:
    """The `classes` of an mmdet data set; None where it leaves them to the data set's type.

    mmdet takes text for the path of a file with a name in each line, so that `('round')`, which
    lacks the comma of a tuple of one, becomes a file that does not exist.

    Args:
        origin: what a message calls it, for example "birds/dataset.py: data.train.classes".

    Raises:
        FGDError: they are no names, or one stands twice.
    """
    if value is None:
        return None
    if isinstance(value, str):
        if not Path(value).is_file():
            raise FGDError(
                f"{origin} is the text {value!r}, which mmdet takes for the path of a file of "
                f"class names, and there is none. A class alone is a tuple with a comma: "
                f"({value!r},)"
            )
        value = Path(value).read_text(encoding="utf-8").splitlines()
    return _names(value, origin)


def checkpoint_classes(meta: dict[str, Any], source: str) -> Names | None:
    """The classes that a checkpoint was trained with, in the order of its labels.

    mmdet 2 keeps them in `CLASSES`, mmdet 3 in `dataset_meta`; None where neither is there.

    Raises:
        FGDError: they are no names.
    """
    dataset = meta.get("dataset_meta")
    theirs = dataset if isinstance(dataset, dict) else {}
    for key, value in (
        ("meta.CLASSES", meta.get("CLASSES")),
        ("meta.dataset_meta.classes", theirs.get("classes")),
        ("meta.dataset_meta.CLASSES", theirs.get("CLASSES")),
    ):
        if value is not None:
            # mmdet keeps the name of a single class as it was given.
            return _names([value] if isinstance(value, str) else value, f"{source}: {key}")
    return None


def _names(value: Any, origin: str) -> Names:
    if not isinstance(value, list | tuple) or not all(isinstance(n, str) and n for n in value):
        raise FGDError(f"{origin} is {value!r:.200}; expected the names of the classes")
    name, count = Counter(value).most_common(1)[0] if value else ("", 0)
    if count != 1:
        fault = f"has {name!r} {count} times" if count else "is empty"
        raise FGDError(f"{origin} {fault}; expected the names of the classes, each once")
    return tuple(value)


def compare(
    known: Sequence[str], classes: Sequence[str], source: str, *, file: str = "checkpoint"
) -> str | None:
    """What is worth knowing of a checkpoint whose classes are called otherwise than the data's.

    Args:
        known: the checkpoint's classes, in the order of its labels.
        classes: the data's.
        source: what a message calls the checkpoint, usually its path.
        file: what says them: the checkpoint, or the config of its detector.

    Returns:
        None where the names are the same but for upper case and underscores (traffic_light).

    Raises:
        FGDError: they cannot be the same labels: another number, another order, or no name in
            common.
    """
    theirs, ours = [_plain(name) for name in known], [_plain(name) for name in classes]
    if theirs == ours:
        return None
    trained = f"{source}: was trained with the classes"
    both = f"{_listed(known)}; the data have {_listed(classes)}"
    if len(theirs) != len(ours):
        more = [name for name in classes if _plain(name) not in theirs]
        unknown = f", and it does not know {_listed(more)}" if more else ""
        raise FGDError(
            f"{trained} {both}. These are {len(known)} and {len(classes)} classes{unknown}: take a "
            "checkpoint that was trained on the data's classes"
        )
    if any(theirs.index(name) != at for at, name in enumerate(ours) if name in theirs):
        raise FGDError(
            f"{trained} in the order {both}. Reorder the categories of the annotation files: "
            "`fgd data clean --classes`"
        )
    if not set(theirs) & set(ours):
        raise FGDError(
            f"{trained} {both}. No name is the same: take a checkpoint that was trained on the "
            "data's classes, or, if they mean the same in this order, call the categories as it "
            "does"
        )
    return f"the {file} calls them {_listed(known)}"


def _plain(name: str) -> str:
    return name.casefold().replace("_", " ")


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
