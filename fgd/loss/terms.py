"""The terms of FGD's loss, equations 2 to 12 of the paper.

The equation numbers in the comments are the paper's; parameter names and initialisation are those
of the published code, so that its checkpoints load.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fgd.loss.masks import on_device, scale_masks
from fgd.loss.plain import Reductions
from fgd.loss.reductions import reduce_features

_SETTINGS = ("temperature", "alpha", "beta", "gamma", "lambda_")


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
        return _values(*self._alone(student, teacher, gt_bboxes, img_shapes))[0]

    def parts(
        self,
        student: Tensor,
        teacher: Tensor,
        gt_bboxes: Sequence[Tensor],
        img_shapes: Sequence[tuple[int, int]],
    ) -> FGDParts:
        """Return the four terms without their weights; arguments and errors as in `forward`."""
        terms, _ = _terms(*self._alone(student, teacher, gt_bboxes, img_shapes))
        return FGDParts(*terms[:, 0])

    def _alone(
        self,
        student: Tensor,
        teacher: Tensor,
        gt_bboxes: Sequence[Tensor],
        img_shapes: Sequence[tuple[int, int]],
    ) -> tuple[list["FGDLoss"], list[Tensor], list[Tensor], list[Tensor]]:
        """The arguments of `_terms` for this level alone."""
        self._check(student, teacher)
        masks = scale_masks(gt_bboxes, img_shapes, [student.shape[2:]])
        return [self], [student], [teacher], masks

    def aligned(self, student: Tensor) -> Tensor:
        """The student's features with the teacher's number of channels."""
        if self.align is None:
            return student
        weight, bias = self.align.weight, _bias(self.align)
        return F.conv2d(student, weight.to(student.dtype), bias.to(student.dtype))

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
    """The losses of all levels of a feature pyramid, by name, worked out together.

    Beside its passes over the features a level has many operations on small tensors, which a GPU
    takes longer to start than to run. So all levels are stacked and share them.

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
        # nn.ModuleDict has no type for what is in it.
        losses = cast("dict[str, FGDLoss]", dict(self.items()))
        for name, loss in losses.items():
            loss._check(students[name], teachers[name])
        sizes = [students[name].shape[2:] for name in self]
        masks = dict(zip(self, scale_masks(gt_bboxes, img_shapes, sizes), strict=True))
        alike: dict[int, list[str]] = {}  # in an FPN all levels are as wide
        for name, loss in losses.items():
            alike.setdefault(loss.teacher_channels, []).append(name)
        values: dict[str, Tensor] = {}
        for names in alike.values():
            computed = _values(
                [losses[name] for name in names],
                [students[name] for name in names],
                [teachers[name] for name in names],
                [masks[name] for name in names],
            )
            values |= zip(names, computed, strict=True)
        return {name: values[name] for name in self}


