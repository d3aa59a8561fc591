"""Figures of detections and of FGD's own view, as PNG."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("agg")

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

from fgd.files import atomic_path
from fgd.visual.attention import Attention, LevelView
from fgd.visual.images import Objects, Picture

DPI = 150
_TILE = 2.6  # inches, the width of an image with detections
_MAP = 1.72  # inches, the width of a heat map
_LINE = 0.2  # inches for a line of words
_BAR_HEIGHT = 1.1  # inches, of a plot of channels
_LABELS = 0.5  # inches left of a row of maps for its name
_HEAT = "inferno"
_SHADE = (0.35, 0.8)  # opacity of a heat map where it is 0, and where it is brightest
_INK = "#1f2430"
_BEFORE, _AFTER, _TEACHER = "#e8973a", "#1f77d0", "#9aa3b2"
_SOFTWARE = "fgd, with Matplotlib"  # by which `fgd data show` knows its pictures


def save(figure: Figure, out: Path) -> None:
    """Write a figure as PNG, complete or not at all."""
    with atomic_path(out) as temporary:
        figure.savefig(
            temporary, format="png", dpi=DPI, facecolor="white", metadata={"Software": _SOFTWARE}
        )


def detections_figure(pictures: list[Picture], columns: dict[str, list[Objects]]) -> Figure:
    """Images below each other; beside each, what is on it and what every detector finds.

    Args:
        columns: for each column its title and the objects on every picture.
    """
    colours = class_colours(n for objects in columns.values() for o in objects for n in o.names)
    heights = [_TILE * _aspect(picture) for picture in pictures]
    size = (_TILE * len(columns), sum(heights) + _LINE * (1 + len(pictures)))
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.01, wspace=0, hspace=0)
    figure = Figure(figsize=size, layout=layout)
    axes = figure.subplots(len(pictures), len(columns), squeeze=False, height_ratios=heights)
    for ax, title in zip(axes[0], columns, strict=True):
        ax.set_title(title, fontsize=10, color=_INK, parse_math=False)
    for number, (row, picture) in enumerate(zip(axes, pictures, strict=True)):
        for ax, objects in zip(row, columns.values(), strict=True):
            show(ax, picture.pixels)
            outline(ax, objects[number], colours=colours)
        row[0].set_xlabel(picture.path.name, fontsize=7, color=_INK, parse_math=False)
    return figure


def attention_figure(pictures: list[Picture], views: list[list[LevelView]]) -> Figure:
    """FGD's view of every image: a column for each level, a row for each thing that is weighted."""
    levels = max(map(len, views))
    heights = [5 * (_MAP * _aspect(p) + _LINE) + _BAR_HEIGHT + 3 * _LINE for p in pictures]
    layout = ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    figure = Figure(figsize=(_LABELS + 1.1 * _MAP * levels, sum(heights)), layout=layout)
    blocks = figure.subfigures(len(pictures), 1, squeeze=False, height_ratios=heights)[:, 0]
    for block, picture, view in zip(blocks, pictures, views, strict=True):
        _block(block, picture, view)
    return figure


def _aspect(picture: Picture) -> float:
    return picture.pixels.shape[0] / picture.pixels.shape[1]


def _block(figure: SubFigure, picture: Picture, views: list[LevelView]) -> None:
    figure.suptitle(
        f"{picture.path.name}: what FGD weights, by FPN level", fontsize=10, color=_INK,
        parse_math=False,
    )  # fmt: skip
    tile = _MAP * _aspect(picture)
    axes = figure.subplots(6, len(views), squeeze=False, height_ratios=[tile] * 5 + [_BAR_HEIGHT])
    for column, view in zip(axes.T, views, strict=True):
        height, width = view.foreground.shape
        column[0].set_title(f"level {view.level}  ({width} x {height})", fontsize=9, color=_INK)
        _heat(column[0], picture, view, view.foreground)
        _heat(column[1], picture, view, view.background)
        spatial = [a.spatial for a in (view.before, view.after, view.teacher)]
        top = max(values.max() for values in spatial)
        for ax, values in zip(column[2:5], spatial, strict=True):
            _heat(ax, picture, view, values, top)
        for ax, student in zip(column[2:4], spatial[:2], strict=True):
            distance = np.abs(student - view.teacher.spatial).mean()
            ax.set_xlabel(f"mean |S - T|  {distance:.3f}", fontsize=7)
        column[4].set_xlabel(f"brightest: {top:.1f}, mean: 1", fontsize=7)
        _channels(column[5], view)
    names = (
        "foreground\nmask", "background\nmask", "student before\n$A^S$", "student after\n$A^S$",
        "teacher\n$A^S$", "channels\n$A^C$",
    )  # fmt: skip
    for ax, name in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(name, fontsize=8, color=_INK)
    axes[5, 0].legend(fontsize=6, loc="upper left", ncols=3, frameon=False, handlelength=1)


