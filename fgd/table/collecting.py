"""What a suite has measured so far, gathered from its results."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from fgd.errors import FGDError
from fgd.experiment import load_experiment, outdated
from fgd.files import sha256
from fgd.suite import ARMS, Suite
from fgd.table.model import Metrics, Table, TableRow
from fgd.table.numbers import deviation, difference, interval, mean, there


def collect(suite: Suite, results: Path, rows: Sequence[str] = ()) -> Table:
    """Gather what a suite has measured so far, without what is there of other settings or files.

    Args:
        results: the folder to look in.
        rows: to gather; all by default.

    Raises:
        FGDError: the suite has no such row, a row of it is wrong, or an eval.json is none.
    """
    suite.check_rows(rows)
    experiment = load_experiment(suite)
    layout, plan = suite.layout.at(results), experiment.plan
    others = outdated.why_left_out(experiment, layout)
    found = []
    for name in rows or plan.rows:
        row = plan.rows[name]
        runs = experiment.runs_of(row)
        files = {"teacher": layout.teacher(row.teacher).evaluation} | {
            title: layout.run(run).evaluation for title, run in runs.items()
        }
        left_out = {title: others[file] for title, file in files.items() if file in others}
        measured = {
            title: None if title in left_out else _read_report(file)
            for title, file in files.items()
        }
        _check_same_data(name, measured)
        found.append(
            TableRow(
                name=name,
                student=plan.detectors[row.student],
                teacher=plan.detectors[row.teacher],
                metrics={k: _metrics(k, suite, measured, row.published) for k in row.kinds},
                measured=measured,
                configs={title: _hash(layout.run(run).config) for title, run in runs.items()},
                folders={title: layout.run_folder(run) for title, run in runs.items()},
                left_out=left_out,
            )
        )
    settings = suite.said()
    del settings["file"]
    return Table(
        suite=suite.name,
        chosen_by=suite.chosen_by,
        seeds=suite.seeds,
        small=not suite.full_size,
        data=suite.data_root or suite.dataset,
        results=str(results),
        settings=hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        rows=found,
    )


def _check_same_data(row: str, measured: dict[str, dict | None]) -> None:
    """Whether all of a row was measured on the same images.

    Raises:
        FGDError: it was not, and no difference of its APs would mean anything.
    """
    for key, what in (("images", "images"), ("annotations", "the annotation file's sha256")):
        # Reports of before have no hash. By value: one title each, of others that differ.
        titles = {each[key]: title for title, each in measured.items() if each and key in each}
        if len(titles) > 1:
            (one, ours), (other, theirs), *_ = titles.items()
            raise FGDError(
                f"row {row}: {ours} was measured on other data than {theirs} ({what}: {one!s:.8} "
                f"and {other!s:.8}): evaluate both again"
            )


def _metrics(kind: str, suite: Suite, measured: dict[str, dict | None], published: dict) -> Metrics:
    aps = {
        arm: {seed: _ap(measured[suite.layout.run_name(arm, seed)], kind) for seed in suite.seeds}
        for arm in ARMS
    }
    gains = [difference(aps["fgd"][seed], aps["baseline"][seed]) for seed in suite.seeds]
    suffix = "" if kind == "box" else f"_{kind}"
    fgd, baseline = (list(aps[arm].values()) for arm in ("fgd", "baseline"))
    return Metrics(
        teacher_ap=mean([_ap(measured["teacher"], kind)]),
        baseline_ap=mean(baseline),
        baseline_std=deviation(baseline),
        baseline_runs=len(there(baseline)),
        fgd_ap=mean(fgd),
        fgd_std=deviation(fgd),
        fgd_runs=len(there(fgd)),
        gain_std=deviation(gains),
        gain_interval=interval(gains),
        gains=tuple(None if gain is None else round(gain, 1) for gain in gains),
        published_baseline=published.get(f"baseline{suffix}"),
        published_fgd=published.get(f"fgd{suffix}"),
    )


def _ap(report: dict | None, kind: str) -> float | None:
    if not report or kind not in report or report[kind]["AP"] < 0:  # -1: there was none to find
        return None
    return 100 * report[kind]["AP"]


def _read_report(file: str) -> dict | None:
    path = Path(file)
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        report.get("box", report.get("mask"))["AP"], report["sha256"], report["images"]
    except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
        raise FGDError(
            f"{path}: not a report of `fgd evaluate` ({error!r}); delete it and evaluate again"
        ) from error
    return report


def _hash(file: str) -> str | None:
    return sha256(file) if Path(file).exists() else None