def _values(
    losses: Sequence[FGDLoss],
    students: Sequence[Tensor],
    teachers: Sequence[Tensor],
    masks: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    """The loss of each of L levels, scalars; arguments as of `_terms`."""
    terms, weights = _terms(losses, students, teachers, masks)
    return (weights * terms).sum(dim=0).unbind()


def _terms(
    losses: Sequence[FGDLoss],
    students: Sequence[Tensor],
    teachers: Sequence[Tensor],
    masks: Sequence[Tensor],
) -> tuple[Tensor, Tensor]:
    """The four terms of each of L levels, in the order of FGDParts, and their weights: both (4, L).

    Args:
        losses: of levels that are as wide as each other.
        students, teachers: features of each level, (N, C, H, W).
        masks: scale masks of each level, (N, 2, H, W).
    """
    images, channels = len(masks[0]), losses[0].teacher_channels
    if images != len(students[0]):
        raise ValueError(
            f"a batch of {len(students[0])} images needs as many gt_bboxes and img_shapes, "
            f"got {images}"
        )
    students = [loss.aligned(student) for loss, student in zip(losses, students, strict=True)]
    # Sums are accumulated in float32 at least, whatever the precision of the features.
    with torch.autocast(masks[0].device.type, enabled=False):
        reduced = [
            reduce_features(
                student.flatten(2),
                teacher.detach().flatten(2),
                mask.flatten(2),
                loss.conv_mask_s.weight.flatten(),
                loss.conv_mask_t.weight.flatten(),
                scale=1 / (channels * loss.temperature),
            )
            for loss, student, teacher, mask in zip(losses, students, teachers, masks, strict=True)
        ]
        return _from_sums(losses, reduced)


def _from_sums(losses: Sequence[FGDLoss], reduced: Sequence[Reductions]) -> tuple[Tensor, Tensor]:
    """As `_terms`, from the sums over each level's features."""
    sums = torch.stack([each.sums for each in reduced], dim=1)  # (8, L, N, C)
    magnitudes, (difference, squared), contexts, focal = sums.split(2)
    images, channels = sums.shape[2:]
    pixels, temperature, *weights = on_device(
        [
            [each.spatial.shape[-1] for each in reduced],
            *([getattr(loss, name) for loss in losses] for name in _SETTINGS),
        ],
        like=sums,
    )
    pixels, temperature = pixels[:, None, None], temperature[:, None, None]

    # Equations 5 to 8: A^S and A^C from the sums of magnitudes, student's and teacher's.
    channel = channels * F.softmax(magnitudes / (pixels * temperature), dim=-1)
    spatial = torch.stack(
        [
            _distance(F.softmax(each.spatial / (channels * loss.temperature), dim=-1))
            for loss, each in zip(losses, reduced, strict=True)
        ]
    )

    # Equation 9: M S A^S A^C (s - t)^2, whose A^S is the softmax of the sums times P.
    focal = (pixels * focal * channel[1]).sum(dim=(2, 3))

    # Equation 10.
    attention = pixels[:, 0, 0] * spatial + _distance(channel, dim=(1, 2))

    # Equation 12: with c the difference of what R adds to s and to t at every pixel,
    # sum_p (s - t + c)^2 = sum_p (s - t)^2 + 2 c sum_p (s - t) + P c^2.
    added = _added(losses, contexts)
    relation = (squared + added * (2 * difference + pixels * added)).sum(dim=(1, 2))

    terms = torch.cat([focal, torch.stack([attention, relation])]) / images
    return terms, torch.stack(weights)


def _distance(both: Tensor, dim: tuple[int, ...] | None = None) -> Tensor:
    """The L1 distance of student's and teacher's attention, (2, ...), over some dimensions."""
    student, teacher = both
    return (student - teacher).abs().sum(dim=dim)


def _added(losses: Sequence[FGDLoss], contexts: Tensor) -> Tensor:
    """What R of equation 12 adds to every pixel of the student, less what it adds to the teacher's.

    Args:
        contexts: pooled contexts of student and teacher, (2, L, N, C).

    Returns:
        (L, N, C).
    """
    masks = [loss.conv_mask_s for loss in losses] + [loss.conv_mask_t for loss in losses]
    transforms = [loss.channel_add_conv_s for loss in losses]
    transforms += [loss.channel_add_conv_t for loss in losses]
    first, norm, _, last = zip(*transforms, strict=True)

    def matrices(modules: Sequence[Any]) -> Tensor:
        return torch.stack([module.weight.flatten(1) for module in modules]).mT

    def rows(modules: Sequence[Any], name: str = "bias") -> Tensor:
        return torch.stack([getattr(module, name).flatten() for module in modules])[:, None]

    # The bias of the logits cancels in their softmax. Published checkpoints hold it; with a
    # gradient of zero instead of none, every parameter counts as used in distributed training.
    x = contexts.flatten(0, 1) + 0 * rows(masks)
    x = torch.baddbmm(rows(first), x, matrices(first))
    x = F.layer_norm(x, x.shape[-1:], eps=norm[0].eps)
    x = F.relu(torch.addcmul(rows(norm), x, rows(norm, "weight")))
    x = torch.baddbmm(rows(last), x, matrices(last))
    student, teacher = x.unflatten(0, (2, -1))
    return student - teacher


def _context_mask(channels: int) -> nn.Conv2d:
    """W_k of equation 12: one logit for each pixel."""
    mask = nn.Conv2d(channels, 1, kernel_size=1)
    nn.init.kaiming_normal_(mask.weight, mode="fan_in", nonlinearity="relu")
    nn.init.zeros_(_bias(mask))
    return mask


def _context_transform(channels: int) -> nn.Sequential:
    """W_v2 ReLU(LN(W_v1 .)) of equation 12; zero at the start, so that R(F) = F."""
    first = nn.Conv2d(channels, channels // 2, kernel_size=1)
    last = nn.Conv2d(channels // 2, channels, kernel_size=1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(_bias(last))
    norm = nn.LayerNorm([channels // 2, 1, 1])
    return nn.Sequential(first, norm, nn.ReLU(inplace=True), last)


def _bias(convolution: nn.Conv2d) -> Tensor:
    """The bias of a convolution that has one, as all of this module have."""
    assert convolution.bias is not None
    return convolution.bias
