"""A data set on an index gives what mmdet's gives, and an index that is not whole is never used."""

import copy
import json
import logging

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset, build_dataset
from torch.utils.data import DataLoader

from fgd.data import index
from fgd.data.batches import WatchedLoader
from fgd.data.coco import check
from fgd.data.dataset import AnnotationFile, IndexedCocoDataset, annotation_path, build
from fgd.errors import FGDError
from fgd.files import sha256

LOAD = [dict(type="LoadImageFromFile"), dict(type="LoadAnnotations", with_mask=True)]
TRIANGLE = [1.0, 1.0, 9.5, 1.0, 9.5, 9.5]
SHAPES = [
    [TRIANGLE],
    [TRIANGLE, [3.5, 3.25, 20.0, 3.0, 20.0, 20.0, 3.0, 20.0]],
    [[1, 1, 9, 1, 9, 9]],  # whole numbers, which mmdet scales otherwise
    [[1, 1.5, 9, 1, 9, 9]],
    {"size": [60, 80], "counts": [4000, 300, 500]},
    {"size": [60, 80], "counts": "0^\\1"},
    [],
    None,
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FGD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def content():
    """Images in no order, with all that annotations can be."""
    sizes = {7: (80, 60), 3: (60, 80), 12: (80, 31), 5: (80, 60), 9: (80, 60)}
    images = [
        {"file_name": f"ä/{n}.png", "width": w, "height": h, "id": n, "license": [n, None, 0.5]}
        for n, (w, h) in sizes.items()
    ]
    boxes = [
        [5.1, 5.2, 20.3, 10.7], [0, 0, 60, 60], [70.5, 50.5, 30, 30],
        [5, 5, 0.5, 10], [90, 5, 10, 10], [5, 5, 10, 0],
    ]  # fmt: skip
    annotations = [
        {
            "id": 100 - k,
            "image_id": (3, 7, 12, 7, 9)[k % 5],
            "category_id": (18, 2, 40)[k % 3],
            "bbox": boxes[k % 4 if k % 7 else k % 6],
            "area": (50.5, 1, 0)[k % 17 == 0],
            "iscrowd": int(k % 11 == 0),
            "segmentation": SHAPES[k // 4 % len(SHAPES)],
        }
        for k in range(60)
    ]
    annotations[13]["ignore"] = 1
    del annotations[14]["segmentation"]
    names = [(40, "dog"), (2, "cat"), (18, "bird")]
    categories = [{"id": number, "name": name} for number, name in names]
    return dict(images=images, annotations=annotations, categories=categories)


@pytest.fixture
def file(tmp_path, content):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    return path


def settings(file, **changes):
    return dict(
        type="CocoDataset", ann_file=str(file), img_prefix=str(file.parent), pipeline=LOAD
    ) | dict(dict(classes=("dog", "cat", "bird")), **changes)


def assert_equal(ours, theirs):
    """Types, too."""
    assert type(ours) is type(theirs)
    if isinstance(ours, np.ndarray):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tobytes() == theirs.tobytes()
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            assert_equal(value, theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_equal(one, other)
    else:
        assert ours == theirs


def assert_same_data(given):
    """What a data set on an index gives is mmdet's, bit for bit."""
    ours, theirs = build(given), build_dataset(given)
    assert type(ours) is IndexedCocoDataset
    assert type(theirs) is CocoDataset
    assert len(ours) == len(theirs)
    for key in ("img_ids", "cat_ids", "cat2label", "CLASSES"):
        assert_equal(getattr(ours, key), getattr(theirs, key))
    if not given.get("test_mode"):
        assert_equal(ours.flag, theirs.flag)
    assert_equal(list(ours.data_infos), theirs.data_infos)
    for i in range(len(theirs)):
        assert_equal(ours.get_ann_info(i), theirs.get_ann_info(i))
        assert_equal(ours.get_cat_ids(i), theirs.get_cat_ids(i))


@pytest.mark.parametrize(
    "changes",
    [{}, {"classes": ("cat",)}, {"filter_empty_gt": False}, {"test_mode": True}, {"classes": ()}],
    ids=str,
)
def test_it_gives_what_mmdet_gives(file, changes):
    index.write_of(file)
    assert_same_data(settings(file, **changes))


def test_every_kind_of_shape_is_among_them(file):
    index.write_of(file)
    dataset = build(settings(file))
    found = [m for i in range(len(dataset)) for m in dataset.get_ann_info(i)["masks"]]
    assert all(shape in found for shape in SHAPES)


def test_no_annotations_at_all(file, content):
    file.write_text(json.dumps(content | {"annotations": []}))
    index.write_of(file)
    assert_same_data(settings(file, filter_empty_gt=False))


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_mini_set_after_its_check(tiny_data, split):
    file, folder = tiny_data / "annotations" / f"instances_{split}.json", tiny_data / split
    check(file, folder)
    names = tuple(category["name"] for category in json.loads(file.read_text())["categories"])
    assert_same_data(settings(file, img_prefix=str(folder), classes=names))
    ours = build(settings(file, img_prefix=str(folder), classes=names))
    theirs = build_dataset(settings(file, img_prefix=str(folder), classes=names))
    for i in range(len(theirs)):
        mine, its = ours[i], theirs[i]
        assert_equal(mine["gt_masks"].masks, its["gt_masks"].masks)
        assert_equal(mine["gt_bboxes"], its["gt_bboxes"])


def test_images_are_mixed_from_it(tiny_data):
    file = tiny_data / "annotations" / "instances_train.json"
    index.write_of(file)
    images = settings(file, img_prefix=str(tiny_data / "train"), classes=tuple("0123456789"))
    mosaic = dict(type="Mosaic", img_scale=(64, 64), pad_val=114.0)
    given = dict(type="MultiImageMixDataset", dataset=images, pipeline=[mosaic])
    ours, theirs = build(given), build_dataset(given)
    assert type(ours.dataset) is IndexedCocoDataset
    for i in range(3):
        found = []
        for dataset in (ours, theirs):
            np.random.seed(i)
            torch.manual_seed(i)
            found.append(dataset[i])
        assert_equal(found[0]["img"], found[1]["img"])
        assert_equal(found[0]["gt_bboxes"], found[1]["gt_bboxes"])


def test_workers_read_it(tiny_data):
    file = tiny_data / "annotations" / "instances_train.json"
    index.write_of(file)
    images = settings(file, img_prefix=str(tiny_data / "train"), classes=tuple("0123456789"))
    dataset = build(images)
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    for i, sample in enumerate(loader):
        assert torch.equal(sample["gt_bboxes"], torch.from_numpy(dataset[i]["gt_bboxes"]))


@pytest.mark.parametrize(
    "changes",
    [
        {"proposal_file": None},
        {"file_client_args": dict(backend="disk")},
        {"data_root": ""},
        {"type": "LVISV05Dataset"},
    ],
    ids=str,
)
def test_what_is_not_known_is_left_to_mmdet(file, changes):
    index.write_of(file)
    if changes.get("type"):
        assert annotation_path(settings(file, **changes)) is None
    else:
        assert type(build(settings(file, **changes))) is CocoDataset


def damage_bytes(folder):
    path = folder / "boxes.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def damage_end(folder):
    path = folder / "coordinates.npy"
    path.write_bytes(path.read_bytes()[:-8])


def leave_out(folder):
    (folder / "kinds.npy").unlink()


def of_another_file(folder):
    path = folder / "contents.json"
    contents = json.loads(path.read_text())
    path.write_text(json.dumps(contents | {"annotations": "0" * 64}))


def of_another_version(folder):
    path = folder / "contents.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 0}))


def no_contents(folder):
    (folder / "contents.json").write_bytes(b"\xff")


@pytest.mark.parametrize(
    "damage",
    [damage_bytes, damage_end, leave_out, of_another_file, of_another_version, no_contents],
)
def test_a_damaged_or_foreign_index_is_never_used_and_made_anew(file, damage):
    folder = index.write_of(file)
    assert index.find(sha256(file)) == folder
    opened = build(settings(file))
    damage(folder)
    assert index.find(sha256(file)) is None
    assert type(build(settings(file))) is CocoDataset
    assert index.write_of(file) == folder
    assert_same_data(settings(file))
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert len(opened.get_ann_info(0)["bboxes"])  # it still has the files that it opened


def test_a_whole_one_is_not_written_again(file):
    folder = index.write_of(file)
    before = folder.stat()
    index.write_of(file)
    after = folder.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_another_content_has_another_index(file, content):
    first = index.write_of(file)
    content["annotations"][0]["bbox"][0] += 1
    file.write_text(json.dumps(content))
    assert index.find(sha256(file)) is None
    assert index.write_of(file) != first


def test_a_full_disk_is_told_and_nothing_is_left(disk, file, monkeypatch, caplog):
    monkeypatch.setenv("FGD_CACHE", str(disk("16k")))
    with caplog.at_level(logging.WARNING, "fgd"):
        index.keep(json.loads(file.read_text()), sha256(file))
    assert "No space left on device" in caplog.text
    assert "go on without" in caplog.text
    assert not list(index.cache_root().glob("annotations/*"))
    assert type(build(settings(file))) is CocoDataset


def test_a_place_that_cannot_be_written_to_is_told(tmp_path, file, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FGD_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "fgd"):
        index.keep(json.loads(file.read_text()), sha256(file))
    assert "Not a directory" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["images"].append(c["images"][0]),
        lambda c: c["annotations"].append(c["annotations"][0]),
        lambda c: c["images"][0].update(width=80.5),
        lambda c: c["annotations"][0].update(bbox=["5", "5", "10", "10"]),
        lambda c: c["annotations"][0].update(bbox=[float("nan"), 5, 10, 10]),
        lambda c: c["annotations"][0].update(area=None),
        lambda c: c["annotations"][0].update(image_id=99),
        lambda c: c.pop("categories"),
    ],
)
def test_what_cannot_be_held_exactly_is_not_indexed(content, change):
    change(content)
    with pytest.raises(index.FAULTS):
        index.write(content, "0" * 64)
    assert index.find("0" * 64) is None


def test_an_annotation_file_that_changes_is_named_before_the_next_pass(file, content):
    index.write_of(file)
    dataset = build(settings(file))
    loader = WatchedLoader(dataset=dataset, annotation_file=dataset.annotation_file)
    iter(loader)
    file.write_text(json.dumps(content))  # written again, and the same
    iter(loader)
    changed = copy.deepcopy(content)
    changed["annotations"][0]["bbox"][0] += 1
    file.write_text(json.dumps(changed))
    with pytest.raises(FGDError, match=r"instances\.json has changed while it was trained on"):
        iter(loader)
    file.unlink()
    with pytest.raises(FGDError, match=r"instances\.json has changed"):
        AnnotationFile.check(dataset.annotation_file)
