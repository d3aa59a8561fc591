"""Images that leave the loader as bytes are, on the device, what mmdet's pipeline makes of them."""

import copy

import mmcv
import numpy as np
import pytest
import torch
from mmdet.datasets import MultiImageMixDataset, build_dataset

from fgd import recipe
from fgd.checkout import root
from fgd.data.batches import Collate, on_device
from fgd.data.pixels import PixelBatch, Pixels, finish_on_device, look_up_with_torch
from fgd.suite import load_suite
from fgd.training.sampling import SampleKey, SeededDataset

CAFFE = dict(mean=[103.53, 116.28, 123.675], std=[1.0, 1.0, 1.0], to_rgb=False)
TORCH = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
LOAD = dict(type="LoadImageFromFile")
AS_RGB = dict(LOAD, channel_order="rgb")
BOXES = dict(type="LoadAnnotations", with_bbox=True)
MASKS = dict(type="LoadAnnotations", with_bbox=True, with_mask=True)
RESIZE = dict(type="Resize", img_scale=[(97, 60), (70, 75)], keep_ratio=False)
FLIP = dict(type="RandomFlip", flip_ratio=0.5)
NORMALIZE = dict(type="Normalize", **TORCH)
PAD = dict(type="Pad", size_divisor=32)
BUNDLE = dict(type="DefaultFormatBundle")
COLLECT = dict(type="Collect", keys=["img", "gt_bboxes", "gt_labels"])
WITH_MASKS = dict(type="Collect", keys=["img", "gt_bboxes", "gt_labels", "gt_masks"])
SQUARE = dict(type="Pad", pad_to_square=True, pad_val=dict(img=(114.0, 114.0, 114.0)))
EVERY_WAY = dict(
    type="RandomFlip", flip_ratio=[0.3] * 3, direction=["horizontal", "vertical", "diagonal"]
)
CROP = dict(type="RandomCrop", crop_size=(40, 50))


@pytest.fixture
def data_set(tiny_data):
    """mmdet's data set on the small digits with a pipeline, and images of several shapes."""

    def of(*pipeline):
        images = dict(
            type="CocoDataset",
            ann_file=str(tiny_data / "annotations" / "instances_train.json"),
            img_prefix=str(tiny_data / "train"),
            classes=tuple("0123456789"),
            pipeline=list(pipeline),
        )
        return build_dataset(images)

    return of


def batches(dataset, size=3):
    """As the detector gets them, and as they leave the loader."""
    seeded, collate = SeededDataset(dataset), Collate(size)
    sent = [collate([seeded[SampleKey(i, 7 * i)] for i in range(k, k + size)]) for k in (0, 3, 6)]
    return list(on_device(sent, torch.device("cpu"))), sent


def assert_same(ours, theirs):
    assert type(ours) is type(theirs)
    if isinstance(ours, torch.Tensor):
        assert (ours.dtype, ours.shape, ours.stride()) == (
            theirs.dtype,
            theirs.shape,
            theirs.stride(),
        )
        assert torch.equal(ours, theirs)
    elif isinstance(ours, np.ndarray):
        np.testing.assert_array_equal(ours, theirs, strict=True)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert_same(value, theirs[key])
    elif isinstance(ours, list | tuple):
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other)
    elif hasattr(ours, "masks"):
        assert_same(ours.masks, theirs.masks)
    else:
        assert ours == theirs


@pytest.mark.parametrize(
    "pipeline",
    [
        [LOAD, BOXES, RESIZE, FLIP, NORMALIZE, PAD, BUNDLE, COLLECT],
        [LOAD, MASKS, RESIZE, FLIP, dict(type="Normalize", **CAFFE), PAD, BUNDLE, WITH_MASKS],
        [AS_RGB, BOXES, RESIZE, FLIP, NORMALIZE, PAD, BUNDLE, COLLECT],
        [AS_RGB, BOXES, RESIZE, FLIP, dict(type="Normalize", **CAFFE), PAD, BUNDLE, COLLECT],
        [AS_RGB, BOXES, RESIZE, FLIP, PAD, BUNDLE, COLLECT],
        [LOAD, BOXES, RESIZE, EVERY_WAY, NORMALIZE, BUNDLE, COLLECT],
        [LOAD, BOXES, RESIZE, FLIP, PAD, BUNDLE, COLLECT],
        [LOAD, BOXES, RESIZE, FLIP, NORMALIZE, dict(type="Pad", size=(80, 101)), BUNDLE, COLLECT],
        [
            LOAD,
            BOXES,
            RESIZE,
            FLIP,
            SQUARE,
            BUNDLE,
            COLLECT,
        ],
        [LOAD, BOXES, RESIZE, FLIP, dict(type="Pad", size_divisor=32, pad_val=7), BUNDLE, COLLECT],
        [LOAD, BOXES, FLIP, CROP, NORMALIZE, BUNDLE, COLLECT],
        # Resize says how large a padded image is, and a crop leaves that as it was.
        [LOAD, BOXES, RESIZE, FLIP, CROP, NORMALIZE, BUNDLE, COLLECT],
        [LOAD, MASKS, RESIZE, FLIP, CROP, BUNDLE, WITH_MASKS],
        [LOAD, BOXES, RESIZE, FLIP, CROP, NORMALIZE, PAD, BUNDLE, COLLECT],
    ],
)
def test_the_detector_sees_the_same(data_set, pipeline):
    ours, theirs = data_set(*copy.deepcopy(pipeline)), data_set(*copy.deepcopy(pipeline))
    assert finish_on_device(ours)
    (finished, sent), (expected, _) = batches(ours), batches(theirs)
    assert_same(finished, expected)
    assert all(isinstance(batch["img"], PixelBatch) for batch in sent)
    assert all(image.image.dtype == torch.uint8 for b in sent for image in b["img"].images)


