"""The FGD loss against golden values of the published code and against the paper's equations."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from fgd.loss import FGDLoss, PyramidLoss, paper, plain, reductions

GOLDEN = np.load(Path(__file__).parents[1] / "data/fgd_golden.npz")
CASES = sorted({key.split("/")[0] for key in GOLDEN.files})
HYPER = ("temperature", "alpha", "beta", "gamma", "lambda_")


def golden(case: str) -> dict:
    """The arrays of one case; its numbered boxes as a list."""
    arrays = {k.split("/", 1)[1]: GOLDEN[k] for k in GOLDEN.files if k.startswith(f"{case}/")}
    arrays["boxes"] = [arrays[f"boxes/{i}"] for i in range(len(arrays["student"]))]
    return arrays


def largest_relative_error(ours: Tensor, expected: Tensor) -> float:
    return float((ours.double() - expected.double()).abs().max() / expected.abs().max())


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few pixels, so that small feature maps are cut into several, the last shorter."""
    monkeypatch.setattr(plain, "_BLOCK_CPU", 100)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_values_and_gradients_agree_with_the_published_code(case, dtype, tolerance, small_blocks):
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

    written = paper.parts(loss, student, teacher, boxes, shapes)
    for ours, theirs, name in zip(parts, written, ("fg", "bg", "mask", "rela"), strict=True):
        assert ours.item() == pytest.approx(float(data[name]), rel=tolerance, abs=0)
        assert theirs.item() == pytest.approx(float(data[name]), rel=tolerance, abs=0)
    assert value.item() == pytest.approx(float(data["loss"]), rel=tolerance)
    expected = torch.from_numpy(data["grad_student"])
    assert largest_relative_error(student.grad, expected) < tolerance
    assert teacher.grad is None
    for name, parameter in loss.named_parameters():
        expected = torch.from_numpy(data[f"grad_param/{name}"])
        if name.startswith("conv_mask") and (name.endswith("bias") or not expected.any()):
            # Softmax does not see a shift of its logits: zero but for rounding.
            assert parameter.grad.abs().max() < tolerance * 1e-2
        else:
            assert largest_relative_error(parameter.grad, expected) < tolerance, name


def random_loss(student_channels: int = 6, teacher_channels: int = 6) -> FGDLoss:
    """A loss in float64 whose every parameter is random, also those that start at zero."""
    loss = FGDLoss(student_channels, teacher_channels).double()
    for parameter in loss.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return loss


def random_boxes(count: int, low: float = 0.0, high: float = 64.0) -> Tensor:
    first, second = low + (high - low) * torch.rand(2, count, 2, dtype=torch.float64)
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second)], dim=1)


