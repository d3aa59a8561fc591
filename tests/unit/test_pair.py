"""Whether a student and a teacher go together, asked of configs and of built detectors."""

import dataclasses

import pytest
import torch
from detectors import training_config
from mmdet.models import build_detector

from fgd import recipe
from fgd.errors import FGDError
from fgd.pair import Level, Member, Pair
from fgd.pair.taps import built


def pair_of(student: str, teacher: str, place: str = "") -> Pair:
    """Two detectors of the zoo, by their configs alone."""
    return Pair(
        Member("student", recipe.known_config(student).model, student),
        Member("teacher", recipe.known_config(teacher).model, teacher),
        place,
    )


@pytest.fixture
def both(tiny_suite) -> tuple[Pair, Pair]:
    """A row's pair as its configs tell it, and as it is built."""
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model
    members = {role: Member(role, model[role], role) for role in ("student", "teacher")}
    modules = {role: build_detector(model[role]).eval() for role in members}
    return Pair(**members), Pair(**{r: built(r, r, model[r], modules[r]) for r in members})


def test_configs_and_built_detectors_tell_the_same_levels(both):
    from_configs, from_modules = both
    for role in ("student", "teacher"):
        assert getattr(from_configs, role).levels == getattr(from_modules, role).levels
    assert from_configs.common_levels() == from_modules.common_levels() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("known", [0, 1], ids=["configs", "built"])
def test_a_reason_has_one_wording_however_it_was_found(both, known):
    pair = dataclasses.replace(both[known], place="row mine")
    with pytest.raises(FGDError) as raised:
        pair.check_levels([0, 7])
    assert str(raised.value) == (
        "row mine: distill.levels has 7, but the student student has the FPN levels 0 to 4"
    )
    finer = {index: Level(4 * 2**index, 32) for index in range(5)}
    pair = pair.with_levels(pair.student.levels, finer)
    with pytest.raises(FGDError) as raised:
        pair.check_levels([1])
    assert str(raised.value).startswith(
        "row mine: FPN level 1 has stride 16 in the student student and 8 in the teacher teacher: "
        "their features differ in height and width"
    )


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
        built("student", "", model, detector, "neck.out_convs.{level}")
    assert torch.is_grad_enabled()
