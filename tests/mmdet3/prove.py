"""Compare what detectors find in mmdet 2.28 and in mmdet 3, translated one way or the other.

Out: of each kind of detector in the table the trained student of a finished row in RESULTS, or else
one with random weights that finds something, is transferred to mmdet 3. In: one of mmdet 3's own
configs of each kind, made narrow, with random weights that mmdet 3 saves, is translated as a
teacher; and so is each trained student, as mmdet 3 dumps and saves it.

Of every key that is known both have to have the same default.

mmdet 3 tests each in an environment of its own. Both have to have the same metrics of the whole
test set, and the same boxes, scores, labels and masks in single images. One difference is known and
counted: one-stage detectors of mmdet 3 leave boxes without width or height out, if their config
says `min_bbox_size=0`, as its own do.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2] / "setup")]

from fgd import compat  # noqa: E402

compat.prepare()

import numpy as np  # noqa: E402
import yaml  # noqa: E402
from defaults import defaults  # noqa: E402
from environment import mmdet3_python  # noqa: E402
from mmcv import Config  # noqa: E402
from mmcv.ops import RoIAlign  # noqa: E402
from mmdet.apis import inference_detector  # noqa: E402
from mmdet.core.anchor.builder import PRIOR_GENERATORS  # noqa: E402
from mmdet.core.bbox.builder import BBOX_CODERS  # noqa: E402
from mmdet.models.builder import MODELS  # noqa: E402
from random_student import SPREAD, STD, random_student  # noqa: E402
from shrunken import shrunken  # noqa: E402

from fgd.checkpoint import read_checkpoint  # noqa: E402
from fgd.config_text import config_text  # noqa: E402
from fgd.configs import read_any, read_detector  # noqa: E402
from fgd.data.dataset import build  # noqa: E402
from fgd.evaluation.evaluate import measure  # noqa: E402
from fgd.mini import digits  # noqa: E402
from fgd.mmdet3.incoming import translated_teacher  # noqa: E402
from fgd.mmdet3.known import KEYS  # noqa: E402
from fgd.mmdet3.write import CHECKPOINT, CONFIG, transfer_to_mmdet3  # noqa: E402
from fgd.plain import load_plain, plain_classes  # noqa: E402
from fgd.suite import Suite, load_suite  # noqa: E402

STOCK = {
    "retinanet_r50": "retinanet/retinanet_r50_fpn_1x_coco.py",
    "fcos_r50": "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py",
    "reppoints_r50": "reppoints/reppoints-moment_r50_fpn-gn_head-gn_1x_coco.py",
    "faster_rcnn_r50": "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py",
    "mask_rcnn_r50": "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
}
ENVIRONMENT = Path(".mmdet3")
# Registered under these names by mmdet 3 alone, as torch's own.
LAYERS = {"BN", "SyncBN", "GN", "ReLU", "deconv", "nms", "soft_nms"}
IMAGES = 8  # that are compared one by one
AP = 1e-4  # how far metrics may be apart
# Corners in pixels, scores, and the part of a mask's pixels: normalisation rounds otherwise.
CORNER, SCORE, MASK = 1e-2, 1e-4, 0.02


def student(row: str, results: Path, folder: Path) -> tuple[Path, Path, str]:
    """A row's config and checkpoint, and what they are."""
    for arm in ("fgd", "baseline"):
        run = results / row / arm
        if (run / "eval.json").exists():
            return run / "student.py", run / "student.pth", f"trained ({arm})"
    config, checkpoint, _ = random_student(_small_suite(folder), row, folder)
    return config, checkpoint, "random"


def _small_suite(folder: Path) -> Suite:
    """The mini suite on few images: one with random weights finds a hundred objects in each."""
    data = folder / "data"
    digits.write(data, train=2, val=IMAGES)
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(shrunken(results=str(folder), data_root=str(data))))
    return load_suite(path)


@dataclass(frozen=True)
class Detector:
    """A detector in both.

    Attributes:
        name: of its row, or of its config in mmdet 3.
        origin: where its weights are from.
        config, checkpoint: of mmdet 2.28; of one of mmdet 3 the config is translated later.
        newer: config and checkpoint of mmdet 3.
        images: that are compared one by one.
        found: the folder of what mmdet 3 finds.
        write: what mmdet 3 writes first, `stock.write`'s arguments.
    """

    name: str
    origin: str
    config: Path
    checkpoint: Path
    newer: tuple[Path, Path]
    images: list[Path]
    found: Path
    write: dict[str, Any] | None = None

    @property
    def leaves_empty_boxes_out(self) -> bool:
        """Whether mmdet 3 leaves boxes without width or height out, which mmdet 2.28 keeps."""
        test_cfg = read_any(self.newer[0]).model.test_cfg
        return bool(test_cfg.get("min_bbox_size", -1) >= 0)

    def job(self) -> dict[str, Any]:
        """What mmdet 3 is to do."""
        config, checkpoint = map(str, self.newer)
        job = {"config": config, "checkpoint": checkpoint, "folder": str(self.found)}
        writing = {"write": self.write} if self.write else {}
        return job | {"images": [str(image) for image in self.images]} | writing


