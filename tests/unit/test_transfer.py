"""Transfer: a plain mmdet student out of ours and of the published code's checkpoints."""

import hashlib
import json

import pytest
import torch
from click.testing import CliRunner

from fgd import zoo
from fgd.cli import main
from fgd.errors import FGDError
from fgd.export import transfer
from fgd.files import sha256
from fgd.mmdet3.write import transfer_to_mmdet3
from fgd.zoo.publish import publish

STUDENT = {"backbone.conv1.weight": torch.arange(6.0), "neck.bias": torch.ones(2)}


def save(path, state, **more):
    torch.save({"state_dict": state, "optimizer": {"step": 7}, **more}, path)
    return path


def published_layout():
    return {
        **{f"student.{name}": value for name, value in STUDENT.items()},
        "teacher.backbone.conv1.weight": torch.zeros(3),
        "distill_losses.loss_fgd_fpn_0.conv_mask_s.weight": torch.zeros(1),
        "student_neck_fpn_convs_0_conv": torch.zeros(1),  # a buffer of the published code's
    }


def test_only_the_student_is_kept(tmp_path):
    source = save(tmp_path / "epoch_24.pth", published_layout(), meta={"CLASSES": ("a", "b")})
    written = transfer(source, tmp_path / "student.pth", "my_row")
    plain = torch.load(tmp_path / "student.pth")
    assert plain["state_dict"].keys() == STUDENT.keys()
    assert all(torch.equal(plain["state_dict"][name], STUDENT[name]) for name in STUDENT)
    assert plain["meta"]["CLASSES"] == ("a", "b")
    assert "optimizer" not in plain
    digest = hashlib.sha256(written.read_bytes()).hexdigest()
    assert written.name == f"my_row-{digest[:8]}.pth"
    assert (tmp_path / "student.pth").readlink().name == written.name


def test_of_student_and_teacher_without_a_distillation_none_is_taken(tmp_path):
    both = {f"student.{name}": value for name, value in STUDENT.items()}
    both |= {f"teacher.{name}": value + 1 for name, value in STUDENT.items()}
    source = save(tmp_path / "soft.pth", both, meta={"CLASSES": ("a", "b")})
    with pytest.raises(
        FGDError, match=r"soft\.pth: holds student\.\* and teacher\.\*, and no"
    ) as no:
        transfer(source, tmp_path / "out.pth", "mine")
    assert list(tmp_path.iterdir()) == [source]
    assert "`fgd transfer --keep teacher`" in str(no.value)
    command = ["transfer", str(source), "--name=mine", f"--out={tmp_path / 'out.pth'}"]
    assert CliRunner().invoke(main, [*command, "--keep=teacher"]).exit_code == 0
    plain = torch.load(tmp_path / "out.pth")
    assert plain["meta"]["CLASSES"] == ("a", "b")
    assert {name: tensor.tolist() for name, tensor in plain["state_dict"].items()} == {
        name: (tensor + 1).tolist() for name, tensor in STUDENT.items()
    }
    with pytest.raises(FGDError, match=r"holds no student\.\* tensors; leave --keep student out"):
        transfer(tmp_path / "out.pth", tmp_path / "again.pth", "mine", keep="student")


def test_a_file_is_not_replaced_by_the_link(tmp_path):
    source = save(tmp_path / "epoch_24.pth", published_layout(), meta={})
    before = source.read_bytes()
    with pytest.raises(FGDError, match=r"epoch_24\.pth: is there already and no link"):
        transfer(source, source, "mine")
    assert source.read_bytes() == before
    assert list(tmp_path.iterdir()) == [source]
    transfer(source, tmp_path / "student.pth", "mine")
    transfer(source, tmp_path / "student.pth", "mine")  # over its own link


@pytest.mark.parametrize("order", [("a.pth", "--out", "a.pth"), ("--out", "a.pth", "a.pth")])
def test_no_command_writes_over_what_it_reads(tmp_path, monkeypatch, order):
    monkeypatch.chdir(tmp_path)
    mine = '"made_with" "mask_threshold", as in an earlier export'
    for name in ("a.py", "a.pth"):
        (tmp_path / name).write_text(mine)
    result = CliRunner().invoke(main, ["export", "a.py", *order])
    assert result.exit_code == 2
    assert "a.pth: would be written over what is read" in result.output
    assert (tmp_path / "a.pth").read_text() == mine


@pytest.mark.parametrize(
    "meta", [{"dataset_meta": {"classes": ("a", "b")}}, {"CLASSES": ("a", "b")}]
)
def test_the_classes_are_kept_wherever_they_stand(tmp_path, meta):
    source = save(tmp_path / "epoch_12.pth", STUDENT, meta=meta)
    transfer(source, tmp_path / "student.pth", "x")
    assert torch.load(tmp_path / "student.pth")["meta"] == {"CLASSES": ("a", "b")}


def test_the_name_of_a_single_class_is_not_three_classes(tmp_path):
    transfer(save(tmp_path / "a.pth", STUDENT, meta={"CLASSES": "dog"}), tmp_path / "b.pth", "x")
    assert torch.load(tmp_path / "b.pth")["meta"]["CLASSES"] == ("dog",)


