"""Whether a student and a teacher go together, asked of configs and of built detectors."""

import dataclasses

import pytest
import torch
from detectors import training_config
from mmdet.models import build_detector

from fgd import recipe
from fgd.errors import FGDError
from fgd.pair import Level, Member, Pair, an_image, level_strides
from fgd.pair.taps import built


def pair_of(student: str, teacher: str, origin: str = "") -> Pair:
    """Two detectors of the zoo, by their configs alone."""
    return Pair(
        Member("student", recipe.known_config(student).model, student),
        Member("teacher", recipe.known_config(teacher).model, teacher),
        origin,
    )


@pytest.fixture
def both(tiny_suite) -> tuple[Pair, Pair]:
    """A row's pair as its configs tell it, and as it is built."""
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model
    members = {role: Member(role, model[role], role) for role in ("student", "teacher")}
    modules = {role: build_detector(model[role]).eval() for role in members}
    return Pair(**members), Pair(
        **{r: built(r, r, model=model[r], detector=modules[r]) for r in members}
    )


@pytest.mark.parametrize(
    ("pad", "image"),
    [
        (dict(size_divisor=32), (320, 416)),
        (dict(size_divisor=128), (384, 512)),
        (dict(size=(640, 640)), (384, 512)),  # FPG cannot be run on multiples of 32 alone
        (dict(size=(1024, 1024)), (384, 512)),
        (dict(size=(608, 608)), (320, 416)),
    ],
)
def test_an_image_is_as_a_pipeline_pads_it(pad, image):
    assert an_image(dict(pipeline=[dict(type="Pad", **pad)])) == image


def test_configs_and_built_detectors_tell_the_same_levels(both):
    from_configs, from_modules = both
    for role in ("student", "teacher"):
        assert getattr(from_configs, role).levels == getattr(from_modules, role).levels
    assert from_configs.common_levels() == from_modules.common_levels() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("known", [0, 1], ids=["configs", "built"])
def test_a_reason_has_one_wording_however_it_was_found(both, known):
    pair = dataclasses.replace(both[known], origin="row mine")
    with pytest.raises(FGDError) as raised:
        pair.check_levels([0, 7])
    assert str(raised.value) == (
        "row mine: distill.levels has 7, but the student student has the FPN levels 0 to 4"
    )
    finer = {index: Level(4 * 2**index, 32) for index in range(5)}
    teacher = dataclasses.replace(pair.teacher, measured=finer)
    with pytest.raises(FGDError) as raised:
        dataclasses.replace(pair, teacher=teacher).check_levels([3, 4])
    assert str(raised.value).startswith(
        "row mine: FPN level 4 has stride 128 in the student student, and the teacher teacher has "
        "4, 8, 16, 32, 64: there is no level with features of the same size"
    )


def test_levels_that_begin_at_other_strides_are_matched_by_stride(both):
    pair, _ = both
    finer = {index: Level(4 * 2**index, 32) for index in range(5)}
    pair = dataclasses.replace(pair, teacher=dataclasses.replace(pair.teacher, measured=finer))
    assert pair.common_levels() == [0, 1, 2, 3]
    assert pair.match_levels([0, 3]) == {0: 1, 3: 4}


def test_what_is_inherited_is_what_both_have(both):
    _, pair = both
    assert pair.obstacles() == []
    inherited = pair.inherited(["bbox_head.retina_cls.*"])
    assert "neck.fpn_convs.0.conv.weight" in inherited
    assert "bbox_head.retina_cls.bias" not in inherited
    assert not [name for name in inherited if name.startswith("backbone.")]


