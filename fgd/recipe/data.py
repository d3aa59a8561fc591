"""A suite's data set, read by a detector's own pipelines."""

from typing import Any

from mmcv import Config

from fgd.checkout import root
from fgd.classes import config_classes
from fgd.configs import read_config
from fgd.suite import Suite


def _dataset(suite: Suite) -> Config:
    return read_config(root() / suite.dataset)


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
    there = [split for split in ("train", "val", "test") if split in config.data]
    splits = {split: split_of(suite, config, split) for split in there}
    return dict(
        samples_per_gpu=suite.samples_per_gpu, workers_per_gpu=suite.workers_per_gpu, **splits
    )


def split_of(suite: Suite, config: Config, split: str) -> dict:
    """One of "train", "val" and "test" of `data_of`."""
    dataset = _dataset(suite)
    files = dict(dataset.data[split])
    for key in ("ann_file", "img_prefix"):
        files[key] = _move(files[key], dataset.data_root, suite.data_root)
    return _split(config.data[split], files, dataset.get("pipeline", {}))


def _split(config: dict, files: dict, pipeline: dict) -> dict:
    """A split of the suite's data set, read as the detector's own config reads its split."""
    # A list, or one of mmdet's wrappers. fgd.recipe.supported knows what that means for a training;
    # of a detector that is not trained the pipeline alone counts.
    while isinstance(config, list) or "pipeline" not in config:
        if isinstance(config, list):
            config = config[0]
        else:
            config = config["datasets"] if "datasets" in config else config["dataset"]
    settings = dict(pipeline=replaced(config["pipeline"], pipeline))
    if "dataset" in config:  # mixes the images of another data set, as YOLOX does
        mixed = _split(config["dataset"], files, pipeline)
        return dict(config) | dict(dataset=mixed, **settings)
    if "filter_empty_gt" in config:
        settings["filter_empty_gt"] = config["filter_empty_gt"]
    return dict(files, **settings)


def _move(path: str, old_root: str, new_root: str | None) -> str:
    if new_root is None:
        return path
    return f"{new_root.rstrip('/')}/{path.removeprefix(old_root)}"


def replaced(node: Any, settings: dict) -> Any:
    """A config whose keys have the values that `settings` gives them, however deep they stand."""
    if isinstance(node, dict):
        return {
            key: settings[key] if key in settings else replaced(value, settings)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [replaced(item, settings) for item in node]
    return node
