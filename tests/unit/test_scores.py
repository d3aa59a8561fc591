"""Metrics do not depend on the numbers of a file: perfect detections score 1, whatever its ids."""

import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools.mask import encode

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds

from fgd.errors import FGDError
from fgd.evaluation.scores import METRICS, coco_metrics

CLASSES = ("cat", "dog")
HUGE = 1 << 53  # above it doubles have no odd numbers
BOTH = pytest.mark.parametrize("slow", [False, True], ids=["faster", "pycocotools"])


def metrics(folder, content, slow, results=None, classes=CLASSES):
    data = coco_worlds.data_set(coco_worlds.write(folder, content)[0], classes)
    found = coco_worlds.perfect(data) if results is None else results(data)
    return coco_metrics(data, found, pycocotools=slow, per_class=True)["box"]


def renumbered(kind, number):
    """The world with other ids of a kind, and what refers to them."""
    content = coco_worlds.world()
    key = {"images": "image_id", "categories": "category_id"}.get(kind)
    for entry in content[kind]:
        if key:
            for annotation in content["annotations"]:
                if annotation[key] == entry["id"] and type(annotation[key]) is int:
                    annotation[key] = (number(entry["id"]),)
        entry["id"] = number(entry["id"])
    for annotation in content["annotations"]:
        for name in ("image_id", "category_id"):
            if isinstance(annotation[name], tuple):
                annotation[name] = annotation[name][0]
    return content


@BOTH
@pytest.mark.parametrize("kind", ["images", "annotations", "categories"])
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(lambda n: n - 1, id="from 0"),
        pytest.param(lambda n: -n, id="negative"),
        pytest.param(lambda n: HUGE + n, id="above 2^53"),
        pytest.param(lambda n: n + 0.5, id="float"),
        pytest.param(lambda n: f"a{n}", id="text"),
    ],
)
def test_perfect_detections_score_1_whatever_the_ids(tmp_path, slow, kind, number):
    found = metrics(tmp_path, renumbered(kind, number), slow)
    assert found["AP"] == pytest.approx(1)
    assert found["per_class"] == pytest.approx({"cat": 1, "dog": 1})
    assert (found["APm"], found["APl"]) == (pytest.approx(1), -1)


@BOTH
def test_nothing_is_printed(tmp_path, slow, capfd):
    metrics(tmp_path, coco_worlds.world(), slow)
    assert capfd.readouterr().out == ""


@BOTH
def test_without_detections_ap_is_0_and_minus_1_where_there_is_nothing_to_find(tmp_path, slow):
    content = coco_worlds.world(classes=("cat", "dog", "bird"))

    def nothing(data):
        return [[np.zeros((0, 5), np.float32) for _ in data.CLASSES] for _ in data.img_ids]

    found = metrics(tmp_path, content, slow, nothing, ("cat", "dog", "bird"))
    assert set(METRICS) < set(found)
    assert found["per_class"] == {"cat": 0, "dog": 0, "bird": -1}
    assert {name: found[name] for name in METRICS} == {
        name: -1 if name in ("APl", "ARl") else 0 for name in METRICS
    }


@BOTH
def test_where_all_objects_are_crowds_there_is_nothing_to_find(tmp_path, slow):
    content = coco_worlds.world()
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1

    def anything(data):
        box = np.array([[8, 10, 28, 25, 0.9]], np.float32)
        return [[box for _ in data.CLASSES] for _ in data.img_ids]

    for results in (None, anything):
        found = metrics(tmp_path, content, slow, results)
        assert set(found.pop("per_class").values()) == set(found.values()) == {-1}


@BOTH
def test_iscrowd_may_be_missing_its_value_and_area_may_not(tmp_path, slow):
    content = coco_worlds.world()
    content["annotations"][0]["iscrowd"] = None
    assert metrics(tmp_path, content, slow)["AP"] == pytest.approx(1)
    content["annotations"][1]["area"] = None
    with pytest.raises(FGDError, match=r"annotation 2: area is None, .*`fgd data clean`"):
        metrics(tmp_path, content, slow)


@BOTH
def test_every_object_has_a_mask_and_that_of_a_crowd_may_be_empty(tmp_path, slow):
    content = coco_worlds.world()
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        corners = [x, y, x + width, y, x + width, y + height, x, y + height]
        annotation["segmentation"] = [corners]
    content["annotations"].append(
        content["annotations"][0] | {"id": 9, "iscrowd": 1, "segmentation": []}
    )

    def found():
        data = coco_worlds.data_set(coco_worlds.write(tmp_path, content)[0], CLASSES)
        results = []
        for boxes in coco_worlds.perfect(data):
            masks = [[np.zeros((48, 64), np.uint8, "F") for _ in each] for each in boxes]
            for each, rows in zip(masks, boxes, strict=True):
                for mask, (x1, y1, x2, y2) in zip(each, rows[:, :4].astype(int), strict=True):
                    mask[y1:y2, x1:x2] = 1
            results.append((boxes, [[encode(mask) for mask in each] for each in masks]))
        return coco_metrics(data, results, pycocotools=slow)["mask"]

    assert found()["AP"] == pytest.approx(1)
    del content["annotations"][1]["segmentation"]
    with pytest.raises(FGDError, match="annotation 2: segmentation is missing, and figures of"):
        found()


def test_the_figures_of_sound_numbers_are_those_of_mmdet(tmp_path):
    rng = np.random.default_rng(0)
    boxes = [
        (int(image), int(rng.integers(2)), [*rng.integers(0, 20, 2).tolist(), 30, 20])
        for image in rng.integers(0, 6, 40)
    ]
    content = coco_worlds.world(boxes, images=6)
    content["images"].reverse()  # the order of ids decides between equal scores, not the file's

    def rough(data):
        results = coco_worlds.perfect(data)
        for image in results:
            for found in image:
                found[:, :4] += rng.integers(-3, 4, (len(found), 4))
                found[:, 4] = rng.integers(1, 4, len(found)) / 4
        return results

    file, _ = coco_worlds.write(tmp_path, content)
    data = coco_worlds.data_set(file, CLASSES)
    results = rough(data)
    fast, slow = (
        coco_metrics(data, results, pycocotools=engine)["box"] for engine in (False, True)
    )
    assert fast == pytest.approx(slow, abs=1e-9)
    theirs = data.evaluate(results, metric="bbox", proposal_nums=(1, 10, 100))
    for ours, name in (("AP", "mAP"), ("AP50", "mAP_50"), ("APs", "mAP_s"), ("APm", "mAP_m")):
        assert slow[ours] == pytest.approx(theirs[f"bbox_{name}"], abs=6e-5)
    assert 0.1 < slow["AP"] < 0.9
