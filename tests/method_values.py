"""The values that a version of the method is known by (see fgd/method.py).

Every tensor is told by four numbers: how many values it has, their norm, and their products with
two fixed vectors, which any change but one at right angles to both would move. Inputs come from a
sine, and all is computed in float64, so that machines differ by rounding alone.

Run as a program it writes them for a new version.
"""

import json
import math
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmcv import ConfigDict
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack, roi_align
from mmdet.models import build_detector
from mmdet.models.dense_heads import RepPointsHead
from torch import Tensor, nn

from fgd.distiller import FGDDistiller  # patches mmcv and mmdet
from fgd.files import write_json
from fgd.loss import FGDLoss, PyramidLoss
from fgd.method import METHOD_VERSION

FILE = Path(__file__).parent / "data/method_values.json"
# By how much of a tensor's norm machines may differ: in float64, in a machine's own functions for
# random numbers in float32, and where features are in bfloat16.
TOLERANCE = {"loss": 1e-6, "distiller": 1e-6, "operators": 1e-6, "start": 1e-4, "bfloat16": 1e-3}

# Some leave the image, one is thinner than a pixel of the features, two overlap.
BOXES = [
    [[3.3, 5.2, 40.7, 50.1], [20.6, 8.4, 61.3, 33.9], [-7.7, 30.2, 11.6, 80.3]],
    [[10.4, 12.3, 12.1, 57.8]],
    [],
]
SIZES = {"fine": (9, 13), "coarse": (5, 4), "one": (1, 1)}
IMAGES = [(64, 60), (50, 64), (64, 64)]
_ZERO = 1e-12  # what is zero but for rounding


def wave(*shape: int, phase: float = 0.0, dtype: torch.dtype = torch.float64) -> Tensor:
    """A tensor of values from -1 to 1, no two alike."""
    number = math.prod(shape)
    values = np.sin(1.7 * np.arange(number) ** 1.1 + phase)
    return torch.from_numpy(values).to(dtype).reshape(shape)


def fill(module: nn.Module, phase: float) -> nn.Module:
    """Give a module weights from `wave`, and its batch norms positive statistics; in float64."""
    module.double()
    for number, tensor in enumerate(module.state_dict().values()):
        if tensor.is_floating_point():
            values = wave(*tensor.shape, phase=phase + number)
            fan_in = max(1, tensor[:1].numel())
            scaled = values / fan_in**0.5 if tensor.dim() > 1 else 1 + values / 4
            tensor.copy_(scaled)
    return module


def loss_values() -> dict[str, Tensor]:
    """Of three levels, one of them narrower than its teacher's: losses, terms and gradients."""
    found: dict[str, Tensor] = {}
    for case, settings in (
        ("usual", {}),
        ("other", dict(temperature=0.8, alpha=2.0, beta=3.0, gamma=0.7, lambda_=0.3)),
    ):
        losses = {n: FGDLoss(8 if n == "fine" else 6, 8, **settings) for n in SIZES}
        pyramid = fill(PyramidLoss(losses), phase=0.1)
        students, teachers = (
            {
                name: wave(3, 8 if role or name == "fine" else 6, *size, phase=number + 10 * role)
                for number, (name, size) in enumerate(SIZES.items())
            }
            for role in (0, 1)
        )
        for student in students.values():
            student.requires_grad_()
        boxes = [torch.tensor(each, dtype=torch.float64).reshape(-1, 4) for each in BOXES]
        values = pyramid(students, teachers, boxes, IMAGES)
        sum(values.values()).backward()
        tensors = students | (dict(pyramid.named_parameters()) if settings else {})
        found |= {f"{case}, loss of {name}": value for name, value in values.items()}
        found |= {f"{case}, gradient of {name}": t.grad for name, t in tensors.items()}
        for name in SIZES:
            parts = pyramid[name].parts(students[name], teachers[name], boxes, IMAGES)._asdict()
            found |= {f"{case}, {part} of {name}": value for part, value in parts.items()}
    return found


def low_precision_values() -> dict[str, Tensor]:
    """The terms of a level of features in bfloat16."""
    loss = fill(FGDLoss(8, 8), phase=0.1).float()
    maps = (wave(3, 8, 9, 13, phase=p, dtype=torch.bfloat16) for p in (0, 10))
    parts = loss.parts(*maps, [torch.tensor(each).reshape(-1, 4) for each in BOXES], IMAGES)
    return parts._asdict()


def start_values() -> dict[str, Tensor]:
    """What a level's parameters are before training."""
    torch.manual_seed(0)
    return FGDLoss(6, 8).state_dict()


def retinanet(depth: int) -> ConfigDict:
    """A config of a RetinaNet of 4 to 32 channels."""
    return ConfigDict(
        type="RetinaNet",
        backbone=dict(type="ResNet", depth=depth, base_channels=4, norm_eval=False),
        neck=dict(
            type="FPN",
            in_channels=[4, 8, 16, 32],
            out_channels=8,
            start_level=1,
            add_extra_convs="on_output",
            num_outs=5,
        ),
        bbox_head=dict(
            type="RetinaHead",
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            anchor_generator=dict(
                type="AnchorGenerator",
                octave_base_scale=4,
                scales_per_octave=1,
                ratios=[1.0],
                strides=[8, 16, 32, 64, 128],
            ),
        ),
        train_cfg=dict(
            assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0),
            allowed_border=-1,
            pos_weight=-1,
        ),
    )


