"""What the trainings of a suite tell of themselves: their logs, costs and starting weights."""

import csv
import json
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from fgd import progress
from fgd.errors import FGDError
from fgd.suite import Suite
from fgd.suite.layout import RunFiles, TrainingFiles
from fgd.table import Table

_POINTS = 200  # of a curve: more than a figure's width can tell apart


@dataclass(frozen=True)
class Training:
    """A training.

    Attributes:
        log: the entries of its log.jsonl, oldest first.
        validation: what it was validated with while it trained, oldest first (validation.jsonl).
        weights: where its starting weights are from (weights.json); None if there is none.
        total_batch: images of a step.
        processes: that trained together at last.
        device: the GPU's name, or "cpu"; None where an older log does not say.
        wall_seconds: from launch to result, with waiting in a queue; None if nothing was timed.
    """

    log: list[dict[str, Any]]
    validation: list[dict[str, Any]]
    weights: dict[str, Any] | None
    total_batch: int
    processes: int
    device: str | None
    wall_seconds: float | None

    @property
    def seconds(self) -> float:
        """Time spent on the iterations that led to the result."""
        return sum(self._seconds())

    @property
    def device_hours(self) -> float:
        """Hours of all its processes, as many as there were: GPU-hours where each has a GPU."""
        several = (entry.get("processes", self.processes) for entry in self.log)
        return sum(map(operator.mul, self._seconds(), several)) / 3600

    def _seconds(self) -> Iterator[float]:
        """Of each entry of the log."""
        before = 0
        for entry in self.log:
            yield (entry["iter"] - before) * self.total_batch / entry["images_per_second"]
            before = entry["iter"]

    @property
    def images_per_second(self) -> float | None:
        """The usual speed, over all processes: the median of the log."""
        return median(entry["images_per_second"] for entry in self.log) if self.log else None

    @property
    def epochs(self) -> list[float]:
        """Where each entry of the log stands, in epochs."""
        return [entry["iter"] / entry["max_iters"] * entry["max_epochs"] for entry in self.log]

    def aps(self, kind: str) -> tuple[list[int], list[float]]:
        """Epochs, and AP x 100 after each, where the training was validated."""
        there = [entry for entry in self.validation if kind in entry]
        return [e["epoch"] for e in there], [progress.points_of(e)[kind] for e in there]

    def terms(self) -> dict[str, list[float]]:
        """The terms of the loss and their sum `loss`, by name; a value for each entry."""
        names = [name for name in (self.log[-1] if self.log else {}) if "loss" in name]
        return {name: [entry.get(name, float("nan")) for entry in self.log] for name in names}


def read_training(suite: Suite, files: TrainingFiles, benchmark: str | None = None) -> Training:
    """Read a training; nothing is required to be there.

    Args:
        benchmark: Snakemake's file of its rule; without one the wall time is left out.
    """
    folder = Path(files.work_dir)
    log = progress.read(folder)
    last = log[-1] if log else {}
    training = Training(
        log=log,
        validation=progress.read(folder, progress.VALIDATION),
        weights=read_weights(Path(files.weights)),
        total_batch=suite.total_batch,
        processes=last.get("processes", suite.gpus),
        device=last.get("device"),
        wall_seconds=_wall_seconds(Path(benchmark)) if benchmark else None,
    )
    if training.wall_seconds is not None and training.wall_seconds < training.seconds:
        # A launch that found the training done, or went on with it, has timed that alone.
        return replace(training, wall_seconds=None)
    return training


def device_hours(suite: Suite, table: Table, results: Path) -> dict[str, float]:
    """Hours of all processes: "students", with every seed, and "teachers" that the suite trains."""
    layout = suite.layout.at(results)
    folders = {folder for row in table.rows for folder in row.folders.values()}
    teachers = {row.teacher.name for row in table.rows}
    trainings: dict[str, list[TrainingFiles]] = {
        "students": [RunFiles(f"{results}/{folder}") for folder in sorted(folders)],
        "teachers": [layout.teacher_training(name) for name in sorted(teachers)],
    }
    return {
        who: sum(read_training(suite, files).device_hours for files in group)
        for who, group in trainings.items()
    }


def thin(values: Iterable[float], points: int = _POINTS) -> list[float]:
    """Means of neighbours, so that at most `points` values are left."""
    values = list(values)
    step = -(-len(values) // points) or 1
    groups = [values[start : start + step] for start in range(0, len(values), step)]
    return [sum(group) / len(group) for group in groups]


def read_weights(path: Path) -> dict[str, Any] | None:
    """Where the starting weights of a training are from; None if its audit is not there.

    Raises:
        FGDError: it is no audit of starting weights.
    """
    if not path.exists():
        return None
    try:
        audit = json.loads(path.read_text(encoding="utf-8"))
        audit["summary"]["tensors"], audit["summary"]["parameters"], audit["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise FGDError(
            f"{path}: not an audit of starting weights ({error!r}); delete it to leave it out"
        ) from error
    return audit


def _wall_seconds(path: Path) -> float | None:
    """Snakemake's benchmark of a rule, seconds."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    try:
        return float(lines[-1]["s"])
    except (IndexError, KeyError, ValueError):
        return None
