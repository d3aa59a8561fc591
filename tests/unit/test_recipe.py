"""Suites and rows: the composed configs against the published facts, and what a wrong one says."""

import copy
import dataclasses
import functools
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from mmcv import Config
from mmdet.models import build_detector

from fgd import recipe
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.heads import number_of_classes
from fgd.pair import alike, normalisation_of
from fgd.recipe.data import split_of
from fgd.suite import ARMS, Run, load_suite
from fgd.suite.plan import FromZoo, RowPlan, Teacher, TrainedHere

FACTS = yaml.safe_load((Path(__file__).parents[1] / "data" / "rows.yaml").read_text())
ROWS = {facts["row"]: facts for facts in FACTS["rows"]}
SUITES = {
    name: load_suite(root() / "configs" / "suites" / f"{name}.yaml") for name in ("coco", "mini")
}

each_row = pytest.mark.parametrize("row", ROWS)
each_suite = pytest.mark.parametrize("suite", SUITES.values(), ids=SUITES)


def write_suite(folder, change, name="mini"):
    """A copy of a suite file, changed in place by `change`."""
    content = yaml.safe_load((root() / "configs" / "suites" / f"{name}.yaml").read_text())
    change(content)
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


# --- The published recipe ---


def test_the_suites_have_the_published_rows():
    for suite in SUITES.values():
        assert suite.rows == tuple(ROWS)


@each_suite
@each_row
def test_distillation_is_the_published_one_in_both_suites(suite, row):
    facts = ROWS[row]
    model = recipe.compose(suite, recipe.load_row(row), "fgd").training.model
    weights = dict(FACTS["hyper_parameters"][facts["hyper"]])
    weights["temperature"] = facts.get("temperature", weights["temperature"])
    assert model.type == "FGDDistiller"
    assert {key: model.distill[key] for key in weights} == weights
    assert model.distill.levels == facts["levels"]
    assert model.distill.inherit == facts["inherit"]
    assert model.teacher_checkpoint == f"{suite.results}/teachers/{facts['teacher']}/teacher.pth"
    assert model.teacher.backbone.init_cfg is None


@each_row
@pytest.mark.parametrize("arm", ARMS)
def test_coco_schedule_is_the_published_one(row, arm):
    facts = ROWS[row]
    for config in recipe.compose(SUITES["coco"], recipe.load_row(row), arm):
        optimizer = config.optimizer.to_dict()
        fcos = {"paramwise_cfg": {"bias_lr_mult": 2.0, "bias_decay_mult": 0.0}}
        assert optimizer == {
            "type": "SGD",
            "lr": facts["lr"],
            "momentum": 0.9,
            "weight_decay": 1e-4,
        } | (fcos if row == "fcos_r50" else {})
        assert config.optimizer_config == {"grad_clip": {"max_norm": 35, "norm_type": 2}}
        assert config.lr_config == {
            "policy": "step",
            "warmup": "linear",
            "warmup_iters": 500,
            "warmup_ratio": 1 / 3 if row == "fcos_r50" else 0.001,
            "step": [16, 22],
        }
        assert config.runner == {"type": "EpochBasedRunner", "max_epochs": 24}
        assert config.data.samples_per_gpu == 2


def test_coco_plan():
    plan = recipe.plan(SUITES["coco"])
    assert plan.rows == {
        row: RowPlan(
            row,
            row,
            facts["student"],
            facts["teacher"],
            facts["backbone"],
            ("box", "mask") if row == "mask_rcnn_r50" else ("box",),
            facts["published"],
        )
        for row, facts in ROWS.items()
    }
    assert plan.teachers == {name: Teacher(name, FromZoo()) for name in FACTS["teachers"]}
    assert plan.backbones == {key: each["name"] for key, each in FACTS["backbones"].items()}


def test_masks_are_needed_where_they_are_learned_or_measured():
    of_rows = {
        "retinanet_r50": set(),
        "faster_rcnn_r50": {"val"},  # its teacher has masks, and its AP is measured
        "mask_rcnn_r50": {"train", "val"},
    }
    for row, splits in of_rows.items():
        assert recipe.plan(dataclasses.replace(SUITES["coco"], rows=(row,))).masks == splits
    trained = dataclasses.replace(SUITES["mini"], rows=("faster_rcnn_r50",))
    assert recipe.plan(trained).masks == {"train", "val"}


