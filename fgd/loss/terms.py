"""The terms of FGD's loss, equations 2 to 12 of the paper.

The equation numbers in the comments are the paper's; parameter names and initialisation are those
of the published code, so that its checkpoints load.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgd.loss.masks import scale_masks
from fgd.loss.reductions import reduce_features


class FGDParts(NamedTuple):
    """The four terms of the loss before weighting, each a scalar averaged over the batch."""

    foreground: Tensor
    background: Tensor
    attention: Tensor
    global_: Tensor


class FGDLoss(nn.Module):
    """Distil one level of a teacher's feature pyramid into a student's.

    Args:
        student_channels: channels of the student's feature map.
        teacher_channels: channels of the teacher's; where they differ, the 1x1 convolution `align`
            brings the student's features to this number.
        temperature: T of the attention's softmax.
        alpha, beta, gamma, lambda_: weights of the foreground, background, attention and global
            terms.
    """

    def __init__(
        self,
        student_channels: int,
        teacher_channels: int,
        temperature: float = 0.5,
        alpha: float = 1e-3,
        beta: float = 5e-4,
        gamma: float = 5e-4,
        lambda_: float = 5e-6,
    ) -> None:
        super().__init__()
        self.student_channels = student_channels
        self.teacher_channels = teacher_channels
        self.temperature = temperature
        self.alpha = alpha
        self.beta = beta
        self.gamma = gamma
        self.lambda_ = lambda_

        self.align = (
            nn.Conv2d(student_channels, teacher_channels, kernel_size=1)
            if student_channels != teacher_channels
            else None
        )
        self.conv_mask_s = _context_mask(teacher_channels)
        self.conv_mask_t = _context_mask(teacher_channels)
        self.channel_add_conv_s = _context_transform(teacher_channels)
        self.channel_add_conv_t = _context_transform(teacher_channels)

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        gt_bboxes: Sequence[Tensor],
        img_shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Return the weighted sum of the four parts, a scalar.

        Args:
            student: features (N, student_channels, H, W).
            teacher: features (N, teacher_channels, H, W); they get no gradient.
            gt_bboxes: N tensors (k, 4), x1 y1 x2 y2 in pixels of the network's input; k may be 0.
            img_shapes: N pairs (height, width) of the network's input before padding, in pixels.

        Raises:
            ValueError: the shapes do not fit each other or the loss.
        """
        return self.weighted(self.parts(student, teacher, gt_bboxes, img_shapes))

    def parts(
        self,
        student: Tensor,
        teacher: Tensor,
        gt_bboxes: Sequence[Tensor],
        img_shapes: Sequence[tuple[int, int]],
    ) -> FGDParts:
        """Return the four terms without their weights; arguments and errors as in `forward`."""
        self._check(student, teacher)
        (masks,) = scale_masks(gt_bboxes, img_shapes, [student.shape[2:]])
        return self.parts_of(student, teacher, masks)

    def weighted(self, parts: FGDParts) -> Tensor:
        """The sum of the terms with their weights."""
        return (
            self.alpha * parts.foreground
            + self.beta * parts.background
            + self.gamma * parts.attention
            + self.lambda_ * parts.global_
        )

    def parts_of(self, student: Tensor, teacher: Tensor, masks: Tensor) -> FGDParts:
        """The four terms with both scale masks (N, 2, H, W) at hand, as `scale_masks` makes them.

        Raises:
            ValueError: the shapes do not fit each other or the loss.
        """
        self._check(student, teacher)
        if len(masks) != len(student):
            raise ValueError(
                f"a batch of {len(student)} images needs as many gt_bboxes and img_shapes, "
                f"got {len(masks)}"
            )
        if self.align is not None:
            weight, bias = self.align.weight.to(student.dtype), self.align.bias.to(student.dtype)
            student = F.conv2d(student, weight, bias)
        # Sums are accumulated in float32 at least, whatever the precision of the features.
        with torch.autocast(student.device.type, enabled=False):
            return self._parts(student.flatten(2), teacher.detach().flatten(2), masks.flatten(2))

    def _parts(self, student: Tensor, teacher: Tensor, masks: Tensor) -> FGDParts:
        """The parts from features (N, C, P) and both masks (N, 2, P) of P = H*W pixels."""
        images, channels, pixels = teacher.shape
        sums = reduce_features(
            student,
            teacher,
            masks,
            self.conv_mask_s.weight.flatten(),
            self.conv_mask_t.weight.flatten(),
            scale=1 / (channels * self.temperature),
        )
        spatial_s, channel_s = self._attention(sums.spatial_s, sums.channel_s)
        spatial_t, channel_t = self._attention(sums.spatial_t, sums.channel_t)

        # Equation 9: M S A^S A^C (s - t)^2, whose A^S is the softmax of the sums times P.
        focal = pixels * (sums.focal * channel_t[:, None]).sum(dim=(0, 2))

        # Equation 10.
        attention = (spatial_s - spatial_t).abs().sum() + (channel_s - channel_t).abs().sum()

        # Equation 12: with c the difference of what R adds to s and to t at every pixel,
        # sum_p (s - t + c)^2 = sum_p (s - t)^2 + 2 c sum_p (s - t) + P c^2.
        added_s = self._added(sums.context_s, self.conv_mask_s, self.channel_add_conv_s)
        added_t = self._added(sums.context_t, self.conv_mask_t, self.channel_add_conv_t)
        added = added_s - added_t
        relation = sums.squared.sum() + (added * (2 * sums.difference + pixels * added)).sum()

        return FGDParts(
            foreground=focal[0] / images,
            background=focal[1] / images,
            attention=attention / images,
            global_=relation / images,
        )

    def _attention(self, spatial: Tensor, channel: Tensor) -> tuple[Tensor, Tensor]:
        """Equations 5 to 8: A^S (N, P) and A^C (N, C) from the sums of magnitudes."""
        channels, pixels = channel.shape[1], spatial.shape[1]
        return (
            pixels * F.softmax(spatial / (channels * self.temperature), dim=1),
            channels * F.softmax(channel / (pixels * self.temperature), dim=1),
        )

    def _added(self, context: Tensor, mask: nn.Conv2d, transform: nn.Sequential) -> Tensor:
        """What R of equation 12 adds to every pixel, (N, C), given the pooled context (N, C)."""
        # The bias of the logits cancels in their softmax. Published checkpoints hold it; with a
        # gradient of zero instead of none, every parameter counts as used in distributed training.
        context = context + 0 * mask.bias
        return transform(context[..., None, None]).flatten(1)

    def _check(self, student: Tensor, teacher: Tensor) -> None:
        shapes = f"student {tuple(student.shape)}, teacher {tuple(teacher.shape)}"
        if student.dim() != 4 or teacher.dim() != 4:
            raise ValueError(f"features must be (N, C, H, W), got {shapes}")
        if student.shape[0] != teacher.shape[0]:
            raise ValueError(f"student and teacher differ in the number of images: {shapes}")
        if student.shape[2:] != teacher.shape[2:]:
            raise ValueError(f"student and teacher differ in height and width: {shapes}")
        for name, features, channels in (
            ("student", student, self.student_channels),
            ("teacher", teacher, self.teacher_channels),
        ):
            if features.shape[1] != channels:
                raise ValueError(
                    f"{name} features {tuple(features.shape)} have {features.shape[1]} channels, "
                    f"the loss was built for {channels}"
                )


