"""Images that are drawn anew: AP of a draw is pycocotools' AP of a file with just those images."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds

from fgd.evaluation.bootstrap import Matches, interval
from fgd.evaluation.scores import coco_metrics, scored
from fgd.evaluation.truth import Truth

CLASSES = ("cat", "dog")
IMAGES = 12


def world(order=range(1, IMAGES + 1)):
    """Images of random objects, one a crowd, those of `order` in that order."""
    rng = np.random.default_rng(0)
    images, annotations = {}, {}
    for image in range(1, IMAGES + 1):
        images[image] = {"width": 200, "height": 200}
        annotations[image] = [
            {
                "category_id": int(rng.integers(1, 3)),
                "bbox": [*map(int, rng.integers(0, 120, 2)), 40, 50],
                "area": 2000,
                "iscrowd": int(image == 3),
            }
            for _ in range(rng.integers(0, 4))
        ]
    content = {"images": [], "annotations": [], "categories": [
        {"id": number, "name": name} for number, name in enumerate(CLASSES, start=1)
    ]}  # fmt: skip
    for number, image in enumerate(order, start=1):
        content["images"].append(images[image] | {"id": number, "file_name": f"{number}.png"})
        for annotation in annotations[image]:
            identity = {"id": len(content["annotations"]) + 1, "image_id": number}
            content["annotations"].append(copy.deepcopy(annotation) | identity)
    return content


def detections(seed, spread):
    """By image: the truth, moved, with some of another class and some that are nothing."""
    rng, content = np.random.default_rng(seed), world()
    found = {}
    for image in range(1, IMAGES + 1):
        boxes = [np.zeros((0, 5), np.float32) for _ in CLASSES]
        for annotation in content["annotations"]:
            if annotation["image_id"] == image:
                x, y, w, h = annotation["bbox"]
                box = np.array([x, y, x + w, y + h]) + rng.integers(-spread, spread + 1, 4)
                label = (annotation["category_id"] - (rng.random() < 0.8)) % 2
                score = round(rng.random(), 1)  # some are equal
                boxes[label] = np.vstack([boxes[label], [*box, score]]).astype(np.float32)
        nothing = [[5, 5, 60, 60, rng.random()]]
        boxes[0] = np.vstack([boxes[0], nothing]).astype(np.float32)
        found[image] = boxes
    return found


def matches(data, results):
    truth = Truth(data)
    return Matches(truth, scored(data, results, truth)["box"], "box")


@pytest.fixture
def data(tmp_path):
    return coco_worlds.data_set(coco_worlds.write(tmp_path, world())[0], CLASSES)


@pytest.mark.parametrize("spread", [2, 8])
def test_ap_is_pycocotools(data, spread):
    results = list(detections(1, spread).values())
    expected = coco_metrics(data, results, pycocotools=True)["box"]["AP"]
    assert 0 < expected < 1
    assert matches(data, results).ap() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_ap_of_a_draw_is_that_of_a_file_with_its_images(data, tmp_path, seed):
    drawn = np.sort(np.random.default_rng(seed).integers(1, IMAGES + 1, IMAGES))
    found = detections(1, 6)
    folder = tmp_path / "drawn"
    folder.mkdir()
    file = coco_worlds.write(folder, world(drawn))[0]
    expected = coco_metrics(
        coco_worlds.data_set(file, CLASSES), [found[image] for image in drawn], pycocotools=True
    )["box"]["AP"]
    weights = np.bincount(drawn - 1, minlength=IMAGES)
    assert matches(data, list(found.values())).ap(weights) == pytest.approx(expected, abs=1e-12)


def test_without_detections_and_without_objects(data):
    nothing = [[np.zeros((0, 5), np.float32)] * 2] * IMAGES
    found = matches(data, nothing)
    assert found.ap() == 0
    assert found.ap(np.zeros(IMAGES, np.int64)) == -1


def test_the_interval_follows_from_the_seed_and_has_the_difference_in_it(data):
    better = matches(data, list(detections(1, 2).values()))
    worse = matches(data, list(detections(2, 8).values()))
    low, high = interval(better, worse, draws=100)
    assert low < better.ap() - worse.ap() < high
    assert interval(better, worse, draws=100) == (low, high)
    assert interval(better, worse, draws=100, seed=1) != (low, high)
    assert interval(better, better, draws=100) == (0, 0)
