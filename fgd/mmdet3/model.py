"""The detector of a config in the words of mmdet 3."""

from collections.abc import Collection
from typing import Any

from fgd.errors import FGDError, suggestion
from fgd.mmdet3.known import KEYS, LEFT_OUT, TEST_CFG, UPSAMPLE_CFG


def translated_model(model: dict[str, Any]) -> dict[str, Any]:
    """A `model` of mmdet 2.28 for mmdet 3, without what its training alone needs.

    Args:
        model: plain data, as `Config.to_dict` gives it.

    Raises:
        FGDError: it has a class or a key that is not known to mean the same there.
    """
    found = _translated({key: model[key] for key in model if key != "test_cfg"}, "model")
    found["train_cfg"] = None  # two-stage detectors of mmdet 3 have no default
    found["test_cfg"] = _test_cfg(model.get("test_cfg") or {}, two_stage="rpn_head" in model)
    return found


def check_keys(settings: dict[str, Any], known: Collection[str], place: str) -> None:
    """Refuse a key that is not among those that are known.

    Raises:
        FGDError: naming the first such key.
    """
    for key in settings:
        if key not in known and key != "type":
            raise FGDError(
                f"{place}.{key}: is not known to mean the same in mmdet 3"
                f"{suggestion(key, known)}; write the config for mmdet 3 by hand"
            )


def _translated(value: Any, place: str) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_translated(each, f"{place}.{n}") for n, each in enumerate(value))
    if not isinstance(value, dict):
        return value
    value = {key: each for key, each in value.items() if key not in LEFT_OUT}
    check_keys(value, _known(value, place), place)
    return {key: _translated(each, f"{place}.{key}") for key, each in value.items()}


def _known(settings: dict[str, Any], place: str) -> Collection[str]:
    if "type" not in settings:
        return UPSAMPLE_CFG if place.endswith(".upsample_cfg") else ()
    kind = settings["type"]
    if kind not in KEYS:
        raise FGDError(
            f"{place}.type: {kind!r} is not known to mean the same in mmdet 3; write the config "
            "for mmdet 3 by hand"
        )
    return KEYS[kind]


def _test_cfg(settings: dict[str, Any], *, two_stage: bool) -> dict[str, Any]:
    place = "model.test_cfg"
    if two_stage:
        check_keys(settings, ("rpn", "rcnn"), place)
        return {
            stage: _stage(settings[stage], stage, f"{place}.{stage}")
            for stage in ("rpn", "rcnn")
            if stage in settings
        }
    # mmdet 2.28 reads it in an RPN alone; mmdet 3 would leave boxes of no width out.
    return {k: v for k, v in _stage(settings, "", place).items() if k != "min_bbox_size"}


def _stage(settings: dict[str, Any], stage: str, place: str) -> dict[str, Any]:
    check_keys(settings, TEST_CFG[stage], place)
    return {key: _translated(each, f"{place}.{key}") for key, each in settings.items()}
