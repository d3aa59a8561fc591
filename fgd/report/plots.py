"""Figures of a suite's results, for a page and for a paper alike.

Each function draws one figure and returns it. A style says which colours ink and grid have: on a
page they follow its light or dark theme.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("agg")

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from fgd.report.trainings import Training, thin
from fgd.table import Metrics, Table, TableRow

SIZES = {"APs": "small", "APm": "medium", "APl": "large"}
# By the model of a row: distinguishable in grey, and by people who do not see red or green apart.
COLOURS = {"teacher": "#9aa3b2", "baseline": "#e8973a", "fgd": "#2f7fd6"}
NAMES = {"teacher": "teacher", "baseline": "baseline", "fgd": "FGD"}
# What tables call COCO's metrics.
METRICS = {"AP": "AP", "AP50": "AP 50", "AP75": "AP 75", "APs": "small", "APm": "medium",
           "APl": "large"}  # fmt: skip
_WORDS = 8  # points of AP that a gain's number covers
_WIDTH = 4.8  # inches, of a figure that stands beside another
_TERMS = ("#2f7fd6", "#e8973a", "#3aa86b", "#b45fc4", "#d1495b", "#7a8b2a", "#4fb3bf", "#a0714f")


_FROM_TO = ("teacher", "baseline", "fgd")


@dataclass(frozen=True)
class Style:
    """Colours of text and axes, and of the grid."""

    ink: str
    grid: str


PAPER = Style(ink="#1f2430", grid="#dfe2e8")


def ap_figure(table: Table, style: Style) -> Figure:
    """The table as a picture: every row from its baseline to FGD, and where its teacher is."""
    lines = _lines(table)
    figure, axes = _new(style, 5.2, 0.32 * len(lines) + 0.95)
    for position, (_, metrics) in enumerate(lines):
        _from_to(
            axes,
            position,
            teacher=metrics.teacher_ap,
            baseline=metrics.baseline_ap,
            fgd=metrics.fgd_ap,
            # As long as the gain, unless that is of fewer seeds than the points are.
            stroke=None not in metrics.gains,
        )
        if metrics.gain is not None:
            right = max(metrics.fgd_ap or 0, metrics.baseline_ap or 0)
            teacher = metrics.teacher_ap or 0
            if right <= teacher < right + _WORDS:
                right = teacher
            words = f"{metrics.gain:+.1f}".replace("-", "\u2212")  # a minus
            axes.annotate(
                words, (right, position), (7, 0), textcoords="offset points", va="center",
                fontsize=8, color=style.ink,
            )  # fmt: skip
    _name_lines(axes, [name for name, _ in lines])
    axes.set_xlabel("AP")
    _legend_above(axes, style)
    return figure


def gains_figure(table: Table, style: Style) -> Figure:
    """What every row gained: a point for each seed, a stroke for their mean."""
    lines = _lines(table)
    figure, axes = _new(style, 5.2, 0.32 * len(lines) + 0.75)
    axes.axvline(0, color=style.ink, lw=0.8)
    for position, (_, metrics) in enumerate(lines):
        there = [gain for gain in metrics.gains if gain is not None]
        axes.scatter(there, [position] * len(there), 30, COLOURS["fgd"], alpha=0.6, linewidths=0)
        if metrics.gain is not None:
            axes.scatter([metrics.gain], [position], 120, style.ink, marker="|", linewidths=2)
    _name_lines(axes, [name for name, _ in lines])
    axes.set_xlabel("AP gained over the baseline")
    return figure


def sizes_figure(row: TableRow, style: Style) -> Figure:
    """AP by the size of objects."""
    figure, axes = _new(style, _WIDTH, 2.8)
    _draw_sizes(axes, row, style)
    _legend_above(axes, style)
    return figure


def classes_figure(row: TableRow, style: Style) -> Figure | None:
    """AP by class, the largest gain on top; None where no evaluation tells it."""
    means = row.means(main_kind(row))
    by_class = {who: _per_class(means.get(who, {})) for who in NAMES}
    names = [name for name in by_class["fgd"] or by_class["baseline"]]
    if not names:
        return None

    def gain(name: str) -> float:
        fgd, baseline = by_class["fgd"].get(name), by_class["baseline"].get(name)
        return -math.inf if fgd is None or baseline is None else fgd - baseline

    names.sort(key=gain, reverse=True)
    figure, axes = _new(style, _WIDTH, 0.19 * len(names) + 0.9)
    for position, name in enumerate(names):
        teacher, baseline, fgd = (by_class[who].get(name) for who in _FROM_TO)
        _from_to(axes, position, teacher=teacher, baseline=baseline, fgd=fgd, size=22)
    _name_lines(axes, names)
    axes.set_xlabel("AP")
    _legend_above(axes, style)
    return figure


def curves_figure(run: Training, style: Style) -> Figure | None:
    """The terms of the loss, AP and the learning rate over the epochs; None without a log."""
    if not run.log:
        return None
    heights = [4, 2, 1] if run.validation else [4, 1]
    figure = Figure(figsize=(_WIDTH, 0.5 * sum(heights) + 0.9), layout="constrained")
    axes, *aps, rate = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    for each in (axes, *aps, rate):
        _dress(each, style)
    _draw_terms(axes, run, style)
    for each in aps:
        _draw_aps(each, run, style)
    rate.plot(thin(run.epochs), thin(entry["lr"] for entry in run.log), color=style.ink, lw=1)
    rate.set_ylabel("learning\nrate", fontsize=7)
    rate.set_ylim(bottom=0)
    rate.set_xlabel("epoch")
    rate.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return figure


def all_sizes_figure(table: Table, style: Style) -> Figure:
    """AP by the size of objects, every row of the table."""
    return _grid(table, style, lambda axes, row: _draw_sizes(axes, row, style))


def all_losses_figure(table: Table, runs: dict[str, dict[str, Training]], style: Style) -> Figure:
    """Every row's own loss, without FGD's terms, with and without the teacher."""

    def draw(axes: Axes, row: TableRow) -> None:
        for arm in ("baseline", "fgd"):
            run = runs[row.name][arm]
            axes.plot(
                thin(run.epochs), thin(own_loss(run)), color=COLOURS[arm], lw=1, label=NAMES[arm]
            )
        axes.set_xlabel("epoch", fontsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))

    return _grid(table, style, draw)


def all_aps_figure(table: Table, runs: dict[str, dict[str, Training]], style: Style) -> Figure:
    """AP over the epochs of training, every row with and without the teacher."""

    def draw(axes: Axes, row: TableRow) -> None:
        for arm in ("baseline", "fgd"):
            epochs, values = runs[row.name][arm].aps(main_kind(row))
            if epochs:
                axes.plot(
                    epochs, values, color=COLOURS[arm], lw=1, marker="o", ms=2, label=NAMES[arm]
                )
        axes.set_xlabel("epoch", fontsize=7)
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))

    return _grid(table, style, draw)


def own_loss(run: Training) -> list[float]:
    """The detector's own loss: without what distillation adds."""
    terms = run.terms()
    added = [values for name, values in terms.items() if is_distillation(name)]
    return [total - sum(parts) for total, *parts in zip(terms.get("loss", []), *added, strict=True)]


