"""A detector of mmdet 3 as a plain config of mmdet 2.28, as far as a teacher needs it.

A teacher detects: its model and what its test pipeline does to an image are translated, what its
training needs is left out. Its data are the suite's.
"""

import os
from typing import Any

from mmcv import Config

from fgd.errors import FGDError
from fgd.mmdet3.checking import FOR_2, check_keys
from fgd.mmdet3.model import translated_model

# Where a config that mmdet 3 has dumped names classes: of itself, of mmcv, and of torch.
_LIBRARIES = ("mmdet", "mmcv", "mmengine", "torch")
_LAYERS = {"BatchNorm2d": "BN", "SyncBatchNorm": "SyncBN", "GroupNorm": "GN"}

# What a test pipeline does, and the keys that are known. What `LoadAnnotations` reads is not
# detected with, what `Resize` does to boxes and `PackDetInputs` gathers plays no part.
_STEPS = {
    "LoadImageFromFile": {
        "to_float32", "color_type", "imdecode_backend", "ignore_empty", "backend_args",
        "file_client_args",
    },
    "Resize": {"scale", "keep_ratio", "backend", "interpolation", "clip_object_border"},
    "PackDetInputs": {"meta_keys"},
}  # fmt: skip
# Keys of the `data_preprocessor`, and the one value that mmdet 2.28 has; None: it has any.
_PREPROCESSOR = {
    "mean": None,
    "std": None,
    "bgr_to_rgb": None,
    "rgb_to_bgr": None,
    "pad_size_divisor": None,
    "pad_value": 0,
    "boxtype2tensor": True,
    # of masks, of classes for every pixel, and of a training
    "pad_mask": None,
    "mask_pad_value": None,
    "pad_seg": None,
    "seg_pad_value": None,
    "non_blocking": None,
    "batch_augments": None,
}


def translated_teacher(config: Config, origin: str) -> Config:
    """A plain config of mmdet 2.28, `model` and `data.test`, of one of mmdet 3.

    Args:
        config: as `fgd.configs.read_any` reads it; nothing that it names was imported.
        origin: its path.

    Raises:
        FGDError: a class or a key is not known to mean the same in mmdet 2.28.
    """
    try:
        return Config(_translated(config._cfg_dict.to_dict()))
    except FGDError as error:
        raise FGDError(f"{origin}: a config of mmdet 3: {error}") from error


def _translated(content: dict[str, Any]) -> dict[str, Any]:
    _check_whose(content)
    model = _named(content["model"], "model")
    preprocessor = model.pop("data_preprocessor", None)
    if preprocessor is None:  # mmengine takes it from there, too
        preprocessor = _named(content.get("data_preprocessor"), "data_preprocessor")
    loader, place = content["test_dataloader"], "test_dataloader.dataset"
    dataset = _inner(_named(loader["dataset"], place))
    steps = _steps(dataset.get("pipeline"), f"{place}.pipeline")
    normalising = _normalising(preprocessor, "model.data_preprocessor")
    pipeline = _pipeline(steps, normalising, f"{place}.pipeline")
    return {
        "model": translated_model(model, FOR_2),
        "data": {
            "samples_per_gpu": loader.get("batch_size", 1),
            "workers_per_gpu": loader.get("num_workers", 0),
            "test": _test_set(dataset) | {"pipeline": pipeline},
        },
    }


def _check_whose(content: dict[str, Any]) -> None:
    """Refuse a config that is not mmdet's own alone, or not a detector's."""
    if content.get("custom_imports"):
        raise FGDError(
            "custom_imports: what they bring was written for mmdet 3, and was not imported; leave "
            "them out of a copy of the config, if model and test pipeline do without them"
        )
    if (scope := content.get("default_scope", "mmdet")) != "mmdet":
        raise FGDError(f"default_scope: is {scope!r}; expected 'mmdet', whose classes are known")
    if not isinstance(content.get("model"), dict):
        raise FGDError(f"model: is {content.get('model')!r:.80}; expected a detector's settings")
    loader = content.get("test_dataloader")
    if not isinstance(loader, dict) or not isinstance(loader.get("dataset"), dict):
        raise FGDError("test_dataloader: has no dataset; give the complete config of a training")


def _named(value: Any, place: str) -> Any:
    """A part of a config whose types are names alone, as mmdet 2.28 has them."""
    if isinstance(value, list | tuple):
        return type(value)(_named(each, f"{place}.{n}") for n, each in enumerate(value))
    if not isinstance(value, dict):
        return value
    if (scope := value.get("_scope_", "mmdet")) not in _LIBRARIES:
        raise FGDError(f"{place}._scope_: is {scope!r}; expected 'mmdet', whose classes are known")
    found = {k: _named(each, f"{place}.{k}") for k, each in value.items() if k != "_scope_"}
    if "type" in found:
        found["type"] = _name(found["type"], f"{place}.type")
    return found


def _name(kind: Any, place: str) -> str:
    """The name of a class: of `mmdet.models.RetinaNet`, as mmdet 3 dumps it, RetinaNet."""
    if not isinstance(kind, str):
        raise FGDError(
            f"{place}: is a class and no name; give the config as mmdet 3 dumps it, for example "
            "the one in the folder of its training"
        )
    library, _, name = kind.rpartition(".")
    if library and library.partition(".")[0] not in _LIBRARIES:
        return kind  # of another library, and not known
    return _LAYERS.get(name, name)


