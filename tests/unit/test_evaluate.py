"""Evaluation: equal to pycocotools and to mmdet's own, boxes and masks."""

import io
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from detectors import save_backbone, write_config
from mmcv import Config
from mmdet.datasets import build_dataset
from mmdet.models import build_detector

from fgd import recipe
from fgd.cli import main
from fgd.errors import FGDError
from fgd.evaluation.comparing import compare_models
from fgd.evaluation.evaluate import evaluate, measure
from fgd.evaluation.scores import METRICS, coco_metrics
from fgd.zoo.index import _package


@pytest.fixture
def config(tiny_suite):
    """A Mask R-CNN."""
    return recipe.compose(tiny_suite, recipe.load_row("mask_rcnn_r50"), "baseline").detector


_WEIGHTS = {}  # built once: each test changes a file of its own


@pytest.fixture
def detector(tiny_suite, config, tmp_path):
    """Config and checkpoint of a Mask R-CNN with random weights, and its data set."""
    if not _WEIGHTS:
        torch.manual_seed(0)
        save_backbone(tiny_suite, config.model)
        model = build_detector(config.model)
        model.init_weights()
        _WEIGHTS.update(model.state_dict())
    torch.save({"state_dict": _WEIGHTS, "meta": {}}, tmp_path / "student.pth")
    write_config(config, tmp_path / "student.py")
    return tmp_path / "student.py", tmp_path / "student.pth"


def good_results(dataset):
    """Detections that are the truth moved by a pixel, some of them of the wrong class."""
    rng = np.random.default_rng(0)
    results = []
    for index in range(len(dataset)):
        truth = dataset.get_ann_info(index)
        boxes = [np.zeros((0, 5), np.float32) for _ in dataset.CLASSES]
        for box, label in zip(truth["bboxes"], truth["labels"], strict=True):
            label = label if rng.random() < 0.8 else (label + 1) % 10
            scored = np.append(box + rng.integers(-1, 2, 4), rng.random()).astype(np.float32)
            boxes[label] = np.vstack([boxes[label], scored])
        results.append(boxes)
    return results


def test_figures_equal_pycocotools_and_mmdet(detector):
    dataset = build_dataset(Config.fromfile(str(detector[0])).data.test, dict(test_mode=True))
    results = good_results(dataset)
    fast = coco_metrics(dataset, results, pycocotools=False)["box"]
    reference = coco_metrics(dataset, results, pycocotools=True)["box"]
    assert tuple(fast) == METRICS
    assert fast == pytest.approx(reference, abs=1e-9)
    assert 0.2 < fast["AP"] < 1
    mmdets = dataset.evaluate(results, metric="bbox")
    assert fast["AP"] == pytest.approx(mmdets["bbox_mAP"], abs=6e-4)  # mmdet rounds to 3 digits


def test_ap_by_class_equals_pycocotools_and_its_mean_is_ap(detector):
    dataset = build_dataset(Config.fromfile(str(detector[0])).data.test, dict(test_mode=True))
    results = good_results(dataset)
    fast, reference = (
        coco_metrics(dataset, results, pycocotools=slow, per_class=True)["box"]
        for slow in (False, True)
    )
    assert fast["per_class"] == pytest.approx(reference["per_class"], abs=1e-9)
    assert tuple(fast["per_class"]) == dataset.CLASSES
    known = [value for value in fast["per_class"].values() if value >= 0]
    assert np.mean(known) == pytest.approx(fast["AP"], abs=1e-9)
    assert len(set(known)) > 1


def test_figures_of_every_class_equal_mmdets(detector):
    dataset = build_dataset(Config.fromfile(str(detector[0])).data.test, dict(test_mode=True))
    results = good_results(dataset)
    ours = coco_metrics(dataset, results, pycocotools=False, per_class=True)["box"]
    reference = coco_metrics(dataset, results, pycocotools=True, per_class=True)["box"]
    assert ours["per_class"] == pytest.approx(reference["per_class"], abs=1e-9)
    there = {name: ap for name, ap in ours["per_class"].items() if ap > -1}
    assert ours["AP"] == pytest.approx(sum(there.values()) / len(there))
    printed = io.StringIO()
    logger = logging.Logger("mmdet")
    logger.addHandler(logging.StreamHandler(printed))
    dataset.evaluate(results, metric="bbox", classwise=True, logger=logger)
    theirs = dict(re.findall(r"\| (\d) +\| (nan|[\d.]+)", printed.getvalue()))
    assert set(theirs) == set(dataset.CLASSES)
    for name, ap in ours["per_class"].items():
        assert theirs[name] == ("nan" if ap == -1 else f"{ap:.3f}")