@each_row
def test_published_figures(row):
    assert recipe.load_row(row).published == ROWS[row]["published"]


@pytest.mark.parametrize(
    ("row", "scales", "mean"),
    [
        ("retinanet_r50", (1333, 800), 123.675),
        ("reppoints_r101", (1333, 800), 123.675),
        ("fcos_r50", [(1333, 640), (1333, 800)], 103.53),
    ],
)
def test_coco_pipelines_are_the_students_own(row, scales, mean):
    data = recipe.compose(SUITES["coco"], recipe.load_row(row), "fgd").training.data
    settings = {step.type: step for step in data.train.pipeline}
    assert settings["Resize"].img_scale == scales
    assert settings["Normalize"].mean[0] == mean
    assert settings["RandomFlip"].flip_ratio == 0.5
    assert data.train.ann_file == "data/coco/annotations/instances_train2017.json"
    assert data.val.pipeline[1].img_scale == (1333, 800)


def test_fcos_student():
    student = recipe.compose(SUITES["coco"], recipe.load_row("fcos_r50"), "fgd").detector.model
    head = student.bbox_head
    assert head.loss_bbox == {"type": "GIoULoss", "loss_weight": 1.0}
    assert [
        head[key] for key in ("norm_on_bbox", "centerness_on_reg", "center_sampling", "conv_bias")
    ] == [True, False, True, True]
    assert not head.dcn_on_last_conv
    assert student.test_cfg.nms.iou_threshold == 0.6
    assert student.backbone.style == "caffe"


# --- The learning rate follows the total batch ---


def test_64_gpus_learn_eight_times_as_fast(tmp_path):
    suite = dataclasses.replace(SUITES["coco"], gpus=64)
    printed = recipe.write_row(suite, "retinanet_r50", arm="fgd", out=tmp_path)
    assert printed == (
        "64 GPUs x 2 images = 128 images a step; learning rate 0.01 x 128 images / 16 images = "
        "0.08; warm-up 500 iterations x 16 / 128 = 62"
    )
    training = Config.fromfile(str(tmp_path / "config.py"))
    assert training.optimizer.lr == pytest.approx(0.08)
    assert training.lr_config.warmup_iters == 62
    assert training.lr_config.step == [16, 22]  # epochs


def test_a_teachers_own_training_follows_the_batch_too():
    suite = dataclasses.replace(SUITES["coco"], gpus=4)
    training = recipe.compose_teacher(suite, "retinanet_x101_64x4d_fpn_1x_coco").training
    assert training.optimizer.lr == pytest.approx(0.005)
    assert training.lr_config.warmup_iters == 1000


def test_a_learning_rate_that_fits_may_be_written_down(tmp_path):
    rates = {"retinanet_r50": 0.08, "mask_rcnn_r50": 0.16}

    def state(content):
        content.update(gpus=64, learning_rates=rates)

    suite = load_suite(write_suite(tmp_path, state, "coco"))
    recipe.plan(suite)
    for row, rate in rates.items():
        training = recipe.compose(suite, recipe.load_row(row, suite), "fgd").training
        assert training.optimizer.lr == pytest.approx(rate)


@pytest.mark.parametrize(
    ("name", "rates", "message"),
    [
        (
            "coco",
            {"retinanet_r50": 0.01},
            r"learning_rates\.retinanet_r50 is 0\.01, but 64 GPUs x 2 images = 128 images a step, "
            r"and 0\.01 x 128 / 16 = 0\.08\..* write 0\.08, .*0\.01 fits 16 images a step",
        ),
        ("coco", {"retinanet": 0.08}, r"learning_rates\.retinanet: the suite has no such row"),
        ("mini", {"retinanet_r50": 0.08}, r"has its own rates, under `mini`"),
    ],
)
def test_a_learning_rate_that_does_not_fit_is_refused(tmp_path, name, rates, message):
    suite = load_suite(
        write_suite(tmp_path, lambda s: s.update(gpus=64, learning_rates=rates), name)
    )
    with pytest.raises(FGDError, match=message):
        recipe.plan(suite)


# --- Rows beyond the table ---

MORE = load_suite(root() / "configs" / "suites" / "more.yaml")


