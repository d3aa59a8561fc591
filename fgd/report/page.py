"""One page of a suite's results that needs nothing beside itself: no network, no script."""

import base64
import io
import os
from collections.abc import Iterator, Sequence
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
    METRICS,
    NAMES,
    ap_figure,
    classes_figure,
    curves_figure,
    main_kind,
    sizes_figure,
)
from fgd.report.trainings import Training, device_hours, read_training
from fgd.suite import ARMS, Suite
from fgd.suite.layout import Layout, RunFiles, TeacherFiles, TrainingFiles
from fgd.table import Table, TableRow, collect

_PICTURES = {
    "detections": "What is on the images, and what each detector finds there.",
    "attention": (
        "What FGD weights at each level: the scale masks of foreground and background, and the "
        "attention of student and teacher. Before is the student as its training began."
    ),
    "data": (
        "What the student learns from: training images with their boxes, objects by class and "
        "size, the student's strides and anchors, and the smallest objects as it sees them."
    ),
}
_PICTURE_WIDTH = 1600  # pixels in the page; the file beside it has them all
_PICTURE_HEIGHT = 16000  # WebP has no more than 16383


@dataclass(frozen=True)
class PageImage:
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


def write_page(suite: Suite, results: Path, out: Path, rows: Sequence[str] = ()) -> None:
    """Write the page of a suite's results, finished or not, to `out`.

    Args:
        results: folder of the suite's results; what is not there is said to be missing.
        rows: of which the page is; all of the suite's by default.

    Raises:
        FGDError: a row of the suite is wrong, or a file of the results is not what it should be.
    """
    write_text(out, page_text(suite, collect(suite, results, rows), results, out.parent))


def page_text(suite: Suite, table: Table, results: Path, base: Path) -> str:
    """The page as HTML; its links are relative to the folder `base`."""
    runs, layout = read_trainings(suite, table, results), suite.layout.at(results)
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
        metrics=METRICS,
        names=NAMES,
        overview=_svg(ap_figure(table, PAGE), "ap"),
        sections=[
            _section(row, runs[row.name], number=number, layout=layout, base=base)
            for number, row in enumerate(table.rows)
        ],
        costs=list(_costs(table, runs)),
        hours=device_hours(suite, table, results),
        unit="GPU-hours" if _on_gpus(runs) else "process-hours",
        files=list(
            _links(
                {layout.table("table", form): words for form, words in _TABLES.items()}
                | {layout.figure(name, "pdf"): words for name, words in _FIGURES.items()},
                base,
            )
        ),
        software=software(),
        written=datetime.now().astimezone(),
        arms=ARMS,
    )


def read_trainings(suite: Suite, table: Table, results: Path) -> dict[str, dict[str, Training]]:
    """The trainings of the table's rows, by row and arm."""
    rules = {"fgd": "distill", "baseline": "baseline"}
    layout = suite.layout.at(results)
    return {
        row.name: {
            arm: read_training(
                suite,
                RunFiles(f"{results}/{row.folders[arm]}"),
                layout.benchmark(rules[arm], row.folders[arm].split("/")[0]),
            )
            for arm in ARMS
        }
        for row in table.rows
    }


def _trained_by(row: TableRow) -> list[str]:
    """The arms that a row trains itself: not a baseline that it shares."""
    return [arm for arm in ("baseline", "fgd") if row.folders[arm] == f"{row.name}/{arm}"]


_TABLES = {
    "md": "the table",
    "csv": "as CSV",
    "json": "as JSON, with all figures",
    "tex": "as LaTeX",
}
_FIGURES = {"ap": "figures: AP", "sizes": "by size", "losses": "losses", "epochs": "AP by epoch"}
# By their names in fgd.suite.layout.
_RUN_FILES = {
    "checkpoint": "checkpoint",
    "detector": "mmdet config",
    "config": "training config",
    "evaluation": "figures",
    "provenance": "provenance",
    "log": "log",
    "weights": "starting weights",
}
_TEACHER_FILES = {"checkpoint": "checkpoint", "detector": "mmdet config", "evaluation": "figures"}


def _section(
    row: TableRow, runs: dict[str, Training], *, number: int, layout: Layout, base: Path
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
        "pictures": list(_pictures(row.name, layout, base)),
        "weights": {arm: runs[arm].weights for arm in ARMS if runs[arm].weights},
        "files": {
            arm: list(_files(RunFiles(f"{layout.results}/{row.folders[arm]}"), _RUN_FILES, base))
            for arm in ARMS
        },
        "uses": _uses(row, layout, base) if row.measured["fgd"] else [],
        "teacher_files": list(_files(layout.teacher(row.teacher.name), _TEACHER_FILES, base)),
    }


@dataclass(frozen=True)
class Use:
    """A place where a student can be used.

    Attributes:
        links: to the files that are used there; none where they were not made.
        target: what to ask Snakemake for, to make them.
        proof: what shows that it is the same student.
    """

    place: str
    links: list[Link]
    target: str
    proof: str


def _uses(row: TableRow, layout: Layout, base: Path) -> list[Use]:
    """Where the student of a row's first seed can be used, as far as it is there."""
    files = RunFiles(f"{layout.results}/{row.folders['fgd']}")
    report = row.measured["fgd"]
    places = {
        "mmdet 2.28": (
            {files.detector: "config", files.checkpoint: "checkpoint"},
            f"measured on {report['images']} images" if report else "not measured yet",
        ),
        "mmdet 3": (
            {files.mmdet3_config: "config", files.mmdet3_checkpoint: "checkpoint"},
            "the same weights; make test-mmdet3 compares the detections",
        ),
        "ONNX": (
            {files.onnx: "graph"},
            "before it was written, onnxruntime found in test images what mmdet finds",
        ),
        "model hubs": ({files.card: "model card"}, "written from these results"),
    }
    # Both of a pair are made together.
    return [
        Use(place, list(_links(wanted, base)), next(iter(wanted)), proof)
        for place, (wanted, proof) in places.items()
    ]


def _costs(table: Table, runs: dict[str, dict[str, Training]]) -> Iterator[dict[str, Any]]:
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


def _on_gpus(runs: dict[str, dict[str, Training]]) -> bool:
    devices = {run.device for arms in runs.values() for run in arms.values() if run.log}
    return bool(devices) and not devices & {"cpu", None}


def _pictures(row: str, layout: Layout, base: Path) -> Iterator[PageImage]:
    for kind, caption in _PICTURES.items():
        path = Path(layout.picture(row, kind))
        if path.exists():
            data, size = _shrunk(path)
            yield PageImage(kind, caption, data, _href(path, base), size)


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


def _files(
    files: TrainingFiles | TeacherFiles, names: dict[str, str], base: Path
) -> Iterator[Link]:
    return _links({getattr(files, name): words for name, words in names.items()}, base)


def _links(files: dict[str, str], base: Path) -> Iterator[Link]:
    for file, words in files.items():
        if Path(file).exists():
            yield Link(words, _href(Path(file), base))


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