@pytest.mark.parametrize("slow", [False, True])
def test_categories_that_are_no_classes_do_not_count(detector, slow):
    test = Config.fromfile(str(detector[0])).data.test
    every = build_dataset(test, dict(test_mode=True))
    label = int(every.get_ann_info(0)["labels"][0])
    dataset = build_dataset(dict(test, classes=(every.CLASSES[label],)), dict(test_mode=True))
    perfect = [
        [np.insert(dataset.get_ann_info(index)["bboxes"], 4, 0.9, axis=1)] for index in range(4)
    ]
    metrics = coco_metrics(dataset, perfect, pycocotools=slow, per_class=True)["box"]
    assert metrics["AP"] == pytest.approx(1)
    assert metrics["AP"] == pytest.approx(dataset.evaluate(perfect, metric="bbox")["bbox_mAP"])
    assert metrics["per_class"] == pytest.approx({every.CLASSES[label]: metrics["AP"]})


def test_no_detection_at_all_is_an_ap_of_zero(detector):
    dataset = build_dataset(Config.fromfile(str(detector[0])).data.test, dict(test_mode=True))
    nothing = [[np.zeros((0, 5), np.float32) for _ in dataset.CLASSES] for _ in dataset]
    assert coco_metrics(dataset, nothing, pycocotools=False)["box"]["AP"] == 0


def test_a_checkpoint_is_evaluated_for_boxes_and_masks(detector, tmp_path):
    config, checkpoint = detector
    report = evaluate(config, checkpoint, out=tmp_path / "eval.json")
    assert json.loads((tmp_path / "eval.json").read_text()) == report
    assert report["images"] == 4
    assert set(report["box"]) == set(report["mask"]) == set(METRICS)


def test_batches_and_mixed_precision_give_figures_too(detector, tmp_path):
    config, checkpoint = detector
    report = evaluate(config, checkpoint, out=tmp_path / "eval.json", batch=3, precision="bf16")
    assert (report["images"], report["batch"], report["precision"]) == (4, 3, "bf16")
    assert set(report["box"]) == set(report["mask"]) == set(METRICS)


def test_the_same_weights_are_measured_once_for_all_who_ask(detector, tmp_path, monkeypatch):
    config, checkpoint = detector
    first = measure(config, checkpoint, again=False)
    training = torch.load(checkpoint) | {"optimizer": {}}  # the same weights in another file
    torch.save(training, tmp_path / "trained.pth")
    with monkeypatch.context() as patch:
        patch.setattr("fgd.evaluation.evaluate.detect_in", None)
        again = measure(config, tmp_path / "trained.pth", again=False)
        assert again == first | {"checkpoint": "trained.pth", "sha256": again["sha256"]}
        assert again["sha256"] != first["sha256"]
    training["state_dict"]["rpn_head.rpn_cls.bias"] += 1e-6
    torch.save(training, tmp_path / "trained.pth")
    monkeypatch.setattr("fgd.evaluation.evaluate.detect_in", lambda *_: pytest.fail("anew"))
    with pytest.raises(pytest.fail.Exception, match="anew"):
        measure(config, tmp_path / "trained.pth", again=False)


def test_other_images_are_measured_anew(detector, monkeypatch):
    config, checkpoint = detector
    measure(config, checkpoint, again=False)
    test = Config.fromfile(str(config)).data.test
    image = Path(test.img_prefix) / build_dataset(test).data_infos[0]["filename"]
    os.utime(image, (1, 1))  # as another file of its name and size has it
    monkeypatch.setattr("fgd.evaluation.evaluate.detect_in", lambda *_: pytest.fail("anew"))
    with pytest.raises(pytest.fail.Exception, match="anew"):
        measure(config, checkpoint, again=False)


def test_images_of_another_size_than_stated_are_told(detector, tmp_path, caplog):
    config, checkpoint = detector
    cfg = Config.fromfile(str(config))
    content = json.loads(Path(cfg.data.test.ann_file).read_text())
    for image in content["images"][:3]:
        image.update(width=2 * image["width"], height=2 * image["height"])
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + width, y, x + width, y + height]]
    cfg.data.test.ann_file = str(tmp_path / "larger.json")
    Path(cfg.data.test.ann_file).write_text(json.dumps(content))
    write_config(cfg, config)
    evaluate(config, checkpoint, out=tmp_path / "eval.json")
    assert "3 of 4 images are of another size than" in caplog.text