@pytest.mark.parametrize("facts", FACTS["more"], ids=lambda facts: facts["row"])
def test_more_rows_are_the_published_ones(facts):
    row = recipe.load_row(facts["row"])
    assert row.published == facts["published"]
    for arm in ARMS:
        training = recipe.compose(MORE, row, arm).training
        assert training.optimizer == dict(
            type="SGD", lr=facts["lr"], momentum=0.9, weight_decay=1e-4
        )
        assert training.optimizer_config == {"grad_clip": {"max_norm": 35, "norm_type": 2}}
        assert (training.lr_config.policy, training.lr_config.step) == ("step", facts["steps"])
        assert training.runner.max_epochs == facts["epochs"]
    distill = recipe.compose(MORE, row, "fgd").training.model.distill
    weights = FACTS["hyper_parameters"][facts["hyper"]]
    assert distill == weights | {"levels": facts["levels"], "inherit": facts["inherit"]}


def test_more_plan_trains_the_teacher_that_no_zoo_has():
    plan = recipe.plan(MORE)
    assert plan.rows == {
        facts["row"]: RowPlan(
            facts["row"],
            facts["row"],
            facts["student"],
            facts["teacher"],
            facts["backbone"],
            tuple(facts["kinds"]),
            facts["published"],
        )
        for facts in FACTS["more"]
    }
    trained = {
        name: each.source for name, each in plan.teachers.items() if each.source != FromZoo()
    }
    assert trained == {"solo_r101_fpn_3x_coco": TrainedHere("resnet101")}


def test_a_trained_teachers_schedule_is_its_own_at_the_suites_batch():
    name = "solo_r101_fpn_3x_coco"
    training = recipe.compose_teacher(MORE, name).training
    assert (training.optimizer.lr, training.lr_config.warmup_iters) == (0.01, 500)
    assert (training.lr_config.step, training.runner.max_epochs) == ([27, 33], 36)
    halved = recipe.compose_teacher(dataclasses.replace(MORE, gpus=4), name).training
    assert (halved.optimizer.lr, halved.lr_config.warmup_iters) == (0.005, 1000)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], r"solo_r50: its teacher cannot be downloaded \(.*'solo_r101_fpn_3x_coco'.*train_t"),
        (["solo_r101_fpn_3x_coco", "gfl_r100"], r"train_teachers has 'gfl_r100', but no row"),
    ],
)
def test_wrong_train_teachers(tmp_path, names, message):
    path = write_suite(tmp_path, lambda content: content.update(train_teachers=names), "more")
    with pytest.raises(FGDError, match=message):
        recipe.plan(load_suite(path))


@pytest.mark.parametrize(
    ("from_scratch", "init_cfg", "message"),
    [
        (False, None, r"retinanet_r50_fpn_2x_coco names no checkpoint .*set from_scratch = True"),
        (True, "as it is", r"from_scratch is set, but .* starts from torchvision://resnet50"),
    ],
)
def test_a_backbone_from_scratch_has_to_be_meant(monkeypatch, from_scratch, init_cfg, message):
    row = dataclasses.replace(recipe.load_row("retinanet_r50"), from_scratch=from_scratch)
    known = recipe.known_config

    def changed(name):
        config = known(name)
        if init_cfg is None:
            config.model.backbone.init_cfg = None
        return config

    monkeypatch.setattr("fgd.recipe.detectors.known_config", changed)
    monkeypatch.setattr("fgd.recipe.planning.load_row", lambda name, suite: row)
    with pytest.raises(FGDError, match=message):
        recipe.plan(SUITES["coco"])


# --- Composed configs ---


@each_suite
def test_written_configs_load_again_and_are_equal(suite, tmp_path):
    composed = recipe.compose(suite, recipe.load_row("fcos_r50"), "fgd")
    recipe.write_row(suite, "fcos_r50", arm="fgd", out=tmp_path)
    written = {path.stem: Config.fromfile(str(path)) for path in tmp_path.glob("*.py")}
    assert written["config"]._cfg_dict == composed.training._cfg_dict
    assert written["student"]._cfg_dict == composed.detector._cfg_dict


