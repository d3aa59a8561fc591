"""All that the FGD loss needs of two feature maps, in two passes over them and one to the gradient.

The feature maps are by far the largest tensors of the loss, and written term by term it makes some
twenty temporaries of their size. Every term is however a function of a few sums over channels or
over pixels. `survey` and `reduce_features` compute these sums block by block, so that a block's
temporaries stay in the processor's cache, and one further pass writes the gradient with respect to
the student. The rest of the loss works on the sums and is left to autograd.

Features are (N, C, P) with P = H*W pixels, in any memory layout. Sums are in float32 for float16
and bfloat16 features and in the features' own type otherwise.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

# Elements of a block. On a CPU a few blocks of this size fit into the cache; on a GPU, where each
# operation costs a kernel launch, it only bounds the memory of the temporaries.
_BLOCK_CPU = 2**18
_BLOCK_GPU = 2**26


class Survey(NamedTuple):
    """What one pass over features f yields by itself."""

    spatial: Tensor  # (N, P)  sum_c |f|
    channel: Tensor  # (N, C)  sum_p |f|
    softmax: Tensor  # (N, P)  softmax_p(w . f)


class Reductions(NamedTuple):
    """Sums over student s, teacher t and their difference d = s - t."""

    spatial: Tensor  # (N, P)  sum_c |s|
    channel: Tensor  # (N, C)  sum_p |s|
    context_s: Tensor  # (N, C)  sum_p softmax_p(w_s . s) s
    context_t: Tensor  # (N, C)  sum_p softmax_p(w_t . t) t
    difference: Tensor  # (N, C)  sum_p d
    squared: Tensor  # (N,)  sum_cp d^2
    weighted: Tensor  # (N, P)  sum_c a_c d^2


@torch.no_grad()
def survey(features: Tensor, mask: Tensor) -> Survey:
    """Survey features (N, C, P), where `mask` (C,) is w; not differentiable."""
    count, channels, pixels = features.shape
    dtype = _sum_dtype(features)
    spatial, logits = features.new_empty(2, count, pixels, dtype=dtype)
    channel = features.new_zeros(count, channels, dtype=dtype)
    ones = torch.ones_like(channel)
    mask = mask.expand_as(channel)
    for images, columns in _blocks(features):
        f = features[images, :, columns].to(dtype)
        logits[images, columns] = _over_channels(mask[images], f)
        absolute = f.abs()
        spatial[images, columns] = _over_channels(ones[images], absolute)
        channel[images] += absolute.sum(dim=2)
    return Survey(spatial, channel, logits.softmax(dim=1))


def reduce_features(
    student: Tensor,
    teacher: Tensor,
    weights: Tensor,
    mask_s: Tensor,
    mask_t: Tensor,
    softmax_t: Tensor,
) -> Reductions:
    """Reduce both feature maps; differentiable in student, mask_s and mask_t.

    Args:
        student, teacher: features s and t, (N, C, P).
        weights: a, the channels' weights in the weighted sum, (N, C).
        mask_s, mask_t: w_s and w_t, the weights of the contexts' logits, (C,).
        softmax_t: the teacher's softmax as `survey(teacher, mask_t)` gives it, (N, P).
    """
    return Reductions(*_ReduceFeatures.apply(student, teacher, weights, mask_s, mask_t, softmax_t))


class _ReduceFeatures(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: FunctionCtx,
        student: Tensor,
        teacher: Tensor,
        weights: Tensor,
        mask_s: Tensor,
        mask_t: Tensor,
        softmax_t: Tensor,
    ) -> tuple[Tensor, ...]:
        spatial, channel, softmax_s = survey(student, mask_s)
        context_s, context_t, difference = (torch.zeros_like(channel) for _ in range(3))
        squared, weighted = torch.zeros_like(channel[:, 0]), torch.empty_like(spatial)

        for images, columns in _blocks(student):
            s = student[images, :, columns].to(spatial.dtype)
            t = teacher[images, :, columns].to(spatial.dtype)
            context_s[images] += _over_pixels(softmax_s[images, columns], s)
            context_t[images] += _over_pixels(softmax_t[images, columns], t)
            d = s - t
            difference[images] += d.sum(dim=2)
            d.square_()
            squared[images] += d.sum(dim=(1, 2))
            weighted[images, columns] = _over_channels(weights[images], d)

        ctx.save_for_backward(
            student, teacher, weights, mask_s, softmax_s, softmax_t, context_s, context_t
        )
        return spatial, channel, context_s, context_t, difference, squared, weighted

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        student, teacher, weights, mask_s, softmax_s, softmax_t, context_s, context_t = (
            ctx.saved_tensors
        )
        grad = Reductions(*gradients)
        grad_student = torch.empty_like(student)
        grad_mask_s, grad_mask_t = torch.zeros_like(context_s), torch.zeros_like(context_t)
        mean_s = (grad.context_s * context_s).sum(dim=1, keepdim=True)  # (N, 1)
        mean_t = (grad.context_t * context_t).sum(dim=1, keepdim=True)
        left = torch.stack(
            [grad.difference, grad.context_s, mask_s.expand_as(context_s)], dim=2
        )  # (N, C, 3)

        for images, columns in _blocks(student):
            s = student[images, :, columns].to(context_s.dtype)
            t = teacher[images, :, columns].to(context_t.dtype)

            # From the contexts through their softmax to the logits, and to the logits' weights.
            p_s, p_t = softmax_s[images, columns], softmax_t[images, columns]
            logits_s = p_s * (_over_channels(grad.context_s[images], s) - mean_s[images])
            logits_t = p_t * (_over_channels(grad.context_t[images], t) - mean_t[images])
            grad_mask_s[images] += _over_pixels(logits_s, s)
            grad_mask_t[images] += _over_pixels(logits_t, t)

            # Both sums of squares: 2 d (squared + a_c weighted).
            g = s - t
            g *= torch.addcmul(
                2 * grad.squared[images, None, None],
                weights[images, :, None],
                grad.weighted[images, None, columns],
                value=2,
            )
            # The sum of d, and the context, which sees s directly and through its logits.
            g.baddbmm_(left[images], torch.stack([torch.ones_like(p_s), p_s, logits_s], dim=1))
            # Both sums of magnitudes: sign(s) (spatial + channel).
            magnitude = grad.spatial[images, None, columns] + grad.channel[images, :, None]
            torch.addcmul(g, s.sign(), magnitude, out=grad_student[images, :, columns])

        return grad_student, None, None, grad_mask_s.sum(dim=0), grad_mask_t.sum(dim=0), None


def _sum_dtype(features: Tensor) -> torch.dtype:
    return torch.promote_types(features.dtype, torch.float32)


def _blocks(features: Tensor) -> Iterator[tuple[slice, slice]]:
    """Cut (N, C, P) into blocks of whole channels: slices of the images and of the pixels."""
    count, channels, pixels = features.shape
    elements = _BLOCK_CPU if features.device.type == "cpu" else _BLOCK_GPU
    columns = min(pixels, max(1, elements // channels))
    images = max(1, elements // (channels * columns))
    for image in range(0, count, images):
        for pixel in range(0, pixels, columns):
            yield slice(image, image + images), slice(pixel, pixel + columns)


def _over_channels(weights: Tensor, features: Tensor) -> Tensor:
    """sum_c weights_c features_cp: (N, C), (N, C, P) -> (N, P)."""
    return torch.bmm(weights[:, None], features).squeeze(1)


def _over_pixels(weights: Tensor, features: Tensor) -> Tensor:
    """sum_p weights_p features_cp: (N, P), (N, C, P) -> (N, C)."""
    # With the features as the right factor: as the left one BLAS is three times slower.
    return torch.bmm(weights[:, None], features.transpose(1, 2)).squeeze(1)