def test_a_graph_has_its_own_batch_and_precision(detector, tmp_path):
    for settings in ({"batch": 4}, {"precision": "bf16"}):
        with pytest.raises(FGDError, match=r"student\.onnx: .* leave --batch and --precision out"):
            measure(detector[0], tmp_path / "student.onnx", **settings)


def test_views_of_an_image_are_not_batched(detector, tmp_path):
    config, checkpoint = detector
    cfg = Config.fromfile(str(config))
    cfg.data.test.pipeline[1].flip = True
    write_config(cfg, config)
    with pytest.raises(FGDError, match="its MultiScaleFlipAug shows every image several times"):
        evaluate(config, checkpoint, out=tmp_path / "eval.json", batch=2)


def test_a_file_that_is_no_image_is_named(detector, tmp_path):
    config, checkpoint = detector
    cfg = Config.fromfile(str(config))
    folder = shutil.copytree(cfg.data.test.img_prefix, tmp_path / "pictures")
    name = build_dataset(cfg.data.test).data_infos[2]["filename"]
    (folder / name).write_text("<html>not found</html>")
    cfg.data.test.img_prefix = str(folder)
    write_config(cfg, config)
    with pytest.raises(FGDError, match=f"{name} is cut short, or no image that OpenCV reads"):
        evaluate(config, checkpoint, out=tmp_path / "eval.json")


def test_a_checkpoint_of_another_model_is_refused(detector, tmp_path):
    config, checkpoint = detector
    state = torch.load(checkpoint)["state_dict"]
    state.pop("rpn_head.rpn_cls.weight")
    torch.save({"state_dict": state}, checkpoint)
    with pytest.raises(FGDError, match=r"student\.pth: .*missing rpn_head\.rpn_cls\.weight"):
        evaluate(config, checkpoint, out=tmp_path / "eval.json")
    state = dict(_WEIGHTS, **{"rpn_head.rpn_cls.bias": _WEIGHTS["rpn_head.rpn_cls.bias"] / 0})
    torch.save({"state_dict": state}, checkpoint)
    with pytest.raises(FGDError, match=r"rpn_head\.rpn_cls\.bias has values that are not finite"):
        evaluate(config, checkpoint, out=tmp_path / "eval.json")
    assert not (tmp_path / "eval.json").exists()


def test_mmdets_own_test_script_takes_config_and_checkpoint(detector, tmp_path):
    config, checkpoint = detector
    script = _package("mmdet") / ".mim" / "tools" / "test.py"
    command = [sys.executable, script, config, checkpoint, "--eval", "bbox", "segm"]
    result = subprocess.run(
        [*command, "--work-dir", tmp_path / "mmdet"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    theirs = json.loads(next((tmp_path / "mmdet").glob("*.json")).read_text())["metric"]
    ours = evaluate(config, checkpoint, out=tmp_path / "eval.json")
    assert theirs["bbox_mAP"] == pytest.approx(max(ours["box"]["AP"], 0), abs=6e-4)


def test_two_models_are_compared_by_folder(detector, tmp_path):
    again = tmp_path / "again"
    again.mkdir()
    for file in detector:
        shutil.copy(file, again)
    command = ["compare", str(tmp_path), str(again), "--draws=100", f"--out={tmp_path}/out.json"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    assert "box AP" in done.output and "mask AP" in done.output
    assert "more than the choice of images explains: not shown" in done.output
    report = json.loads((tmp_path / "out.json").read_text())
    assert report["box"]["interval"] == [0, 0]
    assert (report["images"], report["draws"]) == (4, 100)


def test_models_that_cannot_be_compared(detector, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FGDError, match=f"{empty}: no finished model; expected student.py and"):
        compare_models(tmp_path, empty)
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(detector[1], other)
    config = Config.fromfile(str(detector[0]))
    annotations = Path(config.data.test.ann_file)
    config.data.test.ann_file = str(annotations.with_name("again.json"))
    annotations.with_name("again.json").write_text(annotations.read_text() + " ")
    write_config(config, other / "student.py")
    with pytest.raises(FGDError, match=r"other/student.py name other test sets"):
        compare_models(tmp_path, other)
