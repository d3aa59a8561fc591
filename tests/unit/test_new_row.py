"""Rows on one's own data: what `fgd new-row` writes and refuses, and what a row's files may be."""

import json
import os
import pty
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from detectors import write_config
from mmcv import Config

sys.path.insert(0, str(Path(__file__).parents[1]))
import label_formats
import own_data

from fgd import recipe
from fgd.cli import main
from fgd.cli.new_row import _renormalises
from fgd.errors import FGDError
from fgd.new_row.texts import _with_entry
from fgd.recipe.data import size_model
from fgd.suite import load_suite


@pytest.fixture(scope="module")
def brought(tmp_path_factory) -> Path:
    """What the user brings."""
    folder = tmp_path_factory.mktemp("brought")
    own_data.write_all(folder)
    return folder


@pytest.fixture
def run(brought, tmp_path, monkeypatch):
    """Runs `fgd new-row` with further or other options, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*options: str, without: tuple[str, ...] = ()):
        command = own_data.new_row(brought)[1:]
        kept = [word for word in command if word.split("=")[0] not in without]
        result = CliRunner().invoke(main, [*kept, *options], catch_exceptions=False)
        return result.exit_code, result.output

    return run


def test_the_written_row_is_composed_for_the_users_data(run, tmp_path):
    status, said = run("--lr=0.02")
    assert status == 0, said
    assert "12 training and 6 validation images, 3 classes: round, straight, mixed" in said
    assert "16 channels in the student, 24 in the teacher" in said
    assert sorted(path.name for path in (tmp_path / "own").iterdir()) == [
        "dataset.py",
        "mine.py",
        "own.yaml",
    ]
    suite = load_suite("own/own.yaml")
    training, detector = recipe.compose(suite, recipe.load_row("mine", suite), "fgd")
    assert detector.model.bbox_head.num_classes == 3  # the student's own config says 80
    assert detector.data.train.classes == own_data.CLASSES
    assert detector.data.train.pipeline[2].img_scale == (160, 160)
    assert training.model.distill.levels == [0, 1, 2, 3, 4]
    assert training.optimizer.lr == pytest.approx(0.02 * 2 / 16)
    # An epoch of one step of 16 images: the config's 500 would never end.
    assert training.lr_config.warmup_iters == round(1 / (2 / 16))
    words = " ".join(said.split())
    assert "a warm-up of 500 iterations is too long for a training of 1: shortened to 1" in words
    assert training.optimizer_config.grad_clip.max_norm == 35
    assert "gradients are clipped at a norm of 35" in said
    assert training.model.student.backbone.init_cfg.checkpoint == (
        "results/own/backbones/resnet18x8.pth"
    )
    plan = recipe.plan(suite)
    assert plan.teachers["teacher"].source.checkpoint.name == "teacher.pth"
    assert Path(plan.backbones["resnet18x8"]).is_file()


def test_a_students_own_policy_follows_the_rate_and_its_clipping_stays(run, brought, tmp_path):
    config = Config.fromfile(brought / "student.py")
    config.lr_config = dict(policy="OneCycle", max_lr=0.04, div_factor=25, total_steps=9000)
    config.optimizer.lr = 0.04
    config.optimizer_config = dict(grad_clip=dict(max_norm=0.1, norm_type=2))
    config.model.backbone.init_cfg.checkpoint = str(brought / "resnet18x8.pth")
    config.dump(str(tmp_path / "cycle.py"))
    status, said = run(f"--student={tmp_path}/cycle.py", "--lr=0.008", without=("--student",))
    assert status == 0, said
    assert "gradients are clipped at a norm of 0.1" in said
    suite = load_suite("own/own.yaml")
    training = recipe.compose(suite, recipe.load_row("mine", suite), "fgd").training
    assert training.optimizer.lr == training.lr_config.max_lr == pytest.approx(0.008 * 2 / 16)
    assert training.optimizer_config.grad_clip.max_norm == 0.1
    assert "total_steps" not in training.lr_config  # the training's own number


@pytest.mark.parametrize("form", ["yolo", "label-studio", "labelme", "cvat"])
def test_data_of_other_formats_are_imported(brought, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(brought / "data", "data")
    splits = label_formats.renamed(own_data.contents(Path("data")))
    label_formats.WRITERS[form](Path("source"), splits)
    classes = f"--classes={','.join(own_data.CLASSES)}"
    command = ["data", "import", "source", "--out=imported", "--val=0.34", classes]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    images = json.loads(Path("imported/import.json").read_text())["images"]
    files = {split: (f"imported/{split}.json", images) for split in ("train", "val")}
    command = own_data.new_row(brought, **files)[1:]
    result = CliRunner().invoke(main, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "validation images, 3 classes: round, straight, mixed" in result.output


def test_a_student_of_another_width_inherits_what_fits(run, brought, tmp_path):
    backbone = str(brought / "resnet18x4.pth")
    thin = tmp_path / "thin.py"
    config = own_data.write_detector(
        thin, "retinanet_r50_fpn_1x_coco", 24, backbone=backbone, base_channels=4
    )
    own_data.write_checkpoint(Path(backbone), config, part="backbone")
    status, said = run(f"--student={thin}", without=("--student",))
    assert status == 0, said
    suite = load_suite("own/own.yaml")
    distill = recipe.compose(suite, recipe.load_row("mine", suite), "fgd").training.model.distill
    own = [f"neck.lateral_convs.{i}.conv.weight" for i in range(3)]
    own.append("neck.fpn_convs.3.conv.weight")
    assert distill.inherit
    assert sorted(distill.inherit_except) == sorted(own)
    assert all(name in " ".join(said.split()) for name in own)
    recipe.plan(suite)


def test_heads_of_another_meaning_are_left_out_and_the_reason_is_said(run, brought, tmp_path):
    config = own_data.write_detector(
        tmp_path / "alike.py", "retinanet_r50_fpn_1x_coco", 24, backbone=str(brought / "b.pth")
    )
    own_data.write_checkpoint(brought / "b.pth", config, part="backbone")
    config.model.bbox_head.bbox_coder.target_stds = [0.1, 0.1, 0.2, 0.2]
    write_config(config, tmp_path / "alike.py")
    reason = "bbox_head.bbox_coder.target_stds is [0.1, 0.1, 0.2, 0.2] in the student, [1.0, 1.0,"
    status, said = run(f"--student={tmp_path / 'alike.py'}", "--inherit")
    assert status == 2
    assert reason in " ".join(said.split())
    status, said = run(f"--student={tmp_path / 'alike.py'}")
    assert status == 0, said
    assert f"no, neck and head are not the teacher's ({reason}" in " ".join(said.split())
    assert not recipe.load_row("mine", load_suite("own/own.yaml")).distill["inherit"]


def test_a_second_row_joins_the_suite(run):
    assert run()[0] == 0
    data = ("--train", "--train-images", "--val", "--val-images", "--img-scale", "--name")
    for option, told in [
        ("--gpus=8", "--gpus 8 is not 1"),
        ("--samples-per-gpu=4", "--samples-per-gpu 4 is not 2"),
        ("--img-scale=64,64", "--img-scale 64,64 is not 160,160"),
    ]:
        status, said = run("--name=second", option, without=data)
        assert status == 2
        assert f"own.yaml: has its settings already, and {told}" in said
    same = ("--gpus=1", "--img-scale=160,160")
    status, said = run("--name=second", "--levels=1,2", *same, without=data)
    assert status == 0, said
    suite = load_suite("own/own.yaml")
    assert set(suite.rows) == {"mine", "second"}
    assert recipe.load_row("second", suite).distill["levels"] == [1, 2]


def test_a_second_row_need_not_say_what_its_teacher_reaches(run):
    assert run("--teacher-ap=41.2")[0] == 0
    status, said = run("--name=second", without=DATA)
    assert status == 0, said
    assert recipe.plan(load_suite("own/own.yaml")).teachers["teacher"].source.ap == 41.2


def test_a_teacher_of_the_zoo_is_trained_on_the_users_classes(run):
    teacher = ["--teacher=retinanet_r18_fpn_1x_coco", "--train-teacher"]
    status, said = run(*teacher, without=("--teacher", "--teacher-checkpoint"))
    assert status == 0, said
    suite = load_suite("own/own.yaml")
    assert suite.trains("retinanet_r18_fpn_1x_coco")
    trained = recipe.compose_teacher(suite, "retinanet_r18_fpn_1x_coco").training
    assert trained.model.bbox_head.num_classes == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--levels=0,7"],
            "levels has 7, but the student student has the FPN levels 0 to 4",
        ),
        (["--levels=0,x"], "expected whole numbers with commas between them"),
        (["--inherit"], "cannot inherit the teacher's neck and head (of teacher): bbox_head."),
        (["--name=a b"], "'a b' may hold letters, digits, _ and - alone"),
        (["--name=teachers"], "--name: a row is called 'teachers', as a folder of the results"),
        (["--out=coco"], "'coco' is a suite of configs/suites"),
        (["--student=retinanet_r50_fpn_1x"], "did you mean 'retinanet_r50_fpn_1x_coco'"),
        (["--val=nowhere.json"], "annotation file nowhere.json is missing"),
        (["--teacher-ap=0.412"], "AP is 0.412: expected AP in points, for example 41.2"),
        (["--teacher-ap=140"], "AP is 140: expected AP in points"),
        (["--train-teacher"], "a teacher that is to be trained has no checkpoint"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(run, tmp_path, options, message):
    status, said = run(*options)
    assert status == 2
    assert message in " ".join(said.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("split", ["learn", "test"])
def test_a_student_of_masks_needs_them_in_the_data(run, brought, split):
    path = brought / "masks.py"
    own_data.write_detector(path, "mask_rcnn_r50_fpn_1x_coco", 16, backbone="resnet18x8.pth")
    content = json.loads((brought / f"data/{split}.json").read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    boxes = brought / f"data/{split}_boxes.json"
    boxes.write_text(json.dumps(content))
    option = {"learn": "--train", "test": "--val"}[split]
    status, said = run(f"--student={path}", f"{option}={boxes}")
    assert status == 2
    assert f"{split}_boxes.json: annotation" in said
    assert "no segmentation" in said
    assert run(f"{option}={boxes}")[0] == 0  # a student of boxes
    # A further row of the suite that is there then.
    status, said = run("--name=second", f"--student={path}", without=DATA)
    assert status == 2
    assert f"{split}_boxes.json: annotation" in said
    assert "no segmentation" in said
    assert not Path("own/second.py").exists()


def test_modules_that_configs_import_are_imported_from_the_composed_ones(
    run, brought, tmp_path, monkeypatch
):
    for role in ("student", "teacher"):
        (tmp_path / f"my_{role}.py").write_text("")
        text = (brought / f"{role}.py").read_text()
        imports = f"custom_imports = dict(imports=['my_{role}'], allow_failed_imports=False)\n"
        (tmp_path / f"{role}.py").write_text(text + imports)
    shutil.copy(brought / "resnet18x8.pth", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    status, said = run(*(f"--{role}={tmp_path / role}.py" for role in ("student", "teacher")))
    assert status == 0, said
    suite = load_suite("own/own.yaml")
    for arm, training in (("fgd", ["my_student", "my_teacher"]), ("baseline", ["my_student"])):
        recipe.write_row(suite, "mine", arm=arm, out=tmp_path / arm)
        for file, modules in (("config", training), ("student", ["my_student"])):
            written = Config.fromfile(str(tmp_path / arm / f"{file}.py"))
            assert written.custom_imports.imports == modules
    recipe.write_teacher(suite, "teacher", tmp_path / "t")
    assert Config.fromfile(str(tmp_path / "t/detector.py")).custom_imports.imports == ["my_teacher"]


def test_repeated_data_are_epochs_of_the_row(run, brought):
    path = brought / "repeated.py"
    own_data.write_detector(
        path, "retinanet_r50_fpn_mstrain_640-800_3x_coco", 16, backbone="resnet18x8.pth"
    )
    status, said = run(f"--student={path}", without=("--student", "--epochs"))
    assert status == 0, said
    assert "repeats its data 3 times" in said
    row = recipe.load_row("mine", load_suite("own/own.yaml"))
    assert row.runner["max_epochs"] == 36
    assert row.lr_config["step"] == [27, 33]


def test_the_epochs_of_a_student_that_counts_iterations_are_computed(run, brought):
    path = brought / "iterations.py"
    config = Config.fromfile(str(brought / "student.py"))
    config.runner = dict(type="IterBasedRunner", max_iters=90_000)
    config.lr_config = dict(policy="step", step=[60_000, 80_000], by_epoch=False)
    write_config(config, path)
    status, said = run(f"--student={path}", without=("--student", "--epochs"))
    assert status == 0, said
    assert "counts 90000 iterations; on COCO they are 12" in said
    row = recipe.load_row("mine", load_suite("own/own.yaml"))
    assert (row.runner["max_epochs"], row.lr_config["step"]) == (12, [8, 11])


def test_steps_of_a_pipeline_that_are_not_there_are_told(run, brought):
    path = brought / "step.py"
    config = Config.fromfile(str(brought / "student.py"))
    config.data.train.pipeline.insert(2, dict(type="NoSuchStep"))
    write_config(config, path)
    status, said = run(f"--student={path}")
    assert status == 2
    assert "step: a step of its data.train.pipeline cannot be built (KeyError: " in said


def test_a_pyramid_of_another_kind_is_distilled_at_its_output(run):
    teacher = ["--teacher=yolox_l_8x8_300e_coco", "--train-teacher"]
    status, said = run(
        "--student=yolox_s_8x8_300e_coco", "--from-scratch", *teacher,
        without=("--student", "--teacher", "--teacher-checkpoint"),
    )  # fmt: skip
    assert status == 0, said
    assert "levels    0, 1, 2 with strides 8, 16, 32; 128 channels in the student, 256" in said
    suite = load_suite("own/own.yaml")
    row = recipe.load_row("mine", suite)
    assert "taps" not in row.distill
    assert recipe.compose(suite, row, "fgd").training.model.distill.taps == "neck"


def test_last_epochs_follow_the_epochs(run):
    status, said = run(
        "--student=yolox_s_8x8_300e_coco", "--from-scratch", "--train-teacher",
        "--teacher=yolox_l_8x8_300e_coco", "--epochs=40",
        without=("--student", "--teacher", "--teacher-checkpoint", "--epochs"),
    )  # fmt: skip
    assert status == 0, said
    assert "without mosaics, in the last 2 of 40 epochs (15 of 300" in " ".join(said.split())
    assert "0.01 for 64 images a step, so 0.0003125 at this suite's 2" in " ".join(said.split())
    suite = load_suite("own/own.yaml")
    training = recipe.compose(suite, recipe.load_row("mine", suite), "fgd").training
    assert training.last_epochs == training.lr_config.num_last_epochs == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("optimizer = dict(", "optimizer = dict(type='AdamW', ", None),
        (
            "lr_config = dict(",
            "lr_config = dict(policy='CosineAnnealing', min_lr=0, ",
            "argument 'step'",
        ),
        ("lr_config = dict(", "lr_config = dict(policy='Cosine', ", "policy Cosine, which mmcv"),
        ("optimizer = dict(", "optimizer = dict(momentun=0.9, ", "argument 'momentun'"),
        (
            "optimizer_config = dict(",
            "optimizer_config = dict(cumulative_iters=4, ",
            "unknown key 'cumulative_iters' in optimizer_config",
        ),
        (
            "optimizer_config = dict(",
            "optimizer_config = dict(type='Fp16OptimizerHook', ",
            "optimizer_config.type: 'Fp16OptimizerHook' is not one of",
        ),
    ],
)
def test_what_a_row_says_otherwise_is_done_or_refused(run, old, new, words):
    assert run()[0] == 0
    row = Path("own/mine.py")
    assert old in row.read_text()
    row.write_text(row.read_text().replace(old, new))
    suite = load_suite("own/own.yaml")

    def optimizer():
        return recipe.compose(suite, recipe.load_row("mine", suite), "fgd").training.optimizer

    if words is None:  # the student's momentum means nothing to it
        assert (optimizer().type, set(optimizer())) == ("AdamW", {"type", "lr"})
        return
    with pytest.raises(FGDError, match=re.escape(words)):
        optimizer()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("type='CocoDataset'", "type='RepeatDataset'", "data.train is a RepeatDataset, and"),
        (
            "        img_prefix",
            "        pipeline=[],\n        img_prefix",
            "data.train.pipeline is",
        ),
        (
            "        img_prefix",
            "        metainfo={},\n        img_prefix",
            "data.train.metainfo is",
        ),
        ("data = dict(", "data = dict(samples_per_gpu=8,", "data.samples_per_gpu is not used: the"),
        ("ann_file=", "ann_file=[] and ", "data.train.ann_file is []; expected a path"),
    ],
)
def test_what_the_data_sets_file_says_in_vain_is_refused(run, old, new, words):
    assert run()[0] == 0
    file = Path("own/dataset.py")
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(FGDError, match=re.escape(f"own/dataset.py: {words}")):
        recipe.plan(load_suite("own/own.yaml"))


def test_other_images_to_test_than_to_validate_are_refused(run):
    assert run()[0] == 0
    file = Path("own/dataset.py")
    others, test = file.read_text().rsplit("        ann_file=", 1)
    file.write_text(f"{others}        ann_file='other.json' or {test}")
    with pytest.raises(FGDError, match=r"own/dataset.py: data.test.ann_file is 'other.json' and"):
        recipe.plan(load_suite("own/own.yaml"))


def test_training_images_measure_nothing(run, brought):
    data = brought / "data"
    files = [f"--val={data / 'learn.json'}", f"--val-images={data / 'pictures_learn'}"]
    status, said = run(*files)
    assert status == 2
    assert "learn.json: all 12 validation images are training images of" in said
    content = json.loads((data / "learn.json").read_text())
    kept = content["images"][4:]
    content["images"] = kept
    ids = {image["id"] for image in kept}
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in ids]
    Path("part.json").write_text(json.dumps(content))
    status, said = run("--train=part.json", *files)
    assert status == 0, said
    assert "8 of 12 images are training images, too, for example" in " ".join(said.split())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda config: config.model.update(
                init_cfg=dict(type="Pretrained", checkpoint="whole.pth")
            ),
            "model.init_cfg names weights of the whole detector (whole.pth)",
        ),
        (
            lambda config: config.model.backbone.update(
                init_cfg=[dict(type="Pretrained", checkpoint="b.pth"), dict(type="Constant")]
            ),
            "its backbone.init_cfg lists several initialisations",
        ),
        (lambda config: config.update(lr_config=None), "lr_config has no policy"),
        (lambda config: config.update(optimizer_config=None), None),
        (lambda config: config.update(auto_scale_lr=None), None),
        (
            lambda config: config.update(
                {key: config.model.pop(key) for key in ("train_cfg", "test_cfg")}
            ),
            None,
        ),
    ],
)
def test_a_students_config_may_say_nothing_and_not_what_is_not_done(run, brought, change, words):
    config = Config.fromfile(str(brought / "student.py"))
    config.model.backbone.init_cfg.checkpoint = str(brought / "resnet18x8.pth")
    change(config)
    write_config(config, Path("changed.py"))
    status, said = run("--student=changed.py", without=("--student",))
    assert status == (0 if words is None else 2), said
    assert words is None or words in said
    if words is None:
        suite = load_suite("own/own.yaml")
        training = recipe.compose(suite, recipe.load_row("mine", suite), "fgd").training
        assert training.model.student.train_cfg.allowed_border == -1


def test_a_teacher_of_other_pixels_is_refused(run, brought):
    config = own_data.write_detector(brought / "caffe.py", "retinanet_r101_caffe_fpn_1x_coco", 24)
    own_data.write_checkpoint(brought / "caffe.pth", config, CLASSES=own_data.CLASSES)
    status, said = run(
        f"--teacher={brought / 'caffe.py'}", f"--teacher-checkpoint={brought / 'caffe.pth'}"
    )
    assert status == 2
    assert "the student student gets its images as RGB" in said
    assert "the teacher caffe as BGR" in said


def test_in_a_terminal_other_pixels_are_asked_about(monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda question: not asked.append(question))
    options = dict(
        student="retinanet_r50_fpn_1x_coco",
        teacher="retinanet_r101_caffe_fpn_1x_coco",
        train_teacher=False,
        renormalise=None,
    )
    assert _renormalises(options)
    assert "as RGB" in asked[0] and "as BGR" in asked[0]
    assert not _renormalises(options | {"renormalise": False})
    assert not _renormalises(options | {"teacher": "retinanet_r101_fpn_1x_coco"})
    assert len(asked) == 1


def test_a_teacher_of_the_zoo_brings_its_own_ap(run):
    teacher = ["--teacher=retinanet_r101_fpn_2x_coco", "--teacher-ap=41"]
    status, said = run(*teacher, without=("--teacher", "--teacher-checkpoint"))
    assert status == 2
    assert "is a name of the model zoo, which says its AP" in said


def test_levels_are_matched_by_stride(run, brought):
    path = brought / "two_stage.py"
    own_data.write_detector(path, "faster_rcnn_r50_fpn_1x_coco", 16, backbone="resnet18x8.pth")
    status, said = run(f"--student={path}")
    assert status == 0, said
    # Its last level is the one before, pooled.
    assert "1, 2, 3 with strides 8, 16, 32; from the teacher's 0, 1, 2; 16 channels in the" in said
    assert recipe.load_row("mine", load_suite("own/own.yaml")).distill["levels"] == [1, 2, 3]
    status, said = run(f"--student={path}", "--levels=0", "--name=finest", "--out=finest")
    assert status == 2
    assert "level 0 has stride 4 in the student two_stage, and the teacher" in said


def test_other_places_to_tap_are_written_into_the_row(run):
    status, said = run("--taps=neck.lateral_convs.{level}")
    assert status == 0, said
    assert "levels    0, 1, 2 with strides 8, 16, 32" in said
    suite = load_suite("own/own.yaml")
    composed = recipe.compose(suite, recipe.load_row("mine", suite), "fgd").training
    assert composed.model.distill.taps == "neck.lateral_convs.{level}"
    status, said = run("--taps=neck.nothing", "--name=other", "--out=other")
    assert status == 2
    assert "the student student has no module neck.nothing, which distill.taps names" in said


@pytest.mark.parametrize("name", ["dataset.py", "train_clean.json", "val_clean.json"])
def test_what_is_there_is_not_written_over(run, tmp_path, name):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / name).write_text("mine")
    status, said = run("--clean")
    assert status == 2
    assert f"own/{name}: is there already" in said
    assert [path.name for path in (tmp_path / "own").iterdir()] == [name]
    assert (tmp_path / "own" / name).read_text() == "mine"


def test_a_row_is_not_called_as_the_data(run, tmp_path):
    status, said = run("--name=dataset")
    assert status == 2
    assert "describes the data; take another name" in said
    assert list(tmp_path.iterdir()) == []


def test_a_student_from_random_weights_has_to_be_meant(run, brought):
    path = brought / "raw.py"
    own_data.write_detector(path, "retinanet_r50_fpn_1x_coco", 16)
    status, said = run(f"--student={path}")
    assert status == 2
    assert "names no checkpoint for its backbone" in said
    assert "`fgd new-row --from-scratch`" in said
    assert run(f"--student={path}", "--from-scratch")[0] == 0


def test_a_checkpoint_of_another_model_is_refused(run, brought):
    torch.save({"state_dict": {"backbone.x": torch.zeros(1)}}, brought / "other.pth")
    status, said = run(f"--teacher-checkpoint={brought / 'other.pth'}")
    assert status == 2
    assert "does not fit the model that its config describes" in said


def test_classes_in_another_order_are_refused(run, brought):
    state = torch.load(brought / "teacher.pth")
    state["meta"]["CLASSES"] = own_data.CLASSES[::-1]
    torch.save(state, brought / "reversed.pth")
    status, said = run(f"--teacher-checkpoint={brought / 'reversed.pth'}")
    assert status == 2
    assert "trained with the classes in the order mixed, straight, round" in said


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ({"dataset_meta": {"classes": own_data.CLASSES[::-1]}}, "the order mixed, straight, round"),
        ({"CLASSES": ("straight", "round", "other")}, "in the order straight, round, other"),
        ({"CLASSES": ("a", "b", "c")}, "No name is the same"),
        ({"CLASSES": "round"}, "These are 1 and 3 classes"),
        ({"CLASSES": 3}, "meta.CLASSES is 3; expected the names of the classes"),
    ],
)
def test_a_teacher_that_names_other_classes_is_refused(run, brought, meta, message):
    state = torch.load(brought / "teacher.pth")
    torch.save(state | {"meta": meta}, brought / "named.pth")
    status, said = run(f"--teacher-checkpoint={brought / 'named.pth'}")
    assert status == 2
    assert message in " ".join(said.split())


def test_a_teacher_whose_checkpoint_names_no_classes_has_those_of_its_config(run, brought):
    state = torch.load(brought / "teacher.pth")
    torch.save(state | {"meta": {}}, brought / "silent.pth")
    config = Config.fromfile(brought / "teacher.py")
    config.data.test.classes = own_data.CLASSES[::-1]
    config.dump(str(brought / "saying.py"))
    checkpoint = f"--teacher-checkpoint={brought / 'silent.pth'}"
    status, said = run(f"--teacher={brought / 'saying.py'}", checkpoint)
    assert status == 2
    words = " ".join(said.split())
    assert "saying.py: was trained with the classes in the order mixed, straight, round" in words
    status, said = run(checkpoint)
    assert status == 0, said
    words = " ".join(said.split())
    assert "names its classes; that they are the data's, in their order, is trusted" in words


def test_a_rows_own_teacher_whose_config_says_another_order_is_refused(run, brought):
    assert run()[0] == 0
    config = Config.fromfile(brought / "teacher.py")
    config.data.test.classes = own_data.CLASSES[::-1]
    config.dump(str(brought / "teacher_reversed.py"))
    row = Path("own/mine.py")
    row.write_text(row.read_text().replace("teacher.py'", "teacher_reversed.py'"))
    message = r"teacher_reversed\.py: was trained with the classes in the order mixed, straight"
    with pytest.raises(FGDError, match=message):
        recipe.plan(load_suite("own/own.yaml"))


def test_the_zoos_models_have_the_classes_of_their_data():
    known = recipe.known_classes(recipe.known_config("retinanet_r50_fpn_1x_coco"), "")
    assert (len(known), known[0]) == (80, "person")
    config = recipe.known_config("retinanet_r50_fpn_1x_coco")
    config.model.bbox_head.num_classes = 3
    assert recipe.known_classes(config, "") is None


def test_where_the_student_draws_from_several_sizes_the_one_is_said(run, brought, tmp_path):
    config = Config.fromfile(brought / "student.py")
    resize = next(step for step in config.data.train.pipeline if step["type"] == "Resize")
    resize.img_scale = [(160, 120), (160, 160), (160, 200)]
    config.model.backbone.init_cfg.checkpoint = str(brought / "resnet18x8.pth")
    config.dump(str(tmp_path / "drawing.py"))
    status, said = run(f"--student={tmp_path}/drawing.py", without=("--student",))
    assert status == 0, said
    note = "scale all images are 160,160, where the student's config draws from 3 scales; to keep"
    assert note in " ".join(said.split())
    _, said = run("--name=second", without=DATA)
    assert "scales" not in said
    status, said = run(
        f"--student={tmp_path}/drawing.py", "--name=third", without=("--student", *DATA)
    )
    assert status == 0, said
    assert note in " ".join(said.split())


def test_anchors_for_images_of_another_size_are_refused():
    model = recipe.known_config("ssd300_coco").model
    for scale in (None, (300, 300)):
        size_model(model, scale)
    message = (
        r"img_scale 160,160: the anchors of the detector are made for images of 300,300 "
        r"\(model\.bbox_head\.anchor_generator\.input_size\)"
    )
    with pytest.raises(FGDError, match=message):
        size_model(model, (160, 160))
    size_model(recipe.known_config("retinanet_r50_fpn_1x_coco").model, (160, 160))


def test_the_checkpoint_of_a_teacher_that_the_suite_trains_is_refused(run):
    assert run()[0] == 0
    path = _changed_suite(lambda suite: suite.update(train_teachers=["teacher"]))
    message = (
        r"row mine: teacher\.checkpoint .*teacher\.pth would not be used, for suite own trains "
        r"teacher \(train_teachers\): take it out of there, or name the config alone"
    )
    suite = load_suite(path)
    with pytest.raises(FGDError, match=message):
        recipe.plan(suite)
    with pytest.raises(FGDError, match=message):
        recipe.compose(suite, recipe.load_row("mine", suite), "fgd")
    status, said = run("--name=second", without=DATA)
    assert status == 2
    assert "row second: teacher.checkpoint" in said


def test_a_student_of_this_projects_keeps_the_rate_of_its_batch(run, tmp_path):
    assert run("--lr=0.02", "--gpus=1", "--samples-per-gpu=4")[0] == 0
    suite = load_suite("own/own.yaml")
    recipe.write_row(suite, "mine", arm="baseline", out=tmp_path / "composed")
    student = tmp_path / "composed/student.py"
    plain = Config.fromfile(str(student))
    assert plain.optimizer.lr == pytest.approx(0.02 * 4 / 16)
    weights = Path(plain.model.backbone.init_cfg.checkpoint)  # of the project's own folder
    weights.parent.mkdir(parents=True)
    torch.save({"state_dict": {}}, weights)
    status, said = run(
        f"--student={student}", "--out=next", "--gpus=1", "--samples-per-gpu=8",
        without=("--student", "--out"),
    )  # fmt: skip
    assert status == 0, said
    assert "0.005 for 4 images a step, so 0.01 at this suite's 8" in said
    again = load_suite("next/next.yaml")
    composed = recipe.compose(again, recipe.load_row("mine", again), "fgd").training
    assert composed.optimizer.lr == pytest.approx(0.02 * 8 / 16)
    assert "auto_scale_lr" not in composed


def test_classes_without_their_comma_are_refused(run, tmp_path):
    assert run()[0] == 0
    dataset = tmp_path / "own/dataset.py"
    dataset.write_text(
        dataset.read_text() + "classes = ('round')\nfor s in data: data[s]['classes'] = classes\n"
    )
    with pytest.raises(
        FGDError, match=r"data\.train\.classes is the text 'round', .* with a comma"
    ):
        recipe.plan(load_suite("own/own.yaml"))


def test_validation_data_of_other_classes_are_refused(run, brought):
    content = json.loads((brought / "data/test.json").read_text())
    content["categories"].append({"id": 99, "name": "else"})
    content["annotations"][0]["category_id"] = 99
    (brought / "data/more.json").write_text(json.dumps(content))
    status, said = run(f"--val={brought / 'data/more.json'}")
    assert status == 2
    assert "has 1 objects of categories that" in said


def _export(brought, name, change):
    """A user's annotation file as another tool would have written it; the option that names it."""
    split = {"train": "learn", "val": "test"}[name]
    content = json.loads((brought / f"data/{split}.json").read_text())
    change(content)
    file = brought / f"data/{split}_export.json"
    file.write_text(json.dumps(content), encoding="utf-8-sig")
    return f"--{name}={file}"


