"""What annotations cost the processes of a node: mmdet's CocoDataset beside the index.

Every rank and every worker really runs, and has read every annotation when its memory is looked at
(/proc/*/smaps_rollup). Of mmdet's ranks, which hold gigabytes and share nothing, one is measured,
and counted as often as there are ranks.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import made_coco
from mmdet.datasets import build_dataset
from torch.utils.data import DataLoader, Dataset

from fgd.data import index
from fgd.data.dataset import build
from fgd.files import sha256

KINDS = ("nothing", "mmdet", "index")


def measure(images: int, ranks: int = 8, workers: int = 2) -> dict:
    """Memory and times with a made annotation file.

    Args:
        images: of the file; it has as many objects an image as COCO.
        ranks, workers: processes of a node, and of each of them.
    """
    objects = round(images * made_coco.OBJECTS / made_coco.IMAGES)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "instances.json"
        made_coco.write(file, images, objects)
        os.environ["FGD_CACHE"] = f"{folder}/cache"
        started = time.perf_counter()
        index.write_of(file)
        written = time.perf_counter() - started
        kinds = {}
        for kind in KINDS:
            together = 1 if kind == "mmdet" else ranks
            found = node(kind, file, together, workers)
            kinds[kind] = found | {
                key: found[key] * ranks / together for key in ("private", "proportional")
            }
        stored = sum(path.stat().st_size for path in index.find(sha256(file)).iterdir())
        return {
            "images": images,
            "objects": objects,
            "bytes": file.stat().st_size,
            "index_bytes": stored,
            "index_seconds": written,
            "ranks": ranks,
            "workers": workers,
            "kinds": kinds,
        }


def node(kind: str, file: Path, ranks: int, workers: int) -> dict:
    """MB of all processes together, seconds to the first batch, microseconds of a sample.

    Args:
        kind: one of KINDS, how the processes read `file`.
    """
    command = [sys.executable, __file__, kind, str(file), str(workers)]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    started = [subprocess.Popen(command, **pipes) for _ in range(ranks)]
    try:
        told = [_answer(process.stdout) for process in started]
        pids = [pid for answer in told for pid in answer["pids"]]
        memory = [_memory(pid) for pid in pids]
    finally:
        for process in started:
            process.communicate()
    return {
        "private": sum(each["Private_Clean"] + each["Private_Dirty"] for each in memory) / 1024,
        "proportional": sum(each["Pss"] for each in memory) / 1024,
        "first_batch": min(answer["first_batch"] for answer in told),
        "sample": min(answer["sample"] for answer in told),
    }


def _answer(lines: Iterable[str]) -> dict:
    return next(json.loads(line) for line in lines if line.startswith("{"))


def _memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


class _All(Dataset):
    """A sample of it is what a worker says when it has read everything."""

    def __init__(self, dataset: Dataset | None, number: int) -> None:
        self._dataset = dataset
        self._number = number

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, _: int) -> dict:
        started = time.process_time()
        count = 0 if self._dataset is None else len(self._dataset)
        for i in range(count):
            self._dataset[i]
        seconds = time.process_time() - started
        return {"pid": os.getpid(), "sample": 1e6 * seconds / max(count, 1)}


def _rank(kind: str, file: str, workers: int) -> None:
    """One process and its workers; says what it measured, and stays until its input ends."""
    settings = dict(
        type="CocoDataset",
        ann_file=file,
        img_prefix="",
        classes=made_coco.class_names(),
        pipeline=[dict(type="LoadAnnotations", with_bbox=True)],
    )
    started = time.perf_counter()
    dataset = None
    if kind != "nothing":
        dataset = (build_dataset if kind == "mmdet" else build)(settings)
        next(iter(DataLoader(dataset, num_workers=workers, collate_fn=len)))
    first_batch = time.perf_counter() - started
    whole = _All(dataset, workers)
    own = whole[0]
    loader = DataLoader(whole, batch_size=None, num_workers=workers, persistent_workers=workers > 0)
    told = list(loader)
    pids = [own["pid"], *(each["pid"] for each in told)]
    print(json.dumps({"pids": pids, "first_batch": first_batch, "sample": own["sample"]}))
    sys.stdout.flush()
    sys.stdin.read()


def report(result: dict) -> str:
    """Markdown."""
    nothing, mmdet, ours = (result["kinds"][kind] for kind in KINDS)
    rows = [
        ("private MB of all processes", "private"),
        ("MB, shared pages by share", "proportional"),
    ]
    lines = [
        f"## Annotations: {result['images']} images, {result['objects']} objects, "
        f"{result['bytes'] / 1e6:.0f} MB, {result['ranks']} ranks x {result['workers']} workers",
        "",
        "| | mmdet | index | of mmdet's | processes without annotations |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, key in rows:
        lines.append(
            f"| {name} | {mmdet[key]:.0f} | {ours[key]:.0f} | {ours[key] / mmdet[key]:.3f} "
            f"| {nothing[key]:.0f} |"
        )
        beyond = [each[key] - nothing[key] for each in (mmdet, ours)]
        lines.append(
            f"| {name}, for annotations alone | {beyond[0]:.0f} | {beyond[1]:.0f} "
            f"| {beyond[1] / beyond[0]:.3f} | |"
        )
    for name, key in (("seconds to the first batch", "first_batch"), ("µs a sample", "sample")):
        lines.append(
            f"| {name} | {mmdet[key]:.2f} | {ours[key]:.2f} | {ours[key] / mmdet[key]:.3f} | |"
        )
    return "\n".join(
        [
            *lines,
            "",
            f"The index has {result['index_bytes'] / 1e6:.0f} MB and was written in "
            f"{result['index_seconds']:.1f} s, once.",
        ]
    )


if __name__ == "__main__":
    _rank(sys.argv[1], sys.argv[2], int(sys.argv[3]))
