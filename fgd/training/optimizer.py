"""The optimizer of a training, with what a distiller and gradients that overflow need of it."""

from typing import Any

import torch
from mmdet.core.optimizers import build_optimizer as build_mmdets
from torch import nn

from fgd.precision import Precision


def build_optimizer(
    detector: nn.Module, settings: dict, precision: Precision | None = None
) -> torch.optim.Optimizer:
    """The optimizer of a detector or a distiller.

    A `constructor` of the student's own sees the student alone, as it is used to: it looks at
    modules and at the names of parameters (ConvNeXt's gives every layer a rate of its own), and
    would not find them in a distiller.

    Args:
        settings: a config's `optimizer`, in mmcv's words.
        precision: what it steps in; None for float32.
    """
    if precision is None or not precision.scaler.is_enabled():
        return _built(detector, settings)
    # With gradients that may overflow, torch's usual optimizers ask the device on every step
    # whether they did; the fused ones decide there.
    optimizer = _built(detector, dict(settings, fused=True))
    if isinstance(optimizer, torch.optim.SGD):
        _begin_momentum(optimizer)
    return optimizer


def _built(detector: nn.Module, settings: dict) -> torch.optim.Optimizer:
    student = getattr(detector, "student", None)
    if student is None or "constructor" not in settings:
        return build_mmdets(detector, settings)
    optimizer = build_mmdets(student, settings)
    its = set(student.parameters())
    others = {
        name: parameter
        for name, parameter in detector.named_parameters()
        if parameter.requires_grad and parameter not in its
    }
    if others:
        group: dict[str, Any] = {"params": list(others.values())}
        if "param_names" in optimizer.param_groups[0]:  # torch wants all groups alike in this
            group["param_names"] = list(others)
        optimizer.add_param_group(group)
    return optimizer


def _begin_momentum(optimizer: torch.optim.SGD) -> None:
    # torch's fused SGD allocates its momentum in the first step and writes nothing to it if that
    # step overflows, as a scaler's first one often does: the next goes on from uninitialised
    # memory. From zeros on, an undampened momentum is after one step what torch makes it.
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            if parameter.requires_grad:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