def test_tensors_that_differ_are_named_and_can_be_left_out(both):
    _, pair = both
    tensors = pair.teacher.tensors | {"neck.lateral_convs.0.conv.weight": (32, 7, 1, 1)}
    tensors.pop("bbox_head.retina_cls.bias")
    tensors["mask_head.weight"] = (3,)
    wider = dataclasses.replace(pair, teacher=dataclasses.replace(pair.teacher, tensors=tensors))
    assert wider.other_shapes("neck.") == ["neck.lateral_convs.0.conv.weight"]
    assert wider.obstacles() == [
        "bbox_head.retina_cls.bias is in the student alone",
        "mask_head.weight is in the teacher alone",
        "neck.lateral_convs.0.conv.weight is 32x32x1x1 in the student, 32x7x1x1 in the teacher",
    ]
    assert wider.obstacles(["neck.*", "bbox_head.retina_cls.bias"]) == [
        "mask_head.weight is in the teacher alone"
    ]
    with pytest.raises(FGDError, match=r"cannot inherit the teacher's neck and head \(of teacher"):
        wider.check_inheritance()


def test_classes_of_other_data_are_refused():
    pair = pair_of("retinanet_r50_fpn_1x_coco", "retinanet_r101_fpn_1x_coco", "row mine")
    pair.check_classes(80, "coco.py")
    with pytest.raises(FGDError, match=r"row mine: the student retinanet_r50.* tells 80 classes"):
        pair.check_classes(3, "birds.py")


def test_features_that_the_configs_do_not_describe_are_named(both):
    pair, _ = both
    right = (32, 16, 16)
    pair.check_features({0: (right, right)}, 128)
    with pytest.raises(FGDError, match=r"level 0 of the teacher.*expected .* 32x16x16 .* 32x8x8"):
        pair.check_features({0: (right, (32, 8, 8))}, 128)


def test_a_detector_without_the_tapped_modules_is_refused(tiny_suite):
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model.student
    detector = build_detector(model).eval()
    with pytest.raises(FGDError, match=r"the student has no module neck\.out_convs\.0"):
        built("student", "", model=model, detector=detector, taps="neck.out_convs.{level}")
    with pytest.raises(FGDError, match=r"the student has no module neck\.out, which distill\.taps"):
        built("student", "", model=model, detector=detector, taps="neck.out")
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    ("taps", "reason"),
    [
        ("bbox_head", "bbox_head takes no part in its backbone and neck"),
        ("neck.fpn_convs.{level}.norm", "has no module neck.fpn_convs.0.norm"),
        ("backbone.layer{level}.0.bn1", None),  # a module without out_channels
    ],
)
def test_any_module_that_gives_feature_maps_can_be_tapped(tiny_suite, taps, reason):
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model.student
    detector = build_detector(model)
    if reason is None:
        levels = built("student", "", model=model, detector=detector, taps=taps).levels
        assert {n: (level.stride, level.channels) for n, level in levels.items()} == {
            1: (4, 16),
            2: (8, 32),
            3: (16, 64),
            4: (32, 128),
        }
        assert detector.training
    else:
        with pytest.raises(FGDError, match=reason):
            built("student", "", model=model, detector=detector, taps=taps)


def test_an_operator_that_a_cpu_lacks_is_told(tiny_suite, monkeypatch):
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model.student
    detector = build_detector(model).eval()

    def carafe(images):
        raise RuntimeError("carafe_forward_impl: implementation for device cpu not found.\n")

    monkeypatch.setattr(detector, "extract_feat", carafe)
    with pytest.raises(FGDError, match=r"the student mine .* for GPUs alone \(carafe_forward"):
        built("student", "mine", model=model, detector=detector)


