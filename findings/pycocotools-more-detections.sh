#!/usr/bin/env bash
# pycocotools reports an AP of -1 where the largest of `maxDets` is not 100.
#
# Versions: pycocotools 2.0.11, faster-coco-eval 1.8.0, numpy 2.4.6, Python 3.11; seen 2026-11-27.
# One would guess: for crowded images `maxDets = [1, 10, 300]` gives the AP of up to 300 detections
#     an image.
# What happens: the summary looks AP itself up for 100 detections, which were not evaluated, and
#     says -1; AP50, AP75 and the ARs are those of 300. faster-coco-eval gives AP for 300.
# Seen:
#     pycocotools: AP -1.0, AP50 1.0
#     faster-coco-eval: AP 1.0, AP50 1.0
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

ap = {}
for name, peer in PEERS.items():
    ap[name] = stats(*peer, dataset([{}, {}]), detections(1, 2), maxDets=[1, 10, 300])[:2]
    print(f"{name}: AP {ap[name][0]}, AP50 {ap[name][1]}")
as_described = ap == {"pycocotools": [-1, 1], "faster-coco-eval": [1, 1]}

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
