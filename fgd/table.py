"""The results table: what was measured, and clearly apart what was published for COCO.

`collect` reads a suite's eval.json files into plain dataclasses; each format is one function.
"""

import csv
import hashlib
import io
import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fgd import recipe
from fgd.errors import FGDError
from fgd.files import sha256, write_text
from fgd.latex import to_latex
from fgd.suite import ARMS, Suite

# How papers write what mmdet calls these classes.
_MODEL_NAMES = {
    "FasterRCNN": "Faster R-CNN",
    "MaskRCNN": "Mask R-CNN",
    "RepPointsDetector": "RepPoints",
}
_GAIN_NOTE = "Gain: FGD over the baseline, the same student trained alike without a teacher."
_SMALL_NOTE = (
    "R50x8 is a ResNet-50 of 8 base channels, 64 at full size. Published are the numbers of\n"
    "full-size detectors on COCO val2017: they do not compare with those measured on this data."
)
_FULL_NOTE = "Published are the FGD authors' numbers, on COCO val2017."
_SNAKEMAKE = ".venv/bin/snakemake --profile cluster/profiles/local"


@dataclass(frozen=True)
class Detector:
    """A detector for people's eyes.

    Attributes:
        name: what the row file calls it, mostly a name of the model zoo.
        model: kind of detector, for example "Faster R-CNN".
        backbone: "R50", "X101"; a narrow one's base channels follow: "R50x8".
    """

    name: str
    model: str
    backbone: str


@dataclass(frozen=True)
class Figures:
    """AP in points, with one decimal; None where nothing was measured or published.

    Of a suite with several seeds, baseline and FGD are means over the runs that there are, with the
    sample standard deviation (of at least two runs). The gain's is that of `gains`, the differences
    between the runs of one seed.
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

    @property
    def gain(self) -> float | None:
        """What the teacher added to the student, measured."""
        return _mean([_difference(self.fgd_ap, self.baseline_ap)])

    @property
    def published_gain(self) -> float | None:
        """What the teacher added to the student, published."""
        return _mean([_difference(self.published_fgd, self.published_baseline)])


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        figures: "box" and "mask", as far as the student has them.
        measured: the eval.json of "teacher", "baseline" and "fgd", of further seeds of
            "baseline/seed1" and so on; None until there is one.
        configs: SHA-256 of the training configs, by the same names.
        folders: of the trainings in the suite's results; another row's for a baseline that it
            shares.
    """

    name: str
    student: Detector
    teacher: Detector
    figures: dict[str, Figures]
    measured: dict[str, dict | None]
    configs: dict[str, str | None]
    folders: dict[str, str]

    @property
    def missing(self) -> list[str]:
        """What has not been evaluated yet."""
        return [name for name, report in self.measured.items() if report is None]

    def means(self, kind: str) -> dict[str, dict[str, Any]]:
        """All figures of "teacher", "baseline" and "fgd", as far as there are any.

        Each is the mean over the seeds that were evaluated, `per_class` class by class.
        """
        found: dict[str, list[dict[str, Any]]] = {}
        for run, report in self.measured.items():
            if report is not None and kind in report:
                found.setdefault(run.split("/")[0], []).append(report[kind])
        return {who: _means(several) for who, several in found.items()}


@dataclass(frozen=True)
class Table:
    """All rows of a suite; `settings` is the SHA-256 of the suite's settings."""

    suite: str
    seeds: tuple[int, ...]
    small: bool
    data: str
    results: str
    settings: str
    rows: list[Row]


def write_table(suite: Suite, results: Path, out: Path) -> str:
    """Write `<out>.md`, `.csv`, `.json` and `.tex`; return what there is to show: the Markdown.

    Args:
        results: folder of the suite's results; whatever is not there yet is listed as unfinished.

    Raises:
        FGDError: a row of the suite is wrong, or an eval.json is not one.
    """
    table = collect(suite, results)
    formats = {".md": to_markdown, ".csv": to_csv, ".json": to_json, ".tex": to_latex}
    for ending, convert in formats.items():
        write_text(out.with_name(out.name + ending), convert(table))
    return f"{to_markdown(table)}\nWritten to {out}.md, .csv, .json and .tex"


