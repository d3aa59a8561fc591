"""State dicts as trainings leave them, under the names that the detector itself has."""

from torch import Tensor

_COMPILED = "_orig_mod."  # torch.compile's wrapper of a module
_DATA_PARALLEL = "module."
# mmrazor's student, of its versions 0 and 1; beside it are its teacher and connectors.
_RAZOR = ("architecture.model.", "architecture.")


def plain_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The detector's tensors: without wrappers around it, and without copies for an average.

    mmcv's and mmdet's EMA hooks keep a copy of every parameter as a buffer `ema_...`, its dots
    replaced; when a checkpoint is written, the parameters themselves are the averaged ones.
    """
    named = {name.replace(_COMPILED, ""): tensor for name, tensor in state.items()}
    for wrapper in (_DATA_PARALLEL, *_RAZOR):
        inside = {
            name.removeprefix(wrapper): tensor
            for name, tensor in named.items()
            if name.startswith(wrapper)
        }
        if len(inside) == len(named) or (inside and wrapper in _RAZOR):
            named = inside
    copies = {f"ema_{name.replace('.', '_')}" for name in named}
    return {name: tensor for name, tensor in named.items() if name not in copies}