def test_arms_train_the_same_student():
    row = recipe.load_row("reppoints_r50")
    fgd = recipe.compose(SUITES["mini"], row, "fgd").training.to_dict()
    baseline = recipe.compose(SUITES["mini"], row, "baseline").training.to_dict()
    assert fgd.pop("model")["student"] == baseline.pop("model")
    assert fgd.pop("recipe") | {"arm": "baseline"} == baseline.pop("recipe")
    assert fgd == baseline


def test_seeds_change_the_seed_alone(tmp_path):
    def several(content):
        del content["seed"]
        content["seeds"] = [3, 5]

    suite = load_suite(write_suite(tmp_path, several))
    row = recipe.load_row("retinanet_r50")
    first, second = (recipe.compose(suite, row, "fgd", seed).training for seed in suite.seeds)
    assert (first.pop("seed"), second.pop("seed")) == (3, 5)
    assert first._cfg_dict == second._cfg_dict
    assert recipe.compose(suite, row, "fgd").training.seed == 3
    assert suite.layout.run(Run("a", "fgd", 3)).folder == "results/mini/a/fgd"
    assert suite.layout.run(Run("a", "fgd", 5)).folder == "results/mini/a/fgd/seed5"
    with pytest.raises(FGDError, match="suite mini has no seed 4: it has 3, 5"):
        recipe.compose(suite, row, "fgd", 4)


def _ablation(folder, content):
    """A suite of a row and of one that is made from it."""
    (folder / "ablation.py").write_text(
        f"_base_ = '{root()}/configs/distillers/retinanet_r50.py'\n{content}\n"
    )
    rows = ["retinanet_r50", "fcos_r50", "ablation.py"]
    return load_suite(write_suite(folder, lambda suite: suite.update(rows=rows)))


def test_a_row_can_share_the_baseline_of_another(tmp_path):
    suite = _ablation(tmp_path, "baseline_of = 'retinanet_r50'\ndistill = dict(gamma=0.)")
    row = recipe.plan(suite).rows["ablation"]
    assert (row.trained_by("fgd"), row.trained_by("baseline")) == ("ablation", "retinanet_r50")
    ablation = recipe.load_row("ablation", suite)
    distill = recipe.compose(suite, ablation, "fgd").training.model.distill
    assert (distill.gamma, distill.alpha) == (0, 1e-3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("baseline_of = 'retinanet'", "the suite has no such row; it has retinanet_r50, fcos_r50"),
        ("baseline_of = 'ablation'", "that row has no baseline of its own"),
        ("baseline_of = 'fcos_r50'", "not trained alike, they differ in data, model"),
    ],
)
def test_a_baseline_that_cannot_be_shared_is_refused(tmp_path, content, words):
    suite = _ablation(tmp_path, content)
    with pytest.raises(FGDError, match=f"row ablation: baseline_of .*{words}"):
        recipe.plan(suite)


# --- Suites made from others ---


def _suite_file(folder, file, **content):
    path = folder / f"{file}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_suite_can_stand_on_another(tmp_path):
    (tmp_path / "below").mkdir()
    base = write_suite(tmp_path / "below", lambda suite: None)
    (tmp_path / "below" / "mine.py").write_text(
        f"_base_ = '{root()}/configs/distillers/retinanet_r50.py'\n"
    )
    _suite_file(tmp_path / "below", "rows", base=base.name, rows=["mine.py"])
    mini = {"schedule": {"grad_clip": 7}, "student": {"epochs": 9}}
    top = _suite_file(tmp_path, "top", base="below/rows.yaml", seeds=[1, 2], name="top", mini=mini)
    suite, mini = load_suite(top), load_suite(base)
    assert (suite.name, suite.seeds, suite.rows) == ("top", (1, 2), ("mine",))
    assert suite.row_files["mine"] == str(tmp_path / "below" / "mine.py")
    assert suite.mini.schedule.said() == mini.mini.schedule.said() | {"grad_clip": 7}
    assert suite.mini.student.epochs == 9
    assert suite.mini.detectors == mini.mini.detectors


def test_a_base_that_is_not_there_or_comes_back_to_itself_is_named(tmp_path):
    with pytest.raises(FGDError, match=r"nowhere.yaml, the base of .*a.yaml: No such file"):
        load_suite(_suite_file(tmp_path, "a", base="nowhere.yaml"))
    _suite_file(tmp_path, "b", base="a.yaml")
    with pytest.raises(FGDError, match="this suite is its own base"):
        load_suite(_suite_file(tmp_path, "a", base=f"../{tmp_path.name}/b.yaml"))


