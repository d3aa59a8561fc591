"""A teacher of mmdet 3 in the words of mmdet 2.28; `make test-mmdet3` runs both."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from mmcv import Config

sys.path.insert(0, str(Path(__file__).parents[1]))
import own_data

from fgd import recipe
from fgd.checkout import root
from fgd.cli import main
from fgd.config_text import config_text
from fgd.configs import read_any, read_config, read_detector
from fgd.errors import FGDError
from fgd.mmdet3.incoming import translated_teacher
from fgd.mmdet3.known import LEFT_OUT
from fgd.mmdet3.write import translated
from fgd.pair import normalisation_of
from fgd.pair.meaning import differences
from fgd.recipe.building import build
from fgd.suite import load_suite

ROWS = ("retinanet_r50", "fcos_r50", "reppoints_r50", "faster_rcnn_r50", "mask_rcnn_r50")
CLASSES = ("cat", "dog")


def detector(row):
    """A row's plain config at full size."""
    suite = load_suite(root() / "configs/suites/coco.yaml")
    return recipe.compose(suite, recipe.load_row(row), "baseline").detector


def of_mmdet_3(row="retinanet_r50", **changes):
    """A row's detector as content of a config of mmdet 3; changes by paths with `__` for dots."""
    content = copy.deepcopy(translated(detector(row), CLASSES))
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = content
        for key in parents:
            inner = inner[int(key) if isinstance(inner, list | tuple) else key]
        inner[last] = value
    return content


def back(content):
    return translated_teacher(Config(content), "mine_v3.py")


def detecting(value):
    """A model without what its training alone needs."""
    if isinstance(value, dict):
        return {k: detecting(v) for k, v in value.items() if k not in LEFT_OUT}
    return value


@pytest.mark.parametrize("row", ROWS)
def test_there_and_back_is_the_same_detector(row):
    mine = detector(row)
    found = back(translated(mine, CLASSES))
    expected = detecting(mine.model.to_dict())
    if "rpn_head" not in expected:
        expected["test_cfg"].pop("min_bbox_size", None)
    assert found.model.pop("train_cfg") is None
    assert found.model.to_dict() == expected
    assert not [*differences(mine.model, found.model)]
    with torch.device("meta"):
        states = [build(row, model).state_dict() for model in (mine.model, found.model)]
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in states]
    assert shapes[0] == shapes[1]
    test, original = found.data.test, mine.data.test
    assert normalisation_of(test) == normalisation_of(original)
    assert test.pipeline[1].img_scale == original.pipeline[1].img_scale
    assert test.pipeline[1].transforms[3] == original.pipeline[1].transforms[3]  # Pad
    assert (test.ann_file, test.img_prefix) == (original.ann_file, original.img_prefix)
    assert test.classes == CLASSES


def test_names_are_read_as_mmdet_3_dumps_them():
    plain = back(of_mmdet_3())
    dumped = of_mmdet_3()
    dumped["model"]["type"] = "mmdet.RetinaNet"
    dumped["model"]["_scope_"] = "mmdet"
    dumped["model"]["backbone"]["type"] = "mmdet.models.backbones.ResNet"
    dumped["model"]["backbone"]["norm_cfg"]["type"] = "torch.nn.BatchNorm2d"
    dumped["model"]["test_cfg"]["nms"]["type"] = "mmcv.ops.nms"
    dumped["model"]["data_preprocessor"]["type"] = "mmdet.models.DetDataPreprocessor"
    dumped["test_dataloader"]["dataset"]["type"] = "mmdet.datasets.CocoDataset"
    for step in dumped["test_dataloader"]["dataset"]["pipeline"]:
        step["type"] = f"mmdet.datasets.transforms.{step['type']}"
    assert back(dumped).to_dict() == plain.to_dict()


