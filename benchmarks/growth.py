"""How a plan grows with rows, the start of a training with images, memory with workers.

A plan is `snakemake -n`, without and with its cache. Images have one object each.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import annotations
import made_coco
import yaml

from fgd.data import index
from fgd.markdown import table
from fgd.suite.layout import default_results

ROOT = Path(__file__).resolve().parents[1]
ROWS = (8, 80, 800)
IMAGES = (10_000, 100_000, 1_000_000)
WORKERS = (0, 2, 4, 8)


def measure() -> dict:
    """What grows with the rows of a suite, with the images of a file, and with the workers."""
    with tempfile.TemporaryDirectory() as folder:
        plans = _plans(Path(folder))
        os.environ["FGD_CACHE"] = f"{folder}/cache"
        file = Path(folder) / "instances.json"
        starts = {}
        for images in IMAGES:
            made_coco.write(file, images, images)
            started = time.perf_counter()
            index.write_of(file)
            written = time.perf_counter() - started
            found = annotations.node("index", file, ranks=1, workers=2)
            starts[images] = {"index": written, "first_batch": found["first_batch"]}
        workers = {
            number: {
                kind: annotations.node(kind, file, 1, number)["proportional"]
                for kind in ("nothing", "index")
            }
            for number in WORKERS
        }
    return {"plans": plans, "starts": starts, "workers": workers}


def _plans(folder: Path) -> dict:
    """CPU seconds and peak MB of a cold and of a warm plan, by number of rows."""
    found: dict = {}
    for count in ROWS:
        suite = _suite(folder, count)
        cache = {"FGD_CACHE": f"{folder}/cache{count}"}
        found[count] = {kind: _plan(suite, cache) for kind in ("cold", "warm")}
    return found


def _suite(folder: Path, count: int) -> Path:
    """A suite of so many rows, each with a file of its own and a learning rate of its own."""
    content = yaml.safe_load((ROOT / "configs/suites/coco.yaml").read_text())
    names, rows = content["rows"], []
    for number in range(count):
        row = folder / f"row{number}.py"
        base = ROOT / "configs/distillers" / f"{names[number % len(names)]}.py"
        rate = 0.01 * (1 + number / 1000)
        row.write_text(f"_base_ = [{str(base)!r}]\noptimizer = dict(lr={rate})\n")
        rows.append(str(row))
    path = folder / f"suite{count}.yaml"
    dataset = str(ROOT / content["dataset"])
    named = {"name": path.stem, "results": default_results(path.stem)}
    path.write_text(yaml.safe_dump(content | named | {"rows": rows, "dataset": dataset}))
    return path


def _plan(suite: Path, cache: dict[str, str]) -> dict[str, float]:
    """A process of its own, for the peak of its children is asked of it."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)\n"
    )
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "-n"]
    done = subprocess.run(
        [sys.executable, "-c", code, *snakemake, "--config", f"suite={suite}"],
        cwd=suite.parent,
        env=os.environ | cache,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    seconds, peak = map(float, done.stdout.split())
    return {"seconds": seconds, "peak": peak}


def report(result: dict) -> str:
    """Markdown."""
    plans = [
        [count, *(f"{kinds[k][what]:.1f}" for k in kinds for what in ("seconds", "peak"))]
        for count, kinds in result["plans"].items()
    ]
    starts = [
        [images, f"{found['index']:.1f}", f"{found['first_batch']:.1f}"]
        for images, found in result["starts"].items()
    ]
    workers = [
        [number, f"{found['nothing']:.0f}", f"{found['index']:.0f}"]
        for number, found in result["workers"].items()
    ]
    return "\n\n".join(
        [
            "## Growth",
            table(["rows", "cold plan, CPU s", "peak MB", "warm, CPU s", "peak MB"], plans, left=0),
            table(["images", "s to write the index", "s to the first batch"], starts, left=0),
            f"A rank and its workers, each of which has read {IMAGES[-1]:,} images; MB, "
            "shared pages once:",
            table(["workers", "without annotations", "with"], workers, left=0),
        ]
    )
