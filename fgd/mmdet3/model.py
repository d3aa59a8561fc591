"""The detector of a config in the words of the other version."""

from collections.abc import Collection
from typing import Any

from fgd.errors import FGDError
from fgd.mmdet3.checking import FOR_2, FOR_3, Target, check_keys
from fgd.mmdet3.known import KEYS, LEFT_OUT, TEST_CFG, UPSAMPLE_CFG

# What mmdet 2.28 wants said in a test_cfg, and what mmdet 3 takes where it is not.
_OPTIONAL_IN_3: dict[str, dict[str, float]] = {
    "": {"score_thr": 0.0},
    "rpn": {"min_bbox_size": -1},
    "rcnn": {},
}


def translated_model(model: dict[str, Any], target: Target = FOR_3) -> dict[str, Any]:
    """A `model` of mmdet 2.28 for mmdet 3, or the other way round.

    What its training alone needs is left out.

    Args:
        model: plain data, as `Config.to_dict` gives it; without a `data_preprocessor`.

    Raises:
        FGDError: it has a class or a key that is not known to mean the same there.
    """
    detector = {key: model[key] for key in model if key != "test_cfg"}
    found = _translated(detector, "model", target)
    found["train_cfg"] = None  # two-stage detectors of mmdet 3 have no default
    found["test_cfg"] = _test_cfg(model.get("test_cfg") or {}, "rpn_head" in model, target)
    return found


def _translated(value: Any, place: str, target: Target) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(
            _translated(each, f"{place}.{n}", target) for n, each in enumerate(value)
        )
    if not isinstance(value, dict):
        return value
    value = {key: each for key, each in value.items() if key not in LEFT_OUT}
    check_keys(value, _known(value, place, target), place, target)
    return {key: _translated(each, f"{place}.{key}", target) for key, each in value.items()}


def _known(settings: dict[str, Any], place: str, target: Target) -> Collection[str]:
    if "type" not in settings:
        return UPSAMPLE_CFG if place.endswith(".upsample_cfg") else ()
    kind = settings["type"]
    if kind not in KEYS:
        raise FGDError(
            f"{place}.type: {kind!r} is not known to mean the same in {target.name}; "
            f"{target.instead}"
        )
    return KEYS[kind]


def _test_cfg(settings: dict[str, Any], two_stage: bool, target: Target) -> dict[str, Any]:
    place = "model.test_cfg"
    if two_stage:
        check_keys(settings, ("rpn", "rcnn"), place, target)
        return {
            stage: _stage(settings[stage], stage, f"{place}.{stage}", target)
            for stage in ("rpn", "rcnn")
            if stage in settings
        }
    found = _stage(settings, "", place, target)
    # mmdet 2.28 reads it in an RPN alone; mmdet 3 leaves boxes out that are no larger than it.
    least = found.pop("min_bbox_size", 0)
    if target is FOR_2 and least > 0:
        raise FGDError(
            f"{place}.min_bbox_size: is {least}, and mmdet 2.28 keeps such boxes of a one-stage "
            "detector; set it 0"
        )
    return found


def _stage(settings: dict[str, Any], stage: str, place: str, target: Target) -> dict[str, Any]:
    check_keys(settings, TEST_CFG[stage], place, target)
    least = settings.get("min_bbox_size", 0)
    if not isinstance(least, int | float):
        raise FGDError(f"{place}.min_bbox_size: is {least!r}; expected a number of pixels")
    found = {key: _translated(each, f"{place}.{key}", target) for key, each in settings.items()}
    return (_OPTIONAL_IN_3[stage] if target is FOR_2 else {}) | found
