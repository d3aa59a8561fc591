"""The table for spreadsheets and scripts."""

import csv
import io
import json
from dataclasses import asdict
from typing import Any

from fgd.table.model import Figures, Table


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


def _all_figures(figures: Figures) -> dict[str, Any]:
    return asdict(figures) | {"gain": figures.gain, "published_gain": figures.published_gain}
