"""What detectors find in mmdet 3, which this runs in: its own test runner, and single images.

Usage: in_mmdet3.py JSON, a list of `find`'s arguments, perhaps with `write`: those of `stock.write`
       in_mmdet3.py defaults JSON, the names of classes

Writes to each folder found.json, the metrics of the whole test set and the classes, and
<image>.npz: boxes, scores, labels and perhaps masks of single images.
"""

import json
import sys
from pathlib import Path

import numpy as np
from defaults import Defaults, defaults
from mmcv.ops import RoIAlign
from mmdet.apis import inference_detector, init_detector
from mmdet.evaluation.metrics import coco_metric
from mmdet.registry import MODELS, TASK_UTILS
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.runner import Runner
from stock import write

METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
KINDS = {"bbox": "box", "segm": "mask"}


def test(config: str, checkpoint: str, folder: Path) -> dict[str, dict[str, float]]:
    """What mmdet's tools/test.py measures, in all digits: mmdet's metric rounds to three."""
    measured = {}

    class Kept(coco_metric.COCOeval):
        def summarize(self) -> None:
            super().summarize()
            kind = KINDS[self.params.iouType]
            measured[kind] = dict(zip(METRICS, map(float, self.stats), strict=False))

    before, coco_metric.COCOeval = coco_metric.COCOeval, Kept
    cfg = Config.fromfile(config)
    cfg.work_dir, cfg.load_from = str(folder / "work"), checkpoint
    cfg.experiment_name = folder.name
    printed = Runner.from_cfg(cfg).test()
    coco_metric.COCOeval = before
    for kind, name in KINDS.items():
        if name in measured:
            assert abs(measured[name]["AP"] - printed[f"coco/{kind}_mAP"]) <= 5e-4
    return measured


def find(config: str, checkpoint: str, folder: str, images: list[str]) -> None:
    """Write what one detector finds."""
    out = Path(folder)
    metrics = test(config, checkpoint, out)
    detector = init_detector(config, checkpoint, device="cpu")
    for image in images:
        found = inference_detector(detector, image).pred_instances.numpy()
        arrays = {"boxes": found.bboxes, "scores": found.scores, "labels": found.labels}
        if "masks" in found:
            arrays["masks"] = found.masks
        np.savez(out / f"{Path(image).stem}.npz", **arrays)
    content = {"metrics": metrics, "classes": detector.dataset_meta["classes"]}
    (out / "found.json").write_text(json.dumps(content))


def known_defaults(kinds: list[str]) -> Defaults:
    """What classes take where a config says nothing."""
    register_all_modules()
    return defaults(
        kinds,
        lambda kind: {"RoIAlign": RoIAlign}.get(kind) or MODELS.get(kind) or TASK_UTILS.get(kind),
    )


if __name__ == "__main__":
    if sys.argv[1] == "defaults":
        print(json.dumps(known_defaults(json.loads(sys.argv[2]))))
        sys.exit()
    for arguments in json.loads(sys.argv[1]):
        if writing := arguments.pop("write", None):
            write(**writing)
        find(**arguments)
