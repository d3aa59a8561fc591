#!/usr/bin/env bash
# faster-coco-eval files objects without an `area` under the small ones.
#
# Versions: faster-coco-eval 1.8.0, pycocotools 2.0.11, numpy 2.4.6, Python 3.11; seen 2026-11-27.
# One would guess: an error, which is what pycocotools gives, or the box's own area (50 x 50 pixels
#     is a medium object).
# What happens: a missing area is 0. Every object counts as small: APs is 1, APm is -1 ("there are
#     none"), and nothing is said.
# Seen:
#     pycocotools: KeyError 'area'
#     faster-coco-eval: AP of small objects 1.0, of medium ones -1.0
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

without = dataset([{}, {}])
for annotation in without["annotations"]:
    del annotation["area"]
try:
    stats(*PEERS["pycocotools"], without, detections(1, 2))
    refused = False
except KeyError as error:
    refused = True
    print(f"pycocotools: KeyError {error}")
small, medium = stats(*PEERS["faster-coco-eval"], without, detections(1, 2))[3:5]
print(f"faster-coco-eval: AP of small objects {small}, of medium ones {medium}")
as_described = refused and (small, medium) == (1, -1)

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
