r"""The results table for a paper: LaTeX, with the rules of booktabs (\usepackage{booktabs})."""

from collections import Counter

from fgd.table.model import Metrics, Table, TableRow

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_HEAD = r"""\begin{tabular}{lllrrrrrrr}
\toprule
 & & & \multicolumn{4}{c}{Measured} & \multicolumn{3}{c}{Published} \\
\cmidrule(lr){4-7} \cmidrule(lr){8-10}
Student & Backbone & Teacher & Teacher & Baseline & FGD & Gain & Baseline & FGD & Gain \\
\midrule"""
_FOOT = r"""\bottomrule
\end{tabular}"""


def to_latex(table: Table) -> str:
    """A `tabular` to be put into a table of the paper's own."""
    small = " of full-size detectors on COCO: they do not compare" if table.small else ""
    comment = [
        f"% FGD, suite {table.suite}. AP x 100. Published are the authors' numbers{small}.",
        "% Needs \\usepackage{booktabs}.",
    ]
    if len(table.seeds) > 1:
        seeds = ", ".join(map(str, table.seeds))
        comment.append(f"% Mean and standard deviation over the seeds {seeds}.")
    if unfinished := [row for row in table.rows if row.missing]:
        # A mean of fewer runs than the others stands in the table like any other.
        comment += [
            f"% Unfinished: {row.name} has no {', '.join(row.missing)}." for row in unfinished
        ]
    alike = Counter(map(_names, table.rows))
    lines = []
    for row in table.rows:
        student, *others = _names(row)
        if alike[_names(row)] > 1:  # ablations of one row
            student += f" ({row.name})"
        for number, (kind, metrics) in enumerate(row.metrics.items()):
            names = [r"\quad", "", ""] if number else [escape(x) for x in (student, *others)]
            if kind != "box":
                names[0] += f"{'' if number else ','} {kind} AP"
            runs = metrics.baseline_runs, metrics.fgd_runs
            if any(0 < count < len(table.seeds) for count in runs):
                names[0] += f" (runs: {runs[0]}, {runs[1]})"
            lines.append(" & ".join([*names, *_cells(metrics)]) + r" \\")
    return "\n".join([*comment, _HEAD, *lines, _FOOT]) + "\n"


def _names(row: TableRow) -> tuple[str, str, str]:
    """What a paper calls student, its backbone and the teacher."""
    return row.student.model, row.student.backbone, f"{row.teacher.model} {row.teacher.backbone}"


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _cells(metrics: Metrics) -> list[str]:
    return [
        _number(metrics.teacher_ap),
        _number(metrics.baseline_ap, deviation=metrics.baseline_std),
        _number(metrics.fgd_ap, deviation=metrics.fgd_std),
        _number(metrics.gain, "+", metrics.gain_std),
        _number(metrics.published_baseline),
        _number(metrics.published_fgd),
        _number(metrics.published_gain, "+"),
    ]


def _number(value: float | None, sign: str = "", deviation: float | None = None) -> str:
    # A minus is mathematics: a hyphen would be set for it otherwise.
    spread = "" if deviation is None else rf" \pm {deviation:.1f}"
    return "--" if value is None else f"${value:{sign}.1f}{spread}$"