def collect(suite: Suite, results: Path) -> Table:
    """Gather what a suite has measured so far."""
    teachers: dict[str, Detector] = {}
    rows = []
    for name, plan in recipe.plan(suite).rows.items():
        row = recipe.load_row(name, suite)
        if row.teacher not in teachers:
            composed = recipe.compose_teacher(suite, row.teacher)
            teachers[row.teacher] = _detector(row.teacher, composed.detector.model)
        student = recipe.compose(suite, row, "baseline").detector.model
        runs = [suite.run_name(arm, seed) for seed in suite.seeds for arm in reversed(ARMS)]
        folders = {run: plan.folder(run) for run in runs}
        measured = {"teacher": _read_report(results / "teachers" / row.teacher / "eval.json")} | {
            run: _read_report(results / folder / "eval.json") for run, folder in folders.items()
        }
        rows.append(
            Row(
                name=name,
                student=_detector(row.student, student),
                teacher=teachers[row.teacher],
                figures={k: _figures(k, suite, measured, row.published) for k in plan.kinds},
                measured=measured,
                configs={
                    run: _hash(results / folder / "config.py") for run, folder in folders.items()
                },
                folders=folders,
            )
        )
    settings = json.dumps(asdict(suite), sort_keys=True).encode()
    return Table(
        suite=suite.name,
        seeds=suite.seeds,
        small=suite.mini is not None,
        data=suite.data_root or suite.dataset,
        results=str(results),
        settings=hashlib.sha256(settings).hexdigest(),
        rows=rows,
    )


def to_markdown(table: Table) -> str:
    """A page that reads well in a terminal and rendered."""
    images = sorted({r["images"] for row in table.rows for r in row.measured.values() if r})
    counted = f", {' or '.join(map(str, images))} images" if images else ""
    parts = [
        f"# FGD, suite {table.suite}",
        f"AP x 100 on {table.data}{counted}. Settings: {table.settings[:8]}.\n{_GAIN_NOTE}",
        *_seeds(table),
        main_table(table),
        _SMALL_NOTE if table.small else _FULL_NOTE,
        *_unfinished(table),
        *_checkpoints(table),
    ]
    return "\n\n".join(parts) + "\n"


