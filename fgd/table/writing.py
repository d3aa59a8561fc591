"""The files of the table, one a format."""

from pathlib import Path

from fgd.files import write_text
from fgd.suite import Suite
from fgd.table.collecting import collect
from fgd.table.data import to_csv, to_json
from fgd.table.latex import to_latex
from fgd.table.markdown import to_markdown


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
