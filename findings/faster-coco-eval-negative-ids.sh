#!/usr/bin/env bash
# faster-coco-eval never counts an object with a negative annotation id as found.
#
# Versions: faster-coco-eval 1.8.0, pycocotools 2.0.11, numpy 2.4.6, Python 3.11; seen 2026-11-27.
# One would guess: the two agree; faster-coco-eval says that it can take the other's place.
# What happens: two objects with ids -1 and -2, each detected with its exact box, give AP 1 with
#     pycocotools and 0 with faster-coco-eval, without a word. (Of id 0, where both are wrong,
#     faster-coco-eval warns.)
# Seen:
#     pycocotools: AP 1.0
#     faster-coco-eval: AP 0.0
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
    ap[name] = stats(*peer, dataset([{"id": -1}, {"id": -2}]), detections(1, 2))[0]
    print(f"{name}: AP {ap[name]}")
as_described = ap == {"pycocotools": 1, "faster-coco-eval": 0}

print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