def test_results_and_data_can_be_elsewhere(tmp_path):
    def elsewhere(content):
        content.update(results="elsewhere/results", data_root="elsewhere/data")

    suite = load_suite(write_suite(tmp_path, elsewhere))
    training = recipe.compose(suite, recipe.load_row("retinanet_r50"), "fgd").training
    assert training.data.train.ann_file == "elsewhere/data/annotations/instances_train.json"
    assert training.data.train.img_prefix == "elsewhere/data/train/"
    assert "results/mini" not in str(training)
    assert "data/mini" not in str(training)


def test_boxes_are_in_pixels_whatever_data_the_detector_was_for():
    config = recipe.known_config("faster_rcnn_r50_fpn_32x2_1x_openimages")
    assert config.data.train.pipeline[1].denorm_bbox  # boxes times the image's sides
    train = split_of(SUITES["coco"], config, "train")
    assert train["type"] == "CocoDataset"
    assert not train["pipeline"][1]["denorm_bbox"]


def test_a_full_size_teacher_keeps_the_zoos_schedule():
    composed = recipe.compose_teacher(SUITES["coco"], "retinanet_x101_64x4d_fpn_1x_coco")
    assert composed.training.optimizer.lr == 0.01
    assert composed.training.runner.max_epochs == 12
    assert composed.detector.model.type == "RetinaNet"


# --- The mini suite ---


def _detectors(row):
    return ROWS[row]["student"], ROWS[row]["teacher"]


def _model_config(suite, name):
    return recipe.compose_teacher(SUITES[suite], name).detector.model


@functools.cache
def _mini(name):
    """A student or teacher of the mini suite, built by mmdet."""
    model = copy.deepcopy(_model_config("mini", name))
    model.backbone.init_cfg = None
    return build_detector(model).eval()


@pytest.mark.parametrize("name", sorted({name for row in ROWS for name in _detectors(row)}))
def test_mini_detector_is_of_the_zoos_kinds(name):
    """The detector and every head, neck, assigner and loss is of the class that the zoo says."""
    mini, full = (_model_config(suite, name) for suite in ("mini", "coco"))
    assert _types(mini) == [kind.replace("ResNeXt", "ResNet") for kind in _types(full)]
    assert mini.neck.num_outs == full.neck.num_outs
    assert mini.backbone.get("stage_with_dcn") == full.backbone.get("stage_with_dcn")


def _types(node):
    """Every `type` of a config, in an order that does not depend on the order of its keys.

    How weights are drawn and normalised may be written down in one of two configs that mean the
    same: it is some classes' default.
    """
    if isinstance(node, dict):
        parts = sorted(node.keys() - {"init_cfg", "norm_cfg"})
        inner = [kind for key in parts for kind in _types(node[key])]
        return ([node["type"]] if "type" in node else []) + inner
    if isinstance(node, list | tuple):
        return [kind for item in node for kind in _types(item)]
    return []


@each_row
def test_mini_levels_can_be_distilled(row):
    image = torch.zeros(1, 3, 128, 128)
    models = [_mini(name) for name in _detectors(row)]
    with torch.no_grad():
        student, teacher = ([f.shape for f in model.extract_feat(image)] for model in models)
    assert student == teacher
    assert len(student) == 5
    width = SUITES["mini"].mini.size.channels
    for model in models:
        for level in ROWS[row]["levels"]:
            assert model.get_submodule(f"neck.fpn_convs.{level}.conv").out_channels == width


@pytest.mark.parametrize("row", [row for row, facts in ROWS.items() if facts["inherit"]])
def test_mini_student_can_inherit(row):
    ours, theirs = (
        {
            key: tensor.shape
            for key, tensor in _mini(name).state_dict().items()
            if not key.startswith("backbone.")
        }
        for name in _detectors(row)
    )
    own = {key for key in ours if key not in theirs}
    biases = {
        f"bbox_head.{branch}_convs.{i}.conv.bias" for branch in ("cls", "reg") for i in range(4)
    }
    assert own == (biases if row == "fcos_r50" else set())
    assert {key: shape for key, shape in ours.items() if key not in own} == theirs