def going_out(row: str, results: Path, folder: Path) -> Detector:
    """A row's student, written for mmdet 3."""
    config, checkpoint, origin = student(row, results, folder)
    transfer_to_mmdet3(config, checkpoint, out=folder / "mmdet3", name=row)
    newer = folder / "mmdet3" / CONFIG, folder / "mmdet3" / CHECKPOINT
    images = _images(read_detector(config))
    return Detector(row, origin, config, checkpoint, newer, images, _made(folder / "found"))


def coming_in(row: str, folder: Path) -> Detector:
    """One of mmdet 3's own configs, with random weights."""
    data, annotations = folder / "stock_data", "annotations/instances_val.json"
    digits.write(data, train=2, val=IMAGES)
    content = json.loads((data / annotations).read_text())
    reads = {
        "root": f"{data}/",
        "annotations": annotations,
        "images": "val/",
        "classes": [each["name"] for each in content["categories"]],
    }
    images = [data / "val" / each["file_name"] for each in content["images"]]
    write = {"config": STOCK[row], "checkpoint": "", "data": reads, "spread": SPREAD, "std": STD}
    return _of_mmdet3(Path(STOCK[row]).stem, "random", images, folder / "stock", write)


def coming_back(out: Detector, folder: Path) -> Detector:
    """A student that went to mmdet 3, as mmdet 3 dumps and saves it."""
    write = dict(zip(("config", "checkpoint"), map(str, out.newer), strict=True))
    return _of_mmdet3(out.name, out.origin, out.images, folder / "back", write)


def _of_mmdet3(
    name: str, origin: str, images: list[Path], folder: Path, write: dict[str, Any]
) -> Detector:
    newer, found = folder / "mmdet3", _made(folder / "found")
    files = newer / "config.py", newer / "epoch_1.pth"
    write = write | {"out": str(newer)}
    return Detector(name, origin, folder / "config.py", files[1], files, images, found, write)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def run_mmdet3(detectors: list[Detector]) -> None:
    """Let mmdet 3 find what it finds, all in one process; what it wrote itself is translated."""
    _in_mmdet3(json.dumps([each.job() for each in detectors]), stdout=subprocess.DEVNULL)
    for each in detectors:
        if each.write:
            path = each.newer[0]
            each.config.write_text(config_text(translated_teacher(read_any(path), str(path))))


def other_defaults() -> list[str]:
    """The keys that are known and mean something else where a config leaves them out."""
    kinds = sorted(KEYS.keys() - LAYERS)
    registries = (MODELS, BBOX_CODERS, PRIOR_GENERATORS)
    ours = defaults(
        kinds,
        lambda kind: (
            {"RoIAlign": RoIAlign}.get(kind)
            or next(filter(None, (registry.get(kind) for registry in registries)), None)
        ),
    )
    said = _in_mmdet3("defaults", json.dumps(kinds), stdout=subprocess.PIPE).stdout
    theirs = json.loads(said.splitlines()[-1])
    assert kinds == sorted(ours) == sorted(theirs)
    print(f"{sum(len(KEYS[kind]) for kind in kinds)} keys of {len(kinds)} classes have one default")
    return [
        f"{kind}.{key}: by default {ours[kind].get(key)} and {theirs[kind].get(key)}"
        for kind in kinds
        for key in sorted(KEYS[kind])
        if ours[kind].get(key) != theirs[kind].get(key)
    ]


def _in_mmdet3(*arguments: str, stdout: int) -> subprocess.CompletedProcess[str]:
    command = [mmdet3_python(ENVIRONMENT.absolute()), "-W", "ignore"]
    command += [Path(__file__).with_name("in_mmdet3.py"), *arguments]
    return subprocess.run(command, check=True, stdout=stdout, text=True)


