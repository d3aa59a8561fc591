"""mmcv's operators for features in any memory layout.

mmcv 1.7.2, ops/csrc: RoIAlign and the modulated deformable convolution read a feature map's memory
as NCHW, whatever its strides say. Of features in NHWC (`channels_last`) they take the wrong pixels,
without a word, and a two-stage detector learns nothing.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd import Function


def read_any() -> None:
    """Let all operators of mmcv see contiguous tensors, forward and backward."""
    import mmcv.ops

    inside = f"{mmcv.ops.__name__}."
    for name in [name for name in sys.modules if name.startswith(inside)]:
        for value in vars(sys.modules[name]).values():
            is_own = getattr(value, "__module__", None) == name  # not one that it imports
            if is_own and isinstance(value, type) and issubclass(value, Function):
                for way in ("forward", "backward"):
                    setattr(value, way, staticmethod(_contiguous(getattr(value, way))))


def _contiguous(function: Callable) -> Callable:
    @functools.wraps(function)
    def wrapper(ctx: Any, *args: Any) -> Any:
        return function(
            ctx, *(arg.contiguous() if isinstance(arg, Tensor) else arg for arg in args)
        )

    return wrapper
