"""All that the FGD loss needs of two feature maps, in one pass over them and one to the gradient.

The feature maps are by far the largest tensors of the loss, and written term by term it makes some
twenty temporaries of their size. Every term is however a function of a few sums over channels or
over pixels, and all of these can be had while the maps are read once: a softmax over pixels that
come one after the other is kept relative to the largest logit so far, and the channels' attention,
which nobody knows before the last pixel, is applied to sums that are still separate for each
channel. A second pass writes the gradient with respect to the student. The rest of the loss works
on the sums and is left to autograd.

The passes exist twice, with the same results: `plain` works anywhere, `kernels` on GPUs.

Features are (N, C, P) with P = H*W pixels, in any memory layout. Sums are in float32 for float16
and bfloat16 features and in the features' own type otherwise.
"""

import functools
import importlib.util
import warnings
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fgd.loss import plain
from fgd.loss.plain import Reductions


def reduce_features(
    student: Tensor,
    teacher: Tensor,
    masks: Tensor,
    mask_s: Tensor,
    mask_t: Tensor,
    scale: float,
) -> Reductions:
    """Reduce both feature maps; differentiable in student, mask_s and mask_t.

    Args:
        student, teacher: features s and t, (N, C, P).
        masks: m, two weights of each pixel in the focal sums, (N, 2, P).
        mask_s, mask_t: w_s and w_t, the weights of the contexts' logits, (C,).
        scale: factor of the teacher's magnitudes in the pixels' attention.
    """
    # The kernels read masks pixel by pixel, in the type of the sums.
    masks = masks.to(torch.promote_types(student.dtype, torch.float32)).contiguous()
    return Reductions(*_ReduceFeatures.apply(student, teacher, masks, mask_s, mask_t, scale))


class _ReduceFeatures(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        masks: Tensor,
        mask_s: Tensor,
        mask_t: Tensor,
        scale: float,
    ) -> tuple[Tensor, ...]:
        ctx.passes, ctx.scale = passes_for(student), scale
        reduced, softmaxes = ctx.passes.reduce(student, teacher, masks, mask_s, mask_t, scale)
        ctx.save_for_backward(student, teacher, masks, mask_s, reduced.sums, *softmaxes)
        return tuple(reduced)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        student, teacher, masks, mask_s, sums, *softmaxes = ctx.saved_tensors
        grad_student, grad_mask_s, grad_mask_t = ctx.passes.gradient(
            student, teacher, masks, mask_s, sums, softmaxes, ctx.scale, Reductions(*gradients)
        )
        return grad_student, None, None, grad_mask_s, grad_mask_t, None


def passes_for(features: Tensor) -> ModuleType:
    """The module that reads and writes feature maps like this one: `kernels` or `plain`."""
    fits = features.is_cuda and features.dtype != torch.float64
    if fits and _triton_works(features.device, features.dtype, features.stride(1) == 1):
        from fgd.loss import kernels

        if features.shape[1] <= kernels.MAX_CHANNELS:
            return kernels
    return plain


@functools.cache
def _triton_works(device: torch.device, dtype: torch.dtype, channels_last: bool) -> bool:
    """Whether this device's Triton compiles the kernels, and they agree with the plain path.

    Triton needs a recent GPU and, when it runs, a C compiler; some machines of a cluster have
    neither. Found out once a process, on an example of the features' type and memory layout.
    """
    if importlib.util.find_spec("triton") is None:
        return False
    try:
        from fgd.loss import kernels

        agrees = _agree(kernels, device, dtype, channels_last)
    except Exception as error:  # a compiler's, a driver's, Triton's own: any of them
        reason = str(error).strip().splitlines()[:1] or [repr(error)]
        warnings.warn(f"FGD's GPU kernels are not used: {reason[0]}", stacklevel=2)
        return False
    if not agrees:
        warnings.warn("FGD's GPU kernels are not used: they are wrong on this device", stacklevel=2)
    return agrees


# Images, channels and pixels of which a program of the kernels walks over several tiles, and more
# programs than the kernel that merges them reads at once: both go on from what they found before.
_EXAMPLE = (2, 24, 16644)


def _agree(
    passes: ModuleType, device: torch.device, dtype: torch.dtype, channels_last: bool
) -> bool:
    """Whether `passes` gives, on one example, what the plain path gives in float64.

    In float32 that path's products follow the user's settings of TF32 and autocast.
    """
    count, channels, pixels = _EXAMPLE
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2, count, channels, pixels, generator=generator).to(device, dtype)
    if channels_last:
        maps = maps.transpose(2, 3).contiguous().transpose(2, 3)
    masks = torch.rand(count, 2, pixels, generator=generator).to(device)
    mask_s, mask_t = torch.randn(2, channels, generator=generator).to(device)
    inputs = (*maps, masks, mask_s, mask_t)
    s, t, m, w_s, w_t = (tensor.double() for tensor in inputs)

    expected, softmaxes = plain.reduce(s, t, m, w_s, w_t, 0.1)
    grad = Reductions(*(value.cos() for value in expected))
    expected_gradients = plain.gradient(s, t, m, w_s, expected.sums, softmaxes, 0.1, grad)
    reduced, softmaxes = passes.reduce(*inputs, 0.1)
    grad = Reductions(*(value.float() for value in grad))
    gradients = passes.gradient(*inputs[:4], reduced.sums, softmaxes, 0.1, grad)

    def agree(mine: Tensor, right: Tensor, tolerance: float = 1e-3) -> bool:
        return bool((mine - right).abs().max() <= tolerance * right.abs().max())

    # Sums are in float32; the student's gradient alone is rounded to its own type.
    (student, *others), (expected_student, *expected_others) = gradients, expected_gradients
    ours = *reduced.spatial, *reduced.sums, *others
    theirs = *expected.spatial, *expected.sums, *expected_others
    rounding = max(1e-3, torch.finfo(dtype).eps)
    return agree(student, expected_student, rounding) and all(map(agree, ours, theirs))
