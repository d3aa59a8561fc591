"""What a graph does to an image is what a test pipeline does, or the pipeline's key is refused."""

import copy

import pytest
import torch
from mmcv import ConfigDict

from fgd.errors import FGDError
from fgd.onnx.pipeline import Input, read_input
from fgd.onnx.suppression import Boxes, check_nms, check_suppression, suppress

RGB = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])
BGR = {key: values[::-1] for key, values in RGB.items()}
STEPS = {
    "Resize": dict(keep_ratio=True),
    "RandomFlip": {},
    "Normalize": dict(RGB, to_rgb=True),
    "Pad": dict(size_divisor=32),
    "ImageToTensor": dict(keys=["img"]),
    "Collect": dict(keys=["img"]),
}


def pipeline(load=None, view=None, steps=STEPS, **changes):
    """The zoo's test pipeline, with other keys."""
    steps = copy.deepcopy(steps)
    for kind, keys in changes.items():
        steps[kind] = steps.get(kind, {}) | keys
    transforms = [dict(type=kind, **keys) for kind, keys in steps.items()]
    outer = dict(type="MultiScaleFlipAug", img_scale=(1333, 800), flip=False, transforms=transforms)
    return [dict(type="LoadImageFromFile", **load or {}), outer | (view or {})]


def test_the_zoos_pipeline():
    expected = Input((1333, 800), True, tuple(RGB["mean"]), tuple(RGB["std"]), True, 32)
    assert read_input(pipeline()) == expected


@pytest.mark.parametrize(
    ("load", "normalise", "rgb"),
    [
        ({}, dict(RGB), True),  # mmdet's default is to_rgb=True
        ({}, dict(BGR, to_rgb=False), False),
        (dict(channel_order="bgr"), dict(RGB, to_rgb=True), True),
        (dict(channel_order="rgb"), dict(RGB, to_rgb=False), True),
        (dict(channel_order="rgb"), dict(BGR, to_rgb=True), False),
        (dict(channel_order="rgb", color_type="color"), dict(BGR), False),
    ],
)
def test_reading_and_normalising_together_say_the_order_of_the_channels(load, normalise, rgb):
    steps = STEPS | {"Normalize": normalise}
    expected = Input((1333, 800), True, tuple(RGB["mean"]), tuple(RGB["std"]), rgb, 32)
    assert read_input(pipeline(load, steps=steps)) == expected


def test_resizing_as_float32_is_known():
    assert read_input(pipeline(dict(to_float32=True))).to_float32
    assert not read_input(pipeline()).to_float32


@pytest.mark.parametrize(
    "changes",
    [
        dict(load=dict(file_client_args=dict(backend="disk"), to_float32=False)),
        dict(view=dict(flip_direction="vertical", scale_factor=None, img_scale=[(1333, 800)])),
        dict(Pad=dict(pad_val=dict(img=(0, 0, 0), masks=0, seg=255))),
        dict(Pad=dict(pad_val=0, size=None, pad_to_square=False)),
        dict(Resize=dict(backend="cv2", interpolation="bilinear", bbox_clip_border=False)),
        dict(RandomFlip=dict(flip_ratio=0.5, direction="vertical")),
        dict(Collect=dict(meta_keys=("img_shape",))),
        dict(steps={"RandomFlip": {}} | STEPS),
        dict(steps={kind: STEPS[kind] for kind in ("Resize", "Normalize", "RandomFlip", "Pad")}),
        dict(DefaultFormatBundle={}, steps={kind: STEPS[kind] for kind in [*STEPS][:4]}),
    ],
)
def test_keys_that_mean_the_same(changes):
    assert read_input(pipeline(**changes)) == read_input(pipeline())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (dict(load=dict(color_type="grayscale")), "LoadImageFromFile.color_type: is 'grayscale'; "),
        (dict(load=dict(color_type="unchanged")), "LoadImageFromFile.color_type: is 'unchanged'; "),
        (dict(load=dict(colour="color")), "LoadImageFromFile.colour: has no known way"),
        (dict(load=dict(file_client_args=dict(backend="petrel"))), "file_client_args: is {'backen"),
        (dict(view=dict(flip=True)), "MultiScaleFlipAug.flip: is True; expected False"),
        (
            dict(view=dict(scale_factor=1.5)),
            "MultiScaleFlipAug.scale_factor: is 1.5; expected None",
        ),
        (dict(view=dict(img_scale=[(9, 9), (8, 8)])), "img_scale: is [(9, 9), (8, 8)]; expected"),
        (dict(view=dict(img_scale=None)), "MultiScaleFlipAug.img_scale: is None; expected one"),
        (dict(Resize=dict(interpolation="nearest")), "Resize.interpolation: is 'nearest'; expec"),
        (dict(Resize=dict(backend="pillow")), "Resize.backend: is 'pillow'; expected 'cv2'"),
        (dict(Resize=dict(keep_ration=False)), "Resize.keep_ration: has no known way"),
        (dict(Pad=dict(pad_val=dict(img=(2.0, 2.0, 2.0)))), "Pad.pad_val: is {'img': (2.0, 2.0"),
        (dict(Pad=dict(pad_val=114)), "Pad.pad_val: is 114; expected 0"),
        (dict(Pad=dict(size_divisor=None)), "Pad.size_divisor: is None; expected a number"),
        (dict(Pad=dict(pad_to_square=True)), "Pad.pad_to_square: is True; expected False"),
        (dict(Normalize=dict(mean=[127.5])), "Normalize.mean: is [127.5]; expected three numbers"),
        (dict(PhotoMetricDistortion={}), "has the step PhotoMetricDistortion, which has no known"),
    ],
)
def test_what_a_graph_does_not_do_is_refused_by_its_name(changes, words):
    with pytest.raises(FGDError) as error:
        read_input(pipeline(**changes))
    assert str(error.value).startswith("data.test.pipeline")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "kinds",
    [
        ("Resize", "Pad", "Normalize", "ImageToTensor", "Collect"),
        ("Resize", "Normalize", "ImageToTensor", "Collect"),
        ("Normalize", "Pad", "ImageToTensor", "Collect"),
        ("Resize", "Pad", "ImageToTensor", "Collect"),
    ],
)
def test_steps_in_another_order_or_missing_are_refused(kinds):
    steps = {kind: STEPS[kind] for kind in kinds}
    with pytest.raises(FGDError, match="resized, normalised and padded, each once, in this order"):
        read_input(pipeline(steps=steps))


