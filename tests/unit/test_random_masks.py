"""Random masks: our figures are those of pycocotools on a file of sound ids, whatever ids are."""

import copy
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest
from mmdet.core import encode_mask_results
from pycocotools import mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds

from fgd.evaluation.bootstrap import Matches
from fgd.evaluation.scores import METRICS, coco_metrics, scored
from fgd.evaluation.truth import Truth

IDS = [0, 1, 2, 5, 100, (1 << 53) + 1, -3]
SIZES = [(40, 50), (130, 200), (300, 50)]
CLASSES = ("cat", "dog")


def pixels_of(draw, width, height):
    pixels = np.zeros((height, width), np.uint8)
    for _ in range(2):
        x, y = draw.randrange(width), draw.randrange(height)
        pixels[y : y + draw.randint(1, height), x : x + draw.randint(1, width)] = 1
    return pixels


def outline(draw, width, height, *, crowd):
    if crowd and draw.random() < 0.3:
        return []
    if draw.random() < 0.5:
        return [[draw.uniform(-5, height + 5) for _ in range(8)] for _ in range(draw.randint(1, 2))]
    code = mask.encode(np.asfortranarray(pixels_of(draw, width, height)))
    if draw.random() < 0.5:
        return code | {"counts": code["counts"].decode()}
    flat = mask.decode(code).ravel(order="F")
    ends = [0, *np.flatnonzero(np.diff(flat, prepend=0)).tolist(), len(flat)]
    return {"size": [height, width], "counts": np.diff(ends).tolist()}


def decoded(outline, width, height):
    if isinstance(outline, dict):
        text = isinstance(outline["counts"], str)
        return mask.decode(outline if text else mask.frPyObjects(outline, height, width))
    if not outline:
        return np.zeros((height, width), np.uint8)
    return mask.decode(mask.merge(mask.frPyObjects(outline, height, width)))


def world(draw):
    """Objects and crowds, most areas of them other ones than their masks have."""
    images = [
        {"id": identity, "file_name": f"{number}.png", "width": size[0], "height": size[1]}
        for number, (identity, size) in enumerate(zip(draw.sample(IDS, 3), SIZES, strict=True))
    ]
    categories = [
        {"id": n, "name": name} for n, name in zip(draw.sample(IDS, 2), CLASSES, strict=True)
    ]
    annotations = []
    for number in range(12):
        image, category = draw.choice(images), draw.choice(categories)
        width, height = image["width"], image["height"]
        box = [draw.uniform(-5, width - 1), draw.uniform(-5, height - 1), draw.uniform(1, width), 9]
        crowd = draw.random() < 0.2
        owner = {"id": number, "image_id": image["id"], "category_id": category["id"]}
        annotations.append(
            owner
            | {"bbox": box, "area": draw.choice([32**2, 96**2, 9 * box[2]]), "iscrowd": int(crowd)}
            | {"segmentation": outline(draw, width, height, crowd=crowd)}
        )
    return {"images": images, "annotations": annotations, "categories": categories}


def detections(draw, content):
    """mmdet's results: some of the objects, and others; scores of which many are equal."""
    results = []
    for image in content["images"]:
        width, height = image["width"], image["height"]
        boxes, masks = [], []
        for category in content["categories"]:
            found, shapes = [], []
            owner = (image["id"], category["id"])
            there = [
                annotation
                for annotation in content["annotations"]
                if (annotation["image_id"], annotation["category_id"]) == owner
            ]
            for _ in range(draw.choice([0, 2, 5])):
                x, y, across, down = draw.uniform(0, 30), draw.uniform(0, 40), 12, 15
                pixels = pixels_of(draw, width, height)
                if there and draw.random() < 0.7:
                    x, y, across, down = (known := draw.choice(there))["bbox"]
                    pixels = decoded(known["segmentation"], width, height)
                found.append([x, y, x + across, y + down, round(draw.random(), 1)])
                shapes.append(pixels.astype(bool))
            order = sorted(range(len(found)), key=lambda n: -found[n][4])
            boxes.append(np.array([found[n] for n in order], np.float32).reshape(-1, 5))
            masks.append([shapes[n] for n in order])
        results.append((boxes, encode_mask_results(masks)))
    return results


def expected(content, results, kind):
    """The twelve figures of pycocotools, of ids that are 1, 2, 3 ... in the order of the file's."""
    content = copy.deepcopy(content)
    new = {}
    for key in ("images", "categories"):
        ids = sorted(entry["id"] for entry in content[key])
        new[key] = {identity: number for number, identity in enumerate(ids, start=1)}
    found = [
        {"image_id": new["images"][image["id"]], "category_id": new["categories"][category["id"]]}
        | {"score": float(box[4])}
        | ({"segmentation": code} if kind == "segm" else {"bbox": _sides(box)})
        for image, (boxes, masks) in zip(content["images"], results, strict=True)
        for category, of_boxes, of_masks in zip(content["categories"], boxes, masks, strict=True)
        for box, code in zip(of_boxes, of_masks, strict=True)
    ]
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for number, annotation in enumerate(content["annotations"], start=1):
        if not annotation["segmentation"]:
            nothing = np.asfortranarray(decoded([], *sizes[annotation["image_id"]]))
            annotation["segmentation"] = mask.encode(nothing)
        annotation |= {"id": number, "image_id": new["images"][annotation["image_id"]]}
        annotation["category_id"] = new["categories"][annotation["category_id"]]
    for key in ("images", "categories"):
        for entry in content[key]:
            entry["id"] = new[key][entry["id"]]
    there = COCO()
    there.dataset = content
    there.createIndex()
    evaluation = COCOeval(there, there.loadRes(found), kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats


def _sides(box):
    x1, y1, x2, y2 = map(float, box[:4])
    return [x1, y1, x2 - x1, y2 - y1]


@pytest.mark.parametrize("seed", range(8))
def test_figures_are_pycocotools(tmp_path, seed):
    draw = random.Random(seed)
    content = world(draw)
    file = tmp_path / "data.json"
    file.write_text(json.dumps(content))
    data = coco_worlds.data_set(file, CLASSES)
    results = detections(draw, content)
    truth = Truth(data)
    found = scored(data, copy.deepcopy(results), truth)
    for slow in (True, False):
        ours = coco_metrics(data, copy.deepcopy(results), pycocotools=slow)
        for kind, theirs in (("box", "bbox"), ("mask", "segm")):
            figures = [ours[kind][name] for name in METRICS]
            assert figures == pytest.approx(expected(content, results, theirs).tolist(), abs=1e-9)
            ap = Matches(truth, copy.deepcopy(found[kind]), kind).ap()
            assert ap == pytest.approx(ours[kind]["AP"], abs=1e-9)
