"""A student's model card: what a hub shows of it, and what whoever takes it has to know."""

import html
import json
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from fgd import markdown
from fgd.errors import FGDError
from fgd.files import write_text
from fgd.report.plots import METRICS, NAMES, main_kind
from fgd.report.trainings import read_weights
from fgd.suite import Suite
from fgd.suite.layout import Layout, Run, RunFiles
from fgd.table import TableRow, collect


def write_card(suite: Suite, row: str, *, results: Path, out: Path) -> None:
    """Write the model card of a row's student, of the suite's first seed.

    The head is YAML as model hubs read it. The licence of the weights is not in it: that is for
    whoever publishes them to say.

    Args:
        results: folder of the suite's results.

    Raises:
        FGDError: the suite has no such row, the student was not evaluated, or a file of the results
            is not what it should be.
    """
    (shown,) = collect(suite, results, (row,)).rows
    layout = suite.layout.at(results)
    report = shown.measured["fgd"]
    if report is None:
        wanted = layout.run(Run(row, "fgd", layout.first_seed)).evaluation
        raise FGDError(f"{wanted} is missing: a card is of a measured student. Make it first")
    write_text(out, _text(shown, report, layout))


def _text(row: TableRow, report: dict[str, Any], layout: Layout) -> str:
    files = RunFiles(f"{layout.results}/{row.folders['fgd']}")
    provenance = _read(files.provenance)
    trained = _read(layout.data("train"))
    tested = provenance["evaluated"]["data"]["annotations"]
    environment = Environment(
        loader=PackageLoader("fgd.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.j2").render(
        head=yaml.safe_dump(_head(row, report, tested), sort_keys=False, allow_unicode=True),
        row=row,
        report=report,
        metrics={kind: _metrics(row, kind) for kind in row.metrics},
        classes=_classes(row, report, trained),
        trained=trained,
        tested=tested,
        provenance=provenance,
        licences=_licences(Path(tested)),
        weights=_weights(read_weights(Path(files.weights))),
        onnx=Path(files.onnx).is_file(),
        mmdet3=Path(files.mmdet3_config).is_file(),
    )


def _head(row: TableRow, report: dict[str, Any], tested: str) -> dict[str, Any]:
    """What hubs read: huggingface.co/docs/hub/model-cards, `model-index` of figures."""
    figures = [
        {"type": "mAP", "name": f"{kind} {name}", "value": round(100 * report[kind][name], 2)}
        for kind in row.metrics
        for name in METRICS
        if report[kind].get(name, -1) >= 0
    ]
    result = {
        "task": {"type": "object-detection"},
        "dataset": {"type": Path(tested).stem, "name": tested},
        "metrics": figures,
    }
    name = report["checkpoint"].removesuffix(".pth")
    return {
        "library_name": "mmdetection",
        "pipeline_tag": "object-detection",
        "tags": ["object-detection", "knowledge-distillation", "fgd", "mmdet"],
        "model-index": [{"name": name, "results": [result]}],
    }


def _metrics(row: TableRow, kind: str) -> str:
    """COCO's metrics of teacher, baseline and student, means over the seeds there are."""
    lines = [
        [NAMES[who], *(_points(means.get(name, -1.0)) for name in METRICS)]
        for who, means in row.means(kind).items()
    ]
    return markdown.table(["", *METRICS.values()], lines, left=1)


def _classes(row: TableRow, report: dict[str, Any], trained: dict[str, Any]) -> str:
    per_class = report[main_kind(row)].get("per_class") or {}
    objects = trained.get("per_class", {})
    names = objects or per_class
    lines = [
        [_cell(name), _points(per_class.get(name, -1.0)), str(objects.get(name, "not counted"))]
        for name in names
    ]
    return markdown.table(["Class", "AP", "Objects in training"], lines, left=1)


def _weights(audit: dict[str, Any] | None) -> str:
    if audit is None:
        return "Not audited."
    lines = [
        [source, _cell(audit["files"].get(source, {}).get("path", "")), str(count)]
        for source, count in audit["summary"]["tensors"].items()
        if count
    ]
    return markdown.table(["Source", "File", "Tensors"], lines, left=2)


def _licences(annotations: Path) -> list[tuple[str, str, int]]:
    """Name, address and number of images of each licence that the test images are under."""
    try:
        content = json.loads(annotations.read_text(encoding="utf-8"))
        known = {each["id"]: each for each in content.get("licenses") or []}
        used = Counter(image.get("license") for image in content["images"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []  # a file of one's own may have anything there; then nothing is known
    return [
        (_cell(known[number].get("name", number)), known[number].get("url", ""), count)
        for number, count in used.most_common()
        if number in known
    ]


def _read(file: str) -> dict[str, Any]:
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FGDError(f"{file} is missing, of which a model card tells. Make it first") from None
    except ValueError as error:
        raise FGDError(f"{file}: not JSON ({error}); delete it and make it again") from error


def _points(fraction: float) -> str:
    return f"{100 * fraction:.1f}" if fraction >= 0 else "none"


def _cell(text: Any) -> str:
    """Text of somebody's file, as a cell of a table."""
    return " ".join(html.escape(str(text), quote=False).replace("|", "\\|").split())
