"""Trained students where they are used: mmdet and onnxruntime, on one thread, in turns."""

import tempfile
from pathlib import Path

import torch

from fgd.evaluation.evaluate import measure as evaluated
from fgd.files import sha256
from fgd.markdown import table
from fgd.onnx.write import export
from fgd.suite import Run, load_suite

WHERE = ("mmdet", "onnxruntime")


def measure(suite: str, rounds: int) -> dict:
    """The AP of every finished student of a suite in both, and their images a second.

    Args:
        suite: its name; of a row that is not finished nothing is said.
        rounds: how often each student is evaluated; the fastest round counts.
    """
    loaded = load_suite(suite)
    runs = {row: loaded.layout.run(Run(row, "fgd", loaded.seed)) for row in loaded.rows}
    students = {
        row: (Path(files.detector), Path(files.checkpoint))
        for row, files in runs.items()
        if Path(files.evaluation).exists()
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = {row: _student(*files, rounds) for row, files in students.items()}
    finally:
        torch.set_num_threads(threads)
    return {"suite": suite, "students": found}


def _student(config: Path, checkpoint: Path, rounds: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder, "student.onnx")
        export(config, checkpoint, out=graph)
        reports: dict[str, list[dict]] = {name: [] for name in WHERE}
        for _ in range(rounds):
            for name, weights in zip(WHERE, (checkpoint, graph), strict=True):
                reports[name].append(evaluated(config, weights))
    kinds = [kind for kind in ("box", "mask") if kind in reports["mmdet"][0]]
    return {"sha256": sha256(checkpoint)} | {
        name: {
            "images_per_second": max(each["images"] / each["seconds"] for each in of),
            "images": of[0]["images"],
        }
        | {kind: of[0][kind]["AP"] for kind in kinds}
        for name, of in reports.items()
    }


def report(result: dict) -> str:
    """Markdown."""
    rows = []
    for row, student in result["students"].items():
        speeds = [student[name]["images_per_second"] for name in WHERE]
        for kind in ("box", "mask"):
            if kind in student[WHERE[0]]:
                figures = [f"{100 * student[name][kind]:.3f}" for name in WHERE]
                figures += [f"{speed:.1f}" for speed in speeds] + [f"{speeds[1] / speeds[0]:.1f}"]
                rows.append([row, kind, *figures])
    columns = ["student", "", *(f"AP in {name}" for name in WHERE)]
    columns += [*(f"images a second in {name}" for name in WHERE), "times"]
    return "\n\n".join(
        [
            f"## Deployment: finished students of the suite {result['suite']}, one thread",
            table(columns, rows, left=2),
        ]
    )
