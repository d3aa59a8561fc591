"""The results table: what was measured, and clearly apart what was published for COCO.

`collect` reads a suite's eval.json files into plain dataclasses; each format is one function.
"""

from fgd.table.collecting import collect
from fgd.table.data import to_csv, to_json
from fgd.table.latex import to_latex
from fgd.table.markdown import main_table, to_markdown
from fgd.table.model import DetectorInfo, Metrics, Table, TableRow
from fgd.table.writing import write_table

__all__ = [
    "DetectorInfo",
    "Metrics",
    "Table",
    "TableRow",
    "collect",
    "main_table",
    "to_csv",
    "to_json",
    "to_latex",
    "to_markdown",
    "write_table",
]
