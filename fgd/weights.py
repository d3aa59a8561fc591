"""Weights on their way into a model: fitted strictly, inherited by name."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fgd.errors import FGDError, listing
from fgd.pair import Member, Pair
from fgd.pair.taps import shapes


def load_strictly(module: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load `state` into `module` if names and shapes agree one to one.

    mmcv only warns about a mismatch, and a teacher that was half loaded teaches noise.

    Args:
        source: what the message calls the state, usually the checkpoint's path.

    Raises:
        FGDError: a tensor is missing, left over, or has another shape; all kinds are listed.
    """
    own = module.state_dict()
    # Batch norm counts its batches only since torch 0.4.1; the count plays no part here.
    state = {n: t for n, t in own.items() if n.endswith(".num_batches_tracked")} | state
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