def test_a_step_that_stands_twice_and_other_outer_steps_are_refused():
    twice = pipeline()
    twice[1]["transforms"].insert(0, dict(type="Resize", keep_ratio=True))
    with pytest.raises(FGDError, match="each once, in this order"):
        read_input(twice)
    with pytest.raises(FGDError, match="its steps are LoadImageFromFile; known are"):
        read_input(pipeline()[:1])
    with pytest.raises(FGDError, match="its steps are LoadImageFromWebcam, Multi"):
        read_input([dict(type="LoadImageFromWebcam"), pipeline()[1]])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (dict(), None),
        (dict(class_agnostic=True, split_thr=10_000, offset=0, max_num=-1), None),
        (dict(type="soft_nms"), "its nms is soft_nms"),
        (dict(max_num=3), "its nms has max_num 3"),
        (dict(offset=1), "its nms has offset 1"),
        (dict(score_threshold=0.3), r"its nms has score_threshold 0\.3"),
        (dict(min_scores=0.1), r"its nms has min_scores 0\.1"),
    ],
)
def test_suppression_that_the_operator_does_not_know_is_refused(settings, words):
    asked = dict(iou_threshold=0.5) | settings
    if words is None:
        check_nms(asked)
        return
    with pytest.raises(FGDError, match=words):
        check_nms(asked)


@pytest.mark.parametrize(
    ("test_cfg", "words"),
    [
        (dict(nms=dict(iou_thr=0.5), max_per_img=100), None),
        (dict(nms=None, max_per_img=100), "its test_cfg has no nms, without which"),
        (dict(max_per_img=100), "its test_cfg has no nms"),
        (dict(nms=dict(iou_thr=0.5), max_per_img=-1), "its test_cfg has max_per_img -1"),
        (dict(nms=dict(iou_thr=0.5)), "its test_cfg has max_per_img None"),
        (dict(nms=dict(type="nms"), max_per_img=100), "its nms says no iou_threshold, or two"),
    ],
)
def test_a_head_that_does_not_suppress_is_refused(test_cfg, words):
    if words is None:
        check_suppression(ConfigDict(test_cfg))
        return
    with pytest.raises(FGDError, match=words):
        check_suppression(ConfigDict(test_cfg))


def test_mmcvs_older_name_of_the_overlap_means_the_same():
    corners = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30]])
    found = Boxes(corners[None], torch.tensor([[0.9, 0.8, 0.7]]), torch.zeros(1, 3).long())
    for name in ("iou_threshold", "iou_thr"):
        assert (suppress(found, {name: 0.7}, 3).scores > 0).sum() == 2
        assert (suppress(found, {name: 0.9}, 3).scores > 0).sum() == 3
