"""The loss on this device against golden values of the published code.

Every case in float32, bfloat16 and float16 and both memory layouts, by the passes that a training
takes: on a GPU the Triton kernels. Features that are rounded to 16 bits are no longer the golden
ones: what they should give is worked out in float64, by the code that gives the golden values,
without the case whose student has other channels, whose alignment rounds once more.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fgd.loss import FGDLoss
from fgd.loss.reductions import passes_for

GOLDEN = Path(__file__).parents[1] / "tests/data/fgd_golden.npz"
_SETTINGS = ("temperature", "alpha", "beta", "gamma", "lambda_")
_LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
_SCALE = 2.0**16
_TYPES = (torch.float32, torch.bfloat16, torch.float16)


class _Outcome(NamedTuple):
    """A case's loss, the student's gradient, and the gradients of the parameters."""

    loss: Tensor
    gradient: Tensor
    parameters: list[Tensor]


def measure(device: str) -> list[dict]:
    """Largest relative errors over all cases, for each type and layout."""
    torch.backends.cudnn.allow_tf32 = False  # an alignment of channels would be rounded by it
    arrays = np.load(GOLDEN)
    cases = sorted({key.split("/")[0] for key in arrays.files})
    found = []
    for dtype in _TYPES:
        for name, layout in _LAYOUTS.items():
            chosen = [_case(arrays, case) for case in cases]
            if dtype != torch.float32:
                chosen = [data for data in chosen if _loss(data).align is None]
            errors = [_errors(data, device, dtype, layout) for data in chosen]
            passes = passes_for(torch.empty(1, 8, 4, device=device, dtype=dtype))
            found.append(
                {
                    "type": str(dtype).removeprefix("torch."),
                    "layout": name,
                    "passes": passes.__name__.split(".")[-1],
                    "cases": len(chosen),
                    **{key: max(error[key] for error in errors) for key in _Outcome._fields},
                }
            )
    return found


def _case(arrays: np.lib.npyio.NpzFile, case: str) -> dict[str, Tensor]:
    keys = [key for key in arrays.files if key.startswith(f"{case}/")]
    return {key.split("/", 1)[1]: torch.from_numpy(arrays[key]) for key in keys}


def _errors(
    data: dict[str, Tensor], device: str, dtype: torch.dtype, layout: torch.memory_format
) -> dict[str, float]:
    rounded = {name: data[name].to(dtype) for name in ("student", "teacher")}
    if dtype == torch.float32:
        names = [name for name, _ in _loss(data).named_parameters()]
        gradients = [data[f"grad_param/{name}"] for name in names]
        right = _Outcome(data["loss"], data["grad_student"], gradients)
    else:
        right = _outcome(data, {k: v.double() for k, v in rounded.items()}, "cpu", torch.float64)
    features = {k: v.to(device, memory_format=layout) for k, v in rounded.items()}
    ours = _outcome(data, features, device, torch.float32)
    parameters = [
        _relative(mine, other)
        for (name, _), mine, other in zip(
            _loss(data).named_parameters(), ours.parameters, right.parameters, strict=True
        )
        # Softmax does not see a shift of its logits: a gradient of zero but for rounding.
        if not name.startswith("conv_mask") and other.any()
    ]
    return {
        "loss": _relative(ours.loss, right.loss),
        "gradient": _relative(ours.gradient, right.gradient),
        "parameters": max(parameters),
    }


def _loss(data: dict[str, Tensor]) -> FGDLoss:
    settings = dict(zip(_SETTINGS, data["hyper"].tolist(), strict=True))
    loss = FGDLoss(data["student"].shape[1], data["teacher"].shape[1], **settings)
    loss.load_state_dict({key[6:]: value for key, value in data.items() if key[:6] == "param/"})
    return loss


def _outcome(
    data: dict[str, Tensor], features: dict[str, Tensor], device: str, dtype: torch.dtype
) -> _Outcome:
    loss = _loss(data).to(device, dtype)
    student = features["student"].detach().clone().requires_grad_()
    boxes = [data[f"boxes/{n}"].float().to(device) for n in range(len(student))]
    shapes = [tuple(shape) for shape in data["img_shapes"].tolist()]
    value = loss(student, features["teacher"], boxes, shapes)
    # As a training in float16 scales it: its gradients are too small for that type.
    (_SCALE * value).backward()
    gradients = [tensor.grad.double() / _SCALE for tensor in (student, *loss.parameters())]
    return _Outcome(value.detach(), gradients[0], gradients[1:])


def _relative(ours: Tensor, right: Tensor) -> float:
    ours, right = ours.double().cpu(), right.double()
    return float((ours - right).norm() / right.norm())


def report(found: list[dict]) -> str:
    """Markdown."""
    lines = [
        "## The loss against golden values: largest errors, |ours - right| / |right|",
        "",
        "| features | layout | cases | passes | loss | student's gradient | parameters' |",
        "|---|---|--:|---|--:|--:|--:|",
    ]
    lines += [
        f"| {each['type']} | {each['layout']} | {each['cases']} | {each['passes']} | "
        f"{each['loss']:.1e} | {each['gradient']:.1e} | {each['parameters']:.1e} |"
        for each in found
    ]
    return "\n".join(lines)