def compare(each: Detector) -> list[str]:
    """What differs between mmdet 2.28 and mmdet 3; prints a line about both."""
    theirs = json.loads((each.found / "found.json").read_text())
    cfg = read_detector(each.config)
    classes = plain_classes(cfg, each.config)
    detector = load_plain(cfg, read_checkpoint(each.checkpoint), each.checkpoint, classes)
    detector.cfg = cfg
    faults = [] if tuple(theirs["classes"]) == classes else [f"classes {theirs['classes']}"]
    measured = measure(each.config, each.checkpoint)
    for kind, metrics in theirs["metrics"].items():
        faults += [
            f"{kind} {name}: {measured[kind][name]:.6f} and {value:.6f}"
            for name, value in metrics.items()
            if abs(measured[kind][name] - value) > AP
        ]
    count = empty = 0
    for image in each.images:
        ours = detections(inference_detector(detector, str(image)))
        count += len(ours["scores"])
        left_out = 0
        if each.leaves_empty_boxes_out:
            ours, left_out = with_extent(ours)
            empty += left_out
        if fault := difference(ours, np.load(each.found / f"{image.stem}.npz"), left_out):
            faults.append(f"{image.name}: {fault}")
    for kind, metrics in theirs["metrics"].items():
        mine = f"{measured[kind]['AP']:.5f} | {metrics['AP']:.5f}"
        counts = f"{count} | {empty} | {len(faults)}"
        print(f"| {each.name} | {each.origin} | {kind} | {mine} | {counts} |", flush=True)
    return [f"{each.name}: {fault}" for fault in faults]


def _images(cfg: Config) -> list[Path]:
    """The first of the test set."""
    dataset = build(cfg.data.test, test_mode=True)
    infos = islice(dataset.data_infos, IMAGES)
    return [Path(dataset.img_prefix) / each["filename"] for each in infos]


def detections(result: Any) -> dict[str, np.ndarray]:
    """mmdet 2.28's result of an image as mmdet 3 has it: boxes, scores, labels, perhaps masks."""
    boxes, masks = result if isinstance(result, tuple) else (result, None)
    rows = np.concatenate(boxes)
    labels = np.concatenate([np.full(len(each), label) for label, each in enumerate(boxes)])
    found = {"boxes": rows[:, :4], "scores": rows[:, 4], "labels": labels}
    if masks is not None:
        found["masks"] = np.array([mask for each in masks for mask in each])
    return found


def with_extent(found: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
    """The detections whose boxes have width and height, and how many have not."""
    boxes = found["boxes"]
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    return {key: values[kept] for key, values in found.items()}, int((~kept).sum())


def difference(
    ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray], left_out: int = 0
) -> str | None:
    """How the detections of an image differ; None: each has its own counterpart.

    Args:
        left_out: of ours. In their places mmdet 3 may have as many more, below all of the others.
    """
    if not 0 <= len(theirs["scores"]) - len(ours["scores"]) <= left_out:
        return f"{len(ours['scores'])} detections and {len(theirs['scores'])}"
    left = set(range(len(theirs["scores"])))
    for number, (box, score, label) in enumerate(
        zip(ours["boxes"], ours["scores"], ours["labels"], strict=True)
    ):
        same = [
            other
            for other in left
            if theirs["labels"][other] == label
            and abs(theirs["scores"][other] - score) <= SCORE
            and np.abs(theirs["boxes"][other] - box).max() <= CORNER
        ]
        if not same:
            return f"class {label}, score {score:.5f}, box {box.round(3).tolist()} in mmdet 2 alone"
        nearest = min(same, key=lambda other: np.abs(theirs["boxes"][other] - box).max())
        left.remove(nearest)
        if "masks" in ours:
            pixels = (ours["masks"][number] != theirs["masks"][nearest]).sum()
            if pixels > MASK * max(1, ours["masks"][number].sum()):
                return f"class {label}, score {score:.5f}: {pixels} pixels of the mask differ"
    least = min(ours["scores"], default=1.0) + SCORE
    if more := [other for other in left if theirs["scores"][other] > least]:
        return f"score {theirs['scores'][more[0]]:.5f} in mmdet 3 alone"
    return None


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("results", nargs="?", type=Path, default=Path("results/mini"))
    parser.add_argument("rows", nargs="*", default=list(STOCK), help="all by default")
    arguments = parser.parse_args()
    if faults := other_defaults():
        sys.exit("\n".join(["error: mmdet 3 has other defaults", *faults]))
    with tempfile.TemporaryDirectory() as folder:
        there, here = [], []
        for row in arguments.rows:
            out = going_out(row, arguments.results, _made(Path(folder, row)))
            there.append(out)
            here.append(coming_in(row, Path(folder, row)))
            if out.origin != "random":
                here.append(coming_back(out, Path(folder, row)))
        run_mmdet3(there + here)
        faults = table("From mmdet 2.28 to mmdet 3", there)
        faults += table("From mmdet 3 to mmdet 2.28", here)
    if faults:
        sys.exit("\n".join(["error: mmdet 3 finds something else", *faults]))


def table(title: str, detectors: list[Detector]) -> list[str]:
    """Print what both find; the differences."""
    print(f"\n{title}\n")
    print("| detector | weights | | AP in mmdet 2.28 | in mmdet 3 | detections | empty | differ |")
    print("|---|---|---|--:|--:|--:|--:|--:|", flush=True)
    return [fault for each in detectors for fault in compare(each)]


if __name__ == "__main__":
    main()