@pytest.mark.parametrize(
    ("counts", "channels", "low", "high"),
    [
        pytest.param([0, 0], 6, 0, 64, id="no boxes at all"),
        pytest.param([0, 3], 6, 0, 64, id="one image without boxes"),
        pytest.param([4], 6, 0, 64, id="one image"),
        pytest.param([80, 1, 7], 6, 0, 64, id="many boxes"),
        pytest.param([5, 5], 6, -60, 120, id="boxes beyond the border"),
        pytest.param([2, 3], 4, 0, 64, id="aligned channels"),
    ],
)
def test_parts_and_gradients_agree_with_the_paper(counts, channels, low, high, small_blocks):
    torch.manual_seed(0)
    loss = random_loss(channels)
    student = torch.randn(len(counts), channels, 9, 13, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(len(counts), 6, 9, 13, dtype=torch.float64)
    boxes = [random_boxes(count, low, high) for count in counts]
    shapes = [(64, 60 + i) for i in range(len(counts))]
    inputs = [student, *loss.parameters()]

    ours = loss.parts(student, teacher, boxes, shapes)
    written = paper.parts(loss, student, teacher, boxes, shapes)

    for name, value, expected in zip(ours._fields, ours, written, strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-10, msg=name)
        if not expected.requires_grad:
            assert expected == 0
            continue
        gradients = torch.autograd.grad(value, inputs, retain_graph=True, materialize_grads=True)
        expected = torch.autograd.grad(expected, inputs, retain_graph=True, materialize_grads=True)
        torch.testing.assert_close(gradients, expected, rtol=1e-8, atol=1e-10)


def test_forward_is_the_weighted_sum_of_the_parts():
    torch.manual_seed(0)
    weights = dict(alpha=2.0, beta=3.0, gamma=5.0, lambda_=7.0)
    loss = FGDLoss(6, 6, **weights)
    arguments = torch.randn(1, 6, 4, 4), torch.randn(1, 6, 4, 4), [torch.zeros(0, 4)], [(32, 32)]

    parts = loss.parts(*arguments)

    expected = sum(weight * part for weight, part in zip(weights.values(), parts, strict=True))
    torch.testing.assert_close(loss(*arguments), expected)


def test_gradcheck_of_the_reductions(small_blocks):
    torch.manual_seed(0)
    double = dict(dtype=torch.float64)
    student = torch.randn(2, 5, 31, **double, requires_grad=True)
    teacher = torch.randn(2, 5, 31, **double)
    masks = torch.rand(2, 2, 31, **double)
    mask_s, mask_t = torch.randn(2, 5, **double).requires_grad_().unbind()

    def reduce(student, mask_s, mask_t):
        return tuple(reductions.reduce_features(student, teacher, masks, mask_s, mask_t, scale=0.3))

    assert torch.autograd.gradcheck(reduce, (student, mask_s, mask_t))


@pytest.mark.parametrize("counts", [[0, 0], [5, 70]])
def test_a_pyramid_of_maps_has_the_losses_of_each(counts):
    torch.manual_seed(0)
    sizes = {"wide": (9, 13), "tall": (7, 2), "one cell": (1, 1)}
    pyramid = PyramidLoss({name: random_loss() for name in sizes})
    students, teachers = (
        {name: torch.randn(2, 6, *size, dtype=torch.float64) for name, size in sizes.items()}
        for _ in range(2)
    )
    boxes, shapes = [random_boxes(count, -20, 80) for count in counts], [(64, 60), (50, 64)]

    together = pyramid(students, teachers, boxes, shapes)

    for name, loss in pyramid.items():
        parts = paper.parts(loss, students[name], teachers[name], boxes, shapes)
        weights = loss.alpha, loss.beta, loss.gamma, loss.lambda_
        expected = sum(weight * part for weight, part in zip(weights, parts, strict=True))
        torch.testing.assert_close(together[name], expected, rtol=1e-10, atol=1e-10)
        assert together[name] == loss(students[name], teachers[name], boxes, shapes)
    assert list(together) == list(sizes)


def test_levels_of_different_widths_keep_their_order_and_their_losses():
    torch.manual_seed(0)
    widths = {"first": (6, 6), "wide": (4, 8), "last": (6, 6)}
    pyramid = PyramidLoss({name: random_loss(*width) for name, width in widths.items()})
    students, teachers = (
        {n: torch.randn(2, w[side], 5, 4, dtype=torch.float64) for n, w in widths.items()}
        for side in range(2)
    )
    boxes, shapes = [random_boxes(2), random_boxes(3)], [(64, 64)] * 2

    together = pyramid(students, teachers, boxes, shapes)

    assert list(together) == list(widths)
    for name, loss in pyramid.items():
        alone = loss(students[name], teachers[name], boxes, shapes)
        torch.testing.assert_close(together[name], alone, rtol=1e-12, atol=0)


def test_channels_last_features_give_the_same_and_keep_their_layout():
    torch.manual_seed(0)
    loss = random_loss()
    student, teacher = torch.randn(2, 2, 6, 9, 13, dtype=torch.float64)
    boxes, shapes = [random_boxes(2), random_boxes(3)], [(64, 64)] * 2

    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        leaf = student.clone(memory_format=layout).requires_grad_()
        loss(leaf, teacher.contiguous(memory_format=layout), boxes, shapes).backward()
        assert leaf.grad.is_contiguous(memory_format=layout)
        gradients.append(leaf.grad)

    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("channels", [16, 32])
@pytest.mark.parametrize(
    ("student_dtype", "teacher_dtype"),
    [
        (torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float16),
        (torch.float32, torch.bfloat16),
    ],
)
def test_low_precision_features_are_accumulated_in_float32(
    student_dtype, teacher_dtype, channels, autocast
):
    torch.manual_seed(0)
    loss = random_loss(channels, 32).float()
    # Rounded first, so that what is left is the loss's own error.
    student = torch.randn(2, channels, 25, 42).to(student_dtype)
    teacher = torch.randn(2, 32, 25, 42).to(teacher_dtype)
    boxes, shapes = [random_boxes(3).float(), random_boxes(4).float()], [(64, 64)] * 2
    low = student.clone().requires_grad_()
    full = student.float().requires_grad_()

    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        value = loss(low, teacher, boxes, shapes)
    expected = loss(full, teacher.float(), boxes, shapes)
    value.backward()
    expected.backward()

    # Without `align` nothing but the gradient is rounded to the student's precision.
    aligned = channels != 32
    assert value.dtype == torch.float32
    assert low.grad.dtype == student_dtype
    torch.testing.assert_close(value, expected, rtol=1e-2 if aligned else 1e-5, atol=0)
    assert largest_relative_error(low.grad, full.grad) < (5e-2 if aligned else 1e-2)


def test_needs_no_value_on_the_host():
    """Tensors without values: reading one, as a device synchronisation would, raises."""
    with FakeTensorMode():
        loss = FGDLoss(6, 6)
        student = torch.randn(2, 6, 9, 13, requires_grad=True)
        boxes = [torch.rand(3, 4), torch.rand(0, 4)]
        loss(student, torch.randn(2, 6, 9, 13), boxes, [(64, 64)] * 2).backward()
        assert student.grad.shape == student.shape


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(student=torch.zeros(2, 4, 8)), r"\(N, C, H, W\), got student \(2, 4, 8\)"),
        (dict(student=torch.zeros(1, 4, 8, 8)), r"number of images: student \(1, 4, 8, 8\)"),
        (
            dict(teacher=torch.zeros(2, 6, 8, 7)),
            r"height and width: student \(2, 4, 8, 8\), teacher \(2, 6, 8, 7\)",
        ),
        (dict(student=torch.zeros(2, 5, 8, 8)), r"student .*\(2, 5, 8, 8\) have 5 .* built for 4"),
        (dict(teacher=torch.zeros(2, 4, 8, 8)), r"teacher .*\(2, 4, 8, 8\) have 4 .* built for 6"),
        (dict(gt_bboxes=[torch.zeros(1, 4)]), "as many gt_bboxes as img_shapes, got 1 and 2"),
        (dict(img_shapes=[(64, 64)] * 3), "as many gt_bboxes as img_shapes, got 2 and 3"),
        (
            dict(gt_bboxes=[torch.zeros(1, 4)], img_shapes=[(64, 64)]),
            "2 images needs as many gt_bboxes and img_shapes, got 1",
        ),
        (dict(gt_bboxes=[torch.zeros(1, 4), torch.zeros(4)]), r"gt_bboxes\[1\] must be \(k, 4\)"),
        (dict(gt_bboxes=[torch.zeros(2, 5), torch.zeros(0, 4)]), r"gt_bboxes\[0\] .*\(2, 5\)"),
        (dict(gt_bboxes=[torch.zeros(2, 4, dtype=int)] * 2), r"gt_bboxes\[0\] .*torch.int64"),
        (dict(img_shapes=[(64, 64), (64, 64, 3)]), r"img_shapes\[1\] must be \(height, width\)"),
    ],
)
def test_wrong_shapes_are_refused_by_name(change, message):
    arguments = dict(
        student=torch.zeros(2, 4, 8, 8),
        teacher=torch.zeros(2, 6, 8, 8),
        gt_bboxes=[torch.zeros(1, 4)] * 2,
        img_shapes=[(64, 64)] * 2,
    )
    with pytest.raises(ValueError, match=message):
        FGDLoss(4, 6)(**(arguments | change))


