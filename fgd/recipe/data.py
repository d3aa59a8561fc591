"""A suite's data set, read by a detector's own pipelines."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmcv import Config

from fgd.checkout import root
from fgd.classes import Names, config_classes
from fgd.configs import read_config
from fgd.errors import FGDError
from fgd.heads import number_of_classes
from fgd.suite import Suite

_SPLITS = ("train", "val", "test")
_OF_A_SPLIT = ("type", "ann_file", "img_prefix", "classes", "filter_empty_gt")
# What the config of a data set often says beside these, and what says it here.
_SAID_ELSEWHERE = {
    "samples_per_gpu": "the suite's file says it",
    "workers_per_gpu": "the suite's file says it",
    "pipeline": "the detectors' own pipelines are used, with the settings that pipeline = "
    "dict(...) of this file gives them (img_scale, flip_ratio)",
}


def _dataset(suite: Suite) -> Config:
    """The config of a suite's data set.

    Raises:
        FGDError: it says what is not used.
    """
    dataset = read_config(root() / suite.dataset)
    data = dataset.get("data")
    if not isinstance(data, dict):
        raise FGDError(
            f"{suite.dataset}: has no data = dict(train=..., val=..., test=...); it is the config "
            "of a data set, as configs/datasets/coco.py"
        )
    _check_keys(f"{suite.dataset}: data", data, _SPLITS)
    for name in _SPLITS:
        _check_split(f"{suite.dataset}: data.{name}", data.get(name))
    _check_measured(suite.dataset, data["val"], data["test"])
    return dataset


def _check_measured(origin: str, val: Any, test: Any) -> None:
    """Whether what mmdet measures on is what is checked, and what the tables are said to be of."""
    for key in ("ann_file", "img_prefix", "classes"):
        if val.get(key) != test.get(key):
            raise FGDError(
                f"{origin}: data.test.{key} is {test.get(key)!r} and data.val.{key} "
                f"{val.get(key)!r}. A suite has one set of images to measure on: write it as both. "
                "On a further one measure the finished student, by `fgd evaluate`"
            )


def _check_split(origin: str, split: Any) -> None:
    if not isinstance(split, dict) or split.get("type") != "CocoDataset":
        given = split.get("type") if isinstance(split, dict) else type(split).__name__
        raise FGDError(
            f"{origin} is a {given}, and a suite's data are one CocoDataset: one annotation file "
            "and one folder of images. Join several files into one; to see images several times, "
            "train more epochs"
        )
    for key in ("ann_file", "img_prefix"):
        if not isinstance(split.get(key), str):
            raise FGDError(f"{origin}.{key} is {split.get(key)!r}; expected a path")
    _check_keys(origin, split, _OF_A_SPLIT)


def _check_keys(origin: str, given: Iterable[str], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            reason = _SAID_ELSEWHERE.get(key, f"known are {', '.join(known)}")
            raise FGDError(f"{origin}.{key} is not used: {reason}")


def data_classes(suite: Suite) -> tuple[str, ...] | None:
    """The class names that a suite's data set says; None where it leaves them to COCO's."""
    classes = _dataset(suite).data.train.get("classes")
    return config_classes(classes, f"{suite.dataset}: data.train.classes")


def image_scale(suite: Suite) -> Any:
    """The `img_scale` that the data set's config gives every pipeline; None if it gives none."""
    return _dataset(suite).get("pipeline", {}).get("img_scale")


def images_of(suite: Suite, split: str) -> int | None:
    """How many images the data set's config says that a split has; None where it says nothing."""
    return _dataset(suite).get("images", {}).get(split)


def data_of(suite: Suite, config: Config) -> dict:
    """The suite's files, read by the detector's own pipelines, as far as it has them."""
    there = [split for split in _SPLITS if split in config.data]
    splits = {split: split_of(suite, config, split) for split in there}
    return dict(
        samples_per_gpu=suite.samples_per_gpu, workers_per_gpu=suite.workers_per_gpu, **splits
    )


def split_of(suite: Suite, config: Config, split: str) -> dict:
    """One of "train", "val" and "test" of `data_of`."""
    dataset = _dataset(suite)
    files = dict(dataset.data[split])
    if isinstance(named := files.get("classes"), str):  # a file: its names belong to the recipe
        files["classes"] = config_classes(named, f"{suite.dataset}: data.{split}.classes")
    for key in ("ann_file", "img_prefix"):
        files[key] = _move(files[key], dataset.data_root, suite.data_root)
    return _split(config.data[split], files, dataset.get("pipeline", {}))


def _split(config: dict, files: dict, pipeline: dict) -> dict:
    """A split of the suite's data set, read as the detector's own config reads its split."""
    config = _unwrapped(config)
    settings = dict(pipeline=replaced(config["pipeline"], pipeline))
    if "dataset" in config:  # mixes the images of another data set, as YOLOX does
        mixed = _split(config["dataset"], files, pipeline)
        return dict(config) | dict(dataset=mixed, **settings)
    if "filter_empty_gt" in config:
        settings["filter_empty_gt"] = config["filter_empty_gt"]
    return dict(files, **settings)


