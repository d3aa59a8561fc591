"""The check of starting weights: right starts are recorded, wrong ones refused by name."""

import copy
import json
import logging

import pytest
import torch
from detectors import save_backbone, training_config, write_config
from mmcv.cnn.utils.weight_init import PretrainedInit
from mmcv.utils import get_logger
from mmdet.models import build_detector

from fgd import recipe
from fgd.distiller import FGDDistiller
from fgd.errors import FGDError
from fgd.files import sha256
from fgd.starting_weights import BACKBONE, OWN, TEACHER, check_start, own_values, summary
from fgd.training import train
from fgd.weights import inherit

COUNTER = ".num_batches_tracked"


@pytest.fixture(autouse=True)
def quiet_mmcv():
    """mmcv announces every tensor that it initialises."""
    get_logger("mmcv").setLevel(logging.ERROR)


def built(model):
    torch.manual_seed(0)
    return build_detector(copy.deepcopy(model))


def started(model):
    detector = built(model)
    detector.init_weights()
    return detector


def start_of(model) -> dict:
    return check_start(started(model), own_values(built(model)), model)


def sources(report) -> dict[str, str]:
    return {name: entry["source"] for name, entry in report["tensors"].items()}


def rewrite(path, change) -> None:
    """Replace the state dict in a checkpoint by `change(state dict)`."""
    checkpoint = torch.load(path)
    torch.save(dict(checkpoint, state_dict=change(checkpoint["state_dict"])), path)


def overwrite_after_inheritance(monkeypatch) -> None:
    """The order of the published code with newer mmdet."""

    def init_weights(self) -> None:
        if self.inherit:
            inherit(self.student, self.teacher, self.inherit_except)
        self.student.init_weights()

    monkeypatch.setattr(FGDDistiller, "init_weights", init_weights)


# --- Right starts ---


@pytest.mark.parametrize(
    ("row", "arm", "rest"),
    [
        ("retinanet_r50", "fgd", TEACHER),
        ("faster_rcnn_r50", "fgd", OWN),
        ("retinanet_r50", "baseline", OWN),
        ("fcos_r50", "baseline", OWN),
    ],
)
def test_backbone_from_its_file_and_the_rest_from_one_source(tiny_suite, row, arm, rest):
    found = sources(start_of(training_config(tiny_suite, row, arm).model))
    assert {found[name] for name in found if name.startswith("backbone.")} == {BACKBONE}
    assert {found[name] for name in found if not name.startswith("backbone.")} == {rest}


def test_the_fcos_row_inherits_all_but_eight_biases(tiny_suite):
    report = start_of(training_config(tiny_suite, "fcos_r50", "fgd").model)
    own = [name for name, source in sources(report).items() if source == OWN]
    branches = ("cls_convs", "reg_convs")
    assert own == [f"bbox_head.{b}.{i}.conv.bias" for b in branches for i in range(4)]
    assert report["summary"]["tensors"][OWN] == 8
    assert ", 8 own" in summary(report)


def test_a_teacher_whose_file_has_the_names_of_an_older_mmdet_is_the_same(tiny_suite):
    model = training_config(tiny_suite, "fcos_r50", "fgd").model
    today = sources(start_of(model))
    rewrite(
        model.teacher_checkpoint,
        lambda state: {
            name.replace("bbox_head.conv_", "bbox_head.fcos_"): t for name, t in state.items()
        },
    )
    assert "bbox_head.fcos_cls.weight" in torch.load(model.teacher_checkpoint)["state_dict"]
    assert sources(start_of(model)) == today


def test_values_that_the_teacher_has_too_are_no_error_without_inheritance(tiny_suite):
    model = training_config(tiny_suite, "faster_rcnn_r50", "fgd").model
    fresh = own_values(built(model))
    bias = "neck.fpn_convs.0.conv.bias"
    assert not fresh[bias].any()
    rewrite(model.teacher_checkpoint, lambda state: state | {bias: fresh[bias]})
    assert sources(start_of(model))[bias] == OWN


