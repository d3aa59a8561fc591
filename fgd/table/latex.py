r"""The results table for a paper: LaTeX, with the rules of booktabs (\usepackage{booktabs})."""

from fgd.table.model import Figures, Table

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
    lines = []
    for row in table.rows:
        teacher = f"{row.teacher.model} {row.teacher.backbone}"
        for kind, figures in row.figures.items():
            names = (
                [row.student.model, row.student.backbone, teacher]
                if kind == "box"
                else [f"\\quad {kind} AP", "", ""]
            )
            escaped = [escape(name) if kind == "box" else name for name in names]
            lines.append(" & ".join([*escaped, *_cells(figures)]) + r" \\")
    return "\n".join([*comment, _HEAD, *lines, _FOOT]) + "\n"


def escape(text: str) -> str:
    """Text that LaTeX prints as it is."""
    return "".join(_SPECIAL.get(character, character) for character in text)


def _cells(figures: Figures) -> list[str]:
    return [
        _number(figures.teacher_ap),
        _number(figures.baseline_ap),
        _number(figures.fgd_ap),
        _number(figures.gain, "+"),
        _number(figures.published_baseline),
        _number(figures.published_fgd),
        _number(figures.published_gain, "+"),
    ]


def _number(value: float | None, sign: str = "") -> str:
    # A minus is mathematics: a hyphen would be set for it otherwise.
    return "--" if value is None else f"${value:{sign}.1f}$"
