"""One page of a suite's results that needs nothing beside itself: no network, no script."""

import base64
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from fgd.errors import FGDError
from fgd.files import write_text
from fgd.provenance import software
from fgd.report.figures import PAGE, inline_svg
from fgd.report.plots import (
    NAMES,
    ap_figure,
    classes_figure,
    curves_figure,
    main_kind,
    sizes_figure,
)
from fgd.report.runs import Run, device_hours, read_run
from fgd.suite import ARMS, Suite
from fgd.table import Row, Table, collect

_PICTURES = {
    "detections": "What is on the images, and what each detector finds there.",
    "attention": (
        "What FGD weights at each level: the scale masks of foreground and background, and the "
        "attention of student and teacher. Before is the student as its training began."
    ),
}
_PICTURE_WIDTH = 1600  # pixels in the page; the file beside it has them all
_PICTURE_HEIGHT = 16000  # WebP has no more than 16383
_METRICS = {"AP": "AP", "AP50": "AP 50", "AP75": "AP 75", "APs": "small", "APm": "medium",
            "APl": "large"}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """An image in the page."""

    kind: str
    caption: str
    data: str
    href: str
    size: tuple[int, int]


@dataclass(frozen=True)
class Link:
    """A file of the results; `href` is relative to the page."""

    name: str
    href: str


def write_page(suite: Suite, results: Path, out: Path) -> None:
    """Write the page of a suite's results, finished or not, to `out`.

    Args:
        results: folder of the suite's results; what is not there is said to be missing.

    Raises:
        FGDError: a row of the suite is wrong, or a file of the results is not what it should be.
    """
    write_text(out, page_text(suite, collect(suite, results), results, out.parent))


def page_text(suite: Suite, table: Table, results: Path, base: Path) -> str:
    """The page as HTML; its links are relative to the folder `base`."""
    runs = read_runs(suite, table, results)
    environment = Environment(
        loader=PackageLoader("fgd.report"),
        autoescape=True,  # names are text, whatever they hold
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"points": _points, "hours": _hours, "big": _big}
    return environment.get_template("page.html.j2").render(
        table=table,
        images=sorted({r["images"] for row in table.rows for r in row.measured.values() if r}),
        metrics=_METRICS,
        names=NAMES,
        overview=_svg(ap_figure(table, PAGE), "ap"),
        sections=[
            _section(row, runs[row.name], number, results, base)
            for number, row in enumerate(table.rows)
        ],
        costs=list(_costs(table, runs)),
        hours=device_hours(suite, table, results),
        unit="GPU-hours" if _on_gpus(runs) else "process-hours",
        files=list(_links(results, _SUITE_FILES, base)),
        software=software(),
        written=datetime.now().astimezone(),
        arms=ARMS,
    )


def read_runs(suite: Suite, table: Table, results: Path) -> dict[str, dict[str, Run]]:
    """The trainings of the table's rows, by row and arm."""
    rules = {"fgd": "distill", "baseline": "baseline"}
    return {
        row.name: {
            arm: read_run(
                suite,
                results,
                Path(row.folders[arm], "run"),
                Path(rules[arm], f"{row.folders[arm].split('/')[0]}.tsv"),
            )
            for arm in ARMS
        }
        for row in table.rows
    }


def _trained_by(row: Row) -> list[str]:
    """The arms that a row trains itself: not a baseline that it shares."""
    return [arm for arm in ("baseline", "fgd") if row.folders[arm] == f"{row.name}/{arm}"]


_SUITE_FILES = {
    "table.md": "the table",
    "table.csv": "as CSV",
    "table.json": "as JSON, with all figures",
    "table.tex": "as LaTeX",
    "figures/ap.pdf": "figures: AP",
    "figures/sizes.pdf": "by size",
    "figures/losses.pdf": "losses",
    "figures/epochs.pdf": "AP by epoch",
}
_ROW_FILES = {
    "student.pth": "checkpoint",
    "student.py": "mmdet config",
    "config.py": "training config",
    "eval.json": "figures",
    "provenance.json": "provenance",
    "run/log.jsonl": "log",
    "run/weights.json": "starting weights",
}


def _section(
    row: Row, runs: dict[str, Run], number: int, results: Path, base: Path
) -> dict[str, Any]:
    """What the page says of one row."""
    curves = {arm: curves_figure(runs[arm], PAGE) for arm in ARMS}
    classes = classes_figure(row, PAGE)
    measured = any(row.measured.values())
    return {
        "row": row,
        "kind": main_kind(row),
        "id": f"row-{number}",
        "sizes": _svg(sizes_figure(row, PAGE), f"s{number}") if measured else None,
        "classes": _svg(classes, f"c{number}") if classes else None,
        "curves": {arm: _svg(figure, f"{arm}{number}") for arm, figure in curves.items() if figure},
        "pictures": list(_pictures(row.name, results, base)),
        "weights": {arm: runs[arm].weights for arm in ARMS if runs[arm].weights},
        "files": {arm: list(_links(results / row.folders[arm], _ROW_FILES, base)) for arm in ARMS},
        "teacher_files": list(
            _links(results / "teachers" / row.teacher.name, _TEACHER_FILES, base)
        ),
    }


_TEACHER_FILES = {
    "teacher.pth": "checkpoint", "detector.py": "mmdet config", "eval.json": "figures",
}  # fmt: skip


def _costs(table: Table, runs: dict[str, dict[str, Run]]) -> Iterator[dict[str, Any]]:
    for row in table.rows:
        for arm in _trained_by(row):
            report = row.measured[arm]
            run = runs[row.name][arm]
            if run.log:
                yield {
                    "row": row.name,
                    "arm": NAMES[arm],
                    "run": run,
                    "evaluation": report["images"] / report["seconds"]
                    if report and report.get("seconds")
                    else None,
                }


def _on_gpus(runs: dict[str, dict[str, Run]]) -> bool:
    devices = {run.device for arms in runs.values() for run in arms.values() if run.log}
    return bool(devices) and not devices & {"cpu", None}


def _pictures(row: str, results: Path, base: Path) -> Iterator[Picture]:
    for kind, caption in _PICTURES.items():
        path = results / "pictures" / f"{row}_{kind}.png"
        if path.exists():
            data, size = _shrunk(path)
            yield Picture(kind, caption, data, _href(path, base), size)


def _shrunk(path: Path) -> tuple[str, tuple[int, int]]:
    """A PNG as the address of a smaller image, with its width and height."""
    try:
        with Image.open(path) as file:
            image = file.convert("RGB")
    except OSError as error:
        raise FGDError(f"{path}: not an image ({error}); delete it and draw it again") from error
    image.thumbnail((_PICTURE_WIDTH, _PICTURE_HEIGHT))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return f"data:image/webp;base64,{encoded}", image.size


def _links(folder: Path, names: dict[str, str], base: Path) -> Iterator[Link]:
    for name, words in names.items():
        if (folder / name).exists():
            yield Link(words, _href(folder / name, base))


def _href(path: Path, base: Path) -> str:
    return quote(os.path.relpath(path, base))


def _svg(figure: Figure, name: str) -> Markup:
    return Markup(inline_svg(figure, name))  # matplotlib has escaped every name in it


def _points(value: float | None, sign: str = "") -> str:
    # An en dash for nothing, a minus for less than nothing.
    return "\u2013" if value is None else f"{value:{sign}.1f}".replace("-", "\u2212")


def _hours(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _big(value: float) -> str:
    return f"{value:,.0f}"