def to_csv(table: Table) -> str:
    """One line a row and kind of AP, for spreadsheets and scripts."""
    lines = [
        {
            "row": row.name,
            "kind": kind,
            "model": row.student.model,
            "backbone": row.student.backbone,
            "student": row.student.name,
            "teacher": row.teacher.name,
            "teacher_backbone": row.teacher.backbone,
            **{key: value for key, value in _all_figures(figures).items() if key != "gains"},
            "missing": " ".join(row.missing),
        }
        for row in table.rows
        for kind, figures in row.figures.items()
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def to_json(table: Table) -> str:
    """Everything: with all COCO figures, checkpoints and their hashes."""
    rows = [
        asdict(row)
        | {"figures": {kind: _all_figures(value) for kind, value in row.figures.items()}}
        | {"missing": row.missing}
        for row in table.rows
    ]
    return json.dumps(asdict(table) | {"rows": rows}, indent=2) + "\n"


def main_table(table: Table) -> str:
    """The results as a Markdown table, a line a row and kind of AP."""
    return aligned(_main_header(table), _main_lines(table), left=3)


def _seeds(table: Table) -> list[str]:
    if len(table.seeds) == 1:
        return []
    seeds = ", ".join(map(str, table.seeds))
    return [
        f"Mean ± standard deviation over the seeds {seeds}; of the gain, over its pairs of equal "
        "seed.\nRuns: how many there are."
    ]


def _main_header(table: Table) -> list[str]:
    runs = ["Runs"] if len(table.seeds) > 1 else []
    names = ["Model", "Backbone", "Teacher", "its AP", "Baseline", "FGD", "Gain"]
    return [*names, *runs, "Published (COCO)"]


def _main_lines(table: Table) -> list[list[str]]:
    lines = []
    for row in table.rows:
        masks = "  mask AP" if "box" in row.figures else f"{row.name}, mask AP"
        labels = {"box": row.name, "mask": masks}
        names = [row.student.backbone, f"{row.teacher.model} {row.teacher.backbone}"]
        for number, (kind, figures) in enumerate(row.figures.items()):
            lines.append(
                [
                    labels[kind],
                    *(["", ""] if number else names),
                    _points(figures.teacher_ap),
                    _points(figures.baseline_ap, figures.baseline_std),
                    _points(figures.fgd_ap, figures.fgd_std),
                    _points(figures.gain, figures.gain_std, sign="+"),
                    *([_runs(figures)] if len(table.seeds) > 1 else []),
                    _published(figures),
                ]
            )
    return lines


def _runs(figures: Figures) -> str:
    counts = figures.baseline_runs, figures.fgd_runs
    return str(counts[0]) if counts[0] == counts[1] else f"{counts[0]}, {counts[1]}"


def _unfinished(table: Table) -> list[str]:
    rows = [row for row in table.rows if row.missing]
    if not rows:
        return []
    # A shell writes out the braces: of both arms, with every seed.
    seeds = "".join(f",/seed{seed}" for seed in table.seeds[1:])
    runs = "{baseline,fgd}" + (f"{{{seeds}}}" if seeds else "")
    one = f"{table.results}/{rows[0].name}/{runs}/eval.json"
    return [
        f"## Unfinished: {len(rows)} of {len(table.rows)} rows",
        "\n".join(f"- {row.name}: no {', '.join(row.missing)}" for row in rows),
        "To run them all, or one of them:",
        f"    {_SNAKEMAKE} --config suite={table.suite}\n    {_SNAKEMAKE} {one}",
    ]


def _checkpoints(table: Table) -> list[str]:
    lines = []
    for row in table.rows:
        hashes = [report["sha256"][:8] if report else "-" for report in row.measured.values()]
        if len(row.missing) < len(row.measured):
            lines.append([row.name, *hashes[:3]])
            further = zip(table.seeds[1:], hashes[3::2], hashes[4::2], strict=True)
            lines += [[f"  seed {seed}", "", *pair] for seed, *pair in further]
    if not lines:
        return []
    header = ["Row", "Teacher", "Baseline", "FGD"]
    return ["## Checkpoints", "First digits of their SHA-256.", aligned(header, lines, left=4)]


def aligned(header: list[str], lines: list[list[str]], left: int) -> str:
    """A Markdown table whose columns line up; the first `left` ones are flush left."""
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = [
        "-" * width if number < left else "-" * (width - 1) + ":"
        for number, width in enumerate(widths)
    ]
    return "\n".join([line(header), line(rule), *map(line, lines)])


def _points(value: float | None, deviation: float | None = None, sign: str = "") -> str:
    spread = "" if deviation is None else f" ±{deviation:.1f}"
    return "-" if value is None else f"{value:{sign}.1f}{spread}"


def _published(figures: Figures) -> str:
    if figures.published_fgd is None:
        return "-"
    baseline = _points(figures.published_baseline)
    return f"{baseline} > {figures.published_fgd:.1f}  {_points(figures.published_gain, sign='+')}"


def _all_figures(figures: Figures) -> dict[str, Any]:
    return asdict(figures) | {"gain": figures.gain, "published_gain": figures.published_gain}


def _figures(kind: str, suite: Suite, measured: dict[str, dict | None], published: dict) -> Figures:
    aps = {
        arm: {seed: _ap(measured[suite.run_name(arm, seed)], kind) for seed in suite.seeds}
        for arm in ARMS
    }
    gains = [_difference(aps["fgd"][seed], aps["baseline"][seed]) for seed in suite.seeds]
    suffix = "" if kind == "box" else f"_{kind}"
    return Figures(
        teacher_ap=_mean([_ap(measured["teacher"], kind)]),
        **{f"{arm}_ap": _mean(by_seed.values()) for arm, by_seed in aps.items()},
        **{f"{arm}_std": _deviation(by_seed.values()) for arm, by_seed in aps.items()},
        **{f"{arm}_runs": len(_there(by_seed.values())) for arm, by_seed in aps.items()},
        gain_std=_deviation(gains),
        gains=tuple(None if gain is None else round(gain, 1) for gain in gains),
        published_baseline=published.get(f"baseline{suffix}"),
        published_fgd=published.get(f"fgd{suffix}"),
    )


def _ap(report: dict | None, kind: str) -> float | None:
    return 100 * report[kind]["AP"] if report and kind in report else None


def _means(several: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of figures with the same keys; -1, no object of that kind, is that of the data."""
    first = several[0]
    return {
        key: _means([figures[key] for figures in several])
        if isinstance(first[key], dict)
        else statistics.fmean(figures[key] for figures in several)
        for key in first
        if all(figures.get(key) is not None for figures in several)
    }


def _mean(values: Iterable[float | None]) -> float | None:
    # Rounded once, here, so that every difference is the one that a reader computes.
    there = _there(values)
    return round(statistics.fmean(there), 1) if there else None


def _deviation(values: Iterable[float | None]) -> float | None:
    there = _there(values)
    return round(statistics.stdev(there), 1) if len(there) > 1 else None


def _there(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _difference(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _detector(name: str, model: dict) -> Detector:
    kind = _MODEL_NAMES.get(model["type"], model["type"])
    if model["type"] == "CascadeRCNN":
        kind = "Cascade Mask R-CNN" if "mask_head" in model["roi_head"] else "Cascade R-CNN"
    return Detector(name, kind, _backbone(model["backbone"]))


def _backbone(backbone: dict) -> str:
    if "depth" not in backbone:
        return backbone["type"]
    letter = "X" if backbone["type"] == "ResNeXt" else "R"
    channels = backbone.get("base_channels", 64)
    return f"{letter}{backbone['depth']}" + ("" if channels == 64 else f"x{channels}")


def _read_report(path: Path) -> dict | None:
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        report.get("box", report.get("mask"))["AP"], report["sha256"], report["images"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise FGDError(
            f"{path}: not a report of `fgd evaluate` ({error!r}); delete it and evaluate again"
        ) from error
    return report


def _hash(path: Path) -> str | None:
    return sha256(path) if path.exists() else None
