"""A detector that learns from another one: mmdet's side of FGD."""

import copy
from typing import Any

import torch
from mmdet.models import DETECTORS, build_detector
from mmdet.models.detectors import YOLOX, BaseDetector
from torch import Tensor

from fgd import compat
from fgd.checkpoint import read_checkpoint
from fgd.folding import folded
from fgd.loss import FGDLoss, PyramidLoss
from fgd.pair import Member, Normalisation, Pair
from fgd.pair.renormalise import Renormalise
from fgd.pair.taps import FPN_TAPS, IMAGE, Recorder, measured, shapes
from fgd.weights import inherit, load_strictly

compat.apply()


@DETECTORS.register_module()
class FGDDistiller(BaseDetector):
    """A student detector with one FGD loss for every distilled FPN level.

    The teacher is not a submodule: it follows the distiller from device to device, but it is in no
    state dict, no optimizer, no gradient bucket, and always in eval mode. Only its backbone and
    neck run, and the backbone's batch normalisations, which are constants, are folded into its
    convolutions, where that changes nothing. State dicts hold `student.*` and
    `distill_losses.loss_fgd_fpn_<level>.*`, as the published code names them.

    Attributes:
        levels: of the student that are distilled.
        teachers_level: the teacher's level that each of them learns from.
        pair: the two, as they were measured.

    Args:
        student: mmdet model config of the student.
        teacher: mmdet model config of the teacher.
        teacher_checkpoint: path of the teacher's weights; every tensor must fit.
        distill: `levels` (indices of neck outputs), `inherit` (the student's neck and head start
            from the teacher's), optionally `inherit_except` (patterns of tensors that do not) and
            `taps` (where features are taken, as `fgd.pair.taps.Recorder` has it; by default at an
            FPN's convolutions, as in the published code), `renormalise` (by "student" and
            "teacher", how they see pixels, where that differs), and FGDLoss's `temperature`,
            `alpha`, `beta`, `gamma`, `lambda_`.
        train_cfg, test_cfg: mmdet's builder passes them; student and teacher bring their own.
    """

    def __init__(
        self,
        student: dict,
        teacher: dict,
        teacher_checkpoint: str,
        distill: dict,
        train_cfg: None = None,
        test_cfg: None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        settings = dict(distill)
        self.levels: list[int] = list(settings.pop("levels"))
        self.inherit: bool = settings.pop("inherit")
        self.inherit_except: list[str] = list(settings.pop("inherit_except", ()))
        taps: str = settings.pop("taps", FPN_TAPS)
        pixels = settings.pop("renormalise", None)

        # DETR's head changes the config that it is built from.
        self.student = build_detector(copy.deepcopy(student))
        frozen = build_detector(copy.deepcopy(teacher))
        load_strictly(frozen, read_checkpoint(teacher_checkpoint)["state_dict"], teacher_checkpoint)
        frozen.eval()
        # Neck and head stay as they are: students inherit them.
        frozen.backbone = folded(frozen.backbone)
        frozen.requires_grad_(False)
        # A plain list hides the teacher from nn.Module, which registers every module attribute.
        self._unregistered = [frozen]

        self._student_features = Recorder(self.student, taps, "student")
        self._teacher_features = Recorder(frozen, taps, "teacher")
        self.pair = Pair(
            _member("student", student, self.student, self._student_features),
            _member("teacher", teacher, frozen, self._teacher_features),
        )
        self.teachers_level = self.pair.match_levels(self.levels)
        if self.inherit:
            self.pair.check_inheritance(self.inherit_except)
        self._renormalise = None
        if pixels is not None:
            views = (
                pixels[role] and Normalisation(**pixels[role]) for role in ("student", "teacher")
            )
            self._renormalise = Renormalise(*views)
        self.distill_losses = PyramidLoss(
            {
                loss_name(level): FGDLoss(
                    _channels(self.pair.student, level),
                    _channels(self.pair.teacher, other),
                    **settings,
                )
                for level, other in self.teachers_level.items()
            }
        )

    @property
    def teacher(self) -> BaseDetector:
        """The frozen teacher."""
        return self._unregistered[0]

    def init_weights(self) -> None:
        """Initialise the student, then let it inherit.

        The order matters: mmdet's own initialisation, run last, would overwrite what was inherited
        (published code with mmdet >= 2.12: RetinaNet-R50 ended at 30.4 AP instead of 40.7).
        """
        self.student.init_weights()
        if self.inherit:
            inherit(self.student, self.teacher, self.inherit_except)

    def forward_train(self, img: Tensor, img_metas: list[dict], **targets: Any) -> dict:
        """The student's losses and one `loss_fgd_fpn_<level>` for every distilled level.

        Args:
            img: (N, 3, H, W), normalised.
            img_metas: of each image, `img_shape` (h, w, 3) is its size before padding.
            targets: `gt_bboxes` (N tensors (k, 4) xyxy in pixels), `gt_labels`, and what else the
                student's detector takes.
        """
        with torch.no_grad():
            self.teacher.extract_feat(self._teachers_images(img, img_metas))
        # YOLOX scales its boxes in place; `img_shape` is that of the boxes as they came.
        gt_bboxes = [boxes.clone() for boxes in targets["gt_bboxes"]]
        losses = self.student.forward_train(img, img_metas, **targets)
        img_shapes = [meta["img_shape"][:2] for meta in img_metas]
        pairs = {loss_name(level): both for level, both in self._taken().items()}
        students, teachers = ({name: both[i] for name, both in pairs.items()} for i in range(2))
        return losses | self.distill_losses(students, teachers, gt_bboxes, img_shapes)

    def _taken(self) -> dict[int, tuple[Tensor, Tensor]]:
        """Student's and teacher's features of the pass that has just been, by level."""
        ours, theirs = self._student_features.take(), self._teacher_features.take()
        return {level: (ours[level], theirs[self.teachers_level[level]]) for level in self.levels}

    def _teachers_images(self, img: Tensor, img_metas: list[dict]) -> Tensor:
        """The images as the teacher gets them."""
        resized = self._resized(img)
        if self._renormalise is None:
            return resized
        return self._renormalise(resized, [meta["img_shape"][:2] for meta in img_metas])

    def _resized(self, img: Tensor) -> Tensor:
        """The images as the student's backbone gets them: YOLOX changes their size."""
        return self.student._preprocess(img, [])[0] if isinstance(self.student, YOLOX) else img

    @torch.no_grad()
    def features(self, img: Tensor) -> dict[int, tuple[Tensor, Tensor]]:
        """What the loss compares: student's and teacher's features by level, each (N, C, H, W).

        Args:
            img: (N, 3, H, W), normalised.
        """
        mode = self.training
        self.eval()
        self.student.extract_feat(img)
        self.teacher.extract_feat(img if self._renormalise is None else self._renormalise(img, []))
        self.train(mode)
        return self._taken()

    def check_sizes(self, image: tuple[int, int]) -> None:
        """Whether features of a level have one size in both, before anything expensive starts.

        Args:
            image: height and width in pixels, as the student's pipeline pads.

        Raises:
            FGDError: they have not.
        """
        student, teacher = (
            _member(role, known.model or {}, detector, recorder, image)
            for role, known, detector, recorder in (
                ("student", self.pair.student, self.student, self._student_features),
                ("teacher", self.pair.teacher, self.teacher, self._teacher_features),
            )
        )
        Pair(student, teacher).check_sizes(self.teachers_level, image)

    # Inference is the student's.
    def extract_feat(self, imgs: Tensor) -> Any:
        """The student's neck features."""
        return self.student.extract_feat(imgs)

    def simple_test(self, img: Tensor, img_metas: list[dict], **kwargs: Any) -> list:
        """The student's detections."""
        return self.student.simple_test(img, img_metas, **kwargs)

    def aug_test(self, imgs: list[Tensor], img_metas: list[list[dict]], **kwargs: Any) -> list:
        """The student's detections, merged over test-time augmentations."""
        return self.student.aug_test(imgs, img_metas, **kwargs)

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> "FGDDistiller":
        # .to(), .cuda() and .half() all come through here.
        self.teacher._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)


def loss_name(level: int) -> str:
    """The published code's name for a level's loss."""
    return f"loss_fgd_fpn_{level}"


def _member(
    role: str,
    model: dict,
    detector: BaseDetector,
    recorder: Recorder,
    image: tuple[int, int] = IMAGE,
) -> Member:
    levels = measured(detector, recorder, role, image)
    return Member(role, model, measured=levels, tensors=shapes(detector))


def _channels(member: Member, level: int) -> int:
    channels = (member.measured or {})[level].channels
    assert channels is not None  # of a level that was measured
    return channels
