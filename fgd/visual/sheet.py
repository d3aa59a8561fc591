"""The picture of a data set: images with their boxes, sizes of objects, the smallest as seen."""

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from fgd.visual.draw import class_colours, outline, show
from fgd.visual.images import Objects, Picture, read_pictures
from fgd.visual.survey import SIZES, Survey, View, facts

COLUMNS = 4
_WIDTH = 12.0  # inches
_INK, _GREY = "#1f2430", "#7a8394"
_SIZE_COLOURS = ("#9cc5f0", "#3d85c9", "#123e6b")  # small, medium, large
_LEVEL = "#c2571a"
_NAMED = 8  # objects on an image; with more of them their names would hide them
_LEGEND = 24  # classes
_CLASSES = 20  # classes in the bar chart
_SMALLEST = 8  # crops
_CROP = 48  # pixels of the resized image


def sheet(found: Survey, view: View, number: int, seed: int) -> Figure:
    """Draw a survey.

    Args:
        number: of images.
        seed: which of them.

    Raises:
        FGDError: an image cannot be read.
    """
    pictures = read_pictures(found.chosen(number, seed), found.file)
    colours = class_colours(found.classes)
    rows = -(-len(pictures) // COLUMNS)
    tallest = max(p.pixels.shape[0] / p.pixels.shape[1] for p in pictures)
    bars = min(len(found.classes), _CLASSES)
    heights = [
        rows * (_WIDTH / COLUMNS * min(tallest, 1.5) + 0.12) + 0.4,
        max(2.6, 0.22 * bars + 1.0),
        1.65 + 0.19 * len(facts(found, view)),
    ]
    figure = Figure(
        figsize=(_WIDTH, sum(heights) + 0.4), layout=ConstrainedLayoutEngine(hspace=0.01)
    )
    parts = figure.subfigures(3, 1, squeeze=False, height_ratios=heights)[:, 0]
    above, middle, below = parts
    figure.suptitle(_title(found), fontsize=13, color=_INK, parse_math=False, x=0.01, ha="left")
    _images(above, pictures, colours, rows)
    left, right = middle.subplots(1, 2, width_ratios=[2, 3])
    _by_class(left, found)
    _histogram(right, found, view)
    _smallest(below, found, view, colours)
    return figure


def _title(found: Survey) -> str:
    crowds = f", {found.crowds} crowds that are not drawn" if found.crowds else ""
    empty = len(found.images) - len(set(found.image.tolist()))
    without = f" ({empty} without objects)" if empty else ""
    return (
        f"{found.file.name}: {len(found.images)} images{without}, {len(found.labels)} objects of "
        f"{len(found.classes)} classes{crowds}"
    )


def _images(figure: SubFigure, pictures: list[Picture], colours: dict, rows: int) -> None:
    axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for ax in axes[len(pictures) :]:
        ax.set_axis_off()
    shown: set[str] = set()
    for ax, picture in zip(axes, pictures, strict=False):
        truth = picture.truth or Objects()
        shown |= set(truth.names)
        show(ax, picture.pixels)
        outline(ax, truth, colours=colours, named=len(truth.names) <= _NAMED)
        ax.set_xlabel(picture.path.name, fontsize=7, color=_GREY, parse_math=False)
    names = sorted(shown)[:_LEGEND]
    handles = [Line2D([], [], color=colours[name], lw=5) for name in names]
    legend = figure.legend(
        handles, names, loc="outside upper left", ncols=8, fontsize=9, frameon=False,
        handlelength=1,
    )  # fmt: skip
    for text in legend.get_texts():
        text.set_parse_math(False)


def _by_class(ax: Axes, found: Survey) -> None:
    """Bars of small, medium and large objects, the most frequent class first."""
    counts = sorted(found.by_size().items(), key=lambda item: -sum(item[1]))
    shown = counts[:_CLASSES]
    names = [name if len(name) <= 24 else f"{name[:23]}…" for name, _ in shown]
    places = np.arange(len(shown))
    begin = np.zeros(len(shown))
    limits = ("below 32²", "to 96²", "above")
    for kind, (size, colour) in enumerate(zip(SIZES, _SIZE_COLOURS, strict=True)):
        values = np.array([each[kind] for _, each in shown])
        label = f"{size}: {limits[kind]} pixels" if kind < 2 else size
        ax.barh(places, values, left=begin, color=colour, label=label, height=0.7)
        begin += values
    for place, total in zip(places, begin, strict=True):
        ax.text(total, place, f" {int(total)}", va="center", fontsize=8, color=_INK)
    ax.set_yticks(places, names, fontsize=9, parse_math=False)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    ax.set_xlim(0, 1.15 * max(begin.max(), 1))
    more = f" (of {len(counts)}, the most frequent)" if len(counts) > len(shown) else ""
    _named(ax, f"Objects by class{more}, in pixels of their images")
    ax.legend(fontsize=7.5, frameon=False, loc="lower right", handlelength=1)


def _histogram(ax: Axes, found: Survey, view: View) -> None:
    """Sides of boxes as the detector sees them, with its strides and anchors."""
    sides = np.sqrt(found.seen.prod(1)).clip(0.5)
    marks = [*view.strides, *(side for level in view.anchors for side in level)]
    low = np.floor(np.log2(min([sides.min(), *marks])))
    high = np.ceil(np.log2(max([sides.max(), *marks])))
    bins = 2.0 ** np.arange(low, high + 0.25, 0.25)
    counts, _ = np.histogram(sides, bins)
    ax.stairs(counts, bins, fill=True, color="#b9c3d3")
    top = max(int(counts.max()), 1)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.set_ylim(0, top * (1.3 if view.anchors else 1.2))
    for level, stride in enumerate(view.strides):
        ax.axvline(stride, color=_LEVEL, lw=1, ls=(0, (4, 3)), ymax=0.86 if view.anchors else 0.93)
        ax.text(stride, top * 1.02, f" {stride}", fontsize=8, color=_LEVEL, va="bottom")
        if level < len(view.anchors):
            anchors = view.anchors[level]
            height = top * (1.17 + 0.05 * (level % 2))
            ax.plot([min(anchors), max(anchors)], [height] * 2, color=_INK, lw=2,
                    marker="|", markersize=7)  # fmt: skip
    scale = " x ".join(map(str, view.scale))
    _named(ax, f"Sides of boxes (root of width x height) in images resized into {scale}")
    ax.set_xlabel(_marks(view), fontsize=8, color=_GREY, parse_math=False)


def _marks(view: View) -> str:
    strides = f"; dashed: strides of {view.name}" if view.strides else ""
    return f"pixels{strides}{', and above its anchors, level by level' if view.anchors else ''}"


def _smallest(figure: SubFigure, found: Survey, view: View, colours: dict) -> None:
    """The smallest objects in the pixels that the detector gets."""
    chosen = found.smallest(_SMALLEST)
    words = ["the smallest objects, as the detector sees them", *facts(found, view)[1:]]
    figure.suptitle(
        "\n".join(f"{line[0].upper()}{line[1:]}" for line in words),
        fontsize=9, color=_INK, x=0.01, ha="left", parse_math=False, linespacing=1.4,
    )  # fmt: skip
    axes = figure.subplots(1, _SMALLEST, squeeze=False)[0]
    for ax in axes[len(chosen) :]:
        ax.set_axis_off()
    for ax, index in zip(axes, chosen, strict=False):
        entry = found.images[int(found.image[index])]
        (picture,) = read_pictures([found.folder / entry["file_name"]], None)
        pixels, box = _crop(picture.pixels, found.boxes[index], view)
        show(ax, pixels, interpolation="nearest")
        name = found.classes[int(found.labels[index])]
        outline(ax, Objects(box[None], [name]), colours=colours, named=False)
        width, height = found.seen[index]
        ax.set_xlabel(
            f"{name if len(name) < 16 else name[:15] + '…'}: {width:.3g} x {height:.3g}",
            fontsize=8, color=_INK, parse_math=False,
        )  # fmt: skip


def _crop(pixels: np.ndarray, box: np.ndarray, view: View) -> tuple[np.ndarray, np.ndarray]:
    """The surroundings of a box in the resized image, and the box in them: x1, y1, x2, y2."""
    height, width = pixels.shape[:2]
    fx, fy = view.factors(width, height)
    size = max(round(width * fx), 1), max(round(height * fy), 1)
    resized = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_LINEAR)
    x, y, w, h = box * (fx, fy, fx, fy)
    side = max(_CROP, int(1.3 * max(w, h)))
    left = int(np.clip(x + w / 2 - side / 2, 0, max(size[0] - side, 0)))
    top = int(np.clip(y + h / 2 - side / 2, 0, max(size[1] - side, 0)))
    part = resized[top : top + side, left : left + side]
    return part, np.array([x - left, y - top, x - left + w, y - top + h])


def _named(ax: Axes, title: str) -> None:
    ax.set_title(title, fontsize=9, color=_INK, loc="left")
    ax.tick_params(labelsize=8, length=2)
    ax.spines[["top", "right"]].set_visible(False)