def is_distillation(term: str) -> bool:
    """Whether a term of the loss is FGD's."""
    return term.startswith("loss_fgd")


def _lines(table: Table) -> list[tuple[str, Metrics]]:
    """A line a row and kind of AP, with its name."""
    return [
        (row.name if kind == main_kind(row) else f"{row.name}, {kind}", metrics)
        for row in table.rows
        for kind, metrics in row.metrics.items()
    ]


def _draw_terms(axes: Axes, run: Training, style: Style) -> None:
    terms = {name: v for name, v in run.terms().items() if any(x > 0 for x in v)}
    epochs = thin(run.epochs)
    number = 0
    for name, values in terms.items():
        if name == "loss":
            look: dict[str, Any] = dict(color=style.ink, lw=1.6)
        else:
            look = dict(
                color=_TERMS[number % len(_TERMS)], lw=1,
                ls=(0, (3, 1)) if is_distillation(name) else "-",
            )  # fmt: skip
            number += 1
        label = "sum" if name == "loss" else name.replace("loss_", "")
        axes.plot(epochs, thin(values), label=label, **look)
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter("{x:g}")
    # Between the powers of ten only where there is room for it.
    axes.yaxis.set_minor_formatter("{x:g}" if high < 20 * low else NullFormatter())
    axes.tick_params(which="minor", colors=style.ink, labelsize=7)
    axes.set_ylabel("loss")
    legend = axes.figure.legend(
        loc="outside right upper", fontsize=7, frameon=False, labelcolor=style.ink, handlelength=1.5
    )
    _literal(legend.get_texts())


def _draw_aps(axes: Axes, run: Training, style: Style) -> None:
    for kind, line in (("box", "-"), ("mask", (0, (3, 1)))):
        epochs, values = run.aps(kind)
        if epochs:
            axes.plot(epochs, values, color=style.ink, lw=1, ls=line, marker="o", ms=2.5)
            axes.annotate(
                kind, (epochs[-1], values[-1]), (4, 0), textcoords="offset points",
                fontsize=6.5, va="center", color=style.ink, annotation_clip=False,
            )  # fmt: skip
    axes.set_ylabel("AP")
    axes.set_ylim(bottom=0)