def _unwrapped(config: Any) -> dict:
    """The data set with the pipeline, out of lists and mmdet's wrappers.

    fgd.recipe.supported knows what these mean for a training; of a detector that is not trained the
    pipeline alone counts.
    """
    while isinstance(config, list) or "pipeline" not in config:
        if isinstance(config, list):
            config = config[0]
        else:
            config = config["datasets"] if "datasets" in config else config["dataset"]
    return config


def own_classes(config: Config, origin: str) -> Names | None:
    """The classes that the config of a teacher says itself, in the order of its labels, or None.

    Args:
        origin: the config, for an error.
    """
    classes = _unwrapped(config.data.test).get("classes")
    if isinstance(classes, str) and not Path(classes).is_file():
        return None  # a file of the machine that it was trained on
    return config_classes(classes, f"{origin}: data.test.classes")


def known_classes(config: Config, origin: str) -> Names | None:
    """As `own_classes`; those of its data set's type where it says none and they are as many."""
    if (classes := own_classes(config, origin)) is not None:
        return classes
    from mmdet.datasets import DATASETS  # planning needs none

    kind = DATASETS.get(str(_unwrapped(config.data.test).get("type")))
    classes = getattr(kind, "CLASSES", None) or ()
    return tuple(classes) if len(classes) == number_of_classes(config.model) else None


def _move(path: str, old_root: str, new_root: str | None) -> str:
    if new_root is None:
        return path
    return f"{new_root.rstrip('/')}/{path.removeprefix(old_root)}"


def size_model(model: dict, scale: Any) -> None:
    """Tell a detector that resizes its batches itself, as YOLOX does, how large images are.

    Args:
        scale: the `img_scale` of a data set's config, (width, height) in pixels; None leaves it.

    Raises:
        FGDError: images are of another shape than the squares that its pipelines pad them to, or of
            another size than its anchors are made for.
    """
    if scale is None:
        return
    _check_anchors(model, "model", tuple(scale))
    if "input_size" not in model:
        return
    width, height = scale
    if width != height:
        raise FGDError(
            f"img_scale {width},{height}: the detector, a {model['type']}, learns from square "
            f"images; give {max(scale)},{max(scale)}"
        )
    factor = height / model["input_size"][0]
    model["input_size"] = (height, width)
    if "random_size_range" in model:
        model["random_size_range"] = tuple(
            max(1, round(number * factor)) for number in model["random_size_range"]
        )


def _check_anchors(node: Any, path: str, scale: tuple) -> None:
    """Whether anchors are made for images of this size, as SSD's are for one; most are for any."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            _check_anchors(item, f"{path}.{number}", scale)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if not key.endswith("_generator"):
            _check_anchors(value, f"{path}.{key}", scale)
            continue
        side = value.get("input_size") if isinstance(value, dict) else None
        if side and scale != (side, side):
            raise FGDError(
                f"img_scale {','.join(map(str, scale))}: the anchors of the detector are made for "
                f"images of {side},{side} ({path}.{key}.input_size). Give that size, or leave it "
                "out and name a copy of the detector's config with input_size, strides and "
                "pipelines for yours"
            )


def drawn_scales(node: Any) -> list[list]:
    """Every list of several scales that steps of a pipeline draw an image's size from."""
    if isinstance(node, list | tuple):
        return [scales for item in node for scales in drawn_scales(item)]
    if not isinstance(node, dict):
        return []
    scales = node.get("img_scale")
    here = [scales] if isinstance(scales, list) and len(scales) > 1 else []
    return here + drawn_scales(list(node.values()))


# Steps of mmdet's that take height and width; the others take width and height.
_HEIGHT_FIRST = ("Mosaic", "MixUp")


def _of_step(step: dict, settings: dict) -> dict:
    """The settings in the words of a step: a mosaic of four images is cut to one by its border."""
    if step.get("denorm_bbox"):  # OpenImages' boxes are parts of an image, a suite's are pixels
        return settings | {"denorm_bbox": False}
    scale = settings.get("img_scale")
    if not (isinstance(scale, tuple) and len(scale) == 2):
        return settings
    width, height = scale
    if step.get("type") in _HEIGHT_FIRST:
        return settings | {"img_scale": (height, width)}
    if step.get("type") == "RandomAffine" and any(step.get("border", ())):
        return {"border": (-(height // 2), -(width // 2))} | settings
    return settings


def replaced(node: Any, settings: dict) -> Any:
    """A config whose keys have the values that `settings` gives them, however deep they stand."""
    if isinstance(node, dict):
        known = _of_step(node, settings)
        return {
            key: known[key] if key in known else replaced(value, settings)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [replaced(item, settings) for item in node]
    return node
