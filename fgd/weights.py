"""Weights on their way into a model: fitted strictly, inherited by name."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from fgd.errors import FGDError

_LISTED = 8  # tensors named in a message; a wrong checkpoint has hundreds


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
    ]
    if faults:
        raise FGDError(
            f"{source}: does not fit the model that its config describes ({_listing(faults)}). "
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
    theirs = {name: t for name, t in teacher.state_dict().items() if not _in_backbone(name)}
    ours = {name: t for name, t in student.state_dict().items() if not _in_backbone(name)}
    excepted = {name for name in ours if any(fnmatchcase(name, e) for e in exceptions)}
    faults = []
    for name in ours.keys() | theirs.keys():
        if name not in ours:
            faults.append(f"{name} is in the teacher alone")
        elif name in excepted:
            continue
        elif name not in theirs:
            faults.append(f"{name} is in the student alone")
        elif ours[name].shape != theirs[name].shape:
            faults.append(
                f"{name} is {_shape(theirs[name])} in the teacher, {_shape(ours[name])} in the "
                "student"
            )
    if faults:
        raise FGDError(
            "the student cannot inherit the teacher's neck and head: "
            f"{_listing(sorted(faults))}. Choose a teacher of the same head, or set "
            "distill.inherit to False"
        )
    inherited = [name for name in ours if name not in excepted]
    with torch.no_grad():
        for name in inherited:
            ours[name].copy_(theirs[name])
    return inherited


def _in_backbone(name: str) -> bool:
    return name.startswith("backbone.")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _listing(faults: list[str]) -> str:
    more = len(faults) - _LISTED
    return "; ".join(faults[:_LISTED]) + (f"; and {more} more" if more > 0 else "")
