"""Weights on their way into a model: fitted strictly, inherited by name."""

import copy
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from fgd.errors import FGDError, listing
from fgd.pair import Member, Pair
from fgd.pair.taps import shapes


def load_strictly(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load `state` into `module` if names and shapes agree one to one.

    Names of older versions count as today's (`own_names`). mmcv only warns about a mismatch, and a
    teacher that was half loaded teaches noise.

    Args:
        source: what the message calls the state, usually the checkpoint's path.

    Raises:
        FGDError: a tensor is missing, left over, or has another shape; all kinds are listed.
    """
    own = module.state_dict()
    # Batch norm counts its batches only since torch 0.4.1; the count plays no part here.
    counts = {n: t for n, t in own.items() if n.endswith(".num_batches_tracked")}
    state = own_names(module, counts | state)
    faults = [
        *(f"missing {name} {_shape(own[name])}" for name in own if name not in state),
        *(f"not in the model: {name}" for name in state if name not in own),
        *(
            f"{name} is {_shape(state[name])}, the model has {_shape(own[name])}"
            for name in own
            if name in state and own[name].shape != state[name].shape
        ),
        *(
            f"{name} has values that are not finite"
            for name, tensor in state.items()
            if tensor.is_floating_point() and not tensor.isfinite().all()
        ),
    ]
    if faults:
        raise FGDError(
            f"{source}: does not fit the model that its config describes ({listing(faults)}). "
            "Give the checkpoint that belongs to this config"
        )
    module.load_state_dict(state)


def own_names(module: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state under the names that a module has for it today; nothing is loaded.

    Where mmdet or mmcv have renamed a layer, its module renames what older versions saved as it
    reads it: FCOS's and DETR's heads, deformable convolutions.
    """
    named = dict(state)
    if all(name in named for name in module.state_dict()):
        return named
    for path, each in module.named_modules():
        if not type(each)._load_from_state_dict.__module__.startswith("torch."):
            prefix = f"{path}." if path else ""
            _with_copies(each)._load_from_state_dict(named, prefix, {}, True, [], [], [])
    return named


def _with_copies(module: nn.Module) -> nn.Module:
    """The module with parameters and buffers of its own, for it loads beside renaming."""
    other = copy.copy(module)
    for kind in ("_parameters", "_buffers"):
        tensors = getattr(module, kind)
        copies = {name: t if t is None else t.detach().clone() for name, t in tensors.items()}
        other.__dict__[kind] = copies
    return other


def inherit(student: nn.Module, teacher: nn.Module, exceptions: Iterable[str] = ()) -> list[str]:
    """Copy everything but the backbone from `teacher` into `student`.

    Args:
        exceptions: shell patterns of student tensors that the teacher does not have and that keep
            their own initialisation.

    Returns:
        The names of the inherited tensors, in the student's order.

    Raises:
        FGDError: a student tensor outside the backbone and the exceptions has no teacher tensor of
            its name and shape, or the other way round.
    """
    exceptions = list(exceptions)
    pair = Pair(
        Member("student", tensors=shapes(student)), Member("teacher", tensors=shapes(teacher))
    )
    pair.check_inheritance(exceptions)
    inherited = pair.inherited(exceptions)
    ours, theirs = student.state_dict(), teacher.state_dict()
    with torch.no_grad():
        for name in inherited:
            ours[name].copy_(theirs[name])
    return inherited


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"
