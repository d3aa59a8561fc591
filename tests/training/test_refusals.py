"""Wrong runs that cost users of the published code days, refused by the command they meet."""

import json

import pytest
import torch
from click.testing import CliRunner
from detectors import save_teacher, training_config, write_config

from fgd import recipe
from fgd.cli import main
from fgd.files import sha256
from fgd.zoo.publish import publish

TEACHER = recipe.load_row("retinanet_r50").teacher


def fgd(*words) -> tuple[int, str]:
    """Exit status of a command, and what it prints."""
    done = CliRunner().invoke(main, [str(word) for word in words])
    return done.exit_code, done.output


def rewrite(path, change) -> None:
    checkpoint = torch.load(path)
    change(checkpoint["state_dict"])
    torch.save(checkpoint, path)


@pytest.fixture
def teacher(tiny_suite, tmp_path):
    """A published teacher: its folder of metafiles, its config and its checkpoint, downloaded."""
    index = tmp_path / "zoo"
    trained = save_teacher(tiny_suite, TEACHER)
    evaluation = tmp_path / "eval.json"
    # It was never trained.
    evaluation.write_text(json.dumps({"sha256": sha256(trained), "box": {"AP": 0.0}}))
    publish(trained, name=TEACHER, index=index, evaluation=evaluation)
    recipe.write_teacher(tiny_suite, TEACHER, trained.parent)
    trained.unlink()  # a download writes over no other file
    assert fgd("download", TEACHER, "--index", index, "--out", trained) == (0, "")
    return index, trained.parent / "detector.py", trained


def check(index, config, checkpoint) -> str:
    """What the gate says; it lets nobody through and writes no report."""
    report = checkpoint.with_name("checked.json")
    status, said = fgd(
        "check-teacher", TEACHER, config, checkpoint, "--index", index, "--out", report
    )
    assert status == 2
    assert not report.exists()
    return said


def nudge(state) -> None:
    state["bbox_head.retina_cls.bias"][0] += 1e-3


def test_a_perturbed_teacher_is_not_downloaded(teacher, tmp_path):
    index, *_ = teacher
    (published,) = index.glob("*.pth")
    rewrite(published, nudge)
    target = tmp_path / "elsewhere.pth"
    status, said = fgd("download", TEACHER, "--index", index, "--out", target)
    assert status == 2
    assert "expected a file with sha256" in said
    assert not target.exists()


def test_a_teacher_perturbed_after_its_download_does_not_pass_the_gate(teacher):
    rewrite(teacher[2], nudge)
    said = check(*teacher)
    assert f"teacher {TEACHER}" in said
    assert "is not the published checkpoint" in said


def test_a_teacher_without_a_tensor_does_not_pass_the_gate(teacher):
    rewrite(teacher[2], lambda state: state.pop("neck.fpn_convs.3.conv.weight"))
    assert "missing neck.fpn_convs.3.conv.weight" in check(*teacher)


def test_the_teacher_of_another_row_does_not_pass_the_gate(teacher, tiny_suite):
    other = save_teacher(tiny_suite, recipe.load_row("fcos_r50").teacher)
    said = check(*teacher[:2], other)
    assert "does not fit the model that its config describes" in said


def test_a_right_teacher_passes_the_gate(teacher, tmp_path):
    index, config, checkpoint = teacher
    out = tmp_path / "checked.json"
    arguments = [TEACHER, config, checkpoint, "--index", index, "--out", out]
    status, said = fgd("check-teacher", *arguments)
    assert status == 0, said
    assert out.exists()


def test_a_student_whose_config_initialises_it_as_a_whole_is_refused(tiny_suite, tmp_path):
    """mmcv then loads a detector's weights over what the backbone's checkpoint gave."""
    config = training_config(tiny_suite, "retinanet_r50", "fgd")
    whole = save_teacher(tiny_suite, "retinanet_r50_fpn_2x_coco")
    config.model.student.init_cfg = dict(type="Pretrained", checkpoint=str(whole))
    write_config(config, tmp_path / "config.py")
    folders = ["--work-dir", tmp_path / "run", "--out", tmp_path / "out.pth"]
    status, said = fgd("train", tmp_path / "config.py", *folders)
    assert status == 2
    assert "tensors do not start from where the config says" in said
    assert "backbone.conv1.weight is from own initialisation, not backbone checkpoint" in said
    assert not (tmp_path / "out.pth").exists()
