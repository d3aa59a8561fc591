"""A page on what distillation gained: every row's gain, its spread over seeds, and a plot."""

import textwrap
from pathlib import Path
from statistics import fmean

from fgd import markdown, recipe
from fgd.errors import FGDError
from fgd.files import write_text
from fgd.provenance import software
from fgd.report.figures import write_figure
from fgd.report.plots import PAPER, gains_figure, main_kind
from fgd.report.trainings import device_hours, read_training
from fgd.suite import Suite
from fgd.suite.layout import RunFiles
from fgd.table import Table, collect, main_table


def write_study(suite: Suite, results: Path, out: Path, command: str) -> None:
    """Write the page `out`, Markdown, and beside it its plot, an SVG of the same name.

    Args:
        results: folder of the suite's results, all of which have to be there.
        command: what a reader types to get the same.

    Raises:
        FGDError: the suite has one seed alone, or not all of it is done.
    """
    if len(suite.seeds) < 2:
        raise FGDError(f"suite {suite.name} has one seed: a spread needs `seeds`, two or more")
    table = collect(suite, results)
    unfinished = [row.name for row in table.rows if row.missing]
    if unfinished:
        raise FGDError(f"suite {suite.name} is not done: {', '.join(unfinished)}")
    plot = write_figure(gains_figure(table, PAPER), out.with_suffix(".svg"))
    hours = device_hours(suite, table, results)
    schedule = [_schedule(suite), *_by_epoch(suite, table, results)]
    write_text(out, _page(table, schedule=schedule, hours=hours, command=command, plot=plot.name))


def _page(
    table: Table, *, schedule: list[str], hours: dict[str, float], command: str, plot: str
) -> str:
    versions = software()["versions"]
    reports = (report for row in table.rows for report in row.measured.values())
    images = {report["images"] for report in reports if report is not None}
    parts = [
        f"# What FGD gains, suite {table.suite}",
        _wrapped(
            f"Written by `{command}` from what it measured. Every number is AP x 100 on the "
            f"{' or '.join(map(str, sorted(images)))} validation images of {table.data}. The "
            "baseline is the same student, trained alike without a teacher; ± is the standard "
            f"deviation over the seeds {', '.join(map(str, table.seeds))}, of the gain over its "
            "pairs of equal seed. Teachers and backbones are trained once, with the first seed."
        ),
        *_ablations(table),
        main_table(table),
        f"![What every row gained, a point for each seed]({plot})",
        "FGD minus the baseline, seed by seed; last, how far the teacher is ahead of the baseline:",
        _by_seed(table),
        _verdict(table),
        *schedule,
        _wrapped(
            f"Training took {hours['students']:.1f} process-hours for the students and "
            f"{hours['teachers']:.1f} for the teachers, with torch {versions['torch']} and mmdet "
            f"{versions['mmdet']}. Sizes and schedules are those of "
            f"`configs/suites/{table.suite}.yaml`; of COCO these numbers say nothing."
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _schedule(suite: Suite) -> str:
    """How long the rows were trained, and what that means for their gains."""
    lengths: dict[str, set[int]] = {"students": set(), "teachers": set()}
    for name in suite.rows:
        row = recipe.load_row(name, suite)
        composed = {
            "students": recipe.compose(suite, row, "fgd"),
            "teachers": recipe.compose_teacher(suite, row.teacher),
        }
        for who, each in composed.items():
            lengths[who].add(each.training.runner.max_epochs)
    words = {
        who: " to ".join(str(n) for n in sorted({min(all_), max(all_)}))
        for who, all_ in lengths.items()
    }
    return _wrapped(
        f"Students were trained for {words['students']} epochs, teachers for {words['teachers']}. "
        "A baseline that would still learn in further epochs makes a gain larger than it is in the "
        "end: a distilled student learns faster, above all where it starts with its teacher's "
        "neck and head."
    )


def _by_epoch(suite: Suite, table: Table, results: Path) -> list[str]:
    """How far the AP had come on the way, as far as the suite's `validation` measured it."""
    aps: dict[tuple[str, str], dict[int, list[float]]] = {}
    for row in table.rows:
        for run, folder in row.folders.items():
            if not folder.startswith(f"{row.name}/"):
                continue  # a baseline that it shares stands with its own row
            there = aps.setdefault((row.name, run.split("/")[0]), {})
            training = read_training(suite, RunFiles(f"{results}/{folder}"))
            for epoch, ap in zip(*training.aps(main_kind(row)), strict=True):
                there.setdefault(epoch, []).append(ap)
    epochs = sorted({epoch for there in aps.values() for epoch in there})
    if not epochs:
        return []
    lines = [
        [*names, *(f"{fmean(there[epoch]):.1f}" if epoch in there else "" for epoch in epochs)]
        for names, there in aps.items()
    ]
    return [
        "AP on the way, mean over the seeds. What still rises at the end had more to learn:",
        markdown.table(["Row", "Arm", *(f"epoch {epoch}" for epoch in epochs)], lines, left=2),
    ]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 100, break_on_hyphens=False)


def _ablations(table: Table) -> list[str]:
    """Which rows are another one with something changed."""
    shared: dict[str, list[str]] = {}
    for row in table.rows:
        whole = row.folders["baseline"].split("/")[0]
        if whole != row.name:
            shared.setdefault(whole, []).append(f"`{row.name}`")
    return [
        _wrapped(
            f"{', '.join(names)} are `{whole}` with a part of the distillation taken away, as the "
            "file of each says; they share its baseline."
        )
        for whole, names in shared.items()
    ]


def _by_seed(table: Table) -> str:
    header = ["Row", *(f"seed {seed}" for seed in table.seeds), "mean", "teacher"]
    lines = [
        [row.name if kind == "box" else f"{row.name}, {kind}"]
        + [_signed(points) for points in (*metrics.gains, metrics.gain, metrics.lead)]
        for row in table.rows
        for kind, metrics in row.metrics.items()
    ]
    return markdown.table(header, lines, left=1)


def _signed(points: float | None) -> str:
    """None, of a teacher that has no masks for example, is a dash."""
    return "-" if points is None else f"{round(points, 1) + 0:+.1f}"


def _verdict(table: Table) -> str:
    """In words: where every seed gained, where none did, and where it depends on the seed."""
    groups: dict[str, list[str]] = {"every": [], "some": [], "no": []}
    for row in table.rows:
        for kind, metrics in row.metrics.items():
            # Of a gain as it is shown: one that rounds to 0.0 is none.
            above = sum(gain is not None and gain > 0 for gain in metrics.gains)
            which = "every" if above == len(metrics.gains) else "some" if above else "no"
            groups[which].append(f"{row.name} ({kind})")
    words = {"every": "with every seed", "some": "with some seeds only", "no": "with no seed"}
    return "\n".join(
        f"- Above the baseline by 0.1 or more {words[which]}: {', '.join(names)}."
        for which, names in groups.items()
        if names
    )
