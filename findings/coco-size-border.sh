#!/usr/bin/env bash
# An object of exactly 32 x 32 pixels is a small and a medium object for pycocotools.
#
# Versions: pycocotools 2.0.11, faster-coco-eval 1.8.0, numpy 2.4.6, Python 3.11; seen 2026-11-27.
# One would guess: the three sizes divide the objects: small below 32 x 32, large from 96 x 96 on.
# What happens: both ends of a range belong to it. Two objects, of 32 x 32 and of 96 x 96 pixels,
#     are counted four times: one small, two medium, one large. Of squares made by a grid (tiles,
#     patches, game boards) that can be all. faster-coco-eval does the same.
# Seen:
#     pycocotools: objects by size {'small': 1, 'medium': 2, 'large': 1}
#     faster-coco-eval: AP of small, medium, large for 32 x 32 alone [1.0, 1.0, -1.0]
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    pycocotools==2.0.11 faster-coco-eval==1.8.0 numpy==2.4.6

venv/bin/python - <<'EOF'
import contextlib
import copy
import io
import sys

from faster_coco_eval import COCO as FasterCOCO, COCOeval_faster
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def stats(kind, evaluator, dataset, detections, **params):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = kind()
        truth.dataset = copy.deepcopy(dataset)
        truth.createIndex()
        found = truth.loadRes(copy.deepcopy(detections))
        evaluation = evaluator(truth, found, "bbox")
        for key, value in params.items():
            setattr(evaluation.params, key, value)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [round(float(value), 3) for value in evaluation.stats]


def dataset(objects):
    """COCO's format; each object has an image of its own."""
    numbers = range(1, len(objects) + 1)
    common = {"category_id": 1, "bbox": [10, 10, 50, 50], "area": 2500, "iscrowd": 0}
    return {
        "info": {},
        "images": [{"id": number, "width": 100, "height": 100} for number in numbers],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [
            common | {"id": number, "image_id": number} | own
            for number, own in zip(numbers, objects)
        ],
    }


def detections(*images, box=(10, 10, 50, 50)):
    return [
        {"image_id": image, "category_id": 1, "bbox": list(box), "score": 0.9} for image in images
    ]


PEERS = {"pycocotools": (COCO, COCOeval), "faster-coco-eval": (FasterCOCO, COCOeval_faster)}

small = {"bbox": [0, 0, 32, 32], "area": 32 * 32}
large = {"bbox": [0, 0, 96, 96], "area": 96 * 96}
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO()
    truth.dataset = dataset([small, large])
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes(detections(1, 2)), "bbox")
    evaluation.evaluate()
counts = {}
for image in evaluation.evalImgs:
    label = evaluation.params.areaRngLbl[evaluation.params.areaRng.index(image["aRng"])]
    if label != "all":
        counted = sum(not ignored for ignored in image["gtIgnore"])
        counts[label] = counts.get(label, 0) + int(counted)
print(f"pycocotools: objects by size {counts}")
faster = stats(
    *PEERS["faster-coco-eval"], dataset([small]), detections(1, box=small["bbox"])
)[3:6]
print(f"faster-coco-eval: AP of small, medium, large for 32 x 32 alone {faster}")
as_described = counts == {"small": 1, "medium": 2, "large": 1} and faster == [1, 1, -1]

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