def _heat(
    ax: Axes, picture: Picture, view: LevelView, values: np.ndarray, top: float | None = None
) -> None:
    """A map over the grey image; its brightest colour is `top`, or the map's own maximum.

    Attention has few high peaks: colours go by the square root, so that the rest is seen, too.
    """
    grey = picture.pixels @ np.array([0.299, 0.587, 0.114])
    show(ax, grey, cmap="gray", vmin=0, vmax=255)
    width, height = view.extent
    shown = np.sqrt(values / (top or max(values.max(), 1e-12)))
    low, high = _SHADE
    ax.imshow(
        shown, cmap=_HEAT, alpha=low + (high - low) * shown, vmin=0, vmax=1,
        extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest",
    )  # fmt: skip
    _frame(ax, picture.pixels)


def _channels(ax: Axes, view: LevelView) -> None:
    numbers = np.arange(len(view.teacher.channel))
    ax.bar(numbers, view.teacher.channel, width=1, color=_TEACHER, label="teacher")
    for attention, colour, name in (
        (view.before, _BEFORE, "before"), (view.after, _AFTER, "after"),
    ):  # fmt: skip
        ax.step(numbers, attention.channel, where="mid", color=colour, lw=0.9, label=name)
    top = max(a.channel.max() for a in (view.before, view.after, view.teacher))
    ax.set_ylim(0, 1.35 * top)
    ax.margins(x=0.01)
    ax.tick_params(labelsize=6, length=2)
    ax.spines[["top", "right"]].set_visible(False)
    before, after = (_mean_distance(a, view.teacher) for a in (view.before, view.after))
    ax.set_xlabel(f"mean |S - T|  {before:.3f} to {after:.3f}", fontsize=7)


def _mean_distance(student: Attention, teacher: Attention) -> float:
    return float(np.abs(student.channel - teacher.channel).mean())


def show(ax: Axes, pixels: np.ndarray, **settings: Any) -> None:
    """An image without axes; one unit is a pixel of it."""
    ax.imshow(pixels, **settings)
    _frame(ax, pixels)


def _frame(ax: Axes, pixels: np.ndarray) -> None:
    ax.set(
        xlim=(-0.5, pixels.shape[1] - 0.5), ylim=(pixels.shape[0] - 0.5, -0.5), xticks=[], yticks=[]
    )
    ax.spines[:].set_visible(False)


def outline(ax: Axes, objects: Objects, *, colours: dict[str, tuple], named: bool = True) -> None:
    """Boxes, if `named` with their classes and scores, and masks where there are."""
    height = ax.get_ylim()[0]
    for number in reversed(range(len(objects.boxes))):  # the best comes last, over the others
        name = objects.names[number]
        colour = colours[name]
        if objects.masks is not None:
            layer = np.zeros((*objects.masks[number].shape, 4))
            layer[objects.masks[number]] = (*colour, 0.5)
            ax.imshow(layer, interpolation="nearest")
        x1, y1, x2, y2 = objects.boxes[number] - 0.5
        ax.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, lw=1.5))
        if not named:
            continue
        score = "" if objects.scores is None else f" {objects.scores[number]:.2f}"
        fits_above = y1 > 0.07 * height
        ax.text(
            max(x1, 0), y1 if fits_above else max(y1, 0), f"{name}{score}", fontsize=6.5,
            color="white", va="bottom" if fits_above else "top", ha="left", clip_on=True,
            parse_math=False, bbox=dict(facecolor=colour, edgecolor="none", pad=1),
        )  # fmt: skip


def class_colours(names: Iterable[str]) -> dict[str, tuple[float, float, float]]:
    """A colour for each class name: the same wherever the same classes are."""
    names = sorted(set(names))
    # Steps of the golden angle round the circle of hues keep neighbours apart, however many.
    golden = (3 - math.sqrt(5)) / 2
    hues = [(0.58 + number * golden) % 1 for number in range(len(names))]
    hsv = [(hue, 0.85, 0.8) for hue in hues]
    return {n: tuple(matplotlib.colors.hsv_to_rgb(c)) for n, c in zip(names, hsv, strict=True)}
