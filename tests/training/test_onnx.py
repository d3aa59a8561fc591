"""A detector as an ONNX graph finds what mmdet finds, in images of any size."""

import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from detectors import write_config
from mmcv import Config
from mmdet.apis import inference_detector
from random_student import picture, random_student

from fgd.checkout import root
from fgd.errors import FGDError
from fgd.evaluation.evaluate import measure
from fgd.onnx import pipeline, regions
from fgd.onnx.pipeline import read_input
from fgd.onnx.runtime import OnnxDetector
from fgd.onnx.write import export

KINDS = ("retinanet_r50", "fcos_r50", "reppoints_r50", "faster_rcnn_r50", "mask_rcnn_r50")


@pytest.fixture(params=KINDS)
def made(request, tiny_suite, tmp_path):
    return *random_student(tiny_suite, request.param, tmp_path), tmp_path / "student.onnx"


def rows(result):
    boxes = result[0] if isinstance(result, tuple) else result
    return np.concatenate([np.column_stack([b, [[n]] * len(b)]) for n, b in enumerate(boxes)])


def test_finds_what_mmdet_finds(made):
    config, checkpoint, detector, out = made
    facts = export(config, checkpoint, out=out)
    assert facts["compared"]["detections"] >= 20
    written = OnnxDetector(out)
    for height, width in ((64, 64), (50, 90), (133, 47)):
        image = picture(height, width)
        theirs, ours = inference_detector(detector, image), written.detect(image)
        expected, found = rows(theirs), rows(ours)
        assert len(found) == len(expected) > 0
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-2)
        if isinstance(theirs, tuple):
            for mine, right in zip(ours[1], theirs[1], strict=True):
                differ = sum((a != b).sum() for a, b in zip(mine, right, strict=True))
                assert differ <= 2e-3 * height * width * max(1, len(right))


def test_resizing_keeps_the_ratio_where_mmdet_does(tiny_suite, tmp_path):
    config, *_ = random_student(tiny_suite, "retinanet_r50", tmp_path)
    pipeline = Config.fromfile(config).data.test.pipeline
    (resize,) = (step for step in pipeline[1].transforms if step.type == "Resize")
    del resize["keep_ratio"]
    assert read_input(pipeline).keep_ratio is True


def test_is_measured_as_its_checkpoint(tiny_suite, tmp_path):
    config, checkpoint, _ = random_student(tiny_suite, "mask_rcnn_r50", tmp_path)
    out = tmp_path / "student.onnx"
    export(config, checkpoint, out=out, pixels="float32")
    ours, theirs = (measure(config, path) for path in (out, checkpoint))
    for kind in ("box", "mask"):
        assert ours[kind]["AP"] == pytest.approx(theirs[kind]["AP"], abs=1e-3)


def test_is_measured_under_the_config_that_it_was_exported_with(tiny_suite, tmp_path):
    config, checkpoint, _ = random_student(tiny_suite, "retinanet_r50", tmp_path)
    out = tmp_path / "student.onnx"
    export(config, checkpoint, out=out)
    changed = Config.fromfile(config)
    changed.data.test.pipeline[1].img_scale = (96, 96)
    write_config(changed, config)
    with pytest.raises(FGDError, match=r"was exported with scale .* the config says \[96, 96\]"):
        measure(config, out)


def test_nothing_that_is_found_proves_nothing(tiny_suite, tmp_path):
    config, checkpoint, _ = random_student(tiny_suite, "retinanet_r50", tmp_path)
    changed = Config.fromfile(config)
    changed.model.test_cfg.score_thr = 1.0
    write_config(changed, config)
    with pytest.raises(FGDError, match="mmdet finds nothing in 4 images, so that nothing can be"):
        export(config, checkpoint, out=tmp_path / "student.onnx")
    assert not (tmp_path / "student.onnx").exists()


def reading(config, **load):
    """Write a config whose images are read as RGB, or by other keys, and normalised as they are."""
    changed = Config.fromfile(config)
    first, view = changed.data.test.pipeline
    first.update(load)
    (normalise,) = (step for step in view.transforms if step.type == "Normalize")
    normalise.to_rgb = load.get("channel_order") != "rgb"
    write_config(changed, config)


def test_images_read_as_rgb_are_measured_as_their_checkpoint(tiny_suite, tmp_path):
    config, checkpoint, _ = random_student(tiny_suite, "retinanet_r50", tmp_path)
    for pixels, load in (
        ("uint8", {"channel_order": "rgb"}),
        ("float32", {"channel_order": "rgb", "to_float32": True}),
    ):
        reading(config, **load)
        out = tmp_path / "student.onnx"
        facts = export(config, checkpoint, out=out, pixels=pixels)
        assert facts["rgb"]
        assert facts["compared"]["detections"] >= 20
        ours, theirs = (measure(config, path)["box"]["AP"] for path in (out, checkpoint))
        assert ours == pytest.approx(theirs, abs=1e-3)
        out.unlink()


