"""Where a row ends in each precision, beside where it ends with other seeds.

    python benchmarks/precision.py results/mini/retinanet_r50/fgd

Trains a finished row of a suite anew: in float32 with three seeds, then with the first of them in
mixed precision.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mmcv import Config

from fgd.config_text import config_text
from fgd.files import write_json, write_text
from fgd.markdown import table
from fgd.suite.layout import default_results

FGD = [sys.executable, "-c", "from fgd.cli import main; main()"]  # installed or not
RUNS = (("fp32", 0), ("fp32", 1), ("fp32", 2), ("bf16", 0), ("fp16", 0))


def measure(row: Path, out: Path, runs: Sequence[tuple[str, int]] = RUNS) -> list[dict]:
    """AP x 100 and the seconds of training of every run.

    Args:
        row: folder of a finished training, with its config.py and student.py.
        out: for the runs; what is finished there is not trained again.
        runs: precision and seed of each.
    """
    return [_run(row, out / f"{precision}_{seed}", precision, seed) for precision, seed in runs]


def _run(row: Path, folder: Path, precision: str, seed: int) -> dict:
    config = Config.fromfile(str(row / "config.py"))
    config.merge_from_dict(dict(precision=precision, seed=seed))
    write_text(folder / "config.py", config_text(config))
    trained, student = folder / "trained.pth", folder / "student.pth"
    started = time.monotonic()
    _fgd("train", folder / "config.py", "--work-dir", folder / "run", "--out", trained)
    seconds = time.monotonic() - started
    _fgd("transfer", trained, "--name", "student", "--out", student)
    report = folder / "eval.json"
    _fgd("evaluate", row / "student.py", student, "--out", report)
    ap = 100 * json.loads(report.read_text())["box"]["AP"]
    return {"precision": precision, "seed": seed, "box AP": ap, "seconds": seconds}


def _fgd(*arguments: object) -> None:
    subprocess.run([*FGD, *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def report(runs: list[dict]) -> str:
    """A table of the runs."""
    lines = [
        [run["precision"], str(run["seed"]), f"{run['box AP']:.2f}", f"{run['seconds']:.0f}"]
        for run in runs
    ]
    return table(["precision", "seed", "box AP", "seconds"], lines, left=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", type=Path, help="folder of a row's finished run")
    parser.add_argument(
        "--out", type=Path, default=Path(default_results("benchmarks"), "precision")
    )
    arguments = parser.parse_args()
    runs = measure(arguments.row, arguments.out)
    write_json(arguments.out / "precision.json", runs)
    print(report(runs))


if __name__ == "__main__":
    main()
