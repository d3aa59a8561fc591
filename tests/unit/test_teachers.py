"""Which of the zoo's models can teach a student."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fgd import recipe, zoo
from fgd.cli import main
from fgd.errors import FGDError
from fgd.pair.meaning import differences, with_defaults
from fgd.teachers import Built, all_facts, built, compared, facts, judged, match

STUDENT = "retinanet_r50_fpn_2x_coco"
REASONS = {
    "retinanet_x101_64x4d_fpn_1x_coco": "",
    "retinanet_free_anchor_r101_fpn_1x_coco": "",
    "faster_rcnn_x101_64x4d_fpn_2x_coco": "",
    "retinanet_r50_fpn_1x_coco": "has no higher AP than the student",
    "retinanet_r101_caffe_fpn_1x_coco": "sees other pixels (distill.renormalise would turn them)",
    "mask_rcnn_r50_fpn_sample1e-3_seesaw_loss_mstrain_2x_lvis_v1": "trained on other data",
    "cornernet_hourglass104_mstest_10x5_210e_coco": "its levels are known once it is built",
    "mask_rcnn_convnext-t_p4_w7_fpn_fp16_ms-crop_3x_coco": "cannot be downloaded or read",
}


@pytest.fixture(scope="module")
def known():
    """Facts of a few models, found once and then read from the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "search", lambda text: [STUDENT, *REASONS])
        said = []
        found = all_facts(said.append)
        assert len(said) == 1
        assert all_facts(said.append) == found
        assert len(said) == 1
        yield found


@pytest.mark.parametrize("name", REASONS)
def test_each_model_has_its_reason(known, name):
    reason = judged(known[STUDENT], known[name]).reason
    assert reason.startswith(REASONS[name])
    assert bool(reason) == bool(REASONS[name])


def test_the_best_teacher_comes_first_and_the_rest_is_counted(known):
    found = match(STUDENT, known)
    names = [teacher.facts.name for teacher in found.teachers]
    assert sorted(names) == sorted(name for name, reason in REASONS.items() if not reason)
    aps = [teacher.facts.box_ap for teacher in found.teachers]
    assert aps == sorted(aps, reverse=True)
    assert sum(found.others.values()) == len(REASONS) - len(names)


def test_what_is_inherited_and_matched_is_told(known):
    x101 = judged(known[STUDENT], known["retinanet_x101_64x4d_fpn_1x_coco"])
    assert (x101.own, x101.strides) == ("", (8, 16, 32, 64, 128))
    other = judged(known[STUDENT], known["retinanet_free_anchor_r101_fpn_1x_coco"])
    assert "bbox_coder.target_stds" in other.own
    two_stage = judged(known[STUDENT], known["faster_rcnn_x101_64x4d_fpn_2x_coco"])
    assert two_stage.levels == {0: 1, 1: 2, 2: 3}  # its last level is pooled


@pytest.mark.parametrize(
    ("student", "teacher", "reason"),
    [
        (
            "yolox_s_8x8_300e_coco",
            "yolox_l_8x8_300e_coco",
            "bbox_head.multi_level_cls_convs.0.0.bn.bias is 128 in the student, 256 in the teacher",
        ),
        (
            "faster_rcnn_r50_fpn_1x_coco",
            "libra_faster_rcnn_x101_64x4d_fpn_1x_coco",
            "neck is FPN in the student, FPN and BFP in the teacher",
        ),
        ("retinanet_r18_fpn_1x_coco", "retinanet_ghm_x101_64x4d_fpn_1x_coco", ""),
        ("retinanet_r18_fpn_1x_coco", "retinanet_x101_64x4d_fpn_1x_coco", ""),
    ],
)
def test_neck_and_head_are_compared_as_they_are_built(monkeypatch, student, teacher, reason):
    monkeypatch.setattr(facts, "_keep", lambda file, value: None)
    ours, theirs = facts._facts(student), facts._facts(teacher)
    found = compared(ours, judged(ours, theirs), built([student, teacher], lambda line: None))
    assert (found.reason, found.own) == ("", reason)


def test_what_was_built_is_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr(facts, "_file", lambda what: tmp_path / f"{what}.json")
    said = []
    first = built([STUDENT], said.append)
    assert first[STUDENT].parameters == 37_968_692
    assert first[STUDENT].tensors["bbox_head.retina_reg.bias"] == (36,)
    assert not any(name.startswith("backbone.") for name in first[STUDENT].tensors)
    monkeypatch.setattr(facts, "_build", lambda name: None)
    assert built([STUDENT], said.append) == first
    assert built([STUDENT, "other"], said.append) == first | {"other": None}
    assert len(said) == 2


def test_an_unknown_student_is_refused(known):
    with pytest.raises(FGDError, match=f"no model 'retinanet_r50'; did you mean '{STUDENT}'"):
        match("retinanet_r50", known)


@pytest.mark.parametrize(
    "pair",
    [
        (STUDENT, "retinanet_free_anchor_r101_fpn_1x_coco"),
        (STUDENT, "retinanet_ghm_r101_fpn_1x_coco"),
        ("faster_rcnn_r50_fpn_1x_coco", "faster_rcnn_r50_fpn_giou_1x_coco"),
        ("fcos_r50_caffe_fpn_gn-head_1x_coco", "fcos_r101_caffe_fpn_gn-head_1x_coco"),
    ],
)
def test_defaults_that_are_said_change_no_comparison(pair):
    models = [recipe.known_config(name).model.to_dict() for name in pair]
    said = [json.loads(json.dumps(with_defaults(model), default=str)) for model in models]
    assert [line.partition(" is ")[0] for line in differences(*said)] == [
        line.partition(" is ")[0] for line in differences(*models)
    ]


def test_what_is_kept_is_looked_up_without_torch(known):
    code = (
        "import sys; from fgd import zoo; from fgd.teachers import all_facts, match;"
        f"match({STUDENT!r}, all_facts(sys.exit));"
        "sys.exit(sorted({'torch', 'mmcv', 'mmdet'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_another_config_is_another_entry(known, monkeypatch):
    before = facts._file("facts")
    monkeypatch.setattr(facts, "source_hash", lambda: "another")
    assert facts._file("facts") != before


def test_the_list_fits_a_terminal(known, monkeypatch):
    monkeypatch.setattr("fgd.teachers.facts._build", lambda name: Built(37_000_000, {}))
    result = CliRunner().invoke(main, ["zoo", "match", STUDENT])
    lines = result.stdout.splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0] == "box AP  mask  params  strides  head  teacher"
    names = [each.facts.name for each in match(STUDENT, known).teachers]
    assert [line.split()[-1] for line in lines[1 : len(names) + 1]] == names
    assert "    1 has no higher AP than the student" in lines
    shown = json.loads(CliRunner().invoke(main, ["zoo", "match", STUDENT, "--json"]).stdout)
    assert shown["teachers"][0]["parameters"] == 37_000_000
