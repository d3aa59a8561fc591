"""Commands that draw what detectors see."""

from pathlib import Path

import click

from fgd.cli.paths import CHECKPOINT, CONFIG, DRAWN, FILE, out_files

_TYPE = click.Path(path_type=Path)
_OUT = out_files({f"_{kind}.png": (DRAWN,) for kind in ("detections", "attention", "data")})


@click.command()
@click.argument("images", nargs=-1, type=FILE)
@click.option(
    "--model",
    "models",
    type=(str, CONFIG, CHECKPOINT),
    multiple=True,
    metavar="NAME CONFIG CHECKPOINT",
    help="A plain mmdet detector; one column each.",
)
@click.option(
    "--distillation",
    type=(CONFIG, CHECKPOINT),
    metavar="CONFIG TRAINED",
    help="Config and final state of a row's training (config.py, trained.pth): FGD's own view.",
)
@click.option("--annotations", type=FILE, help="COCO annotations: draw the ground truth, too.")
@click.option("--folder", type=_TYPE, help="Where the annotations' images lie, to choose from.")
@click.option("--number", default=2, show_default=True, help="Images to choose, without IMAGES.")
@click.option("--score", default=0.3, show_default=True, help="Lowest score of a detection.")
@click.option("--data", is_flag=True, help="With --distillation: also what it learned from.")
@click.option("--out", type=_OUT, required=True, help="Path without its ending.")
def visualize(
    images: tuple[Path, ...],
    models: tuple[tuple[str, Path, Path], ...],
    distillation: tuple[Path, Path] | None,
    annotations: Path | None,
    folder: Path | None,
    number: int,
    score: float,
    data: bool,
    out: Path,
) -> None:
    """Draw detections side by side, and FGD's own view of the images.

    OUT_detections.png has a row for each of IMAGES and a column for the ground truth and each
    --model. OUT_attention.png, with --distillation, shows at every level the masks of foreground
    and background, and the spatial and channel attention of teacher and student, before and after
    distillation; with --data OUT_data.png is the picture of its training images, as by `fgd data
    show`. Without IMAGES the first ones of --annotations that hold two objects are drawn.

    \b
    For example, one checkpoint on one image:
      fgd visualize photo.jpg --model mine student.py student.pth --out photo
    """
    if not models and distillation is None:
        raise click.UsageError("nothing to draw: give --model, --distillation, or both")
    if not images and (annotations is None or folder is None):
        raise click.UsageError("give IMAGES, or --annotations and --folder to choose some from")
    if distillation and annotations is None:
        raise click.UsageError("--distillation draws the masks of objects: give --annotations, too")

    from fgd.visual.make import draw

    for path in draw(
        images,
        models=models,
        distillation=distillation,
        annotations=annotations,
        folder=folder,
        number=number,
        score=score,
        data=data,
        out=out,
    ):
        click.echo(path)