@pytest.mark.parametrize(
    ("student", "teacher", "key"),
    [
        (
            "retinanet_r50_fpn_1x_coco",
            "retinanet_free_anchor_r101_fpn_1x_coco",
            "bbox_head.bbox_coder.target_stds is [1.0, 1.0, 1.0, 1.0] in the student, [0.1, 0.1, "
            "0.2, 0.2] in the teacher",
        ),
        (
            "mask_rcnn_r50_fpn_gn-all_2x_coco",
            "mask_rcnn_r101_fpn_gn_ws-all_2x_coco",
            "neck.conv_cfg is None in the student, {'type': 'ConvWS'} in the teacher",
        ),
        (
            "faster_rcnn_r50_fpn_1x_coco",
            "faster_rcnn_r50_fpn_giou_1x_coco",
            "roi_head.bbox_head.reg_decoded_bbox is False in the student, True in the teacher",
        ),
        (
            "fcos_r50_caffe_fpn_gn-head_1x_coco",
            "fcos_center-normbbox-centeronreg-giou_r50_caffe_fpn_gn-head_1x_coco",
            "bbox_head.centerness_on_reg is False in the student, True in the teacher",
        ),
        (
            "retinanet_r50_fpn_1x_coco",
            "sabl_retinanet_r50_fpn_1x_coco",
            "bbox_head.type is RetinaHead in the student, SABLRetinaHead in the teacher",
        ),
        (
            "faster_rcnn_r50_fpn_1x_coco",
            "faster_rcnn_r50_pafpn_1x_coco",
            "neck.type is FPN in the student, PAFPN in the teacher",
        ),
    ],
)
def test_weights_that_mean_something_else_are_not_inherited(student, teacher, key):
    pair = pair_of(student, teacher)
    assert key in pair.obstacles()
    with pytest.raises(FGDError, match=r"cannot inherit the teacher's neck and head"):
        pair.check_inheritance()


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("anchor_generator.octave_base_scale", 8, "octave_base_scale is 4 in the student, 8 in"),
        ("loss_cls.use_sigmoid", False, "loss_cls.use_sigmoid is True in the student, False in"),
        ("num_classes", 3, "number of classes is 80 in the student, 3 in the teacher"),
        ("norm_cfg", {"type": "BN"}, "norm_cfg is None in the student, {'type': 'BN'} in the"),
        ("reg_decoded_bbox", False, None),  # as where it is not said
        ("conv_cfg", None, None),
        ("bbox_coder.clip_border", False, None),  # of training
        ("loss_bbox.loss_weight", 2.0, None),
    ],
)
def test_a_key_of_a_head_is_compared_if_it_is_of_its_weights(path, value, reason):
    pair = pair_of("retinanet_r50_fpn_1x_coco", "retinanet_r101_fpn_1x_coco")
    *above, key = path.split(".")
    node = pair.teacher.model.bbox_head
    for name in above:
        node = node[name]
    node[key] = value
    obstacles = pair.obstacles()
    assert len(obstacles) == (reason is not None)
    assert reason is None or reason in obstacles[0]
    if reason and key != "num_classes":
        assert pair.obstacles(["bbox_head.*"]) == []
        assert pair.obstacles(["bbox_head.retina_reg.*"]) == obstacles


@pytest.mark.parametrize(
    ("model", "path", "value"),
    [
        ("fovea_r50_fpn_4x4_1x_coco", "bbox_head.base_edge_list", [32, 64, 128, 256, 512]),
        ("vfnet_r50_fpn_1x_coco", "bbox_head.bbox_norm_type", "stride"),
        ("faster_rcnn_hrnetv2p_w18_1x_coco", "neck.pooling_type", "MAX"),
        ("faster_rcnn_r50_fpn_1x_coco", "roi_head.bbox_roi_extractor.finest_scale", 28),
        ("faster_rcnn_r50_fpn_1x_coco", "roi_head.bbox_roi_extractor.roi_layer.aligned", False),
        ("retinanet_r50_fpn_1x_coco", "bbox_head.a_key_of_tomorrow", 1),
        # No shape says among how many heads, or points, channels are shared out.
        (
            "detr_r50_8x2_150e_coco",
            "bbox_head.transformer.decoder.transformerlayers.attn_cfgs.num_heads",
            4,
        ),
        ("reppoints_moment_r50_fpn_1x_coco", "bbox_head.num_points", 25),
    ],
)
def test_a_key_that_nobody_has_classified_is_compared(model, path, value):
    pair = pair_of(model, model)
    assert pair.obstacles() == []
    *above, key = path.split(".")
    node = pair.teacher.model
    for name in above:
        node = node[name]
    node[key] = value
    (obstacle,) = pair.obstacles()
    assert obstacle.startswith(f"{path} is ") and f"{value} in the teacher" in obstacle


