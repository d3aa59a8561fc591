"""Options that would be ignored are refused."""

import pytest
from click.testing import CliRunner

from fgd.checkout import root
from fgd.cli import main

COCO = str(root() / "configs/suites/coco.yaml")
ROW = str(root() / "configs/distillers/retinanet_r50.py")
TEACHER = "retinanet_x101_64x4d_fpn_1x_coco"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compose", COCO, f"--teacher={TEACHER}", "--arm=fgd"], "--arm and --seed go with a ROW"),
        (["compose", COCO, f"--teacher={TEACHER}", "--seed=77"], "--arm and --seed go with a ROW"),
        (["compose", COCO, "gfl_r50", "--arm=fgd"], "suite coco has no row 'gfl_r50'; it has ret"),
        (
            ["compose", COCO, "--teacher=retinanet_x101_64x4d_fpn_2x_coco"],
            f"no row learns from 'retinanet_x101_64x4d_fpn_2x_coco'; did you mean '{TEACHER}'",
        ),
        (["download", TEACHER, "--sha256=12345678"], "--sha256 goes with a file of your own"),
        (["download", "torchvision://resnet50", "--sha256=1"], "--sha256 goes with a file"),
        (
            ["compose", ROW, "x", "--arm=fgd"],
            "retinanet_r50.py: is a row's file or another config; ",
        ),
        (["table", COCO, "--results=nowhere"], "'nowhere' does not exist"),
        (["plot", COCO, "--results=nowhere"], "'nowhere' does not exist"),
    ],
)
def test_options_are_not_ignored(tmp_path, arguments, message):
    result = CliRunner().invoke(main, [*arguments, f"--out={tmp_path / 'out'}"])
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert list(tmp_path.iterdir()) == []


def test_a_rehearsal_needs_pixels():
    result = CliRunner().invoke(main, ["prove", COCO, "--size=0"])
    assert result.exit_code == 2
    assert "0 is not in the range x>=1" in result.output


@pytest.mark.parametrize("command", ["prove", "memory"])
def test_a_row_that_no_suite_has_is_refused(tmp_path, command):
    out = tmp_path / "figures.json"
    result = CliRunner().invoke(main, [command, COCO, "--row=fcos_r500", f"--json={out}"])
    assert result.exit_code == 2
    assert "no row 'fcos_r500': these suites have faster_rcnn_r101, " in result.output
    assert "did you mean" in result.output
    assert not out.exists()


@pytest.mark.parametrize(
    "command",
    [
        ["compose", "mimi", "gfl_r50", "--arm=fgd", "--out=x"],
        ["table", "mimi", "--results=.", "--out=x"],
        ["memory", "mimi"],
    ],
)
def test_a_misspelt_suite_is_told_with_those_that_there_are(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "mimi: no such suite file; configs/suites has coco, " in said
    assert "did you mean 'mini'" in said


@pytest.mark.parametrize("name", ["mine.pt", "weights/mine", "mine.pth"])
def test_a_file_of_ones_own_may_have_any_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"weights")
    result = CliRunner().invoke(main, ["download", name, "--out=teacher.pth"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "teacher.pth").read_bytes() == b"weights"


def test_a_name_of_the_zoo_with_a_dot_is_no_file(tmp_path):
    result = CliRunner().invoke(
        main, ["download", "faster_rcnn_regnetx-3.2GF_fpn_9x_coco", f"--out={tmp_path / 'x.pth'}"]
    )
    assert "did you mean 'faster_rcnn_regnetx-3.2GF_fpn_" in result.output