def test_data_as_a_tool_wrote_them_are_mended_where_that_is_wished(run, brought, tmp_path):
    def bare(content):
        for annotation in content["annotations"]:
            del annotation["area"], annotation["iscrowd"], annotation["id"]
        content["categories"].reverse()
        content["categories"].append({"id": 1, "name": "background"})

    files = [_export(brought, "train", lambda content: None), _export(brought, "val", bare)]
    status, said = run(*files)
    assert status == 2
    assert "learn_export.json: is written in UTF-8 with a byte order mark" in said
    assert "With --clean both files are mended for the row" in " ".join(said.split())
    assert list(tmp_path.iterdir()) == []
    status, said = run(*files, "--clean")
    assert status == 0, said
    assert "val       1 categories in another order" in said
    assert "without iscrowd" in said
    suite = load_suite("own/own.yaml")
    data = recipe.compose(suite, recipe.load_row("mine", suite), "fgd").detector.data
    assert data.test.ann_file == str(tmp_path / "own/val_clean.json")
    names = [c["name"] for c in json.loads(Path(data.test.ann_file).read_text())["categories"]]
    assert tuple(names) == own_data.CLASSES


def test_a_category_that_is_no_class_is_said(run, brought):
    def rooted(content):
        for category in content["categories"]:
            category["supercategory"] = "things"
        content["categories"].insert(0, {"id": 0, "name": "things", "supercategory": "none"})

    files = [_export(brought, name, rooted) for name in ("train", "val")]
    for option in files:
        path = Path(option.split("=")[1])
        path.write_bytes(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    status, said = run(*files)
    assert status == 0, said
    assert "train     no class for things: without objects" in said
    status, said = run(*files, "--all-categories", "--out=other")
    assert status == 2
    assert "it does not know things" in " ".join(said.split())


def test_without_a_terminal_nothing_is_asked(run):
    status, said = run(without=("--student",))
    assert status == 2
    assert "give --student" in said


def test_in_a_terminal_what_is_missing_is_asked(brought, tmp_path):
    command = [w for w in own_data.new_row(brought) if not w.startswith(("--name", "--student"))]
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execv(command[0], command)
    os.write(terminal, f"asked\n{brought / 'student.py'}\n".encode())
    said = b""
    while chunk := _read(terminal):
        said += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0, said
    assert b"Name of the row:" in said
    assert (tmp_path / "own/asked.py").is_file()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # the other end is closed
        return b""


def _changed_suite(change) -> Path:
    path = Path("own/own.yaml")
    content = yaml.safe_load(path.read_text())
    change(content)
    path.write_text(yaml.safe_dump(content))
    return path


def test_errors_in_ones_own_files_name_the_file(run):
    assert run()[0] == 0
    row = Path("own/mine.py")
    text = row.read_text()
    for wrong, message in [
        (text + "(\n", r"mine\.py: cannot be read as a config \(SyntaxError: '\(' was never"),
        (text.replace("teacher.pth", "no.pth"), r"teacher\.checkpoint .*no\.pth'.*no file"),
        (text.replace(".pth'", ".pth', ap=0.4"), r"mine\.py: teacher\.ap is 0\.4: expected AP in"),
        (text.replace("teacher.py'", "student.py'"), r"two detectors are called 'student'"),
    ]:
        row.write_text(wrong)
        with pytest.raises(FGDError, match=message):
            recipe.plan(load_suite("own/own.yaml"))
    row.write_text(text)
    row.rename(row.with_name("zoo.py"))
    path = _changed_suite(lambda suite: suite.update(rows=["zoo.py"]))
    with pytest.raises(FGDError, match=r"own\.yaml: a row is called 'zoo', as a folder of the"):
        load_suite(path)
    path = _changed_suite(lambda suite: suite.update(rows=["other.py"]))
    with pytest.raises(FGDError, match=r"row 'other\.py': there is no file"):
        load_suite(path)


def test_a_teacher_of_other_classes_is_refused(run, brought):
    config = own_data.write_detector(
        brought / "teacher80.py", "retinanet_r101_fpn_1x_coco", 24, classes=80
    )
    own_data.write_checkpoint(brought / "teacher80.pth", config)
    status, said = run(
        f"--teacher={brought / 'teacher80.py'}",
        f"--teacher-checkpoint={brought / 'teacher80.pth'}",
    )
    assert status == 2
    assert "teacher80 tells 80 classes apart, and the data set" in said


def test_an_own_teacher_keeps_its_file_and_its_promise(brought, tmp_path, monkeypatch):
    before = (brought / "teacher.pth").stat().st_mtime_ns
    runner = CliRunner()
    copy = ["download", str(brought / "teacher.pth"), f"--out={tmp_path / 'copy.pth'}"]
    assert runner.invoke(main, copy).exit_code == 0
    assert (brought / "teacher.pth").stat().st_mtime_ns == before
    assert runner.invoke(main, [*copy, "--sha256=00000000"]).exit_code == 2
    metrics = {"box": {"AP": 0.3}, "sha256": "0" * 64}
    monkeypatch.setattr("fgd.evaluation.evaluate.measure", lambda *_, **__: metrics)
    files = [str(brought / name) for name in ("teacher.py", "teacher.pth")]
    check = ["check-teacher", "teacher", *files, f"--out={tmp_path / 'c'}"]
    assert runner.invoke(main, [*check, "--ap=30.1"]).exit_code == 0
    assert runner.invoke(main, [*check, "--ap=0"]).exit_code == 0  # nothing was promised
    fraction = runner.invoke(main, [*check, "--ap=0.301"])
    assert fraction.exit_code == 2
    assert "--ap is 0.301: expected AP in points" in fraction.output
    refused = runner.invoke(main, [*check, "--ap=31"])
    assert refused.exit_code == 2
    assert "box AP 30.00, 1.00 below the 31.0 that its row says" in refused.output


ZOO_TEACHERS = ("retinanet_r18_fpn_1x_coco", "retinanet_r101_fpn_1x_coco")
DATA = ("--train", "--train-images", "--val", "--val-images", "--img-scale", "--name")
OWN_TEACHER = ("--teacher", "--teacher-checkpoint")


class TestTrainedTeachers:
    def test_a_second_one_joins_the_suite(self, run):
        first, second = ZOO_TEACHERS
        status, said = run(f"--teacher={first}", "--train-teacher", without=OWN_TEACHER)
        assert status == 0, said
        file = Path("own/own.yaml")
        file.write_text(file.read_text().replace("gpus: 1", "gpus: 1  # the old machine"))
        status, said = run(
            "--name=second", f"--teacher={second}", "--train-teacher", without=DATA + OWN_TEACHER
        )
        assert status == 0, said
        suite = load_suite(file)
        assert set(suite.train_teachers) == set(ZOO_TEACHERS)
        assert set(suite.rows) == {"mine", "second"}
        assert "gpus: 1  # the old machine" in file.read_text()
        assert {recipe.load_row(name, suite).teacher for name in suite.rows} == set(ZOO_TEACHERS)
        recipe.plan(suite)

    def test_one_joins_a_suite_that_trained_none(self, run):
        assert run()[0] == 0
        teacher = (f"--teacher={ZOO_TEACHERS[0]}", "--train-teacher")
        status, said = run("--name=second", *teacher, without=DATA + OWN_TEACHER)
        assert status == 0, said
        assert load_suite("own/own.yaml").train_teachers == ZOO_TEACHERS[:1]

    def test_what_the_suite_trains_already_need_not_be_said(self, run):
        teacher = f"--teacher={ZOO_TEACHERS[0]}"
        assert run(teacher, "--train-teacher", without=OWN_TEACHER)[0] == 0
        status, said = run("--name=second", teacher, without=DATA + OWN_TEACHER)
        assert status == 0, said
        suite = load_suite("own/own.yaml")
        first, second = (recipe.load_row(name, suite) for name in ("mine", "second"))
        assert first.distill == second.distill  # of as many classes, so inherited alike
        assert suite.train_teachers == ZOO_TEACHERS[:1]

    def test_nor_of_ones_own_config(self, run, brought):
        assert run("--train-teacher", without=("--teacher-checkpoint",))[0] == 0
        status, said = run("--name=second", without=(*DATA, "--teacher-checkpoint"))
        assert status == 0, said
        assert load_suite("own/own.yaml").train_teachers == ("teacher",)

    def test_the_other_rows_are_checked_too(self, run):
        assert run()[0] == 0
        Path("own/mine.py").write_text("student = 3\n")
        before = Path("own/own.yaml").read_text()
        status, said = run("--name=second", without=DATA)
        assert status == 2
        assert "own/mine.py" in said
        assert Path("own/own.yaml").read_text() == before
        assert not Path("own/second.py").exists()

    def test_a_detector_that_cannot_be_trained_is_no_contradiction(self, run):
        status, said = run("--teacher=htc_r50_fpn_1x_coco", "--train-teacher", without=OWN_TEACHER)
        assert status == 2
        words = " ".join(said.split())
        assert "not trained here, neither as a student nor as a teacher (train_teachers)" in words
        assert "with its checkpoint it can be a teacher" in words

    def test_a_teacher_of_the_zoos_classes_is_told_by_what_can_be_done(self, run, brought):
        status, said = run(f"--teacher={ZOO_TEACHERS[1]}", without=OWN_TEACHER)
        assert status == 2
        words = " ".join(said.split())
        assert f"{ZOO_TEACHERS[1]} tells 80 classes apart, and the data set {brought}" in words
        assert "learn.json has 3" in words
        assert "--train-teacher" in words
        assert "--teacher CONFIG.py --teacher-checkpoint FILE" in words


def test_no_error_names_the_folder_in_which_a_row_was_tried(run, monkeypatch):
    def refuse(suite):
        raise FGDError(f"{suite.dataset}: is no good")

    monkeypatch.setattr("fgd.recipe.plan", refuse)
    status, said = run()
    assert (status, said) == (2, "error: own/dataset.py: is no good\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rows: [mine.py]\n", "rows: [new.py, mine.py]\n"),
        ("rows: []  # none\n", "rows: [new.py]  # none\n"),
        ("rows: [\n  mine.py,\n]\n", "rows: [new.py, \n  mine.py,\n]\n"),
        ("rows:\n- mine.py\n", "rows:\n- new.py\n- mine.py\n"),
        (
            "rows:  # all\n\n    # the first\n    - mine.py\n",
            "rows:  # all\n\n    # the first\n    - new.py\n    - mine.py\n",
        ),
    ],
)
def test_lists_get_an_entry_as_they_are_written(text, expected):
    assert _with_entry(Path("own.yaml"), text, "rows", "new.py") == expected


@pytest.mark.parametrize("text", ["{rows: [mine.py]}\n", "name: x\n", "rows: &r [mine.py]\n"])
def test_a_list_that_is_written_otherwise_is_refused(text):
    with pytest.raises(FGDError, match=r"own\.yaml: cannot be given 'new\.py' in its 'rows'"):
        _with_entry(Path("own.yaml"), text, "rows", "new.py")