class PyramidLoss(nn.ModuleDict):
    """The losses of all levels of a feature pyramid, by name; they share the work on the boxes.

    Args:
        losses: an FGDLoss a level.
    """

    def forward(
        self,
        students: Mapping[str, Tensor],
        teachers: Mapping[str, Tensor],
        gt_bboxes: Sequence[Tensor],
        img_shapes: Sequence[tuple[int, int]],
    ) -> dict[str, Tensor]:
        """Return the loss of every level by name; arguments and errors as of `FGDLoss.forward`.

        Args:
            students, teachers: features of each level, by the names of the losses.
        """
        sizes = [students[name].shape[2:] for name in self]
        masks = scale_masks(gt_bboxes, img_shapes, sizes)
        return {
            name: loss.weighted(loss.parts_of(students[name], teachers[name], level))
            for (name, loss), level in zip(self.items(), masks, strict=True)
        }


def _context_mask(channels: int) -> nn.Conv2d:
    """W_k of equation 12: one logit for each pixel."""
    mask = nn.Conv2d(channels, 1, kernel_size=1)
    nn.init.kaiming_normal_(mask.weight, mode="fan_in", nonlinearity="relu")
    nn.init.zeros_(mask.bias)
    return mask


def _context_transform(channels: int) -> nn.Sequential:
    """W_v2 ReLU(LN(W_v1 .)) of equation 12; zero at the start, so that R(F) = F."""
    transform = nn.Sequential(
        nn.Conv2d(channels, channels // 2, kernel_size=1),
        nn.LayerNorm([channels // 2, 1, 1]),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels // 2, channels, kernel_size=1),
    )
    nn.init.zeros_(transform[-1].weight)
    nn.init.zeros_(transform[-1].bias)
    return transform
