"""A frozen backbone's batch norms folded into its convolutions, where that changes nothing.

mmcv folds a batch norm into the convolution that was registered before it. That need not be the one
that it follows when the backbone runs: a class may have its convolutions first and its norms after,
or an activation between the two. So what the folded backbone computes is compared with what it
computed before.
"""

import copy
import logging
from collections.abc import Iterator
from typing import Any

import torch
from mmcv.cnn import Conv2d, fuse_conv_bn
from mmcv.cnn.bricks import Conv2dAdaptivePadding
from torch import Tensor, nn

from fgd.pair.taps import sample_image

logger = logging.getLogger("fgd")

# Others that derive from torch's may do something else with their weights, into which no batch norm
# can be folded then: ConvAWS2d of DetectoRS standardises them. EfficientNet's only pads.
_CONVOLUTIONS = (nn.Conv2d, Conv2d, Conv2dAdaptivePadding)
# Others may do something else beside: timm's has its activation.
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_IMAGE = (128, 128)  # no stride of the zoo's backbones, an hourglass's among them, is coarser
# Of float32's rounding the zoo's backbones show 5e-7, of a norm in a wrong place 0.1 and more.
_ROUNDING = 1e-4


def folded(backbone: nn.Module) -> nn.Module:
    """The backbone with its batch norms folded, or as it is where that would change its features.

    Args:
        backbone: in eval mode, with its final weights. It stays as it is, and no random number is
            drawn.
    """
    if not any(isinstance(each, _BATCH_NORMS) for each in backbone.modules()):
        return backbone
    if reason := _of_its_own(backbone):
        return _unfolded(backbone, reason)
    try:
        with torch.no_grad():
            other = fuse_conv_bn(copy.deepcopy(backbone))
            difference = _difference(_features(backbone), _features(other))
    except Exception as error:  # whatever a backbone raises: an operator for GPUs, an image's size
        return _unfolded(backbone, f"it could not be tried ({type(error).__name__}: {error})")
    if not difference <= _ROUNDING:  # nor is what is no number
        return _unfolded(backbone, f"its features would be others, by {difference:.2g} of them")
    return other


def _of_its_own(backbone: nn.Module) -> str:
    """What of a backbone is not known to be a convolution or a batch norm alone; "" for nothing."""
    for known in (_CONVOLUTIONS, _BATCH_NORMS):
        general = nn.Conv2d if known is _CONVOLUTIONS else nn.modules.batchnorm._BatchNorm
        for each in backbone.modules():
            if isinstance(each, general) and type(each) not in known:
                return f"a {type(each).__name__} may do more than torch's {general.__name__}"
    return ""


def _unfolded(backbone: nn.Module, reason: str) -> nn.Module:
    logger.info("the teacher's batch norms are not folded into its convolutions: %s", reason)
    return backbone


def _features(backbone: nn.Module) -> list[Tensor]:
    with torch.random.fork_rng(devices=[]):  # one of the user's may draw some
        return list(_tensors(backbone(sample_image(_IMAGE, next(backbone.parameters())))))


def _tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
        return
    for each in output.values() if isinstance(output, dict) else output:
        yield from _tensors(each)


def _difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """How far features are apart, as a part of them; of the worst level."""
    return max(
        float((mine - its).norm() / mine.norm()) for mine, its in zip(ours, theirs, strict=True)
    )
