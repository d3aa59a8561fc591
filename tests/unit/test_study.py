"""The study's suite, and the page on its gains."""

import json
from dataclasses import replace

import pytest
from mmdet.models import build_detector

from fgd import recipe
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.report.study import write_study
from fgd.suite import load_suite
from fgd.weights import inherit

ABLATIONS = ("inherit_alone", "fgd_alone", "focal_only", "global_only", "attention_off")


@pytest.fixture(scope="module")
def suite():
    return load_suite(root() / "configs/suites/study.yaml")


@pytest.fixture
def results(suite, tmp_path):
    """Two seeds of a row that gains with one of them, and of an ablation that never does."""
    for name, aps in {
        "teachers/retinanet_x101_64x4d_fpn_1x_coco": [0.4],
        "retinanet_r50/baseline": [0.30, 0.32],
        "retinanet_r50/fgd": [0.35, 0.31],
        "focal_only/fgd": [0.29, 0.30],
    }.items():
        for seed, ap in enumerate(aps):
            folder = tmp_path / name / (f"seed{seed}" if seed else "")
            folder.mkdir(parents=True, exist_ok=True)
            report = {"sha256": "0123456789", "images": 300, "box": {"AP": ap}}
            (folder / "eval.json").write_text(json.dumps(report))
    return tmp_path


@pytest.fixture
def two_rows(suite):
    return replace(suite, rows=("retinanet_r50", "focal_only"), seeds=(0, 1))


def test_ablations_differ_in_what_they_are_called_after(suite):
    whole, *ablations = (
        recipe.compose(suite, recipe.load_row(name, suite), "fgd").training.model.distill
        for name in ("retinanet_r50", *ABLATIONS)
    )
    changes = [{k: each[k] for k in whole if each[k] != whole[k]} for each in ablations]
    assert changes == [
        {"alpha": 0, "beta": 0, "gamma": 0, "lambda_": 0},
        {"inherit": False},
        {"lambda_": 0},
        {"alpha": 0, "beta": 0, "gamma": 0},
        {"gamma": 0},
    ]


def test_ablations_share_one_baseline_and_claim_nothing_published(suite):
    plan = recipe.plan(suite)
    assert {plan.rows[name].baseline for name in ABLATIONS} == {"retinanet_r50"}
    assert all(recipe.load_row(name, suite).published == {} for name in ABLATIONS)


@pytest.mark.parametrize(
    ("row", "own"),
    [
        ("retinanet_r50", ["neck.fpn_convs.3.conv.weight"]),
        (
            "fcos_r50",
            [f"bbox_head.{kind}_convs.{i}.conv.bias" for kind in ("cls", "reg") for i in range(4)],
        ),
    ],
)
def test_a_thin_student_inherits_all_but_what_sees_its_backbone(suite, row, own):
    model = recipe.compose(suite, recipe.load_row(row, suite), "fgd").training.model
    student, teacher = build_detector(model.student), build_detector(model.teacher)
    laterals = [f"neck.lateral_convs.{i}.conv.weight" for i in range(3)]
    assert student.neck.in_channels == [channels // 2 for channels in teacher.neck.in_channels]

    inherited = inherit(student, teacher, model.distill.inherit_except)

    rest = {name for name in student.state_dict() if not name.startswith("backbone.")}
    assert rest - set(inherited) == {*laterals, *own}


def test_a_page_has_every_seeds_gain_and_says_where_there_is_none(two_rows, results, tmp_path):
    out = tmp_path / "docs" / "gains.md"
    write_study(two_rows, results, out, "make study")
    page = out.read_text()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    assert ["retinanet_r50", "+5.0", "-1.0", "+2.0", "+9.0"] in cells
    assert ["focal_only", "-1.0", "-2.0", "-1.5", "+9.0"] in cells
    assert "Above the baseline by 0.1 or more with some seeds only: retinanet_r50 (box)." in page
    assert "Above the baseline by 0.1 or more with no seed: focal_only (box)." in page
    assert "with every seed" not in page
    assert "Students were trained for 24 epochs, teachers for 24." in page
    assert "(gains.svg)" in page
    assert "retinanet_r50" in (tmp_path / "docs" / "gains.svg").read_text()


def test_a_teacher_without_masks_has_no_lead_in_them(suite, tmp_path):
    for folder, masks in {
        "teachers/cascade_mask_rcnn_x101_32x4d_fpn_dconv_c3-c5_1x_coco": {},
        **{f"mask_rcnn_r50/baseline{seed}": {"mask": {"AP": 0.3}} for seed in ("", "/seed1")},
        **{f"mask_rcnn_r50/fgd{seed}": {"mask": {"AP": 0.31}} for seed in ("", "/seed1")},
    }.items():
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        report = {"sha256": "0123456789", "images": 300, "box": {"AP": 0.4}} | masks
        (tmp_path / folder / "eval.json").write_text(json.dumps(report))
    out = tmp_path / "gains.md"
    one_row = replace(suite, rows=("mask_rcnn_r50",), seeds=(0, 1))
    write_study(one_row, tmp_path, out, "make study")
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in out.read_text().splitlines()]
    assert ["mask_rcnn_r50", "+0.0", "+0.0", "+0.0", "+0.0"] in cells
    assert ["mask_rcnn_r50, mask", "+1.0", "+1.0", "+1.0", "-"] in cells


def test_a_page_shows_whether_the_runs_had_learnt_all_they_could(two_rows, results, tmp_path):
    for folder, aps in {
        "retinanet_r50/baseline": (0.20, 0.30),
        "retinanet_r50/baseline/seed1": (0.22, 0.32),
        "focal_only/fgd": (0.28, 0.29),
    }.items():
        lines = [
            json.dumps({"iter": 300 * n, "epoch": 4 * n, "box": {"AP": ap}})
            for n, ap in enumerate(aps, 1)
        ]
        (results / folder / "run").mkdir()
        (results / folder / "run/validation.jsonl").write_text("\n".join(lines))
    out = tmp_path / "gains.md"
    write_study(two_rows, results, out, "make study")
    cells = [[c.strip() for c in line.split("|")[1:-1]] for line in out.read_text().splitlines()]
    assert ["Row", "Arm", "epoch 4", "epoch 8"] in cells
    assert ["retinanet_r50", "baseline", "21.0", "31.0"] in cells
    assert ["focal_only", "fgd", "28.0", "29.0"] in cells
    assert not any(line[:2] == ["focal_only", "baseline"] for line in cells)


def test_an_unfinished_study_has_no_page(two_rows, results, tmp_path):
    (results / "focal_only/fgd/seed1/eval.json").unlink()
    with pytest.raises(FGDError, match="suite study is not done: focal_only"):
        write_study(two_rows, results, tmp_path / "gains.md", "make study")
    with pytest.raises(FGDError, match="needs `seeds`, two or more"):
        write_study(replace(two_rows, seeds=(0,)), results, tmp_path / "gains.md", "make study")
    assert not (tmp_path / "gains.md").exists()
