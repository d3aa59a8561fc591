"""A detector, and its pipeline, built from the config alone: nothing is read or downloaded."""

from collections.abc import Iterator
from typing import Any

import torch
from mmcv import Config, ConfigDict
from mmdet.datasets.pipelines import Compose
from mmdet.models import build_detector
from torch import nn
from torch.overrides import TorchFunctionMode

from fgd import compat
from fgd.errors import FGDError
from fgd.recipe.supported import without_teacher

compat.apply()


def build(name: str, model: dict) -> nn.Module:
    """A detector that nothing has initialised.

    Args:
        name: of the detector, for an error.
        model: its mmdet model config.

    Raises:
        FGDError: mmdet cannot build it.
    """
    # A deep copy, of mmcv's kind: building changes a config, and reads it by attributes.
    config = ConfigDict(model).deepcopy()
    config.backbone.init_cfg = None
    try:
        return build_detector(without_teacher(config))
    except Exception as error:
        # mmcv repeats whatever a model's class raises, with the name of the class before it.
        raise FGDError(
            f"{name}: mmdet cannot build what the config describes ({type(error).__name__}: "
            f"{error}). Correct the config, or choose another detector"
        ) from error


def outline(name: str, model: dict) -> nn.Module:
    """A detector whose tensors have shapes and no memory; as `build`."""
    with torch.device("meta"), _RealLinspace():
        return build(name, model)


def count_parameters(name: str, model: dict) -> int:
    """Of a whole detector; as `build`."""
    return number_of_parameters(outline(name, model))


def number_of_parameters(detector: nn.Module) -> int:
    """Of a whole detector."""
    return sum(parameter.numel() for parameter in detector.parameters())


class _RealLinspace(TorchFunctionMode):
    """Transformers of mmdet read the rates of their dropped paths off a linspace."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        device = {"device": "cpu"} if func is torch.linspace else {}
        return func(*args, **device | (kwargs or {}))


def check_pipeline(name: str, config: Config) -> None:
    """Whether the steps that a detector reads its training images by can be built.

    Raises:
        FGDError: one is unknown, or needs a package that is not installed.
    """
    for pipeline in _pipelines(config.data.train):
        try:
            Compose(pipeline)
        except Exception as error:
            raise FGDError(
                f"{name}: a step of its data.train.pipeline cannot be built "
                f"({type(error).__name__}: {error}). Install what it needs, or take the step out "
                "of a copy of the config"
            ) from error


def _pipelines(data: Any) -> Iterator[list]:
    """Of a data set, and of those inside of it."""
    if isinstance(data, list):
        for each in data:
            yield from _pipelines(each)
        return
    if "pipeline" in data:
        yield data["pipeline"]
    for inner in ("dataset", "datasets"):
        if inner in data:
            yield from _pipelines(data[inner])