def test_what_a_stock_config_says_beside_it_changes_nothing():
    content = of_mmdet_3()
    plain = back(content)
    load, resize, pack = content["test_dataloader"]["dataset"]["pipeline"]
    load["backend_args"] = None
    annotations = {"type": "LoadAnnotations", "with_bbox": True}
    content["test_dataloader"]["dataset"]["pipeline"] = [load, resize, annotations, pack]
    content["model"]["test_cfg"]["min_bbox_size"] = 0
    content["model"]["data_preprocessor"] |= {"pad_mask": True, "batch_augments": [{"type": "x"}]}
    content["custom_imports"] = None
    content["data_preprocessor"] = content["model"].pop("data_preprocessor")
    inner = content["test_dataloader"]["dataset"]
    content["test_dataloader"]["dataset"] = {"type": "ConcatDataset", "datasets": [inner]}
    assert back(content).to_dict() == plain.to_dict()


def test_what_mmdet_3_does_by_default_is_written():
    content = of_mmdet_3()
    del content["test_dataloader"]["dataset"]["pipeline"][1]["keep_ratio"]
    content["model"]["data_preprocessor"] = {"type": "DetDataPreprocessor", "rgb_to_bgr": True}
    resize, _, normalise, to_tensor, _ = back(content).data.test.pipeline[1].transforms
    assert resize.keep_ratio is False
    assert normalise == dict(type="Normalize", mean=[0.0] * 3, std=[1.0] * 3, to_rgb=True)
    assert to_tensor.type == "ImageToTensor"  # and nothing is padded


TEST = "test_dataloader__dataset"


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"model": "RetinaNet"}, r"model: is 'RetinaNet'; expected a detector's settings"),
        ({"model__type": "ATSS"}, r"model\.type: 'ATSS' is not known to mean the same in mmdet 2"),
        ({"model__type": "mmrotate.RetinaNet"}, r"model\.type: 'mmrotate\.RetinaNet'"),
        ({"model__backbone__type": list}, r"model\.backbone\.type: is a class and no name"),
        ({"model__backbone___scope_": "mmpretrain"}, r"model\.backbone\._scope_: is 'mmpretrain'"),
        ({"model__bbox_head__stack_convs": 3}, r"stack_convs: .*did you mean 'stacked_convs'"),
        ({"model__bbox_head__loss_cls__type": "GHMC"}, r"bbox_head\.loss_cls\.type: 'GHMC'"),
        ({"model__test_cfg__min_bbox_size": 4}, r"model\.test_cfg\.min_bbox_size: is 4"),
        ({"model__test_cfg__nms__type": "nms_rotated"}, r"test_cfg\.nms\.type: 'nms_rotated'"),
        ({"model__data_preprocessor": None}, r"model\.data_preprocessor: is missing"),
        ({"model__data_preprocessor__type": "Mine"}, r"model\.data_preprocessor: is Mine"),
        ({"model__data_preprocessor__pad_value": 114}, r"data_preprocessor\.pad_value: is 114"),
        ({"model__data_preprocessor__mean": [1.0]}, r"data_preprocessor\.mean: is \[1\.0\]"),
        ({"model__data_preprocessor__std": 57.4}, r"data_preprocessor\.std: is 57\.4"),
        ({"model__data_preprocessor__tta": 1}, r"data_preprocessor\.tta: is not known"),
        ({"custom_imports": {"imports": ["mine"]}}, r"custom_imports: what they bring"),
        ({"default_scope": "mmyolo"}, r"default_scope: is 'mmyolo'"),
        ({"test_dataloader": None}, r"test_dataloader: has no dataset"),
        ({f"{TEST}__pipeline": []}, r"dataset\.pipeline: has the steps of nothing"),
        ({f"{TEST}__pipeline": [{"scale": 3}]}, r"dataset\.pipeline: has a step without a type"),
        ({f"{TEST}__pipeline__1__type": "Pad"}, r"has the steps LoadImageFromFile, Pad, PackDet"),
        ({f"{TEST}__pipeline__1__scale_factor": 2.0}, r"pipeline\.Resize\.scale_factor: "),
        ({f"{TEST}__pipeline__1__scale": [(9, 9)]}, r"pipeline\.Resize\.scale: is \[\(9, 9\)\]"),
        ({f"{TEST}__pipeline__0__imdecode_backend": "turbojpeg"}, r"imdecode_backend: is 'turb"),
        ({f"{TEST}__pipeline__0__backend_args": {"backend": "s3"}}, r"backend_args: is \{'back"),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused_by_its_key(change, place):
    with pytest.raises(FGDError, match=place) as refused:
        back(of_mmdet_3(**change))
    assert str(refused.value).startswith("mine_v3.py: a config of mmdet 3: ")
    assert "\n" not in str(refused.value)