@pytest.mark.parametrize(
    ("form", "settings"),
    [
        (lambda state: state, {}),
        (lambda state: {"state_dict": state}, {}),
        (lambda state: {"state_dict": {f"module.{k}": v for k, v in state.items()}}, {}),
        (lambda state: {f"net.{k}": v for k, v in state.items()}, {"prefix": "net"}),
    ],
    ids=["bare", "state_dict", "module", "prefix"],
)
def test_every_form_of_backbone_file_that_mmcv_reads(tiny_suite, form, settings):
    model = training_config(tiny_suite, "retinanet_r50", "baseline").model
    model.backbone.init_cfg.update(settings)
    path = model.backbone.init_cfg.checkpoint
    torch.save(form(torch.load(path)["state_dict"]), path)
    assert BACKBONE in sources(start_of(model)).values()


def test_a_classifier_too_many_and_counters_too_few_are_told(tiny_suite):
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model
    rewrite(
        model.student.backbone.init_cfg.checkpoint,
        lambda state: (
            {k: v for k, v in state.items() if not k.endswith(COUNTER)}
            | {"fc.weight": torch.ones(10, 4)}
        ),
    )
    report = start_of(model)
    assert report["files"][BACKBONE]["unused"] == ["fc.weight"]
    own = [name for name, source in sources(report).items() if source == OWN]
    assert own == [name for name in sources(report) if name.endswith(COUNTER)]
    assert own


def test_a_teachers_training_starts_its_deformable_offsets_itself(tiny_suite):
    name = recipe.load_row("faster_rcnn_r50").teacher
    model = recipe.compose_teacher(tiny_suite, name).training.model
    save_backbone(tiny_suite, model)
    rewrite(
        model.backbone.init_cfg.checkpoint,
        lambda state: {k: v for k, v in state.items() if "conv_offset" not in k},
    )
    report = start_of(model)
    own = {name for name, source in sources(report).items() if source == OWN}
    offsets = {name for name in sources(report) if "conv_offset" in name}
    assert offsets
    assert {name for name in own if name.startswith("backbone.")} == offsets
    assert summary(report).startswith("detector starts from: ")


# --- Wrong starts ---


@pytest.mark.parametrize("row", ["retinanet_r50", "fcos_r50"])
def test_an_initialisation_after_inheritance_is_refused(tiny_suite, monkeypatch, row):
    overwrite_after_inheritance(monkeypatch)
    model = training_config(tiny_suite, row, "fgd").model
    message = r"neck\.lateral_convs\.0\.conv\.weight is from own initialisation, not teacher"
    with pytest.raises(FGDError, match=message):
        start_of(model)


@pytest.mark.parametrize("arm", ["fgd", "baseline"])
def test_a_backbone_that_was_not_loaded_is_refused(tiny_suite, monkeypatch, arm):
    monkeypatch.setattr(PretrainedInit, "__call__", lambda self, module: None)
    model = training_config(tiny_suite, "retinanet_r50", arm).model
    message = r"backbone\.conv1\.weight is from own initialisation, not backbone checkpoint"
    with pytest.raises(FGDError, match=message):
        start_of(model)


def test_a_backbone_file_of_other_names_or_shapes_is_refused(tiny_suite):
    model = training_config(tiny_suite, "retinanet_r50", "baseline").model
    path = model.backbone.init_cfg.checkpoint
    whole = torch.load(path)["state_dict"]
    for state, message in [
        ({f"net.{k}": v for k, v in whole.items()}, r"conv1\.weight is not in the backbone check"),
        ({k: v for k, v in whole.items() if k != "bn1.bias"}, r"^1 of \d+ .* backbone\.bn1\.bias"),
        (whole | {"conv1.weight": torch.ones(4, 3, 7, 7)}, r"^1 of \d+ .* backbone\.conv1\.weight"),
    ]:
        torch.save(state, path)
        with pytest.raises(FGDError, match=message):
            start_of(model)


