"""What is wrong with one iteration: its losses by term and level, its tensors, its images."""

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from fgd.training import ranks
from fgd.training.sampling import seed_iteration
from fgd.training.step import Trainable

_LISTED = 20  # tensors named in a diagnosis


def diagnose(model: Trainable, batch: dict[str, Any], iteration: int, seed: int) -> dict[str, Any]:
    """This rank's losses by term and level, what of its tensors is bad, and its images.

    It takes the coming step's gradient, and the step can follow as if nobody had looked.

    Args:
        batch: of the coming iteration.
        iteration: its number, from 0.
        seed: the run's.
    """
    buffers = dict(model.module.named_buffers())
    kept = {name: buffer.clone() for name, buffer in buffers.items()}
    report = _report(model, copy.deepcopy(batch))  # YOLOX scales its boxes in place
    for name, buffer in buffers.items():  # batch norm's statistics
        buffer.copy_(kept[name])
    seed_iteration(seed, iteration)
    return report


def not_finite_in(report: dict[str, Any]) -> list[str]:
    """What of a diagnosis says that the step went wrong; bad terms make all that follows bad."""
    return (
        report["terms_not_finite"]
        or [f"gradient of {name}" for name in report["gradients_not_finite"]]
        or report["buffers_not_finite"]
    )


def summary(reports: list[dict[str, Any]]) -> str:
    """The first of these diagnoses in a few words, for the end of a sentence."""
    if not reports:
        return ""
    first = reports[0]
    what = not_finite_in(first)
    more = f" and {len(what) - 1} more" if len(what) > 1 else ""
    return f" ({what[0]}{more}; images {', '.join(first['images'])})"


def _report(model: Trainable, batch: dict[str, Any]) -> dict[str, Any]:
    losses: dict[str, Any] = {}
    detector = model.module
    hook = detector.register_forward_hook(lambda module, inputs, out: losses.update(out))
    outputs = model.train_step(batch, optimizer=None)
    hook.remove()
    detector.zero_grad()
    outputs["loss"].backward()
    terms = dict(_by_level(losses))
    parameters = dict(detector.named_parameters())
    gradients = {n: p.grad for n, p in parameters.items() if p.grad is not None}
    detector.zero_grad()
    return {
        "rank": ranks.rank(),
        "images": _images(batch),
        # As text: JSON has no NaN.
        "terms": {name: f"{value:.6g}" for name, value in terms.items()},
        "terms_not_finite": [name for name, value in terms.items() if not math.isfinite(value)],
        "gradients_not_finite": _not_finite(gradients),
        "buffers_not_finite": _not_finite(dict(detector.named_buffers())),
        "weights_not_finite": _not_finite(parameters),
    }


def _by_level(losses: dict[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in losses.items():
        if isinstance(value, Tensor):
            yield name, value.mean().item()
        else:
            for level, item in enumerate(value):
                yield f"{name}, level {level}", item.mean().item()


def _not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    return [name for name, t in tensors.items() if not t.isfinite().all()][:_LISTED]


def _images(batch: dict[str, Any]) -> list[str]:
    metas = batch["img_metas"]
    return [meta.get("ori_filename") or str(meta.get("filename")) for meta in metas]