def test_mini_gfl_has_as_many_channels_a_group_as_the_zoos():
    head = _mini("gfl_r50_fpn_1x_coco").bbox_head
    assert head.cls_convs[0].gn.num_groups == 4  # of 32 channels; 32 of 256 in the zoo


def test_mini_plan_trains_teachers_and_backbones():
    plan = recipe.plan(SUITES["mini"])
    assert set(plan.teachers) == set(FACTS["teachers"])
    sources = [teacher.source for teacher in plan.teachers.values()]
    assert all(isinstance(source, TrainedHere) and source.least_ap == 20 for source in sources)
    assert {source.backbone for source in sources} <= set(plan.backbones)
    assert {row.backbone for row in plan.rows.values()} <= set(plan.backbones)
    assert all(key == name for key, name in plan.backbones.items())


def test_a_detectors_own_schedule(tmp_path):
    name = "retinanet_r50_fpn_2x_coco"

    def change(content):
        content["mini"]["detectors"][name] |= {"epochs": 3, "lr": 0.5}

    suite = load_suite(write_suite(tmp_path, change))
    training = recipe.compose(suite, recipe.load_row("retinanet_r50"), "baseline").training
    assert training.runner.max_epochs == 3
    assert training.optimizer.lr == training.lr_config.max_lr == 0.5


# --- Wrong input ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.update(sed=1), r"unknown key 'sed'; did you mean 'seed'"),
        (lambda s: s["mini"].update(teachr={}), r"unknown key 'teachr' in mini; .*'teacher'"),
        (lambda s: s.pop("gpus"), r"'gpus' is a required property"),
        (lambda s: s.pop("seed"), r"give either `seed`, a number, or `seeds`, a list"),
        (lambda s: s.update(seeds=[1, 2]), r"give either `seed`, a number, or `seeds`, a list"),
        (lambda s: s.update(gpus="eight"), r"gpus: 'eight' is not of type 'integer'"),
        (
            lambda s: s["rows"].append("retinanet_r5"),
            r"unknown row 'retinanet_r5'.*'retinanet_r50'",
        ),
        (lambda s: s.update(dataset="configs/datasets/none.py"), r"configs/datasets/none\.py"),
    ],
)
def test_wrong_suite(tmp_path, change, message):
    with pytest.raises(FGDError, match=message):
        load_suite(write_suite(tmp_path, change))


def test_no_such_suite_file():
    with pytest.raises(FGDError, match=r"coc\.yaml: no such suite file.*coco, mini"):
        load_suite("configs/suites/coc.yaml")


def test_a_suite_file_that_is_no_yaml(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_text("rows: [a\n")
    with pytest.raises(FGDError, match=rf"{path}: not valid YAML"):
        load_suite(path)


def test_a_full_size_suite_cannot_have_its_own_schedule(tmp_path):
    path = write_suite(tmp_path, lambda s: s.update(schedule={}), "coco")
    with pytest.raises(FGDError, match="unknown key 'schedule'"):
        load_suite(path)


def test_a_detector_without_a_mini_size(tmp_path):
    path = write_suite(tmp_path, lambda s: s["mini"]["detectors"].pop("fcos_student"))
    with pytest.raises(FGDError, match=r"mini\.detectors has no entry for 'fcos_student'"):
        recipe.plan(load_suite(path))


def test_deformable_convolutions_need_bottlenecks(tmp_path):
    name = "reppoints_moment_x101_fpn_dconv_c3-c5_gn-neck+head_2x_coco"
    path = write_suite(tmp_path, lambda s: s["mini"]["detectors"][name].update(depth=34))
    with pytest.raises(FGDError, match=rf"{re.escape(name)}.*depth 50"):
        recipe.plan(load_suite(path))


def _changed_row(**changes):
    row = recipe.load_row("retinanet_r50")
    distill = row.distill | changes.pop("distill", {})
    return dataclasses.replace(row, distill=distill, **changes)


@each_suite
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distill": {"levels": [0, 5]}}, r"distill\.levels has 5, .* FPN levels 0 to 4"),
        ({"student": "retinanet_r50_fpn_2x"}, r"'retinanet_r50_fpn_2x'.*did you mean"),
        (
            {"teacher": "fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco"},
            r"\(of fcos_r101.*: type is RetinaNet in the student, FCOS in the teacher",
        ),
        (
            {
                "teacher": "cascade_mask_rcnn_x101_32x4d_fpn_dconv_c3-c5_1x_coco",
                "distill": {"inherit": False},
            },
            r"FPN level 4 has stride 128 in the student .* has 4, 8, 16, 32, 64: there is no level",
        ),
    ],
)
def test_wrong_row(suite, changes, message):
    with pytest.raises(FGDError, match=message):
        recipe.compose(suite, _changed_row(**changes), "fgd")


