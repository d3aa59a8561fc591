"""What a detector's own config asks of its training: done, or refused by name."""

import dataclasses

import pytest

from fgd import recipe
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.suite import load_suite

COCO = load_suite(root() / "configs/suites/coco.yaml")
REPEATED = "retinanet_r101_fpn_mstrain_640-800_3x_coco"  # 12 epochs of data repeated 3 times
STUDENT = "retinanet_r50_fpn_2x_coco"


def test_a_repeated_data_set_makes_as_many_more_epochs(tmp_path):
    base = root() / "configs"
    (tmp_path / "mine.py").write_text(
        f"_base_ = '{base}/distillers/retinanet_r50.py'\nteacher = '{REPEATED}'\n"
    )
    file = tmp_path / "suite.yaml"
    file.write_text(
        f"base: {base}/suites/coco.yaml\nrows: [mine.py]\ntrain_teachers: [{REPEATED}]\n"
    )
    suite = load_suite(file)
    printed = recipe.write_teacher(suite, REPEATED, tmp_path)
    assert printed.endswith("; 12 epochs of data repeated 3 times = 36 epochs")
    training = recipe.compose_teacher(suite, REPEATED).training
    assert training.runner.max_epochs == 36
    assert training.lr_config.step == [27, 33]
    assert training.lr_config.warmup_iters == 500
    assert training.data.train.type == "CocoDataset"


def test_a_rows_own_epochs_are_over_the_data():
    row = recipe.load_row("retinanet_r101")
    row = dataclasses.replace(row, student=REPEATED, lr_config={}, runner=dict(max_epochs=30))
    training = recipe.compose(COCO, row, "baseline").training
    assert training.runner.max_epochs == 30  # the row's
    assert training.lr_config.step == [27, 33]  # the student's, in the same epochs


def test_a_learning_rate_that_never_drops_is_refused():
    row = recipe.load_row("retinanet_r101")
    row = dataclasses.replace(row, student=REPEATED, lr_config={})
    with pytest.raises(FGDError, match=r"row retinanet_r101: .* after epoch 27, and it has 24"):
        recipe.compose(COCO, row, "baseline")


def test_a_detector_of_half_precision_is_trained_in_the_suites():
    row = dataclasses.replace(
        recipe.load_row("retinanet_r50"), student="retinanet_r50_fpn_fp16_1x_coco"
    )
    assert recipe.compose(COCO, row, "baseline").training.precision == "fp32"


def _wrapped(kind, **settings):
    def change(config):
        config.data.train = dict(type=kind, dataset=config.data.train, **settings)

    return change


def _as_list(config):
    config.data.train = [config.data.train, config.data.train]


def _repeated_exp(config):
    _wrapped("RepeatDataset", times=2)(config)
    config.lr_config = dict(policy="exp", gamma=0.5)


@pytest.fixture
def known(monkeypatch):
    """Lets the student's config, known by its name, be another one."""
    original = recipe.known_config

    def change(by):
        def changed(name):
            config = original(name)
            if name == STUDENT:
                by(config)
            return config

        monkeypatch.setattr("fgd.recipe.detectors.known_config", changed)

    return change


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (_wrapped("ClassBalancedDataset", oversample_thr=1e-3), "data.train is ClassBalancedData"),
        (_as_list, "data.train is a list of data sets, and a suite trains on its own"),
        (_repeated_exp, "repeated 2 times, and the learning rate's policy exp cannot"),
        (lambda c: c.update(load_from="a.pth"), "has load_from, .* backbone's weights"),
        (lambda c: c.update(momentum_config={"policy": "cyclic"}), "has momentum_config"),
        (lambda c: c.optimizer_config.update(type="Fp16OptimizerHook"), "has the type Fp16Opt"),
        (lambda c: c.data.train.update(proposal_file="p.pkl"), "has a proposal_file"),
        (lambda c: c.data.train.update(seg_prefix="maps/"), "from a class for every pixel .* can"),
        (
            lambda c: c.update(runner=dict(type="OtherRunner", max_iters=90_000)),
            "its runner is OtherRunner, .* give epochs",
        ),
        (
            lambda c: (
                c.update(runner=dict(type="IterBasedRunner", max_iters=90_000)),
                c.lr_config.update(policy="poly"),
            ),
            "counts iterations, and the learning rate's policy poly cannot be told in epochs",
        ),
        (lambda c: c.model.backbone.update(type="TridentResNet"), "three feature maps of every"),
    ],
)
def test_what_is_not_done_here_is_refused(known, by, message):
    known(by)
    with pytest.raises(FGDError, match=f"{STUDENT}: .*{message}"):
        recipe.compose(COCO, recipe.load_row("retinanet_r50"), "baseline")


def test_a_teacher_that_is_downloaded_may_have_been_trained_in_any_way():
    fp16 = "retinanet_r50_fpn_fp16_1x_coco"
    row = dataclasses.replace(recipe.load_row("retinanet_r50"), teacher=fp16)
    recipe.compose(COCO, row, "fgd")
    recipe.compose_teacher(COCO, fp16)
    for name in (
        "mask_rcnn_r50_fpn_sample1e-3_seesaw_loss_mstrain_2x_lvis_v1",
        "tood_r101_fpn_mstrain_2x_coco",  # with a hook that trainings here do not know
    ):
        recipe.compose_teacher(COCO, name)


def test_iterations_are_told_as_epochs_of_coco(known):
    def by_iterations(config):
        config.runner = dict(type="IterBasedRunner", max_iters=90_000)
        config.lr_config.update(step=[60_000, 80_000], by_epoch=False)

    known(by_iterations)
    row = dataclasses.replace(recipe.load_row("retinanet_r50"), lr_config={})
    training = recipe.compose(COCO, row, "baseline").training
    assert training.lr_config.step == [8, 11]
    assert "by_epoch" not in training.lr_config


def test_a_student_with_a_teacher_of_its_own_is_refused():
    name = "ld_r18_gflv1_r101_fpn_coco_1x"
    row = dataclasses.replace(recipe.load_row("retinanet_r50"), student=name)
    with pytest.raises(FGDError, match=rf"{name}: .* learns from a teacher of its own"):
        recipe.compose(COCO, row, "baseline")


def test_a_teacher_that_was_distilled_is_composed_without_its_own_teacher():
    row = recipe.load_row("retinanet_r50")
    distill = row.distill | {"inherit": False}
    row = dataclasses.replace(row, teacher="lad_r50_paa_r101_fpn_coco_1x", distill=distill)
    teacher = recipe.compose(COCO, row, "fgd").training.model.teacher
    assert teacher.type == "SingleStageDetector"
    assert not [key for key in teacher if "teacher" in key]


def test_weights_that_an_older_config_names_beside_the_backbone_are_its_own():
    row = dataclasses.replace(recipe.load_row("retinanet_r101"), student=REPEATED, lr_config={})
    row = dataclasses.replace(row, runner=dict(max_epochs=30))
    model = recipe.compose(COCO, row, "baseline").detector.model
    assert "pretrained" not in model
    assert model.backbone.init_cfg.checkpoint == COCO.layout.backbone("resnet101")