def test_a_single_changed_value_is_refused(tiny_suite):
    model = training_config(tiny_suite, "faster_rcnn_r50", "fgd").model
    own = own_values(built(model))
    for name in ("backbone.layer1.0.bn1.running_mean", "rpn_head.rpn_cls.bias"):
        detector = started(model)
        detector.student.state_dict()[name][0] += 1e-6
        with pytest.raises(FGDError, match=rf"^1 of \d+ .*: {name} is from an unknown source"):
            check_start(detector, own, model)


def test_inheritance_that_the_row_does_not_ask_for_is_refused(tiny_suite, monkeypatch):
    def init_weights(self) -> None:
        self.student.init_weights()
        inherit(self.student, self.teacher)

    monkeypatch.setattr(FGDDistiller, "init_weights", init_weights)
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model
    model.distill.inherit = False
    message = r"neck\.lateral_convs\.0\.conv\.weight is from teacher, not own initialisation"
    with pytest.raises(FGDError, match=message):
        start_of(model)


def test_a_backbone_without_a_checkpoint_is_refused(tiny_suite):
    model = training_config(tiny_suite, "retinanet_r50", "baseline").model
    model.backbone.init_cfg = None
    with pytest.raises(FGDError, match="names no checkpoint for its backbone"):
        start_of(model)


# --- Runs ---


def write(config, tmp_path):
    path = tmp_path / "config.py"
    write_config(config, path)
    return path


def test_a_run_writes_and_tells_its_start_and_a_resumed_one_does_not(tiny_suite, tmp_path, caplog):
    config = training_config(tiny_suite, "retinanet_r50", "fgd")
    path, run = write(config, tmp_path), tmp_path / "run"
    with caplog.at_level(logging.INFO, logger="fgd"):
        train(path, run, tmp_path / "out.pth")

    report = json.loads((run / "weights.json").read_text())
    student = started(config.model).student
    assert report["tensors"].keys() == student.state_dict().keys()
    shape = list(student.bbox_head.retina_cls.weight.shape)
    assert report["tensors"]["bbox_head.retina_cls.weight"] == dict(source=TEACHER, shape=shape)
    by_source, count = report["summary"]["parameters"], report["summary"]["tensors"]
    assert by_source[BACKBONE] == sum(p.numel() for p in student.backbone.parameters())
    assert sum(by_source.values()) == sum(p.numel() for p in student.parameters())
    assert sum(count.values()) == len(report["tensors"])
    backbone, teacher = config.model.student.backbone.init_cfg, config.model.teacher_checkpoint
    assert report["files"] == {
        BACKBONE: dict(path=backbone.checkpoint, sha256=sha256(backbone.checkpoint)[:8], unused=[]),
        TEACHER: dict(path=teacher, sha256=sha256(teacher)[:8]),
    }
    told = [line for line in caplog.messages if "starts from" in line]
    assert told == [summary(report)]
    assert f"student starts from: {count[BACKBONE]} tensors of {backbone.checkpoint} " in told[0]

    (run / "weights.json").unlink()
    train(path, run, tmp_path / "out.pth")
    assert not (run / "weights.json").exists()


def test_a_wrong_start_stops_the_run_before_it_trains(tiny_suite, tmp_path, monkeypatch):
    overwrite_after_inheritance(monkeypatch)
    path = write(training_config(tiny_suite, "retinanet_r50", "fgd"), tmp_path)
    with pytest.raises(FGDError, match="tensors do not start from where the config says"):
        train(path, tmp_path / "run", tmp_path / "out.pth")
    assert list((tmp_path / "run").iterdir()) == []


def test_what_a_loss_counts_is_the_students_own_where_the_teacher_has_another(tiny_suite):
    model = training_config(tiny_suite, "retinanet_r50", "fgd").model
    today = sources(start_of(model))
    model.student.bbox_head.loss_cls = dict(type="GHMC", momentum=0.75, use_sigmoid=True)
    found = sources(start_of(model))
    counted = {"bbox_head.loss_cls.edges", "bbox_head.loss_cls.acc_sum"}
    assert found == today | dict.fromkeys(counted, OWN)