@pytest.mark.parametrize(
    ("row", "teacher", "message"),
    [
        (
            "retinanet_r50",
            "retinanet_r101_caffe_fpn_1x_coco",
            r"retinanet_r50_fpn_2x_coco gets its images as RGB .*58\.395.*retinanet_r101_caffe.* "
            r"as BGR with the mean \[103\.53, 116\.28, 123\.675\] and std \[1\.0",
        ),
        (
            "faster_rcnn_r50",
            "mask_rcnn_regnetx-3.2GF_fpn_1x_coco",
            r"as RGB .* teacher mask_rcnn_regnetx.* as BGR with the mean \[103\.53.* 57\.12, 58",
        ),
        ("yolox_m", "retinanet_r101_caffe_fpn_1x_coco", r"BGR from 0 to 255 \(no Normalize\)"),
    ],
)
def test_the_teacher_has_to_see_what_it_was_trained_on(row, teacher, message):
    changed = recipe.load_row(row)
    changed = dataclasses.replace(
        changed,
        teacher=teacher,
        distill=changed.distill | {"inherit": False, "levels": [0, 1, 2]},
    )
    with pytest.raises(FGDError, match=message):
        recipe.compose(SUITES["coco"], changed, "fgd")


def test_a_mean_that_differs_by_rounding_is_the_same():
    student, teacher = (known_pipeline(ROWS["fcos_r50"][role]) for role in ("student", "teacher"))
    assert student.mean != teacher.mean
    assert alike(student, teacher)
    assert not alike(student, None)
    assert alike(None, None)


def known_pipeline(name):
    return normalisation_of(recipe.known_config(name).data.test)


def test_inheritance_needs_stages_of_the_same_width(tmp_path):
    def narrower(content):
        content["mini"]["detectors"]["retinanet_r50_fpn_2x_coco"]["base_channels"] = 4

    suite = load_suite(write_suite(tmp_path, narrower))
    with pytest.raises(FGDError, match=r"in_channels is \[4, 8, 16, 32\] in the student, \[16,"):
        recipe.plan(suite)


def test_inheritance_needs_the_same_classes(monkeypatch):
    known = recipe.known_config

    def fewer_classes(name):
        config = known(name)
        if name == ROWS["retinanet_r50"]["teacher"]:
            config.model.bbox_head.num_classes = 20
        return config

    monkeypatch.setattr("fgd.recipe.detectors.known_config", fewer_classes)
    with pytest.raises(
        FGDError, match=r"number of classes is 80 in the student, 20 in the teacher"
    ):
        recipe.compose(SUITES["coco"], recipe.load_row("retinanet_r50"), "fgd")


@pytest.mark.parametrize(
    ("row", "changes", "message"),
    [
        (
            "yolox_m",
            {"runner": dict(type="EpochBasedRunner", max_epochs=15)},
            r"is low in the last 15 epochs, and it has 15: give lr_config = dict\(num_last_epochs",
        ),
        (
            "retinanet_r50",
            {"lr_config": dict(policy="CosineRestart", periods=[6, 6], restart_weights=[1, 1])},
            r"has periods for 12 epochs, and it has 24: give lr_config = dict\(periods",
        ),
    ],
)
def test_a_learning_rate_for_other_epochs_is_refused(row, changes, message):
    changed = dataclasses.replace(recipe.load_row(row), **changes)
    with pytest.raises(FGDError, match=message):
        recipe.compose(SUITES["coco"], changed, "baseline")