def _draw_sizes(axes: Axes, row: TableRow, style: Style) -> None:
    measured = row.means(main_kind(row))
    # -1 is COCO's word for "no object of that size".
    sizes = {key: name for key, name in SIZES.items() if _any_has(measured, key)}
    width = 0.8 / max(len(measured), 1)
    for number, (who, metrics) in enumerate(measured.items()):
        values = [100 * max(metrics.get(key, -1), 0) for key in sizes]
        offset = (number - (len(measured) - 1) / 2) * width
        positions = [position + offset for position in range(len(sizes))]
        bars = axes.bar(positions, values, 0.92 * width, color=COLOURS[who], label=NAMES[who])
        axes.bar_label(bars, fmt="%.0f", fontsize=6.5, padding=1, color=style.ink)
    axes.set_xticks(range(len(sizes)), sizes.values())
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("AP")
    axes.margins(y=0.12)


def _any_has(measured: dict[str, dict[str, float]], key: str) -> bool:
    return any(metrics.get(key, -1) >= 0 for metrics in measured.values())


def _grid(table: Table, style: Style, draw: Callable[[Axes, TableRow], None]) -> Figure:
    """One small plot a row of the table, four beside each other."""
    columns = min(4, len(table.rows))
    lines = -(-len(table.rows) // columns)
    figure = Figure(figsize=(1.9 * columns, 1.65 * lines + 0.3), layout="constrained")
    subplots = figure.subplots(lines, columns, squeeze=False).flat
    for axes, row in zip(subplots, table.rows, strict=False):
        _dress(axes, style)
        draw(axes, row)
        axes.set_title(row.name, fontsize=8, color=style.ink, parse_math=False)
    for axes in list(subplots)[len(table.rows) :]:
        axes.remove()
    handles, labels = _distinct(figure.axes)
    if handles:
        figure.legend(
            handles, labels, loc="outside upper center", ncols=3, fontsize=7, frameon=False
        )
    return figure


def _distinct(axes: list[Axes]) -> tuple[list[Artist], list[str]]:
    found: dict[str, Artist] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _from_to(
    axes: Axes,
    position: float,
    *,
    teacher: float | None,
    baseline: float | None,
    fgd: float | None,
    size: float = 36,
    stroke: bool = True,
) -> None:
    """Baseline and FGD on a line, with a thick one between them; the teacher is a tick."""
    if stroke and baseline is not None and fgd is not None:
        axes.plot([baseline, fgd], [position, position], color=COLOURS["fgd"], lw=2.5, alpha=0.45)
    for who, value, marker in (
        ("teacher", teacher, "|"), ("baseline", baseline, "o"), ("fgd", fgd, "o"),
    ):  # fmt: skip
        if value is not None:
            axes.scatter(
                [value], [position], 2.5 * size if marker == "|" else size, COLOURS[who],
                marker=marker, label=NAMES[who], zorder=3, linewidths=2 if marker == "|" else 0,
            )  # fmt: skip


def _name_lines(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    _literal(axes.get_yticklabels())
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.1)


def _legend_above(axes: Axes, style: Style) -> None:
    handles, labels = _distinct([axes])
    if handles:
        axes.legend(
            handles, labels, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3, fontsize=7.5,
            frameon=False, labelcolor=style.ink, handlelength=1.2,
        )  # fmt: skip


def _new(style: Style, width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    _dress(axes, style)
    return figure, axes


def _dress(axes: Axes, style: Style) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(style.ink)
    axes.tick_params(colors=style.ink, labelsize=8, width=0.6, length=3)
    axes.xaxis.label.set(color=style.ink, size=8)
    axes.yaxis.label.set(color=style.ink, size=8)
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.grid(color=style.grid, lw=0.6)
    axes.set_axisbelow(True)


def _literal(texts: list) -> None:
    """Dollars in a user's name are no formula."""
    for text in texts:
        text.set_parse_math(False)


def main_kind(row: TableRow) -> str:
    """What a row's detectors are compared by: "box", or "mask" where they have no boxes."""
    return next(iter(row.metrics))


def _per_class(metrics: dict[str, Any]) -> dict[str, float]:
    """AP in points by class name; empty if it was not evaluated."""
    values = metrics.get("per_class") or {}
    return {name: 100 * value for name, value in values.items() if value >= 0}
