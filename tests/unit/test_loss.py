"""The FGD loss against golden values of the published code and against the paper's equations."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fgd.loss import FGDLoss

GOLDEN = np.load(Path(__file__).parents[1] / "data/fgd_golden.npz")
CASES = sorted({key.split("/")[0] for key in GOLDEN.files})
HYPER = ("temperature", "alpha", "beta", "gamma", "lambda_")


def golden(case: str) -> dict:
    """The arrays of one case; its numbered boxes as a list."""
    arrays = {k.split("/", 1)[1]: GOLDEN[k] for k in GOLDEN.files if k.startswith(f"{case}/")}
    arrays["boxes"] = [arrays[f"boxes/{i}"] for i in range(len(arrays["student"]))]
    return arrays


def largest_relative_error(ours: torch.Tensor, expected: np.ndarray) -> float:
    expected = torch.from_numpy(np.asarray(expected)).double()
    return float((ours.detach().double() - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_values_and_gradients_agree_with_the_published_code(case, dtype, tolerance):
    data = golden(case)
    student = torch.from_numpy(data["student"]).to(dtype).requires_grad_()
    teacher = torch.from_numpy(data["teacher"]).to(dtype).requires_grad_()
    boxes = [torch.from_numpy(b).to(dtype) for b in data["boxes"]]
    shapes = [tuple(shape) for shape in data["img_shapes"].tolist()]
    loss = FGDLoss(
        student.shape[1], teacher.shape[1], **dict(zip(HYPER, data["hyper"].tolist(), strict=True))
    ).to(dtype)
    loss.load_state_dict(
        {k[6:]: torch.from_numpy(v) for k, v in data.items() if k.startswith("param/")}
    )

    parts = loss.parts(student, teacher, boxes, shapes)
    value = loss(student, teacher, boxes, shapes)
    value.backward()

    for ours, name in zip(parts, ("fg", "bg", "mask", "rela"), strict=True):
        assert ours.item() == pytest.approx(float(data[name]), rel=tolerance, abs=0)
    assert value.item() == pytest.approx(float(data["loss"]), rel=tolerance)
    assert largest_relative_error(student.grad, data["grad_student"]) < tolerance
    assert teacher.grad is None
    for name, parameter in loss.named_parameters():
        expected = data[f"grad_param/{name}"]
        if name.startswith("conv_mask") and (name.endswith("bias") or np.all(expected == 0)):
            # Softmax does not see a shift of its logits: zero but for rounding.
            assert parameter.grad.abs().max() < tolerance * 1e-2
        else:
            assert largest_relative_error(parameter.grad, expected) < tolerance, name
