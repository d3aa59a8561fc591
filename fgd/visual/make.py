"""From files to pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from mmcv import Config
from mmcv.utils import get_logger

from fgd.configs import read_config
from fgd.visual.attention import fgd_views
from fgd.visual.detect import Detector
from fgd.visual.draw import attention_figure, detections_figure, save
from fgd.visual.images import Objects, choose_images, read_pictures
from fgd.visual.sheet import sheet
from fgd.visual.survey import DEFAULT_SCALE, View, described, survey, view_of
from fgd.zoo import detector_config

TRUTH = "Ground truth"
_IMAGES = 12  # of the training data


def draw(
    images: Sequence[Path],
    *,
    models: Sequence[tuple[str, Path, Path]],
    distillation: tuple[Path, Path] | None,
    annotations: Path | None,
    folder: Path | None,
    number: int,
    score: float,
    data: bool,
    out: Path,
) -> Iterator[Path]:
    """Write `<out>_detections.png` of `models` and `<out>_attention.png` of `distillation`.

    With `data` also `<out>_data.png`, of what the distillation learned from.

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
        if data:
            yield _write(_training_data(distillation[0]), out, "data")


def _training_data(path: Path) -> Figure:
    """The picture of a distillation's training images, as its student sees them."""
    config = read_config(path)
    files = config.data.train
    while "dataset" in files:
        files = files["dataset"]
    view = view_of(Config(dict(model=config.model.student, data=config.data)), "the student")
    found = survey(Path(files["ann_file"]), Path(files["img_prefix"]), view)
    return sheet(found, view, _IMAGES, seed=0)


def show_data(
    annotations: Path,
    folder: Path,
    *,
    student: str | None,
    scale: tuple[int, int] | None,
    number: int,
    seed: int,
    out: Path,
) -> list[str]:
    """Write the picture of a data set to `out`; the survey in words.

    Args:
        student: a name of the zoo or the path of a config, whose levels and anchors are drawn.
        scale: the longer and the shorter side of resized images; None: the student's own.
        number: of images that are drawn.
        seed: which images.

    Raises:
        FGDError: a file is not what it should be; the message says which.
    """
    if student is None:
        view = View(scale or DEFAULT_SCALE)
    else:
        path = student if student.endswith(".py") else detector_config(student)
        view = view_of(read_config(path), Path(student).stem, scale)
    found = survey(annotations, folder, view)
    save(sheet(found, view, number, seed), out)
    return described(found, view)


def _write(figure: Figure, out: Path, kind: str) -> Path:
    path = out.with_name(f"{out.name}_{kind}.png")
    save(figure, path)
    return path
