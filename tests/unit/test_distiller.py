"""The distiller: what it holds, where its student starts, what it refuses."""

import copy
from fnmatch import fnmatchcase

import pytest
import torch
from detectors import training_config
from mmcv.runner import build_optimizer
from mmdet.models import build_detector

import fgd.distiller
from fgd import recipe
from fgd.errors import FGDError
from fgd.precision import Precision
from fgd.training.step import TrainStep


def distiller_of(suite, row) -> fgd.distiller.FGDDistiller:
    torch.manual_seed(0)
    distiller = build_detector(training_config(suite, row, "fgd").model)
    distiller.init_weights()
    return distiller


def a_batch(size=64) -> dict:
    meta = dict(
        img_shape=(size, size, 3),
        pad_shape=(size, size, 3),
        ori_shape=(size, size, 3),
        scale_factor=1.0,
    )
    return dict(
        img=torch.randn(2, 3, size, size),
        img_metas=[dict(meta), dict(meta)],
        gt_bboxes=[torch.tensor([[4.0, 4, 40, 50]]), torch.tensor([[10.0, 8, 30, 30]])],
        gt_labels=[torch.tensor([1]), torch.tensor([7])],
    )


def test_the_teacher_is_in_no_state_and_no_parameter(tiny_suite):
    distiller = distiller_of(tiny_suite, "retinanet_r50")
    prefixes = {name.split(".")[0] for name in distiller.state_dict()}
    assert prefixes == {"student", "distill_losses"}
    optimized = build_optimizer(distiller, dict(type="SGD", lr=0.1)).param_groups
    ours = {id(p) for group in optimized for p in group["params"]}
    assert ours.isdisjoint(id(p) for p in distiller.teacher.parameters())
    assert not any(p.requires_grad for p in distiller.teacher.parameters())


def test_the_teacher_stays_in_eval_mode_and_follows_the_distiller(tiny_suite):
    distiller = distiller_of(tiny_suite, "retinanet_r50").train().double()
    assert not any(module.training for module in distiller.teacher.modules())
    assert {p.dtype for p in distiller.teacher.parameters()} == {torch.float64}


@pytest.mark.parametrize("convolution", [None, dict(type="ConvAWS")])
def test_folded_batch_norms_leave_the_teachers_features_as_they_are(tiny_suite, convolution):
    config = training_config(tiny_suite, "retinanet_r50", "fgd").model
    config.teacher.backbone.conv_cfg = convolution
    whole = build_detector(config.teacher)
    for name, tensor in whole.state_dict().items():
        if name.endswith("running_var"):  # so that no batch norm is without effect
            tensor.add_(torch.rand_like(tensor))
    torch.save({"state_dict": whole.state_dict()}, config.teacher_checkpoint)
    distiller = build_detector(config)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        features = zip(
            distiller.teacher.extract_feat(image), whole.eval().extract_feat(image), strict=True
        )
    for ours, expected in features:
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("row", ["retinanet_r50", "reppoints_r50", "fcos_r50"])
def test_the_student_starts_from_backbone_file_and_teacher(tiny_suite, row):
    distiller = distiller_of(tiny_suite, row)
    student, teacher = distiller.student.state_dict(), distiller.teacher.state_dict()
    own = recipe.load_row(row).distill.get("inherit_except", [])
    inherited = [
        name
        for name in student
        if not name.startswith("backbone.") and not any(fnmatchcase(name, e) for e in own)
    ]
    assert len(inherited) > 20
    for name in inherited:
        assert torch.equal(student[name], teacher[name]), name
    backbone = training_config(tiny_suite, row, "baseline").model.backbone
    stored = torch.load(backbone.init_cfg.checkpoint)["state_dict"]
    for name, value in stored.items():
        assert torch.equal(student[f"backbone.{name}"], value), name


def test_a_two_stage_row_does_not_inherit(tiny_suite):
    distiller = distiller_of(tiny_suite, "faster_rcnn_r50")
    student, teacher = distiller.student.state_dict(), distiller.teacher.state_dict()
    weight = "neck.fpn_convs.0.conv.weight"
    assert student[weight].shape == teacher[weight].shape
    assert not torch.equal(student[weight], teacher[weight])


def test_gradients_reach_student_and_losses_and_every_level_counts(tiny_suite):
    distiller = distiller_of(tiny_suite, "retinanet_r50").train()
    loss, terms = TrainStep(distiller, Precision("fp32", torch.device("cpu")))(a_batch())
    assert {name for name in terms if "fgd" in name} == {f"loss_fgd_fpn_{i}" for i in range(5)}
    assert all(terms[f"loss_fgd_fpn_{i}"] > 0 for i in range(5))
    total = sum(value for name, value in terms.items() if name != "loss")
    assert torch.allclose(loss, total)
    loss.backward()
    without = [
        name for name, p in distiller.named_parameters() if p.requires_grad and p.grad is None
    ]
    assert without == []


def test_inference_is_the_students(tiny_suite):
    distiller = distiller_of(tiny_suite, "retinanet_r50").eval()
    batch = a_batch()
    inputs = dict(img=[batch["img"]], img_metas=[batch["img_metas"]], return_loss=False)
    with torch.no_grad():
        ours, students = distiller(**inputs), distiller.student(**inputs)
    for mine, theirs in zip(ours, students, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            assert (a == b).all()


def test_a_teacher_that_does_not_fit_its_config_is_refused(tiny_suite):
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model
    checkpoint = torch.load(model.teacher_checkpoint)
    whole = checkpoint["state_dict"]
    missing = {k: v for k, v in whole.items() if k != "neck.fpn_convs.1.conv.bias"}
    reshaped = whole | {"bbox_head.retina_cls.bias": torch.zeros(7)}
    foreign = whole | {"mask_head.weight": torch.zeros(1)}
    for state, message in [
        (missing, r"missing neck\.fpn_convs\.1\.conv\.bias"),
        (reshaped, r"bbox_head\.retina_cls\.bias is 7, the model has 90"),
        (foreign, r"not in the model: mask_head\.weight"),
    ]:
        torch.save({"state_dict": state}, model.teacher_checkpoint)
        with pytest.raises(FGDError, match=message):
            build_detector(copy.deepcopy(model))


def test_levels_that_do_not_exist_or_do_not_match_are_refused(tiny_suite):
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model
    model.distill.levels = [0, 5]
    with pytest.raises(FGDError, match="levels has 5, but the student has the FPN levels 0 to 4"):
        build_detector(model)

    model.distill.levels = [0, 1]
    build_detector(copy.deepcopy(model))
    model.student.backbone.strides = (4, 4, 4, 4)
    with pytest.raises(
        FGDError, match=r"FPN level 1 has stride 256 in the student, and the teacher has 8, 16, 32"
    ):
        build_detector(model)
