"""What the table says, as plain data."""

from dataclasses import dataclass, field
from typing import Any

from fgd.suite.layout import Layout, RunFiles
from fgd.suite.plan import DetectorInfo
from fgd.table.numbers import difference, mean, means_of


@dataclass(frozen=True)
class Metrics:
    """AP in points, with one decimal; None where nothing was measured or published.

    Of a suite with several seeds, baseline and FGD are means over the runs that there are, with the
    sample standard deviation (of at least two runs). `gains` are the differences between the runs
    of one seed, None where one of them is missing, `gain_interval` is where their true mean lies
    with a confidence of 0.95 (of at least two).
    """

    teacher_ap: float | None
    baseline_ap: float | None
    fgd_ap: float | None
    published_baseline: float | None
    published_fgd: float | None
    baseline_std: float | None = None
    fgd_std: float | None = None
    gain_std: float | None = None
    baseline_runs: int = 0
    fgd_runs: int = 0
    gains: tuple[float | None, ...] = ()
    gain_interval: tuple[float, float] | None = None

    @property
    def gain(self) -> float | None:
        """What the teacher added to the student, measured, over the seeds that have both runs."""
        if None in self.gains:
            return mean(self.gains)
        # The difference that a reader works out from the two numbers beside it.
        return mean([difference(self.fgd_ap, self.baseline_ap)])

    @property
    def lead(self) -> float | None:
        """How far the teacher is ahead of the student trained without it."""
        return mean([difference(self.teacher_ap, self.baseline_ap)])

    @property
    def published_gain(self) -> float | None:
        """What the teacher added to the student, published."""
        return mean([difference(self.published_fgd, self.published_baseline)])


@dataclass(frozen=True)
class TableRow:
    """A row of the table.

    Attributes:
        metrics: "box" and "mask", as far as the student has them.
        measured: the eval.json of "teacher", "baseline" and "fgd", of further seeds of
            "baseline/seed1" and so on; None until there is one.
        configs: SHA-256 of the training configs, by the same names.
        folders: of the trainings in the suite's results; another row's for a baseline that it
            shares.
        left_out: why what was measured of something is not the suite's, by the names of `measured`.
    """

    name: str
    student: DetectorInfo
    teacher: DetectorInfo
    metrics: dict[str, Metrics]
    measured: dict[str, dict | None]
    configs: dict[str, str | None]
    folders: dict[str, str]
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """What has not been evaluated yet."""
        return [name for name, report in self.measured.items() if report is None]

    def evaluations(self, results: str) -> dict[str, str]:
        """Where each is evaluated, below the suite's results, by the names of `measured`."""
        files = {"teacher": Layout(results).teacher(self.teacher.name).evaluation}
        for name, folder in self.folders.items():
            files[name] = RunFiles(f"{results}/{folder}").evaluation
        return files

    def means(self, kind: str) -> dict[str, dict[str, Any]]:
        """All metrics of "teacher", "baseline" and "fgd", as far as there are any.

        Each is the mean over the seeds that were evaluated, `per_class` class by class.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for run, report in self.measured.items():
            if report is not None and kind in report:
                found.setdefault(run.split("/")[0], []).append(report[kind])
        return {who: means_of(several) for who, several in found.items()}


@dataclass(frozen=True)
class Table:
    """All rows of a suite.

    Attributes:
        chosen_by: what chooses the suite in `snakemake --config suite=...`.
        settings: SHA-256 of the suite's settings.
    """

    suite: str
    chosen_by: str
    seeds: tuple[int, ...]
    small: bool
    data: str
    results: str
    settings: str
    rows: list[TableRow]
