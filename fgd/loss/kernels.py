"""The two passes over the feature maps as Triton kernels; `plain` explains the mathematics.

A program holds all channels of a few pixels, a tile, in registers and walks over several tiles:
sums over channels are complete at once, and those over pixels stay in registers until its walk
ends. A small kernel then merges what the programs found. All arithmetic is in float32.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from fgd.loss.plain import Reductions

MAX_CHANNELS = 1024
# Elements of a map that a program holds, and its warps: as much as fits into registers beside the
# eight sums (ptxas reports no spill on sm_80 and sm_90).
_TILE = 2048
_WARPS = 8
_PROGRAMS = 1024  # over all images: a few waves on any GPU


def reduce(
    student: Tensor, teacher: Tensor, masks: Tensor, mask_s: Tensor, mask_t: Tensor, scale: float
) -> tuple[Reductions, tuple[Tensor, ...]]:
    """As `fgd.loss.plain.reduce`; in place of the softmaxes, what they are computed from again."""
    count, channels, pixels = student.shape
    tile, tiles, programs = _walk(count, channels, pixels)
    new: dict[str, Any] = dict(device=student.device, dtype=torch.float32)
    rows = torch.empty(4, count, pixels, **new)
    partial = torch.empty(count, programs, 8, channels, **new)
    softmaxes = torch.empty(count, programs, 6, **new)
    sums = torch.empty(8, count, channels, **new)
    normalizers = torch.empty(3, count, **new)
    with _device_of(student):
        _reduce_kernel[(programs, count)](
            student, teacher, masks, mask_s, mask_t, rows, partial, softmaxes,
            scale, channels, pixels, tiles, *student.stride(), *teacher.stride(),
            BLOCK_C=triton.next_power_of_2(channels), BLOCK_P=tile, num_warps=_WARPS,
        )  # fmt: skip
        _merge_kernel[(triton.cdiv(channels, 32), count, 8)](
            partial, softmaxes, sums, normalizers, channels, programs, BLOCK_C=32, BLOCK_R=64
        )
    return Reductions(rows[:2], sums), (rows, normalizers)


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
    """As `fgd.loss.plain.gradient`."""
    count, channels, pixels = student.shape
    tile, tiles, programs = _walk(count, channels, pixels)
    grad_student = torch.empty_like(student)
    partial = student.new_empty(count, programs, 2, channels, dtype=torch.float32)
    grad_sums, grad_spatial = grad.sums.contiguous(), grad.spatial.contiguous()
    with _device_of(student):
        _gradient_kernel[(programs, count)](
            student, teacher, masks, mask_s, sums, grad_sums, grad_spatial,
            *softmaxes, grad_student, partial, scale, channels, pixels, tiles,
            *student.stride(), *teacher.stride(), *grad_student.stride(),
            BLOCK_C=triton.next_power_of_2(channels), BLOCK_P=tile, num_warps=_WARPS,
        )  # fmt: skip
    grad_mask_s, grad_mask_t = partial.sum(dim=(0, 1)).unbind()
    return grad_student, grad_mask_s, grad_mask_t


def _device_of(features: Tensor) -> AbstractContextManager:
    # Triton launches on the current device, which need not be the tensors'.
    return torch.cuda.device(features.device) if features.is_cuda else nullcontext()


def _walk(count: int, channels: int, pixels: int) -> tuple[int, int, int]:
    """Pixels a tile, tiles a program, and programs an image."""
    tile = _TILE // triton.next_power_of_2(channels)
    # Rows that do not start at multiples of 16 elements are read one element a thread, which leaves
    # a thread twice as many channels.
    tile = min(max(tile if pixels % 16 == 0 else tile // 2, 4), 256)
    all_tiles = triton.cdiv(pixels, tile)
    tiles = triton.cdiv(all_tiles * count, _PROGRAMS)
    return tile, tiles, triton.cdiv(all_tiles, tiles)


@triton.jit
def _read(features, image, c, p, C, P, stride_n, stride_c, stride_p):
    """A tile (BLOCK_C, BLOCK_P) in float32, zero beyond the map."""
    return tl.load(
        features + image * stride_n + c[:, None] * stride_c + p[None, :] * stride_p,
        mask=(c < C)[:, None] & (p < P)[None, :],
        other=0.0,
    ).to(tl.float32)


@triton.jit
def _weigh(logits, peak, total):
    """Weights of a tile's pixels relative to the largest logit so far, and what follows from it."""
    new_peak = tl.maximum(peak, tl.max(logits, axis=0))
    decay = tl.exp(peak - new_peak)
    weights = tl.exp(logits - new_peak)
    return weights, decay, new_peak, total * decay + tl.sum(weights, axis=0)


