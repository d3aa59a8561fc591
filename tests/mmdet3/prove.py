"""Compare what mini students find in mmdet 2.28 and, transferred, in mmdet 3.

Usage: prove.py [RESULTS] [ROW...]

Of each kind of detector in the table: the trained student of a finished row in RESULTS
(results/mini), or else one with random weights that finds something. It is transferred, tested by
mmdet 3 in an environment of its own, and has to have the same metrics of the whole test set, and
the same boxes, scores, labels and masks in single images.
"""

import contextlib
import io
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
from environment import mmdet3_python  # noqa: E402
from mmcv import Config  # noqa: E402
from mmdet.apis import inference_detector  # noqa: E402
from random_student import random_student  # noqa: E402
from shrunken import shrunken  # noqa: E402

from fgd.checkpoint import read_checkpoint  # noqa: E402
from fgd.configs import read_detector  # noqa: E402
from fgd.data.dataset import build  # noqa: E402
from fgd.evaluation.evaluate import measure  # noqa: E402
from fgd.mini import digits  # noqa: E402
from fgd.mmdet3.write import CHECKPOINT, CONFIG, transfer_to_mmdet3  # noqa: E402
from fgd.plain import load_plain, plain_classes  # noqa: E402
from fgd.suite import Suite, load_suite  # noqa: E402

ROWS = ("retinanet_r50", "fcos_r50", "reppoints_r50", "faster_rcnn_r50", "mask_rcnn_r50")
ENVIRONMENT = Path(".mmdet3")
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
class Student:
    """A row's student, transferred.

    Attributes:
        origin: where its weights are from.
        images: that are compared one by one.
        folder: of what was written; what mmdet 3 finds is in `found` in it.
    """

    row: str
    config: Path
    checkpoint: Path
    origin: str
    images: list[Path]
    folder: Path

    @property
    def found(self) -> Path:
        """The folder of what mmdet 3 finds."""
        return self.folder / "found"


def prepared(row: str, results: Path, folder: Path) -> Student:
    """A row's student, written for mmdet 3."""
    config, checkpoint, origin = student(row, results, folder)
    transfer_to_mmdet3(config, checkpoint, out=folder / "mmdet3", name=row)
    (folder / "found").mkdir()
    return Student(row, config, checkpoint, origin, _images(read_detector(config)), folder)


def run_mmdet3(students: list[Student]) -> None:
    """Let mmdet 3 find what it finds, all in one process."""
    jobs = [
        {
            "config": str(each.folder / "mmdet3" / CONFIG),
            "checkpoint": str(each.folder / "mmdet3" / CHECKPOINT),
            "folder": str(each.found),
            "images": [str(image) for image in each.images],
        }
        for each in students
    ]
    command = [mmdet3_python(ENVIRONMENT.absolute()), "-W", "ignore"]
    command += [Path(__file__).with_name("in_mmdet3.py"), json.dumps(jobs)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def compare(each: Student) -> list[str]:
    """What differs between mmdet 2.28 and mmdet 3; prints a line about both."""
    theirs = json.loads((each.found / "found.json").read_text())
    cfg = read_detector(each.config)
    classes = plain_classes(cfg, each.config)
    detector = load_plain(cfg, read_checkpoint(each.checkpoint), each.checkpoint, classes)
    detector.cfg = cfg
    faults = [] if tuple(theirs["classes"]) == classes else [f"classes {theirs['classes']}"]
    with contextlib.redirect_stdout(io.StringIO()):
        measured = measure(each.config, each.checkpoint)
    for kind, metrics in theirs["metrics"].items():
        faults += [
            f"{kind} {name}: {measured[kind][name]:.6f} and {value:.6f}"
            for name, value in metrics.items()
            if abs(measured[kind][name] - value) > AP
        ]
    count = 0
    for image in each.images:
        ours = detections(inference_detector(detector, str(image)))
        count += len(ours["scores"])
        if fault := difference(ours, np.load(each.found / f"{image.stem}.npz")):
            faults.append(f"{image.name}: {fault}")
    for kind, metrics in theirs["metrics"].items():
        mine = f"{measured[kind]['AP']:.5f} | {metrics['AP']:.5f}"
        print(
            f"| {each.row} | {each.origin} | {kind} | {mine} | {count} | {len(faults)} |",
            flush=True,
        )
    return [f"{each.row}: {fault}" for fault in faults]


def _images(cfg: Config) -> list[Path]:
    """The first of the test set."""
    with contextlib.redirect_stdout(io.StringIO()):
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


def difference(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> str | None:
    """How the detections of an image differ; None: each has its own counterpart."""
    if len(ours["scores"]) != len(theirs["scores"]):
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
    return None


def main() -> None:
    """See above."""
    results = Path(sys.argv[1] if len(sys.argv) > 1 else "results/mini")
    rows = sys.argv[2:] or ROWS
    with tempfile.TemporaryDirectory() as folder:
        students = []
        for row in rows:
            own = Path(folder, row)
            own.mkdir()
            students.append(prepared(row, results, own))
        run_mmdet3(students)
        print("| row | weights | | AP in mmdet 2.28 | in mmdet 3 | detections | differ |")
        print("|---|---|---|--:|--:|--:|--:|")
        faults = [fault for each in students for fault in compare(each)]
    if faults:
        sys.exit("\n".join(["error: mmdet 3 finds something else", *faults]))


if __name__ == "__main__":
    main()