@pytest.mark.parametrize("with_data", [True, False])
def test_the_proof_sees_channels_that_are_swapped(tiny_suite, tmp_path, monkeypatch, with_data):
    config, checkpoint, _ = random_student(tiny_suite, "retinanet_r50", tmp_path)
    reading(config, channel_order="rgb")
    if not with_data:
        without = Config.fromfile(config)
        without.data.test.img_prefix = without.data.test.ann_file = ""
        write_config(without, config)
    out = tmp_path / "student.onnx"
    assert export(config, checkpoint, out=out)["compared"]["images"] == 3
    out.unlink()
    # A graph that knows of `to_rgb` alone.
    monkeypatch.setattr(pipeline, "sees_rgb", lambda _, normalise: normalise["to_rgb"])
    with pytest.raises(FGDError, match="detections that mmdet finds in 3 images; nothing was"):
        export(config, checkpoint, out=out)
    assert not out.exists()


def test_the_proof_sees_masks_of_what_is_no_object(tiny_suite, tmp_path, monkeypatch):
    config, checkpoint, _ = random_student(tiny_suite, "mask_rcnn_r50", tmp_path)
    right, out = regions.masks, tmp_path / "student.onnx"
    monkeypatch.setattr(regions, "masks", lambda *inputs: 1 - right(*inputs))
    with pytest.raises(FGDError, match="detections that mmdet finds in 3 images; nothing was"):
        export(config, checkpoint, out=out)
    assert not out.exists()


def test_images_that_cannot_be_read_prove_nothing(tiny_suite, tmp_path):
    config, checkpoint, _ = random_student(tiny_suite, "retinanet_r50", tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images/0.jpg").write_bytes(b"")
    cv2.imwrite(str(tmp_path / "images/1.png"), picture(60, 90))
    changed = Config.fromfile(config)
    changed.data.test.update(data_root=str(tmp_path), img_prefix="images")
    write_config(changed, config)
    compared = export(config, checkpoint, out=tmp_path / "student.onnx")["compared"]
    assert compared["images"] == 1
    assert compared["again"] == compared["detections"] > 0


def test_a_batch_gives_what_its_images_give(tiny_suite, tmp_path):
    config, checkpoint, _ = random_student(tiny_suite, "faster_rcnn_r50", tmp_path)
    out = tmp_path / "student.onnx"
    export(config, checkpoint, out=out)
    images = np.stack([picture(96, 64), picture(96, 64)[::-1], np.zeros((96, 64, 3), np.uint8)])
    written = OnnxDetector(out)
    together = written.run(images)
    for number, image in enumerate(images):
        for batch, alone in zip(together, written.run(image[None]), strict=True):
            np.testing.assert_allclose(batch[number], alone[0], rtol=1e-4, atol=1e-3)


def test_what_cannot_be_exported_is_refused_by_name(tiny_suite, tmp_path):
    config, checkpoint, _ = random_student(tiny_suite, "retinanet_r50", tmp_path)
    out = tmp_path / "student.onnx"
    with pytest.raises(FGDError, match="opset 9: known are 16 to 20"):
        export(config, checkpoint, out=out, opset=9)
    own = Config.fromfile(config)
    own.model.test_cfg.nms = dict(type="soft_nms", iou_threshold=0.5)
    write_config(own, config)
    with pytest.raises(FGDError, match=r"student\.py: its nms is soft_nms"):
        export(config, checkpoint, out=out)
    own.data.test.pipeline[0].color_type = "grayscale"
    write_config(own, config)
    with pytest.raises(FGDError, match=r"student\.py: data\.test\..*color_type: is 'grayscale'"):
        export(config, checkpoint, out=out)
    own.data.test.pipeline[0].update(color_type="color", to_float32=True)
    own.model.test_cfg.nms = dict(type="nms", iou_threshold=0.5)
    write_config(own, config)
    with pytest.raises(FGDError, match=r"student\.py: data.*to_float32: .* --pixels float32"):
        export(config, checkpoint, out=out)
    torch.save({"state_dict": {"backbone.conv1.weight": torch.zeros(1)}}, checkpoint)
    with pytest.raises(FGDError, match=r"student\.pth"):
        export(config, checkpoint, out=out, pixels="float32")
    assert not out.exists()
    out.write_bytes(b"no graph")
    with pytest.raises(FGDError, match=r"student\.onnx: onnxruntime cannot run it"):
        measure(config, out)


def test_the_example_of_the_docs_draws_what_the_detector_finds(tiny_suite, tmp_path):
    config, checkpoint, detector = random_student(tiny_suite, "retinanet_r50", tmp_path)
    export(config, checkpoint, out=tmp_path / "student.onnx")
    image = picture(90, 70)
    cv2.imwrite(str(tmp_path / "photograph.png"), image)
    example = re.search(r"```python\n(.*?)```", (root() / "docs/deploy.md").read_text(), re.DOTALL)
    assert example[1].count("\n") <= 40
    # Neither torch nor mmdet can be imported.
    without = "import sys\nsys.modules.update(torch=None, mmdet=None, mmcv=None)\n"
    files = [tmp_path / name for name in ("student.onnx", "photograph.png", "drawn.png")]
    command = [sys.executable, "-c", without + example[1], *files]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = [line.split() for line in printed.splitlines()]
    theirs = rows(inference_detector(detector, image))
    theirs = theirs[(-theirs[:, 4]).argsort()][: len(found)]
    assert len(found) > 3
    assert [float(score) for _, score, *_ in found] == pytest.approx(theirs[:, 4], abs=0.006)
    assert (cv2.imread(str(files[2])) != image).any()