@triton.jit
def _reduce_kernel(
    student, teacher, masks, mask_s, mask_t, rows, partial, softmaxes,
    scale, C, P, tiles,
    student_n, student_c, student_p, teacher_n, teacher_c, teacher_p,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    program, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    images = tl.num_programs(1).to(tl.int64)
    c = tl.arange(0, BLOCK_C)
    w_s = tl.load(mask_s + c, mask=c < C, other=0.0).to(tl.float32)
    w_t = tl.load(mask_t + c, mask=c < C, other=0.0).to(tl.float32)
    channel_s = tl.zeros([BLOCK_C], tl.float32)
    channel_t = tl.zeros([BLOCK_C], tl.float32)
    difference = tl.zeros([BLOCK_C], tl.float32)
    squared = tl.zeros([BLOCK_C], tl.float32)
    context_s = tl.zeros([BLOCK_C], tl.float32)
    context_t = tl.zeros([BLOCK_C], tl.float32)
    focal_0 = tl.zeros([BLOCK_C], tl.float32)
    focal_1 = tl.zeros([BLOCK_C], tl.float32)
    peak_s = tl.full((), float("-inf"), tl.float32)
    peak_t = tl.full((), float("-inf"), tl.float32)
    peak_a = tl.full((), float("-inf"), tl.float32)
    total_s = tl.full((), 0.0, tl.float32)
    total_t = tl.full((), 0.0, tl.float32)
    total_a = tl.full((), 0.0, tl.float32)

    for tile in range(tiles):
        p = (program * tiles + tile) * BLOCK_P + tl.arange(0, BLOCK_P)
        inside = p < P
        s = _read(student, image, c, p, C, P, student_n, student_c, student_p)
        t = _read(teacher, image, c, p, C, P, teacher_n, teacher_c, teacher_p)

        spatial_s, spatial_t = tl.sum(tl.abs(s), axis=0), tl.sum(tl.abs(t), axis=0)
        logits_s, logits_t = tl.sum(w_s[:, None] * s, axis=0), tl.sum(w_t[:, None] * t, axis=0)
        row = rows + image * P + p
        tl.store(row, spatial_s, mask=inside)
        tl.store(row + images * P, spatial_t, mask=inside)
        tl.store(row + 2 * images * P, logits_s, mask=inside)
        tl.store(row + 3 * images * P, logits_t, mask=inside)
        channel_s += tl.sum(tl.abs(s), axis=1)
        channel_t += tl.sum(tl.abs(t), axis=1)

        beyond = float("-inf")
        weights, decay, peak_s, total_s = _weigh(
            tl.where(inside, logits_s, beyond), peak_s, total_s
        )
        context_s = context_s * decay + tl.sum(weights[None, :] * s, axis=1)
        weights, decay, peak_t, total_t = _weigh(
            tl.where(inside, logits_t, beyond), peak_t, total_t
        )
        context_t = context_t * decay + tl.sum(weights[None, :] * t, axis=1)

        d = s - t
        difference += tl.sum(d, axis=1)
        d = d * d
        squared += tl.sum(d, axis=1)
        weights, decay, peak_a, total_a = _weigh(
            tl.where(inside, scale * spatial_t, beyond), peak_a, total_a
        )
        mask = masks + 2 * image * P + p
        m_0 = weights * tl.load(mask, mask=inside, other=0.0)
        m_1 = weights * tl.load(mask + P, mask=inside, other=0.0)
        focal_0 = focal_0 * decay + tl.sum(m_0[None, :] * d, axis=1)
        focal_1 = focal_1 * decay + tl.sum(m_1[None, :] * d, axis=1)

    index = image * tl.num_programs(0) + program
    out = partial + index * 8 * C + c
    tl.store(out, channel_s, mask=c < C)
    tl.store(out + C, channel_t, mask=c < C)
    tl.store(out + 2 * C, difference, mask=c < C)
    tl.store(out + 3 * C, squared, mask=c < C)
    tl.store(out + 4 * C, context_s, mask=c < C)
    tl.store(out + 5 * C, context_t, mask=c < C)
    tl.store(out + 6 * C, focal_0, mask=c < C)
    tl.store(out + 7 * C, focal_1, mask=c < C)
    out = softmaxes + index * 6
    tl.store(out, peak_s)
    tl.store(out + 1, peak_t)
    tl.store(out + 2, peak_a)
    tl.store(out + 3, total_s)
    tl.store(out + 4, total_t)
    tl.store(out + 5, total_a)


@triton.jit
def _merge_kernel(
    partial, softmaxes, sums, normalizers, C, programs,
    BLOCK_C: tl.constexpr, BLOCK_R: tl.constexpr,
):  # fmt: skip
    """One of the eight kinds of sum, over an image's programs.

    The log-sum-exp of the softmax that weights it goes to `normalizers`.
    """
    image, images = tl.program_id(1), tl.num_programs(1)
    kind = tl.program_id(2)
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    r = tl.arange(0, BLOCK_R)
    partial += (image * programs * 8 + kind) * C
    peak = tl.full((), float("-inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)
    summed = tl.zeros([BLOCK_C], tl.float32)
    # 4 and 5 are weighted by the contexts' softmaxes, 6 and 7 both by the attention's.
    softmax = tl.minimum(tl.maximum(kind - 4, 0), 2)
    softmaxes += image * programs * 6 + softmax
    if kind >= 4:
        for first in range(0, programs, BLOCK_R):
            found = tl.load(
                softmaxes + (first + r) * 6, mask=first + r < programs, other=float("-inf")
            )
            peak = tl.maximum(peak, tl.max(found, axis=0))
    for first in range(0, programs, BLOCK_R):
        there = first + r < programs
        values = tl.load(
            partial + (first + r)[:, None] * 8 * C + c[None, :],
            mask=there[:, None] & (c < C)[None, :],
            other=0.0,
        )
        if kind >= 4:
            one = softmaxes + (first + r) * 6
            factor = tl.exp(tl.load(one, mask=there, other=float("-inf")) - peak)
            total += tl.sum(factor * tl.load(one + 3, mask=there, other=0.0), axis=0)
            values *= factor[:, None]
        summed += tl.sum(values, axis=0)
    if kind >= 4:
        tl.store(normalizers + softmax * images + image, peak + tl.log(total))
        summed /= total
    tl.store(sums + (kind * images + image) * C + c, summed, mask=c < C)


@triton.jit
def _gradient_kernel(
    student, teacher, masks, mask_s, sums, grad_sums, grad_spatial, rows, normalizers,
    grad_student, partial,
    scale, C, P, tiles,
    student_n, student_c, student_p, teacher_n, teacher_c, teacher_p, grad_n, grad_c, grad_p,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    program, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    images = tl.num_programs(1).to(tl.int64)
    c = tl.arange(0, BLOCK_C)
    # Kinds of sums are `step` apart, as in fgd.loss.plain.Reductions.
    step = images * C
    grad = grad_sums + image * C + c
    grad_channel = tl.load(grad, mask=c < C, other=0.0)
    grad_difference = tl.load(grad + 2 * step, mask=c < C, other=0.0)
    grad_squared = tl.load(grad + 3 * step, mask=c < C, other=0.0)
    grad_context_s = tl.load(grad + 4 * step, mask=c < C, other=0.0)
    grad_context_t = tl.load(grad + 5 * step, mask=c < C, other=0.0)
    grad_focal_0 = tl.load(grad + 6 * step, mask=c < C, other=0.0)
    grad_focal_1 = tl.load(grad + 7 * step, mask=c < C, other=0.0)
    context = sums + image * C + c
    context_s = tl.load(context + 4 * step, mask=c < C, other=0.0)
    context_t = tl.load(context + 5 * step, mask=c < C, other=0.0)
    mean_s = tl.sum(grad_context_s * context_s, axis=0)
    mean_t = tl.sum(grad_context_t * context_t, axis=0)
    w_s = tl.load(mask_s + c, mask=c < C, other=0.0).to(tl.float32)
    norm_s = tl.load(normalizers + image)
    norm_t = tl.load(normalizers + images + image)
    norm_a = tl.load(normalizers + 2 * images + image)
    grad_mask_s = tl.zeros([BLOCK_C], tl.float32)
    grad_mask_t = tl.zeros([BLOCK_C], tl.float32)

    for tile in range(tiles):
        p = (program * tiles + tile) * BLOCK_P + tl.arange(0, BLOCK_P)
        inside = p < P
        s = _read(student, image, c, p, C, P, student_n, student_c, student_p)
        t = _read(teacher, image, c, p, C, P, teacher_n, teacher_c, teacher_p)
        row = rows + image * P + p
        beyond = float("-inf")
        spatial_t = tl.load(row + images * P, mask=inside, other=beyond)
        p_s = tl.exp(tl.load(row + 2 * images * P, mask=inside, other=beyond) - norm_s)
        p_t = tl.exp(tl.load(row + 3 * images * P, mask=inside, other=beyond) - norm_t)

        # From the contexts through their softmax to the logits, and to the logits' weights.
        logits_s = p_s * (tl.sum(grad_context_s[:, None] * s, axis=0) - mean_s)
        logits_t = p_t * (tl.sum(grad_context_t[:, None] * t, axis=0) - mean_t)
        grad_mask_s += tl.sum(logits_s[None, :] * s, axis=1)
        grad_mask_t += tl.sum(logits_t[None, :] * t, axis=1)

        # The sums of squares.
        attention = 2 * tl.exp(scale * spatial_t - norm_a)
        mask = masks + 2 * image * P + p
        m_0 = attention * tl.load(mask, mask=inside, other=0.0)
        m_1 = attention * tl.load(mask + P, mask=inside, other=0.0)
        factor = grad_focal_0[:, None] * m_0[None, :] + grad_focal_1[:, None] * m_1[None, :]
        g = (s - t) * (factor + 2 * grad_squared[:, None])
        # The sum of d, and the context, which sees s directly and through its logits.
        g += grad_difference[:, None] + grad_context_s[:, None] * p_s[None, :]
        g += w_s[:, None] * logits_s[None, :]
        # Both sums of magnitudes.
        spatial = tl.load(grad_spatial + image * P + p, mask=inside, other=0.0)
        magnitude = spatial[None, :] + grad_channel[:, None]
        g += tl.where(s > 0, magnitude, tl.where(s < 0, -magnitude, 0.0))

        out = grad_student + image * grad_n + c[:, None] * grad_c + p[None, :] * grad_p
        tl.store(
            out,
            g.to(grad_student.dtype.element_ty),
            mask=(c < C)[:, None] & inside[None, :],
        )

    out = partial + (image * tl.num_programs(0) + program) * 2 * C + c
    tl.store(out, grad_mask_s, mask=c < C)
    tl.store(out + C, grad_mask_t, mask=c < C)