def _inner(dataset: dict[str, Any]) -> dict[str, Any]:
    """The data set whose pipeline mmdet 3 itself takes, out of its wrappers."""
    while "pipeline" not in dataset:
        inner = dataset.get("dataset") or (dataset.get("datasets") or [None])[0]
        if not isinstance(inner, dict):
            break
        dataset = inner
    return dataset


def _steps(pipeline: Any, place: str) -> dict[str, dict[str, Any]]:
    """The steps of a test pipeline by their types; all keys are known."""
    if not all(isinstance(step, dict) and "type" in step for step in pipeline or []):
        raise FGDError(f"{place}: has a step without a type; expected {', '.join(_STEPS)}")
    steps = [step for step in pipeline or [] if step["type"] != "LoadAnnotations"]
    kinds = [step["type"] for step in steps]
    if kinds != list(_STEPS):
        raise FGDError(
            f"{place}: has the steps {', '.join(kinds) or 'of nothing'}; known are "
            f"{', '.join(_STEPS)}, in this order, and LoadAnnotations"
        )
    for step in steps:
        check_keys(step, _STEPS[step["type"]], f"{place}.{step['type']}", FOR_2)
    found = {step["type"]: step for step in steps}
    _check_loading(found["LoadImageFromFile"], f"{place}.LoadImageFromFile")
    return found


def _check_loading(load: dict[str, Any], place: str) -> None:
    if (backend := load.get("imdecode_backend", "cv2")) != "cv2":
        raise FGDError(
            f"{place}.imdecode_backend: is {backend!r}; expected 'cv2', which reads here"
        )
    for key, local in (("backend_args", "local"), ("file_client_args", "disk")):
        storage = load.get(key) or {}
        if storage not in ({}, {"backend": local}):
            raise FGDError(f"{place}.{key}: is {storage!r}; images are files: leave it out")


def _normalising(preprocessor: Any, place: str) -> list[dict[str, Any]]:
    """The steps `Normalize` and `Pad` of what mmdet 3 does where the model is."""
    kind = preprocessor.get("type") if isinstance(preprocessor, dict) else None
    if kind != "DetDataPreprocessor":
        raise FGDError(f"{place}: is {kind or 'missing'}; expected a DetDataPreprocessor")
    check_keys(preprocessor, _PREPROCESSOR, place, FOR_2)
    for key, only in _PREPROCESSOR.items():
        if only is not None and preprocessor.get(key, only) != only:
            raise FGDError(
                f"{place}.{key}: is {preprocessor[key]!r}; expected {only!r}, as mmdet 2.28 does it"
            )
    steps = [
        {
            "type": "Normalize",
            "mean": _of_channels(preprocessor.get("mean"), 0.0, f"{place}.mean"),
            "std": _of_channels(preprocessor.get("std"), 1.0, f"{place}.std"),
            # Either key reverses the channels; images are read as BGR in both versions.
            "to_rgb": bool(preprocessor.get("bgr_to_rgb") or preprocessor.get("rgb_to_bgr")),
        }
    ]
    if (divisor := preprocessor.get("pad_size_divisor", 1)) != 1:
        steps.append({"type": "Pad", "size_divisor": divisor})
    return steps


def _of_channels(values: Any, default: float, place: str) -> list[float]:
    """A value for each channel; mmdet 3 leaves pixels as they are where it has none."""
    if values is None:
        return [default] * 3
    sound = isinstance(values, list | tuple) and len(values) == 3
    if not sound or not all(isinstance(value, int | float) for value in values):
        raise FGDError(f"{place}: is {values!r}; expected three numbers, one of each channel")
    return [float(value) for value in values]


def _pipeline(
    steps: dict[str, dict[str, Any]], normalising: list[dict[str, Any]], place: str
) -> list[dict[str, Any]]:
    load, resize = steps["LoadImageFromFile"], steps["Resize"]
    scale = resize.get("scale")
    scale = [scale, scale] if type(scale) is int else scale
    if not isinstance(scale, tuple | list) or [type(side) for side in scale] != [int, int]:
        raise FGDError(f"{place}.Resize.scale: is {scale!r}; expected one width and height")
    loading = {key: load[key] for key in ("to_float32", "color_type") if key in load}
    resizing = {key: resize[key] for key in ("backend", "interpolation") if key in resize}
    keep_ratio = resize.get("keep_ratio", False)  # mmdet 2.28's default is the other one
    transforms = [
        {"type": "Resize", "keep_ratio": keep_ratio} | resizing,
        {"type": "RandomFlip"},
        *normalising,
        {"type": "ImageToTensor", "keys": ["img"]},
        {"type": "Collect", "keys": ["img"]},
    ]
    view = {"img_scale": tuple(scale), "flip": False, "transforms": transforms}
    return [{"type": "LoadImageFromFile"} | loading, {"type": "MultiScaleFlipAug"} | view]


def _test_set(dataset: dict[str, Any]) -> dict[str, Any]:
    """The files of a test set, where it is COCO's kind; a suite brings its own."""
    found: dict[str, Any] = {"type": "CocoDataset"}
    if dataset.get("type") != "CocoDataset" or not isinstance(dataset.get("ann_file"), str):
        return found
    root = dataset.get("data_root") or ""
    images = (dataset.get("data_prefix") or {}).get("img") or ""
    found |= {
        "ann_file": os.path.join(root, dataset["ann_file"]),
        "img_prefix": os.path.join(root, images),
    }
    known = dataset.get("metainfo") or {}
    classes = known.get("classes") or known.get("CLASSES")
    return found | ({"classes": classes} if classes else {})