def distiller_values() -> dict[str, Tensor]:
    """A student's neck and head as it starts, and what the distiller adds to its losses."""
    distill = dict(levels=[0, 1, 3], inherit=True, inherit_except=["bbox_head.*_cls.bias"])
    weights = dict(alpha=0.5, beta=0.2, gamma=0.1, lambda_=0.05)
    with tempfile.TemporaryDirectory() as folder:
        teacher = fill(build_detector(retinanet(34)), phase=0.3).float()
        torch.save({"state_dict": teacher.state_dict()}, f"{folder}/teacher.pth")
        distiller = FGDDistiller(
            retinanet(18), retinanet(34), f"{folder}/teacher.pth", distill | weights
        )
    distiller.init_weights()
    state = distiller.student.state_dict()
    found = {f"start of {n}": t for n, t in state.items() if not n.startswith("backbone.")}

    for phase, part in ((0.5, distiller.student), (0.7, distiller.distill_losses)):
        fill(part, phase)
    distiller.teacher.double()
    metas = [dict(img_shape=(*size, 3), pad_shape=(64, 64, 3)) for size in IMAGES[:2]]
    losses = distiller.train().forward_train(
        wave(2, 3, 64, 64),
        metas,
        gt_bboxes=[torch.tensor(each, dtype=torch.float64) for each in BOXES[:2]],
        gt_labels=[torch.tensor([0, 1, 1]), torch.tensor([1])],
    )
    distilled = {name: value for name, value in losses.items() if "fgd" in name}
    sum(distilled.values()).backward()
    found |= distilled
    parameters = dict(distiller.student.neck.named_parameters())
    return found | {f"gradient of {n}": p.grad for n, p in parameters.items() if p.grad is not None}


def operator_values() -> dict[str, Tensor]:
    """mmcv's operators as mmcv's layers call them, of features in NHWC."""
    x = wave(2, 8, 11, 9).contiguous(memory_format=torch.channels_last)
    rois = torch.tensor([[0, 1.3, 1.2, 7.9, 8.6], [1, 2.2, 0.4, 8.1, 10.3]], dtype=torch.float64)
    operators: dict[str, Callable] = {
        "deformable convolution": deformable(DeformConv2dPack, 1, stride=1),
        "strided deformable convolution": deformable(DeformConv2dPack, 2, stride=2),
        "modulated deformable convolution": deformable(ModulatedDeformConv2dPack, 2, stride=1),
        "RoIAlign": lambda x: roi_align(x, rois, (3, 3), 0.9, 2, "avg", True),
    }
    found = {}
    for name, operator in operators.items():
        leaf = x.clone(memory_format=torch.channels_last).requires_grad_()
        weights = dict(operator.named_parameters()) if isinstance(operator, nn.Module) else {}
        value = operator(leaf)
        (value * wave(*value.shape, phase=2)).sum().backward()
        found |= {name: value, f"{name}, gradient": leaf.grad}
        found |= {f"{name}, gradient of {n}": weight.grad for n, weight in weights.items()}
    head = RepPointsHead(num_classes=2, in_channels=8, point_feat_channels=8, feat_channels=8)
    metas = [dict(pad_shape=(40, 24, 3))]
    points, flags = head.get_points(
        [(5, 4), (3, 2), (2, 1), (1, 1), (1, 1)], metas, device=torch.device("cpu")
    )
    for level, (point, flag) in enumerate(zip(points[0], flags[0], strict=True)):
        found |= {f"RepPoints, level {level}": point, f"RepPoints, valid, level {level}": flag}
    return found


def deformable(kind: type, groups: int, stride: int) -> nn.Module:
    """A layer whose offsets leave the image in places."""
    layer = fill(kind(8, 6, 3, padding=1, stride=stride, deform_groups=groups), phase=0.9)
    layer.conv_offset.weight.data *= 6
    return layer


CASES: dict[str, Callable[[], dict[str, Tensor]]] = {
    "loss": loss_values,
    "bfloat16": low_precision_values,
    "start": start_values,
    "distiller": distiller_values,
    "operators": operator_values,
}


def told(tensor: Tensor) -> str:
    """A tensor as how many values it has, their norm, and their products with two vectors."""
    flat = tensor.detach().double().flatten()
    number = len(flat)
    products = (float(flat @ wave(number, phase=phase)) for phase in (20, 30))
    return " ".join(f"{value:.10g}" for value in (number, float(flat.norm()), *products))


def values(case: str) -> dict[str, str]:
    """The values of the method of today, by what they are of."""
    return {name: told(tensor) for name, tensor in CASES[case]().items()}


def stored() -> dict[str, Any]:
    """{"version", "values"} as they were written; nothing of a version before the first."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {"version": 0}


def differences(case: str, before: dict[str, str]) -> list[str]:
    """What of a case's values is not there any more, or another beyond rounding."""
    now = values(case)
    return [
        f"{case}: {name} was {old}, it is {now.get(name)}"
        for name, old in before.items()
        if name not in now or not _agree(old, now[name], TOLERANCE[case])
    ]


def _agree(old: str, new: str, tolerance: float) -> bool:
    before, now = ([float(word) for word in words.split()] for words in (old, new))
    return before[0] == now[0] and np.allclose(
        now, before, rtol=0, atol=tolerance * before[1] + _ZERO
    )


def write() -> None:
    """Write the values of METHOD_VERSION; within a version values may come, none may change."""
    before = stored()
    if before["version"] == METHOD_VERSION:
        for case, old in before["values"].items():
            if changed := differences(case, old):
                sys.exit(f"error: {changed[0]}. Is it meant? Raise METHOD_VERSION in fgd/method.py")
    write_json(FILE, {"version": METHOD_VERSION, "values": {case: values(case) for case in CASES}})


if __name__ == "__main__":
    write()
