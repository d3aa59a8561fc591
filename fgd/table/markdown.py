"""The table as a page that reads well in a terminal and rendered."""

from fgd import markdown
from fgd.checkout import workflow_command
from fgd.table.model import Metrics, Table

_GAIN_NOTE = "Gain: FGD over the baseline, the same student trained alike without a teacher."
_SMALL_NOTE = (
    "R50x8 is a ResNet-50 of 8 base channels, 64 at full size. Published are the numbers of\n"
    "full-size detectors on COCO val2017: they do not compare with those measured on this data."
)
_FULL_NOTE = "Published are the FGD authors' numbers, on COCO val2017."


def to_markdown(table: Table) -> str:
    """A page that reads well in a terminal and rendered."""
    images = sorted({r["images"] for row in table.rows for r in row.measured.values() if r})
    counted = f", {' or '.join(map(str, images))} images" if images else ""
    parts = [
        f"# FGD, suite {table.suite}",
        f"AP x 100 on {table.data}{counted}. Settings: {table.settings[:8]}.\n{_GAIN_NOTE}",
        *_seeds(table),
        main_table(table),
        *_significance(table),
        _SMALL_NOTE if table.small else _FULL_NOTE,
        *_unfinished(table),
        *_checkpoints(table),
    ]
    return "\n\n".join(parts) + "\n"


def main_table(table: Table) -> str:
    """The results as a Markdown table, a line a row and kind of AP."""
    return markdown.table(_main_header(table), _main_lines(table), left=3)


def _seeds(table: Table) -> list[str]:
    if len(table.seeds) == 1:
        return []
    seeds = ", ".join(map(str, table.seeds))
    return [
        f"Mean ± standard deviation over the seeds {seeds}; of the gain, over its pairs of equal "
        "seed.\nRuns: how many there are."
    ]


def _significance(table: Table) -> list[str]:
    """Whether the gains are more than what another seed changes."""
    if len(table.seeds) == 1:
        return [
            "With one seed a row nothing can be said about whether a gain is more than another "
            "seed\nwould change; `seeds: [0, 1, 2]` in the suite tells. `fgd compare` tells of two "
            "models what the\nchoice of the test images explains."
        ]
    lines = []
    for row in table.rows:
        for kind, metrics in row.metrics.items():
            if metrics.gain_interval is not None:
                low, high = metrics.gain_interval
                pairs = sum(gain is not None for gain in metrics.gains)
                verdict = "yes" if low > 0 else "no, it is a loss" if high < 0 else "not shown"
                name = row.name if kind == "box" else f"{row.name}, {kind}"
                lines.append([name, _points(metrics.gain, sign="+"), f"{low:+.1f} to {high:+.1f}",
                              str(pairs), verdict])  # fmt: skip
    if not lines:
        return []
    header = ["Row", "Gain", "95 % interval", "Pairs", "More than the seeds' noise"]
    return [
        "Whether a gain is more than the seeds' noise: the interval of a paired t-test over the "
        "seeds,\nwhich for few pairs is wide.",
        markdown.table(header, lines, left=1),
    ]


def _main_header(table: Table) -> list[str]:
    runs = ["Runs"] if len(table.seeds) > 1 else []
    names = ["Model", "Backbone", "Teacher", "its AP", "Baseline", "FGD", "Gain"]
    return [*names, *runs, "Published (COCO)"]


def _main_lines(table: Table) -> list[list[str]]:
    lines = []
    for row in table.rows:
        masks = "  mask AP" if "box" in row.metrics else f"{row.name}, mask AP"
        labels = {"box": row.name, "mask": masks}
        names = [row.student.backbone, f"{row.teacher.model} {row.teacher.backbone}"]
        for number, (kind, metrics) in enumerate(row.metrics.items()):
            lines.append(
                [
                    labels[kind],
                    *(["", ""] if number else names),
                    _points(metrics.teacher_ap),
                    _points(metrics.baseline_ap, metrics.baseline_std),
                    _points(metrics.fgd_ap, metrics.fgd_std),
                    _points(metrics.gain, metrics.gain_std, sign="+"),
                    *([_runs(metrics)] if len(table.seeds) > 1 else []),
                    _published(metrics),
                ]
            )
    return lines


def _runs(metrics: Metrics) -> str:
    counts = metrics.baseline_runs, metrics.fgd_runs
    return str(counts[0]) if counts[0] == counts[1] else f"{counts[0]}, {counts[1]}"


def _unfinished(table: Table) -> list[str]:
    rows = [row for row in table.rows if row.missing]
    if not rows:
        return []
    command = f"    {workflow_command(table.chosen_by)}"
    evaluations = rows[0].evaluations(table.results)
    files = [evaluations[name] for name in rows[0].missing]
    return [
        f"## Unfinished: {len(rows)} of {len(table.rows)} rows",
        "\n".join(f"- {row.name}: no {', '.join(row.missing)}" for row in rows),
        *_left_out(table),
        "To run them all, or the first of them:",
        f"{command}\n{command} -- \\\n        " + " \\\n        ".join(files),
    ]


def _left_out(table: Table) -> list[str]:
    """The measurements that are not the suite's, and why."""
    reasons = {
        row.evaluations(table.results)[name]: reason
        for row in table.rows
        for name, reason in row.left_out.items()
    }
    if not reasons:
        return []
    lines = [f"- {file}:\n  {reason}" for file, reason in reasons.items()]
    return ["Measured, and left out:", "\n".join(lines)]


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
    return [
        "## Checkpoints",
        "First digits of their SHA-256.",
        markdown.table(header, lines, left=4),
    ]


def _points(value: float | None, deviation: float | None = None, sign: str = "") -> str:
    spread = "" if deviation is None else f" ±{deviation:.1f}"
    return "-" if value is None else f"{value:{sign}.1f}{spread}"


def _published(metrics: Metrics) -> str:
    if metrics.published_fgd is None:
        return "-"
    baseline = _points(metrics.published_baseline)
    return f"{baseline} > {metrics.published_fgd:.1f}  {_points(metrics.published_gain, sign='+')}"
