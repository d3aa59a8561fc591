"""The test set of a config, its pipeline and its metrics in the words of mmdet 3."""

import os
from typing import Any

from fgd.errors import FGDError
from fgd.mmdet3.checking import check_keys
from fgd.pair.normalisation import sees_rgb

# What a test pipeline does, in order, and the keys that are known. Flipping is left out: it is
# there for `flip` alone. What `Resize` does to boxes and `Collect` gathers plays no part.
_STEPS = {
    "Resize": {"keep_ratio", "backend", "interpolation", "bbox_clip_border"},
    "RandomFlip": {"flip_ratio", "direction"},
    "Normalize": {"mean", "std", "to_rgb"},
    "Pad": {"size_divisor"},
    "ImageToTensor": {"keys"},
    "DefaultFormatBundle": set(),
    "Collect": {"keys", "meta_keys"},
}
_DATA_SET = {"type", "ann_file", "img_prefix", "data_root", "classes", "pipeline"}
_DATA_SET |= {"test_mode", "filter_empty_gt", "samples_per_gpu"}
_META_KEYS = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")


def translated_pipeline(
    pipeline: list[dict[str, Any]], place: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A test pipeline of mmdet 2.28 for mmdet 3, and the `data_preprocessor` that does the rest.

    mmdet 3 normalises and pads where the model is.

    Raises:
        FGDError: it does something else than to load, resize, normalise and pad.
    """
    load, steps, scale = _parts(pipeline, place)
    resize, normalise = steps["Resize"], steps["Normalize"]
    loading = {"type": "LoadImageFromFile"}
    # mmdet 3 has no channel_order: it reads BGR, and reverses the channels where the model is.
    loading |= {key: load[key] for key in ("to_float32", "color_type") if key in load}
    resizing = {"type": "Resize", "scale": scale, "keep_ratio": resize.get("keep_ratio", True)}
    resizing |= {key: resize[key] for key in ("backend", "interpolation") if key in resize}
    packing = {"type": "PackDetInputs", "meta_keys": _META_KEYS}
    preprocessor = {
        "type": "DetDataPreprocessor",
        "mean": [float(value) for value in normalise["mean"]],
        "std": [float(value) for value in normalise["std"]],
        "bgr_to_rgb": sees_rgb(load, normalise),
        "pad_size_divisor": steps.get("Pad", {}).get("size_divisor", 1),
    }
    return [loading, resizing, packing], preprocessor


def _parts(
    pipeline: list[dict[str, Any]], place: str
) -> tuple[dict[str, Any], dict[str, dict[str, Any]], tuple[int, int]]:
    """Its first step, those that follow by their types, and the scale; all keys are known."""
    kinds = [step["type"] for step in pipeline]
    if kinds != ["LoadImageFromFile", "MultiScaleFlipAug"]:
        raise FGDError(
            f"{place}: has the steps {', '.join(kinds)}; known are LoadImageFromFile and "
            "MultiScaleFlipAug"
        )
    load, view = pipeline
    check_keys(load, {"to_float32", "color_type", "channel_order"}, f"{place}.LoadImageFromFile")
    inside = f"{place}.MultiScaleFlipAug"
    check_keys(view, {"img_scale", "flip", "transforms"}, inside)
    if view.get("flip"):
        raise FGDError(f"{inside}.flip: is no part of a pipeline in mmdet 3; set it False")
    scale = view.get("img_scale")
    if not isinstance(scale, tuple | list) or [type(side) for side in scale] != [int, int]:
        raise FGDError(f"{inside}.img_scale: is {scale!r}; expected one width and height")
    return load, _steps(view["transforms"], f"{inside}.transforms"), (scale[0], scale[1])


def _steps(transforms: list[dict[str, Any]], place: str) -> dict[str, dict[str, Any]]:
    """The steps of a test pipeline by their types."""
    for step in transforms:
        kind = step["type"]
        if kind not in _STEPS:
            raise FGDError(
                f"{place}.{kind}: is not known in mmdet 3; known are {', '.join(_STEPS)}"
            )
        check_keys(step, _STEPS[kind], f"{place}.{kind}")
    order = [step["type"] for step in transforms]
    sound = sorted(set(order), key=list(_STEPS).index)
    if order != sound or not {"Resize", "Normalize"} <= set(order):
        raise FGDError(
            f"{place}: are {', '.join(order)}; mmdet 3 resizes, normalises and pads, each once, in "
            "this order"
        )
    return {step["type"]: step for step in transforms}


def translated_test_set(
    test: dict[str, Any],
    pipeline: list[dict[str, Any]],
    classes: tuple[str, ...],
    metrics: list[str],
) -> dict[str, Any]:
    """The `test_dataloader` and `test_evaluator` of a config's `data.test`.

    Args:
        pipeline: for mmdet 3.
        classes: names in the order of the labels.
        metrics: of COCO's, "bbox" and "segm".

    Raises:
        FGDError: it is no CocoDataset, or has keys that are not known.
    """
    place = "data.test"
    if test.get("type") != "CocoDataset" or not isinstance(test.get("ann_file"), str):
        raise FGDError(
            f"{place}.type: is {test.get('type')!r}; expected a CocoDataset with an ann_file"
        )
    check_keys(test, _DATA_SET, place)
    root = test.get("data_root") or ""
    dataset = {
        "type": "CocoDataset",
        "data_root": root,
        "ann_file": test["ann_file"],
        "data_prefix": {"img": test.get("img_prefix") or ""},
        "metainfo": {"classes": classes},
        "test_mode": True,
        "pipeline": pipeline,
    }
    return {
        "test_dataloader": {
            "batch_size": 1,
            "num_workers": 0,
            "sampler": {"type": "DefaultSampler", "shuffle": False},
            "dataset": dataset,
        },
        "test_evaluator": {
            "type": "CocoMetric",
            "ann_file": os.path.join(root, test["ann_file"]),
            "metric": metrics,
        },
        "test_cfg": {"type": "TestLoop"},
    }