def test_yolox_sees_the_same(data_set):
    suite = load_suite(root() / "configs" / "suites" / "yolox.yaml")
    train = recipe.compose(suite, recipe.load_row("yolox_m"), "baseline").training.data.train
    ours, theirs = (
        MultiImageMixDataset(data_set(*train.dataset.pipeline), [dict(s) for s in train.pipeline])
        for _ in range(2)
    )
    assert finish_on_device(ours)
    assert_same(batches(ours)[0], batches(theirs)[0])
    for dataset in (ours, theirs):
        dataset.update_skip_type_keys(("Mosaic", "RandomAffine", "MixUp"))
    assert_same(batches(ours)[0], batches(theirs)[0])


def test_every_row_of_the_suites_is_known(data_set):
    for path in (root() / "configs" / "suites").glob("*.yaml"):
        suite = load_suite(path)
        for name in suite.rows:
            row = recipe.load_row(name, suite)
            train = recipe.compose(suite, row, "baseline").training.data.train
            if train.type == "CocoDataset":
                assert finish_on_device(data_set(*train.pipeline)), name


@pytest.mark.parametrize(
    "pipeline",
    [
        [dict(LOAD, to_float32=True), BOXES, NORMALIZE, PAD, BUNDLE, COLLECT],
        [dict(LOAD, color_type="grayscale"), BOXES, NORMALIZE, PAD, BUNDLE, COLLECT],
        [dict(LOAD, color_type="unchanged"), BOXES, NORMALIZE, PAD, BUNDLE, COLLECT],
        [LOAD, BOXES, dict(type="PhotoMetricDistortion"), NORMALIZE, PAD, BUNDLE, COLLECT],
        [LOAD, BOXES, NORMALIZE, RESIZE, PAD, BUNDLE, COLLECT],
        [LOAD, BOXES, PAD, NORMALIZE, BUNDLE, COLLECT],
        [LOAD, BOXES, NORMALIZE, PAD, PAD, BUNDLE, COLLECT],
        [LOAD, BOXES, NORMALIZE, PAD, dict(BUNDLE, img_to_float=False), COLLECT],
        [LOAD, BOXES, NORMALIZE, PAD, dict(BUNDLE, pad_val=dict(img=1, masks=0, seg=255)), COLLECT],
        [LOAD, BOXES, dict(PAD, pad_val=dict(img=0.5)), BUNDLE, COLLECT],
        [LOAD, BOXES],
    ],
)
def test_a_pipeline_that_is_not_known_stays_as_it_is(data_set, pipeline):
    dataset = data_set(*pipeline)
    before = [*dataset.pipeline.transforms]
    assert not finish_on_device(dataset)
    assert dataset.pipeline.transforms == before


@pytest.mark.parametrize("reverse", [True, False])
@pytest.mark.parametrize("look_up", ["opencv", "torch"])
def test_every_byte_becomes_what_mmcv_makes_of_it(data_set, reverse, look_up):
    norm = dict(TORCH, to_rgb=reverse)
    dataset = data_set(LOAD, BOXES, FLIP, dict(type="Normalize", **norm), BUNDLE, COLLECT)
    finish_on_device(dataset)
    finish = dataset[0]["img"].data.finish
    rng = np.random.default_rng(0)
    image = rng.permuted(np.tile(np.arange(256, dtype=np.uint8), (3, 1)), axis=1).T.reshape(
        8, 32, 3
    )
    mean, std = np.float32(norm["mean"]), np.float32(norm["std"])
    expected = mmcv.imnormalize(image, mean, std, reverse).transpose(2, 0, 1)
    pixels = Pixels(torch.from_numpy(image), (8, 32), finish)
    out = torch.empty(3, 8, 32)
    if look_up == "torch":
        look_up_with_torch(pixels, out)
    else:
        out = PixelBatch([pixels]).on(torch.device("cpu"))[0]
    np.testing.assert_array_equal(out.numpy(), expected)


def test_a_quarter_of_the_bytes_leaves_the_loader(data_set):
    def sent(late):
        dataset = data_set(LOAD, BOXES, RESIZE, FLIP, NORMALIZE, PAD, BUNDLE, COLLECT)
        assert not late or finish_on_device(dataset)
        for batch in batches(dataset)[1]:
            images = [i.image for i in batch["img"].images] if late else [batch["img"]]
            yield sum(image.nbytes for image in images)

    assert sum(sent(True)) <= sum(sent(False)) / 4
