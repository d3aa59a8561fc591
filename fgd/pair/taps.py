"""Where features are taken from a built detector, and what they are like there."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fgd.errors import FGDError
from fgd.pair.pair import Level, Member, Shape

if TYPE_CHECKING:
    from mmdet.models.detectors import BaseDetector  # takes seconds, and only `built` is of it

FPN_TAPS = "neck.fpn_convs.{level}.conv"  # where the published code takes features of an FPN
_IMAGE = 128  # pixels; every level of an FPN still has one
_NO_OPERATOR = "implementation for device cpu not found"  # what mmcv says


def tapped_modules(detector: nn.Module, taps: str, role: str) -> dict[int, nn.Module]:
    """The convolutions whose outputs can be distilled, by level.

    Args:
        taps: their name in the detector, `{level}` in place of the level.
        role: what an error calls the detector.

    Raises:
        FGDError: the detector has no module of such a name.
    """
    modules = dict(detector.named_modules())
    names = {level: taps.format(level=level) for level in range(len(modules))}
    found = {level: modules[name] for level, name in names.items() if name in modules}
    if not found:
        raise FGDError(
            f"the {role} has no module {taps.format(level=0)}, where its neck's features were to "
            "come from. For another pyramid write the row by hand, with distill.taps: "
            "configs/distillers/yolox_m.py is one"
        )
    return found


def record_outputs(modules: dict[int, nn.Module]) -> dict[int, Tensor]:
    """Keep each module's latest output in the returned dictionary, by level."""
    outputs: dict[int, Tensor] = {}

    def recorder(level: int) -> Callable[[nn.Module, tuple, Tensor], None]:
        def record(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            outputs[level] = output

        return record

    for level, module in modules.items():
        module.register_forward_hook(recorder(level))
    return outputs


def shapes(detector: nn.Module) -> dict[str, Shape]:
    """The shape of every tensor of a detector's state, by name."""
    return {name: tuple(tensor.shape) for name, tensor in detector.state_dict().items()}


def measured(features: dict[int, Tensor], size: int) -> dict[int, Level]:
    """What features of a square image of `size` pixels, each (N, C, H, W), tell of their levels."""
    return {level: Level(size / f.shape[-1], f.shape[1]) for level, f in features.items()}


@torch.no_grad()
def built(
    role: str, name: str, *, model: dict, detector: "BaseDetector", taps: str = FPN_TAPS
) -> Member:
    """A built detector as a member of a pair; its backbone and neck are run on a small image.

    Args:
        role, name, model: as `Member` has them.
        detector: in eval mode, not used for anything else after.
        taps: as in `tapped_modules`.

    Raises:
        FGDError: it has no module of such a name, or an operator that mmcv has for GPUs alone.
    """
    outputs = record_outputs(tapped_modules(detector, taps, role))
    member = Member(role, model, name, tensors=shapes(detector))
    try:
        detector.extract_feat(torch.zeros(1, 3, _IMAGE, _IMAGE))
    except RuntimeError as error:
        if _NO_OPERATOR not in str(error):
            raise
        raise FGDError(
            f"{member}: cannot be run on the CPU, as it is to be here, for mmcv has an operator of "
            f"it for GPUs alone ({str(error).strip()}). Choose another detector, or write the row "
            "by hand"
        ) from error
    return replace(member, measured=measured(outputs, _IMAGE))