def published_layout(student_channels: int, channels: int) -> dict[str, Tensor]:
    """A state dict with the names and shapes of the published code's."""
    half = channels // 2
    shapes = {}
    if student_channels != channels:
        shapes |= {
            "align.weight": (channels, student_channels, 1, 1),
            "align.bias": (channels,),
        }
    for side in "st":
        shapes |= {
            f"conv_mask_{side}.weight": (1, channels, 1, 1),
            f"conv_mask_{side}.bias": (1,),
            f"channel_add_conv_{side}.0.weight": (half, channels, 1, 1),
            f"channel_add_conv_{side}.0.bias": (half,),
            f"channel_add_conv_{side}.1.weight": (half, 1, 1),
            f"channel_add_conv_{side}.1.bias": (half, 1, 1),
            f"channel_add_conv_{side}.3.weight": (channels, half, 1, 1),
            f"channel_add_conv_{side}.3.bias": (channels,),
        }
    return {name: torch.full(shape, 0.5) for name, shape in shapes.items()}


@pytest.mark.parametrize("student_channels", [16, 12])
def test_a_published_state_dict_loads(student_channels):
    loss = FGDLoss(student_channels, 16)
    loss.load_state_dict(published_layout(student_channels, 16), strict=True)
    assert all((parameter == 0.5).all() for parameter in loss.parameters())


def test_starts_as_the_published_code_does():
    torch.manual_seed(0)
    loss = FGDLoss(256, 256)
    for mask in (loss.conv_mask_s, loss.conv_mask_t):
        # Kaiming, fan-in: variance 2 / 256; the tolerance is four standard errors of 256 samples.
        assert mask.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.18)
        assert not mask.bias.any()
    for transform in (loss.channel_add_conv_s, loss.channel_add_conv_t):
        assert transform[0].weight.any()
        assert (transform[1].weight == 1).all()
        assert not transform[1].bias.any()
        assert not transform[3].weight.any()
        assert not transform[3].bias.any()
