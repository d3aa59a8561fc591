"""The two passes over the feature maps with PyTorch's own operations, for any device.

Block by block, so that a block's temporaries stay in the processor's cache.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

# Elements of a block. On a CPU a few blocks of this size fit into the cache; on a GPU, where each
# operation costs a kernel launch, it only bounds the memory of the temporaries.
_BLOCK_CPU = 2**18
_BLOCK_GPU = 2**26


class Reductions(NamedTuple):
    """Sums over student s, teacher t and their difference d = s - t."""

    # (2, N, P)  sum_c |s|, sum_c |t|
    spatial: Tensor
    # (8, N, C)  sum_p |s|, sum_p |t|,
    #            sum_p d, sum_p d^2,
    #            sum_p softmax_p(w_s . s) s, sum_p softmax_p(w_t . t) t,
    #            sum_p m_kp softmax_p(scale sum_c |t|) d^2 for both k
    sums: Tensor


def reduce(
    student: Tensor, teacher: Tensor, masks: Tensor, mask_s: Tensor, mask_t: Tensor, scale: float
) -> tuple[Reductions, tuple[Tensor, ...]]:
    """One pass over both maps; arguments as of `fgd.loss.reductions.reduce_features`.

    Returns:
        The sums, and the softmaxes (N, P) that the gradient needs again: of the student's and the
        teacher's context, and of the teacher's attention.
    """
    count, channels, pixels = student.shape
    dtype = torch.promote_types(student.dtype, torch.float32)
    spatial, logits = student.new_empty(2, 2, count, pixels, dtype=dtype)
    sums = student.new_zeros(8, count, channels, dtype=dtype)
    channel_s, channel_t, difference, squared, context_s, context_t, *_ = sums
    focal = sums[6:].transpose(0, 1)  # (N, 2, C)
    softmax_s, softmax_t, attention = (_Softmax(channel_s[:, :1]) for _ in range(3))
    ones = torch.ones_like(channel_s)
    mask_s, mask_t = mask_s.expand_as(ones), mask_t.expand_as(ones)

    for images, columns in _blocks(student):
        s = student[images, :, columns].to(dtype)
        t = teacher[images, :, columns].to(dtype)
        logits[0, images, columns] = _over_channels(mask_s[images], s)
        logits[1, images, columns] = _over_channels(mask_t[images], t)
        softmax_s.add(context_s, s, logits[0, images, columns], images)
        softmax_t.add(context_t, t, logits[1, images, columns], images)

        magnitude = t.abs()
        spatial[1, images, columns] = _over_channels(ones[images], magnitude)
        channel_t[images] += magnitude.sum(dim=2)
        torch.abs(s, out=magnitude)
        spatial[0, images, columns] = _over_channels(ones[images], magnitude)
        channel_s[images] += magnitude.sum(dim=2)

        d = torch.sub(s, t, out=magnitude)
        difference[images] += d.sum(dim=2)
        d.square_()
        squared[images] += d.sum(dim=2)
        attention.add(
            focal, d, scale * spatial[1, images, columns], images, masks[images, :, columns]
        )

    context_s /= softmax_s.total
    context_t /= softmax_t.total
    focal /= attention.total[..., None]
    softmaxes = (*logits.softmax(dim=2), (scale * spatial[1]).softmax(dim=1))
    return Reductions(spatial, sums), softmaxes


def gradient(
    student: Tensor,
    teacher: Tensor,
    masks: Tensor,
    mask_s: Tensor,
    sums: Tensor,
    softmaxes: tuple[Tensor, ...],
    scale: float,
    grad: Reductions,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of student (N, C, P), mask_s and mask_t (C,), from those of the sums.

    Gradients of what depends on the teacher alone are not looked at.
    """
    context_s, context_t = sums[4:6]
    softmax_s, softmax_t, attention = softmaxes
    grad_channel, _, grad_difference, grad_squared, grad_context_s, grad_context_t, *grad_focal = (
        grad.sums
    )
    grad_student = torch.empty_like(student)
    grad_mask_s, grad_mask_t = torch.zeros_like(context_s), torch.zeros_like(context_t)
    mean_s = (grad_context_s * context_s).sum(dim=1, keepdim=True)  # (N, 1)
    mean_t = (grad_context_t * context_t).sum(dim=1, keepdim=True)
    # Two products of thin matrices give every element its factor of d, and what is added to that.
    factors = torch.stack([*grad_focal, grad_squared], dim=2) * 2  # (N, C, 3)
    addends = torch.stack(
        [grad_difference, grad_context_s, mask_s.expand_as(context_s)], dim=2
    )  # (N, C, 3)

    for images, columns in _blocks(student):
        s = student[images, :, columns].to(context_s.dtype)
        t = teacher[images, :, columns].to(context_t.dtype)

        # From the contexts through their softmax to the logits, and to the logits' weights.
        p_s, p_t = softmax_s[images, columns], softmax_t[images, columns]
        logits_s = p_s * (_over_channels(grad_context_s[images], s) - mean_s[images])
        logits_t = p_t * (_over_channels(grad_context_t[images], t) - mean_t[images])
        grad_mask_s[images] += _over_pixels(logits_s[:, None], s)[:, 0]
        grad_mask_t[images] += _over_pixels(logits_t[:, None], t)[:, 0]

        # The sums of squares: 2 d (squared + sum_k focal_k m_k attention).
        one = torch.ones_like(p_s)[:, None]
        weights = masks[images, :, columns] * attention[images, None, columns]
        g = torch.bmm(factors[images], torch.cat([weights, one], dim=1))
        g *= s - t
        # The sum of d, and the context, which sees s directly and through its logits.
        g.baddbmm_(addends[images], torch.stack([one[:, 0], p_s, logits_s], dim=1))
        # Both sums of magnitudes: sign(s) (spatial + channel).
        magnitude = grad.spatial[0, images, None, columns] + grad_channel[images, :, None]
        torch.addcmul(g, s.sign(), magnitude, out=grad_student[images, :, columns])

    return grad_student, grad_mask_s.sum(dim=0), grad_mask_t.sum(dim=0)


class _Softmax:
    """Sums weighted by a softmax over pixels that come block by block.

    Weights are relative to the largest logit so far; what was summed before follows when a larger
    one comes. `total` (N, 1) is what the sums have to be divided by at the end.
    """

    def __init__(self, like: Tensor) -> None:
        self._peak = torch.full_like(like, -torch.inf)
        self.total = torch.zeros_like(like)

    def add(
        self,
        sums: Tensor,
        values: Tensor,
        logits: Tensor,
        images: slice,
        masks: Tensor | None = None,
    ) -> None:
        """Add sum_p masks_p exp(logits_p) values_p of one block to sums[images].

        Args:
            sums: (N, C), or (N, K, C) with masks.
            values: (n, C, p).
            logits: (n, p).
            masks: (n, K, p).
        """
        peak = torch.maximum(self._peak[images], logits.amax(dim=1, keepdim=True))
        decay = (self._peak[images] - peak).exp()
        weights = (logits - peak).exp()
        self._peak[images] = peak
        self.total[images] = self.total[images] * decay + weights.sum(dim=1, keepdim=True)
        if masks is None:
            sums[images] = sums[images] * decay + _over_pixels(weights[:, None], values)[:, 0]
        else:
            weights = weights[:, None] * masks
            sums[images] = sums[images] * decay[..., None] + _over_pixels(weights, values)


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
    """sum_p weights_kp features_cp: (N, K, P), (N, C, P) -> (N, K, C)."""
    # With the features as the right factor: as the left one BLAS is three times slower.
    return torch.bmm(weights, features.transpose(1, 2))
