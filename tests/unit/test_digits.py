"""The mini set: the same bytes for the same settings, halves that share nothing, exact boxes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmdet.datasets import build_dataset
from pycocotools.coco import COCO

from fgd.data.coco import check
from fgd.errors import FGDError
from fgd.files import sha256
from fgd.mini.digits import write
from fgd.mini.scene import CLASSES

TRAIN, VAL, SIZE = 24, 12, 128


@pytest.fixture(scope="module")
def mini(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("data") / "mini"
    counts = write(out, train=TRAIN, val=VAL, size=SIZE, seed=0)
    assert counts["train"]["images"] == TRAIN
    assert counts["val"]["images"] == VAL
    return out


def annotation_file(mini: Path, split: str) -> Path:
    return mini / "annotations" / f"instances_{split}.json"


def load(mini: Path, split: str) -> dict:
    return json.loads(annotation_file(mini, split).read_text())


def hashes(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): sha256(path) for path in files}


def test_same_settings_same_bytes(mini, tmp_path):
    write(tmp_path / "again", train=TRAIN, val=VAL, size=SIZE, seed=0)
    assert hashes(tmp_path / "again") == hashes(mini)


def test_image_depends_on_its_number_and_the_seed_only(mini, tmp_path):
    write(tmp_path / "fewer", train=3, val=1, size=SIZE, seed=0)
    write(tmp_path / "other", train=3, val=1, size=SIZE, seed=1)
    for number in (1, 2, 3):
        name = f"train/{number:06d}.jpg"
        assert sha256(tmp_path / "fewer" / name) == sha256(mini / name)
        assert sha256(tmp_path / "other" / name) != sha256(mini / name)


def test_halves_share_no_digit_and_no_pixel_of_a_photograph(mini):
    digits, seen = {}, {}
    for split in ("train", "val"):
        content = load(mini, split)
        digits[split] = {annotation["digit"] for annotation in content["annotations"]}
        seen[split] = {name: np.zeros((427, 640), bool) for name in ("china.jpg", "flower.jpg")}
        for image in content["images"]:
            x, y, width, height = image["crop"]
            assert min(x, y) >= 0
            assert x + width <= 640
            assert y + height <= 427
            seen[split][image["photograph"]][y : y + height, x : x + width] = True
    assert not digits["train"] & digits["val"]
    for name, pixels in seen["train"].items():
        assert pixels.any()
        assert seen["val"][name].any()
        assert not (pixels & seen["val"][name]).any()


@pytest.mark.parametrize("split", ["train", "val"])
def test_boxes_are_tight_around_the_masks(mini, split):
    coco = COCO(annotation_file(mini, split))
    for annotation in coco.loadAnns(coco.getAnnIds()):
        mask = coco.annToMask(annotation)
        assert mask.shape == (SIZE, SIZE)
        assert annotation["area"] == mask.sum() > 0
        x, y, width, height = annotation["bbox"]
        inside = mask[y : y + height, x : x + width]
        assert inside.shape == (height, width)
        assert inside.sum() == mask.sum()
        assert all(edge.any() for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]))


def test_masks_of_an_image_do_not_overlap(mini):
    coco = COCO(annotation_file(mini, "train"))
    for image in coco.getImgIds():
        masks = [coco.annToMask(a) for a in coco.loadAnns(coco.getAnnIds(image))]
        assert 1 <= len(masks) <= 7
        assert np.sum(masks, axis=0).max() == 1


def test_classes_are_those_of_the_digits(mini):
    from sklearn.datasets import load_digits

    target = load_digits().target
    for split in ("train", "val"):
        content = load(mini, split)
        names = {category["id"]: category["name"] for category in content["categories"]}
        assert tuple(names) == tuple(range(1, 11))
        for annotation in content["annotations"]:
            assert names[annotation["category_id"]] == str(target[annotation["digit"]])


@pytest.mark.parametrize("split", ["train", "val"])
def test_passes_the_strict_check(mini, split):
    report = check(
        annotation_file(mini, split), mini / split, classes=CLASSES, strict=True, open_images=True
    )
    assert report["images_without_objects"] == report["without_segmentation"] == 0


def test_mmdet_loads_images_boxes_and_masks(mini):
    data = build_dataset(
        dict(
            type="CocoDataset",
            classes=CLASSES,
            ann_file=str(annotation_file(mini, "train")),
            img_prefix=str(mini / "train"),
            pipeline=[
                dict(type="LoadImageFromFile"),
                dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
            ],
        )
    )
    assert len(data) == TRAIN
    content = load(mini, "train")
    for number in range(TRAIN):
        sample = data[number]
        objects = [a for a in content["annotations"] if a["image_id"] == number + 1]
        assert sample["img"].shape == (SIZE, SIZE, 3)
        assert sample["gt_labels"].tolist() == [a["category_id"] - 1 for a in objects]
        assert sample["gt_masks"].areas.tolist() == [a["area"] for a in objects]
        boxes = sample["gt_bboxes"]
        assert (boxes[:, 2:] - boxes[:, :2]).tolist() == [a["bbox"][2:] for a in objects]


def test_contact_sheet_is_a_picture(mini):
    sheet = cv2.imread(str(mini / "contact_sheet.png"))
    assert sheet.shape[1] > 6 * 2 * SIZE
    assert sheet.std() > 20


def test_an_earlier_set_is_replaced(tmp_path):
    out = tmp_path / "mini"
    (out / "annotations").mkdir(parents=True)  # Snakemake makes the folders of a rule's outputs
    write(out, train=2, val=1, size=64)
    write(out, train=1, val=1, size=64)
    assert len(list((out / "train").iterdir())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    out = tmp_path / "photos"
    (out / "train").mkdir(parents=True)
    (out / "train" / "holiday.jpg").write_bytes(b"irreplaceable")
    with pytest.raises(FGDError, match=r"photos holds train/holiday\.jpg, which was not"):
        write(out, train=1, val=1, size=64)
    assert hashes(tmp_path) == {"photos/train/holiday.jpg": sha256(out / "train" / "holiday.jpg")}


def test_nothing_is_left_after_an_error(tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr("fgd.mini.digits.draw_sheet", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        write(tmp_path / "mini", train=1, val=1, size=64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", [{"train": 0}, {"val": -1}, {"size": 8}, {"seed": -1}])
def test_numbers_out_of_range(tmp_path, wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(FGDError, match=f"{name} is {value}, expected at least"):
        write(tmp_path / "mini", **wrong)
