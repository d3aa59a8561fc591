"""Tables that read well in a terminal and rendered."""

from collections.abc import Sequence

from tabulate import DataRow, TableFormat, tabulate

_ROW = DataRow("|", "|", "|")
_ROWS = TableFormat(
    lineabove=None,
    linebelowheader=None,
    linebetweenrows=None,
    linebelow=None,
    headerrow=_ROW,
    datarow=_ROW,
    padding=1,
    with_header_hide=None,
)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table whose columns line up; the first `left` ones are flush left."""
    # As a row among others: tabulate makes columns wider than what it knows to be a header.
    first, *others = tabulate(
        [header, *rows],
        tablefmt=_ROWS,
        disable_numparse=True,
        colalign=["left"] * left + ["right"] * (len(header) - left),
        preserve_whitespace=True,
    ).splitlines()
    widths = [len(cell) - 2 for cell in first.strip("|").split("|")]
    rules = ["-" * width for width in widths[:left]]
    rules += ["-" * (width - 1) + ":" for width in widths[left:]]
    return "\n".join([first, f"| {' | '.join(rules)} |", *others])
