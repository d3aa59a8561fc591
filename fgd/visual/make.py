"""From files to pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from mmcv.utils import get_logger

from fgd.visual.attention import fgd_views
from fgd.visual.detect import Detector
from fgd.visual.draw import attention_figure, detections_figure, save
from fgd.visual.images import Objects, choose_images, read_pictures

TRUTH = "Ground truth"


def draw(
    images: Sequence[Path],
    *,
    models: Sequence[tuple[str, Path, Path]],
    distillation: tuple[Path, Path] | None,
    annotations: Path | None,
    folder: Path | None,
    number: int,
    score: float,
    out: Path,
) -> Iterator[Path]:
    """Write `<out>_detections.png` of `models` and `<out>_attention.png` of `distillation`.

    Args:
        images: what to draw; none to choose `number` of those in `annotations` and `folder`.
        models: name, config and checkpoint of plain detectors.
        distillation: training config and final state of a row.
        score: the lowest score of a detection that is drawn.

    Yields:
        Each path, when it is written.

    Raises:
        FGDError: a file is not what it should be; the message says which.
    """
    for name in ("mmcv", "root"):  # they announce every tensor and every layer of a new detector
        get_logger(name).setLevel("ERROR")
    paths = list(images)
    if not paths:
        assert annotations is not None and folder is not None  # what to choose from
        paths = choose_images(annotations, folder, number)
    pictures = read_pictures(paths, annotations)
    if models:
        columns = {} if annotations is None else {TRUTH: [p.truth or Objects() for p in pictures]}
        for name, config, checkpoint in models:
            detector = Detector(config, checkpoint)
            columns[name] = [detector(picture, score) for picture in pictures]
        yield _write(detections_figure(pictures, columns), out, "detections")
    if distillation is not None:
        views = fgd_views(*distillation, pictures)
        yield _write(attention_figure(pictures, views), out, "attention")


def _write(figure: Figure, out: Path, kind: str) -> Path:
    path = out.with_name(f"{out.name}_{kind}.png")
    save(figure, path)
    return path
