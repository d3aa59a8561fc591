"""Mixed precision: which type the layers compute in, and what has to stay in float32."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch
from mmcv.ops import DeformConv2d, ModulatedDeformConv2d
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from torch import Tensor, nn

from fgd.errors import FGDError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# mmcv's operators know no bfloat16.
_OPERATORS = (DeformConv2d, ModulatedDeformConv2d, BaseRoIExtractor)
# What heads do with their predictions: losses, and boxes and masks in pixels.
_METHODS = ("loss", "get_bboxes", "refine_bboxes", "get_seg_masks", "get_results")


AUTO = "auto"


def usual(device: torch.device) -> str:
    """What "auto" is on a device: bf16, fp16 on a GPU that has none, fp32 on a CPU."""
    if device.type != "cuda":
        return "fp32"
    with torch.cuda.device(device):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


class Precision:
    """What a detector computes in. Its parameters are float32 always.

    Args:
        name: "fp32", "bf16" or "fp16".
        device: where the detector is.

    Attributes:
        name: as given.
        scaler: keeps gradients within float16's range; with the other types it does nothing.

    Raises:
        FGDError: another name.
    """

    def __init__(self, name: str, device: torch.device) -> None:
        if name not in PRECISIONS:
            raise FGDError(f"precision {name!r}: expected {', '.join(PRECISIONS)}")
        self.name = name
        self._device = device.type
        self._dtype = PRECISIONS[name]
        self.mixed = name != "fp32"
        self.scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    def autocast(self) -> AbstractContextManager:
        """Within it, layers choose their types."""
        dtype = self._dtype if self.mixed else None
        return torch.autocast(self._device, dtype, enabled=self.mixed)

    def prepare(self, detector: nn.Module) -> None:
        """Keep in float32 what needs it; of a distiller's teacher, too.

        mmdet's own marks for this (`force_fp32`) know float16 alone.
        """
        if not self.mixed:
            return
        teacher = getattr(detector, "teacher", None)
        for module in (*detector.modules(), *(teacher.modules() if teacher else ())):
            if isinstance(module, _OPERATORS):
                module.forward = self._in_float32(module.forward)
            for name in _METHODS:
                method = getattr(module, name, None)
                if callable(method) and not isinstance(method, nn.Module):
                    setattr(module, name, self._in_float32(method))

    def _in_float32(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with torch.autocast(self._device, enabled=False):
                return function(*_widened(args), **_widened(kwargs))

        return wrapper


def _widened(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    if type(value) is dict:  # mmcv's configs are dictionaries, too, with attributes
        return {key: _widened(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_widened(item) for item in value)
    return value