def test_parameters_that_get_no_gradient_are_allowed_where_the_student_has_them(monkeypatch):
    known = recipe.known_config

    def unused(name):
        config = known(name)
        config.find_unused_parameters = True
        return config

    row = recipe.load_row("retinanet_r50")
    assert "find_unused_parameters" not in recipe.compose(SUITES["coco"], row, "fgd").training
    monkeypatch.setattr("fgd.recipe.detectors.known_config", unused)
    assert recipe.compose(SUITES["coco"], row, "fgd").training.find_unused_parameters


def test_published_figures_are_points(monkeypatch, tmp_path):
    folder = tmp_path / "configs" / "distillers"
    shutil.copytree(root() / "configs" / "distillers", folder)
    row = folder / "fcos_r50.py"
    row.write_text(row.read_text() + "\npublished.update(fgd=0.427)\n")
    monkeypatch.setattr("fgd.suite.suite.root", lambda: tmp_path)
    with pytest.raises(FGDError, match=r"published\.fgd is 0\.427: expected AP in points"):
        recipe.load_row("fcos_r50")


def test_unknown_row():
    with pytest.raises(FGDError, match=r"unknown row 'fcos_r5': .*; did you mean 'fcos_r50'"):
        recipe.load_row("fcos_r5")


def test_unknown_key_of_a_row(monkeypatch, tmp_path):
    folder = tmp_path / "configs" / "distillers"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text("student = 'a'\nteacher = 'b'\ndistil = dict()\n")
    monkeypatch.setattr("fgd.suite.suite.root", lambda: tmp_path)
    with pytest.raises(FGDError, match=r"mine\.py: unknown key 'distil'; did you mean 'distill'"):
        recipe.load_row("mine")


def test_unknown_arm():
    with pytest.raises(FGDError, match=r"unknown arm 'fdg': expected fgd or baseline"):
        recipe.compose(SUITES["coco"], recipe.load_row("fcos_r50"), "fdg")


def test_a_mask2former_has_the_classes_of_the_data():
    model = recipe.known_config("mask2former_r50_lsj_8x2_50e_coco").model
    changed = recipe.with_classes(model, 3)
    assert number_of_classes(changed) == 3
    assert changed.panoptic_fusion_head.num_things_classes == 3
    assert changed.panoptic_head.loss_cls.class_weight == [1.0, 1.0, 1.0, 0.1]
    assert recipe.with_classes(model, 80) == model
    model.panoptic_head.loss_cls.class_weight = [1.0, 2.0, 3.0, 0.1]
    assert recipe.with_classes(model, 3).panoptic_head.loss_cls == model.panoptic_head.loss_cls


def test_configs_of_a_suite_that_was_edited_since_it_was_planned_are_not_written(tmp_path):
    composed = recipe.compose(SUITES["mini"], recipe.load_row("fcos_r50"), "baseline")
    write = functools.partial(
        recipe.write_row, SUITES["mini"], "fcos_r50", arm="baseline", out=tmp_path
    )
    with pytest.raises(FGDError, match=r"mini.yaml: .* has changed since the workflow was planned"):
        write(planned="0123456789abcdef")
    assert not list(tmp_path.iterdir())
    write(planned=composed.digest)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("max_lr", 0.1, "one_cycle.max_lr: it is the optimizer's lr, 0.003; leave the key out"),
        ("policy", "step", "one_cycle.policy: it is OneCycle; leave the key out"),
        ("pct_strat", 0.1, "lr_config of the policy OneCycle cannot be built"),
    ],
)
def test_a_mini_schedule_that_cannot_be_built_is_refused(tmp_path, key, value, message):
    path = write_suite(tmp_path, lambda s: s["mini"]["schedule"]["one_cycle"].update({key: value}))
    with pytest.raises(FGDError, match=re.escape(message)):
        recipe.compose(load_suite(path), recipe.load_row("fcos_r50"), "baseline")


def test_a_misspelt_detector_of_a_mini_suite_is_refused(tmp_path):
    size = {"depth": 18, "base_channels": 8}
    for name, words in (("fcos_studnet", "did you mean 'fcos_student'"), ("mine", None)):
        path = write_suite(tmp_path, lambda s, n=name: s["mini"]["detectors"].update({n: size}))
        if words is None:  # it may be of a row that this suite has not
            recipe.plan(load_suite(path))
            continue
        with pytest.raises(FGDError, match=f"mini.detectors has 'fcos_studnet', .*{words}"):
            recipe.plan(load_suite(path))
