"""The table for spreadsheets and scripts."""

import csv
import io
import json
from dataclasses import asdict
from typing import Any

from fgd.table.model import Metrics, Table

_KEYS = {"metrics": "figures"}  # fields that the JSON file calls something else


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
            **_in_a_line(metrics),
            "missing": " ".join(row.missing),
        }
        for row in table.rows
        for kind, metrics in row.metrics.items()
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def to_json(table: Table) -> str:
    """Everything: with all COCO metrics, checkpoints and their hashes."""
    rows = [
        {_KEYS.get(key, key): value for key, value in asdict(row).items()}
        | {"figures": {kind: _all_metrics(value) for kind, value in row.metrics.items()}}
        | {"missing": row.missing}
        for row in table.rows
    ]
    return json.dumps(asdict(table) | {"rows": rows}, indent=2) + "\n"


def _in_a_line(metrics: Metrics) -> dict[str, Any]:
    values = _all_metrics(metrics)
    del values["gains"]
    low, high = values.pop("gain_interval") or (None, None)
    return values | {"gain_low": low, "gain_high": high}


def _all_metrics(metrics: Metrics) -> dict[str, Any]:
    return asdict(metrics) | {"gain": metrics.gain, "published_gain": metrics.published_gain}