LAZY = """
from pathlib import Path
from mmengine.config import read_base
Path("ran").write_text("it ran")
with read_base():
    from .base import *
"""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAZY, "it imports mmengine"),
        ("_base_ = 'lazy.py'", r"c\.py: its _base_ .*lazy\.py: .*it imports mmengine"),
        ("_base_ = ['mmdet::retinanet/a.py']", "it names the base 'mmdet::retinanet/a.py'"),
        ("_base_ = 'b.py'\nmodel = _base_.model", "it takes _base_.model from its base"),
    ],
)
def test_what_mmengine_alone_can_read_is_not_run(tmp_path, monkeypatch, text, reason):
    monkeypatch.chdir(tmp_path)
    Path("lazy.py").write_text(LAZY)
    Path("c.py").write_text(text)
    with pytest.raises(FGDError, match=reason) as refused:
        read_any("c.py")
    assert "Config.fromfile('c.py').dump('whole.py')" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not Path("ran").exists()


def test_a_bases_value_in_the_words_of_mmcv_1_is_read(tmp_path):
    (tmp_path / "base.py").write_text("img_scale = (1333, 800)\n")
    path = tmp_path / "mine.py"
    path.write_text("_base_ = './base.py'\ndata = dict(test=dict(scale={{ _base_.img_scale }}))\n")
    assert read_config(path).data.test.scale == (1333, 800)


def test_what_mmdet_2_wants_said_and_mmdet_3_does_not_is_written():
    one_stage = of_mmdet_3()
    one_stage["model"]["test_cfg"].pop("score_thr")
    assert back(one_stage).model.test_cfg.score_thr == 0
    two_stage = of_mmdet_3("faster_rcnn_r50")
    two_stage["model"]["test_cfg"]["rpn"].pop("min_bbox_size")
    assert back(two_stage).model.test_cfg.rpn.min_bbox_size == -1
    two_stage["model"]["test_cfg"]["rpn"]["min_bbox_size"] = None
    with pytest.raises(FGDError, match=r"rpn\.min_bbox_size: is None; expected a number"):
        back(two_stage)


def test_bases_that_are_there_are_read(tmp_path):
    (tmp_path / "base.py").write_text(config_text(Config(of_mmdet_3())))
    path = tmp_path / "mine_v3.py"
    path.write_text("_base_ = './base.py'\nmodel = dict(bbox_head=dict(num_classes=2))\n")
    assert translated_teacher(read_any(path), str(path)).model.bbox_head.num_classes == 2


@pytest.fixture(scope="module")
def brought(tmp_path_factory):
    """What the user brings, the teacher as mmdet 3 has it."""
    folder = tmp_path_factory.mktemp("brought")
    own_data.write_all(folder)
    content = translated(read_detector(folder / "teacher.py"), own_data.CLASSES)
    text = config_text(Config(content | {"train_dataloader": {"batch_size": 2}}))
    (folder / "mine_v3.py").write_text(text)
    state = torch.load(folder / "teacher.pth")["state_dict"]
    write_checkpoint(folder / "epoch_12.pth", state, own_data.CLASSES)
    return folder


