"""A figure in the formats that it is wanted in: PDF and SVG files, and SVG inside a page."""

import io
import re
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.figure import Figure

from fgd.files import atomic_path
from fgd.report.plots import (
    PAPER,
    Style,
    all_aps_figure,
    all_losses_figure,
    all_sizes_figure,
    ap_figure,
)
from fgd.report.trainings import Training
from fgd.table import Table

# Colours that no figure has otherwise: on a page they become those of its theme.
PAGE = Style(ink="#010203", grid="#040506")
_THEME = {PAGE.ink: "currentColor", PAGE.grid: "var(--line)"}
# Type 42: text stays text in a PDF, as many journals ask. The salt makes equal figures equal files.
_SETTINGS: dict[Any, Any] = {"pdf.fonttype": 42, "svg.hashsalt": "fgd"}

_SVG = "http://www.w3.org/2000/svg"
ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")


def write_figures(table: Table, runs: dict[str, dict[str, Training]], folder: Path) -> list[Path]:
    """Write the figures of a suite to `folder`, each as PDF and SVG; returns their paths."""
    figures = {
        "ap": ap_figure(table, PAPER),
        "sizes": all_sizes_figure(table, PAPER),
        "losses": all_losses_figure(table, runs, PAPER),
        "epochs": all_aps_figure(table, runs, PAPER),
    }
    return [
        write_figure(figure, folder / f"{name}.{kind}")
        for name, figure in figures.items()
        for kind in ("pdf", "svg")
    ]


def write_figure(figure: Figure, path: Path) -> Path:
    """Write a figure as PDF or SVG, as the path ends; returns the path."""
    kind = path.suffix[1:]
    dated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with matplotlib.rc_context(_SETTINGS), atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, metadata=dated[kind])
    return path


def inline_svg(figure: Figure, name: str) -> str:
    """An `<svg>` element for a page that has other ones; `name` is unique among them.

    It scales with the page, its text is in the page's font, and its ink follows the page's theme.
    """
    buffer = io.StringIO()
    with warnings.catch_warnings(), matplotlib.rc_context(_SETTINGS | {"svg.fonttype": "none"}):
        # The browser has fonts for scripts that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    # Attributes alone: a name that looks like one of ours is text and stays.
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, f"{name}-{value}" if key == "id" else _on_page(value, name))
    return ElementTree.tostring(root, encoding="unicode")


def _on_page(value: str, name: str) -> str:
    """An attribute of a figure that shares ids and colours with a page."""
    value = re.sub(r"(url\(|^)#(?![0-9a-f]{6}$)", rf"\1#{name}-", value)
    for colour, themed in _THEME.items():
        value = value.replace(colour, themed)
    return value