def test_classes_that_are_a_number_are_refused(tmp_path):
    source = save(tmp_path / "a.pth", STUDENT, meta={"CLASSES": 3})
    with pytest.raises(FGDError, match=r"a\.pth: meta\.CLASSES is 3; expected the names"):
        transfer(source, tmp_path / "b.pth", "x")


def test_a_detector_s_own_training_keeps_its_whole_state(tmp_path):
    source = save(tmp_path / "iter.pth", STUDENT)
    transfer(source, tmp_path / "student.pth", "baseline")
    assert torch.load(tmp_path / "student.pth")["state_dict"].keys() == STUDENT.keys()


def test_the_same_weights_get_the_same_name(tmp_path):
    source = save(tmp_path / "iter.pth", STUDENT)
    first = transfer(source, tmp_path / "a" / "student.pth", "x")
    assert first.name == transfer(source, tmp_path / "b" / "student.pth", "x").name


def test_what_is_no_detector_is_refused(tmp_path):
    source = save(tmp_path / "classifier.pth", {"fc.weight": torch.ones(1)})
    with pytest.raises(FGDError, match=r"classifier\.pth: holds no detector"):
        transfer(source, tmp_path / "student.pth", "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["classifier.pth"]


class Touch:
    """Unpickling this would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    source = save(tmp_path / "evil.pth", STUDENT, meta=Touch(tmp_path / "ran"))
    with pytest.raises(FGDError, match=r"evil\.pth: holds the Python object _?io\.open"):
        transfer(source, tmp_path / "student.pth", "x")
    assert not (tmp_path / "ran").exists()


def test_published_weights_are_found_by_the_zoo(tmp_path):
    source = save(tmp_path / "iter.pth", STUDENT)
    evaluation = tmp_path / "eval.json"
    measured = {"sha256": sha256(source), "box": {"AP": 0.3951}, "mask": {"AP": 0.2}}
    evaluation.write_text(json.dumps(measured))
    publish(
        source,
        name="my_teacher",
        index=tmp_path / "zoo",
        config="configs/my_teacher.py",
        evaluation=evaluation,
    )
    model = zoo.find("my_teacher", tmp_path / "zoo")
    assert (model.box_ap, model.mask_ap) == (39.5, 20.0)
    assert model.address.startswith("file://")
    assert model.address.endswith(f"my_teacher-{model.hash8}.pth")


def test_a_teacher_that_learned_too_little_is_not_published(tmp_path):
    source = save(tmp_path / "iter.pth", STUDENT)
    evaluation = tmp_path / "eval.json"
    evaluation.write_text(json.dumps({"sha256": sha256(source), "box": {"AP": 0.0371}}))
    options = dict(
        name="wreck", index=tmp_path / "zoo", config="configs/wreck.py", evaluation=evaluation
    )
    with pytest.raises(FGDError, match=r"wreck: its training ended at box AP 3.7, .* asks for 20"):
        publish(source, **options, least_ap=20)
    assert not (tmp_path / "zoo").exists()
    assert publish(source, **options, least_ap=3.7).exists()


@pytest.mark.parametrize("name", ["a/b", "../b", "", ".b", "a b"])
def test_a_name_that_is_none_of_a_file_is_refused(tmp_path, name):
    source = save(tmp_path / "iter.pth", STUDENT)
    for write in (
        lambda: transfer(source, tmp_path / "student.pth", name),
        lambda: publish(source, name=name, index=tmp_path / "zoo"),
        lambda: transfer_to_mmdet3("no.py", source, out=tmp_path / "mmdet3", name=name),
    ):
        with pytest.raises(FGDError, match=r"the name '.*' is part of a file's name: it may hold"):
            write()
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    "text", ["no figures", "[]", "3", '"box"', '{"box": 1}', '{"sha256": "a"}']
)
def test_what_is_no_evaluation_is_told_in_a_line(tmp_path, text):
    source = save(tmp_path / "iter.pth", STUDENT)
    evaluation = tmp_path / "eval.json"
    evaluation.write_text(text)
    with pytest.raises(
        FGDError, match=r"eval\.json: .*; expected the JSON of `fgd evaluate`"
    ) as no:
        publish(source, name="t", index=tmp_path / "zoo", evaluation=evaluation)
    assert "\n" not in str(no.value)


def test_the_figures_of_another_checkpoint_are_not_published(tmp_path):
    source = save(tmp_path / "iter.pth", STUDENT)
    evaluation = tmp_path / "eval.json"
    evaluation.write_text(json.dumps({"sha256": "0" * 64, "box": {"AP": 0.9}}))
    options = dict(name="t", index=tmp_path / "zoo", config="t.py", evaluation=evaluation)
    with pytest.raises(FGDError, match=r"is of a checkpoint with the sha256 00000000\.\.\., and"):
        publish(source, **options)
    assert not (tmp_path / "zoo").exists()