def write_checkpoint(path, state, classes):
    """As mmengine's runner writes it; tests of `fgd.checkpoint` have its histories."""
    meta = {"dataset_meta": {"classes": classes, "palette": [(1, 2, 3)]}, "epoch": 12, "cfg": "x"}
    others = {"message_hub": {"log_scalars": {}, "runtime_info": {"iter": 9}}, "optimizer": {}}
    torch.save({"meta": meta, "state_dict": state} | others, path)


@pytest.fixture
def run(brought, tmp_path, monkeypatch):
    """Runs `fgd new-row` with the teacher of mmdet 3 and further options, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*options):
        files = [f"--teacher={brought}/mine_v3.py", f"--teacher-checkpoint={brought}/epoch_12.pth"]
        command = own_data.new_row(brought, *files, *options)[1:]
        result = CliRunner().invoke(main, command, catch_exceptions=False)
        return result.exit_code, " ".join(result.output.split())

    return run


def test_a_row_learns_from_a_teacher_of_mmdet_3(run, brought):
    status, said = run("--teacher-ap=41.2")
    assert status == 0, said
    assert "16 channels in the student, 24 in the teacher" in said
    suite = load_suite("own/own.yaml")
    recipe.plan(suite)
    training = recipe.compose(suite, recipe.load_row("mine", suite), "fgd").training
    old = load_row_of_mmdet_2(brought)
    assert training.model.teacher.type == old.model.teacher.type == "RetinaNet"
    assert not [*differences(training.model.teacher, old.model.teacher)]
    words = recipe.write_teacher(suite, "mine_v3", "t")
    assert words == "mine_v3 is not trained: its config says how it detects alone"
    test = read_detector("t/detector.py").data.test
    assert test.classes == own_data.CLASSES
    assert test.pipeline[1].img_scale == (160, 160)


def load_row_of_mmdet_2(brought):
    """What the same row is with the teacher's config of mmdet 2."""
    command = own_data.new_row(brought, "--out=two")[1:]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    suite = load_suite("two/two.yaml")
    return recipe.compose(suite, recipe.load_row("mine", suite), "fgd").training


def test_custom_imports_are_named_and_not_done(run, brought, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(tmp_path))
    Path("my_heads.py").write_text("open('ran', 'w')\n")
    text = (brought / "mine_v3.py").read_text()
    Path("other.py").write_text(f"{text}custom_imports = dict(imports=['my_heads'])\n")
    status, said = run("--teacher=other.py")
    assert status == 2
    assert "other.py: a config of mmdet 3: custom_imports: what they bring" in said
    with pytest.raises(FGDError, match="is a config of mmdet 3"):
        read_config("other.py")
    assert not Path("ran").exists()
    assert not Path("own").exists()


def test_who_is_trained_comes_from_mmdet_2(run, brought):
    status, said = run(f"--student={brought}/mine_v3.py")
    assert status == 2
    assert "mine_v3.py: is a config of mmdet 3 or newer" in said
    command = own_data.new_row(brought)[1:]
    kept = [word for word in command if not word.startswith("--teacher")]
    kept += [f"--teacher={brought}/mine_v3.py", "--train-teacher"]
    result = CliRunner().invoke(main, kept, catch_exceptions=False)
    assert result.exit_code == 2
    assert "mine_v3.py: is a config of mmdet 3 or newer" in result.output


def test_the_checkpoints_classes_have_to_be_the_datas(run, brought, tmp_path):
    state = torch.load(brought / "epoch_12.pth")["state_dict"]
    write_checkpoint(tmp_path / "reversed.pth", state, own_data.CLASSES[::-1])
    status, said = run(f"--teacher-checkpoint={tmp_path}/reversed.pth")
    assert status == 2
    assert "reversed.pth: was trained with the classes in the order mixed, straight, round" in said


def test_the_suite_is_planned(run):
    assert run()[0] == 0
    command = [Path(sys.executable).with_name("fgd"), "compose", "own/own.yaml", "mine"]
    command += ["--arm", "fgd", "--out", "composed"]
    subprocess.run(command, check=True, cwd=".", capture_output=True)
    assert Config.fromfile("composed/config.py").model.type == "FGDDistiller"