@pytest.mark.parametrize(
    ("student", "teacher"),
    [
        ("retinanet_r50_fpn_1x_coco", "pisa_retinanet_x101_32x4d_fpn_1x_coco"),
        ("retinanet_r50_fpn_1x_coco", "retinanet_ghm_r101_fpn_1x_coco"),
        ("faster_rcnn_r50_fpn_1x_coco", "pisa_faster_rcnn_r50_fpn_1x_coco"),
    ],
)
def test_what_is_only_trained_otherwise_means_the_same(student, teacher):
    assert pair_of(student, teacher).obstacles() == []


def test_what_a_class_has_by_default_is_what_says_it():
    pair = pair_of("fcos_r50_caffe_fpn_gn-head_1x_coco", "fcos_r101_caffe_fpn_gn-head_1x_coco")
    head = pair.teacher.model.bbox_head
    head.norm_cfg = dict(type="GN", num_groups=32, requires_grad=True)
    assert pair.obstacles() == []
    head.norm_cfg["num_groups"] = 16
    assert pair.obstacles() == [
        "bbox_head.norm_cfg.num_groups is 32 in the student, 16 in the teacher"
    ]


@pytest.mark.parametrize(
    ("name", "strides"),
    [
        ("retinanet_r50_fpn_1x_coco", [8, 16, 32, 64, 128]),
        ("faster_rcnn_r50_fpn_1x_coco", [4, 8, 16, 32, 64]),
        ("retinanet_effb3_fpn_crop896_8x4_1x_coco", [8, 16, 32, 64, 128]),
        ("retinanet_pvt-t_fpn_1x_coco", [8, 16, 32, 64, 128]),
        ("faster_rcnn_regnetx-3.2GF_fpn_1x_coco", [4, 8, 16, 32, 64]),
        ("faster_rcnn_hrnetv2p_w32_1x_coco", [4, 8, 16, 32, 64]),
        ("fcos_hrnetv2p_w18_gn-head_4x4_1x_coco", [8, 16, 32, 64, 128]),  # HRFPN has a stride
        ("atss_swin-l-p4-w12_fpn_dyhead_mstrain_2x_coco", [8, 16, 32, 64, 128]),
        ("libra_retinanet_r50_fpn_1x_coco", [8, 16, 32, 64, 128]),
        ("nas_fcos_nashead_r50_caffe_fpn_gn-head_4x4_1x_coco", [8, 16, 32, 64, 128]),
        ("deformable_detr_r50_16x2_50e_coco", [8, 16, 32, 64]),
        ("yolox_s_8x8_300e_coco", [8, 16, 32]),
        ("yolov3_d53_mstrain-608_273e_coco", [32, 16, 8]),
        ("yolof_r50_c5_8x8_1x_coco", [32]),
        ("faster_rcnn_r50_caffe_c4_1x_coco", [16]),
        ("faster_rcnn_r50_caffe_dc5_1x_coco", [16]),
        ("cornernet_hourglass104_mstest_10x5_210e_coco", None),
    ],
)
def test_strides_follow_from_backbone_and_neck(name, strides):
    assert level_strides(recipe.known_config(name).model) == strides


def test_strides_of_a_convnext():
    backbone = dict(type="mmcls.ConvNeXt", out_indices=[0, 1, 2, 3])  # mmcls need not be there
    neck = dict(type="FPN", in_channels=[96, 192, 384, 768], out_channels=256, num_outs=5)
    assert level_strides(dict(backbone=backbone, neck=neck)) == [4, 8, 16, 32, 64]


def test_a_detector_without_classes_is_refused():
    pair = pair_of("retinanet_r50_fpn_1x_coco", "ga_rpn_r50_caffe_fpn_1x_coco", "row mine")
    with pytest.raises(FGDError, match=r"row mine: the teacher ga_rpn.* tells no classes apart"):
        pair.check_classes(None, "coco.py")
