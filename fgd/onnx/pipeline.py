"""What a config's test pipeline does to an image, as far as a graph and its runtime do the same."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from fgd.errors import FGDError, suggestion
from fgd.pair.normalisation import sees_rgb

_PLACE = "data.test.pipeline"
_ANY = object()
# The steps and their keys, each with the one value that a graph has. Where it says any, the key is
# read, or plays no part: flips are off, and what `Collect` gathers is not detected with.
_OUTER: dict[str, dict[str, Any]] = {
    "LoadImageFromFile": {
        "channel_order": _ANY,
        "color_type": "color",
        "to_float32": _ANY,
        "file_client_args": {"backend": "disk"},
    },
    "MultiScaleFlipAug": {
        "img_scale": _ANY,
        "scale_factor": None,
        "flip": False,
        "flip_direction": _ANY,
        "transforms": _ANY,
    },
}
_INNER: dict[str, dict[str, Any]] = {
    "RandomFlip": {"flip_ratio": _ANY, "direction": _ANY},
    "Resize": {
        "keep_ratio": _ANY,
        "backend": "cv2",
        "interpolation": "bilinear",
        "bbox_clip_border": _ANY,
    },
    "Normalize": {"mean": _ANY, "std": _ANY, "to_rgb": _ANY},
    "Pad": {"size_divisor": _ANY, "pad_val": _ANY, "size": None, "pad_to_square": False},
    "ImageToTensor": {"keys": _ANY},
    "DefaultFormatBundle": {},
    "Collect": {"keys": _ANY, "meta_keys": _ANY},
}
_NEEDED = {"Resize", "Normalize", "Pad"}


@dataclass(frozen=True)
class Input:
    """What a test pipeline does to an image that was read.

    Attributes:
        scale: width and height that resizing aims at, in pixels; the longest and the shortest side
            where it keeps the ratio.
        keep_ratio: whether resizing keeps the image's form.
        mean, std: of the channels of an RGB image, of values from 0 to 255.
        rgb: whether the detector sees RGB; else BGR.
        divisor: of which height and width are made multiples, by zeros at the right and the bottom.
        to_float32: whether images are resized as float32; bytes are rounded, by up to 0.8 levels.
    """

    scale: tuple[int, int]
    keep_ratio: bool
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rgb: bool
    divisor: int
    to_float32: bool = False


def read_input(pipeline: list[dict[str, Any]]) -> Input:
    """What a config's test pipeline does.

    Raises:
        FGDError: it does something else than read in colour, resize, normalise and pad.
    """
    kinds = [str(step.get("type")) for step in pipeline]
    if kinds != list(_OUTER):
        raise FGDError(
            f"{_PLACE}: its steps are {', '.join(kinds)}; known are {' and '.join(_OUTER)}, in "
            "this order"
        )
    for step in pipeline:
        _check_keys(step, _OUTER[step["type"]], _PLACE)
    load, view = pipeline
    inside = f"{_PLACE}.MultiScaleFlipAug"
    scale = view.get("img_scale")
    if isinstance(scale, list) and len(scale) == 1:
        scale = scale[0]
    if not isinstance(scale, tuple) or [type(side) for side in scale] != [int, int]:
        raise FGDError(f"{inside}.img_scale: is {scale!r}; expected one width and height, a tuple")
    steps = _steps(view["transforms"], f"{inside}.transforms")
    normalise = steps["Normalize"]
    rgb = sees_rgb(load, normalise)
    where = f"{inside}.transforms.Normalize"
    return Input(
        (scale[0], scale[1]),
        bool(steps["Resize"].get("keep_ratio", True)),
        _of_rgb(normalise["mean"], f"{where}.mean", rgb=rgb),
        _of_rgb(normalise["std"], f"{where}.std", rgb=rgb),
        rgb,
        _divisor(steps["Pad"], f"{inside}.transforms.Pad"),
        bool(load.get("to_float32", False)),
    )


def _steps(transforms: list[dict[str, Any]], place: str) -> dict[str, dict[str, Any]]:
    """The steps of every view by their types; all keys are known."""
    for step in transforms:
        if step.get("type") not in _INNER:
            raise FGDError(
                f"{place}: has the step {step.get('type')}, which has no known way into a graph; "
                f"known are {', '.join(_INNER)}"
            )
        _check_keys(step, _INNER[step["type"]], place)
    order = [step["type"] for step in transforms if step["type"] != "RandomFlip"]
    if not set(order) >= _NEEDED or order != sorted(set(order), key=list(_INNER).index):
        raise FGDError(
            f"{place}: are {', '.join(order)}; a graph's images are resized, normalised and "
            "padded, each once, in this order"
        )
    return {step["type"]: step for step in transforms}


def _check_keys(step: dict[str, Any], known: dict[str, Any], place: str) -> None:
    where = f"{place}.{step['type']}"
    for key, value in step.items():
        if key != "type" and key not in known:
            raise FGDError(
                f"{where}.{key}: has no known way into a graph{suggestion(key, known)}; leave it "
                "out of a copy of the config and measure that (`fgd evaluate`) before you export"
            )
        only = known.get(key, _ANY)
        if only is not _ANY and value != only:
            raise FGDError(
                f"{where}.{key}: is {value!r}; expected {only!r}, as graphs have it. Write "
                "that into a copy of the config and measure it (`fgd evaluate`) before you export"
            )


def _of_rgb(values: Collection[float], place: str, *, rgb: bool) -> tuple[float, float, float]:
    """A value for red, green and blue, of those for the channels that the detector sees."""
    if len(values) != 3:
        raise FGDError(f"{place}: is {values!r}; expected three numbers, one of each channel")
    first, second, third = (float(value) for value in values)
    return (first, second, third) if rgb else (third, second, first)


def _divisor(pad: dict[str, Any], place: str) -> int:
    divisor, fill = pad.get("size_divisor"), pad.get("pad_val", 0)
    if type(divisor) is not int or divisor < 1:
        raise FGDError(f"{place}.size_divisor: is {divisor!r}; expected a number of pixels")
    if np.any(fill.get("img", 0) if isinstance(fill, dict) else fill):
        raise FGDError(f"{place}.pad_val: is {fill!r}; expected 0, with which a graph pads")
    return divisor
