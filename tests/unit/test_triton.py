"""The GPU kernels of the loss: what the plain path gives, and compiled without a GPU.

Without a GPU they run on Triton's interpreter (see small_suite.py).
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fgd.loss import FGDLoss, plain, reductions

# One that is there and does not import is an error.
pytest.importorskip(
    "triton",
    reason="needs the package triton, which not every platform has",
    exc_type=ModuleNotFoundError,
)
from fgd.loss import kernels

# Triton's interpreter makes numbers of NumPy arrays in a way that NumPy means to refuse.
pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array:DeprecationWarning")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def outcome(loss: FGDLoss, student: Tensor, teacher: Tensor) -> list[Tensor]:
    """The student's gradient, the others, and the parts."""
    generator = torch.Generator().manual_seed(1)
    corner = 40 * torch.rand(5, 2, generator=generator)
    boxes = torch.cat([corner, corner + 20 * torch.rand(5, 2, generator=generator)], dim=1)
    boxes = boxes.to(DEVICE)
    student = student.clone().requires_grad_()
    arguments = student, teacher, [boxes[:4], boxes[4:]], [(64, 60), (64, 64)]
    inputs = student, *loss.parameters()
    gradients = torch.autograd.grad(loss(*arguments), inputs, materialize_grads=True)
    assert gradients[0].dtype == student.dtype
    return [*gradients, *loss.parts(*arguments)]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_kernels_give_what_the_plain_path_gives(monkeypatch, dtype, layout):
    torch.manual_seed(0)
    loss = FGDLoss(24, 24, alpha=1.0, beta=1.0, gamma=1.0, lambda_=1.0).to(DEVICE)
    for parameter in loss.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    student, teacher = (
        torch.randn(2, 24, 13, 17).to(DEVICE, dtype, memory_format=layout) for _ in range(2)
    )
    monkeypatch.setattr(kernels, "_PROGRAMS", 4)  # several tiles each, the last cut short
    monkeypatch.setattr(reductions, "passes_for", lambda features: plain)
    expected = outcome(loss, student, teacher)
    monkeypatch.setattr(reductions, "passes_for", lambda features: kernels)
    ours = outcome(loss, student, teacher)
    # Sums are in float32 on both paths; only the student's gradient is rounded to its own type.
    tolerances = [max(1e-4, torch.finfo(dtype).eps)] + [1e-4] * (len(expected) - 1)
    for mine, theirs, tolerance in zip(ours, expected, tolerances, strict=True):
        error = (mine.float() - theirs.float()).abs().max()
        assert error <= tolerance * theirs.float().abs().max() + 1e-5


@pytest.fixture
def quick_proof(monkeypatch):
    """An example that takes Triton's interpreter seconds, cut into fewer programs."""
    if DEVICE.type == "cpu":
        monkeypatch.setattr(reductions, "_EXAMPLE", (1, 24, 4292))
        monkeypatch.setattr(kernels, "_PROGRAMS", 70)
        assert_all_loops_are_taken()


def assert_all_loops_are_taken():
    _, tiles, programs = kernels._walk(*reductions._EXAMPLE)
    assert tiles > 1
    assert programs > 64  # _merge_kernel's BLOCK_R


def test_what_kernels_prove_themselves_on_takes_all_their_loops():
    assert_all_loops_are_taken()


@pytest.mark.usefixtures("quick_proof")
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_kernels_run_where_their_tensors_are():
    with torch.cuda.device(0):
        assert reductions._triton_works.__wrapped__(
            torch.device("cuda", 1), torch.float32, channels_last=False
        )


@pytest.mark.usefixtures("quick_proof")
def test_kernels_prove_themselves_before_they_are_used(monkeypatch, recwarn):
    works = reductions._triton_works.__wrapped__
    assert works(DEVICE, torch.bfloat16, channels_last=True)
    monkeypatch.setattr(kernels, "_walk", lambda *_: (16, 1, 1))  # leaves pixels out
    assert not works(DEVICE, torch.float32, channels_last=False)
    monkeypatch.setattr(kernels, "reduce", lambda *_: 1 / 0)
    assert not works(DEVICE, torch.float32, channels_last=False)
    messages = [str(warning.message) for warning in recwarn]
    assert any("wrong on this device" in message for message in messages)
    assert any("division by zero" in message for message in messages)


@pytest.mark.usefixtures("quick_proof")
def test_kernels_that_are_right_pass_where_products_are_rounded():
    """As TF32 rounds them, or autocast, in what the kernels are compared with."""
    with torch.autocast(DEVICE.type, torch.bfloat16):
        assert reductions._triton_works.__wrapped__(DEVICE, torch.float32, channels_last=False)


@pytest.mark.skipif(
    DEVICE.type != "cpu",
    reason="needs Triton's interpreter, which is for CPUs: a compiled kernel cannot be changed",
)
@pytest.mark.usefixtures("quick_proof")
def test_a_softmax_that_forgets_its_earlier_tiles_is_found(monkeypatch):
    right = kernels._weigh.fn

    def weigh(logits, peak, total):
        weights, decay, new_peak, new_total = right(logits, peak, total)
        return weights, 0 * decay + 1, new_peak, new_total

    monkeypatch.setattr(kernels, "_weigh", weigh)
    with pytest.warns(UserWarning, match="wrong on this device"):
        assert not reductions._triton_works.__wrapped__(DEVICE, torch.float32, channels_last=False)


def test_the_cpu_takes_the_plain_path():
    assert reductions.passes_for(torch.zeros(1, 4, 9)) is plain


def test_kernels_compile_to_machine_code_and_stay_in_registers():
    """Needs no GPU. A kernel that does not fit into registers would not reach the bandwidth."""
    from triton.backends import backends

    if "nvidia" not in backends:
        pytest.skip("needs a Triton that compiles for NVIDIA's GPUs")
    script = Path(__file__).with_name("compile_kernels.py")
    result = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    compiled = json.loads(result.stdout)
    assert {name.split()[0] for name in compiled} == {
        "_reduce_kernel",
        "_merge_kernel",
        "_gradient_kernel",
    }
    assert set(compiled.values()) == {0}, "bytes of stack a thread"
