"""Commands for data sets and the weights that students begin with."""

import csv
import io
from pathlib import Path

import click

from fgd.cli.group import OUT


@click.group()
def data() -> None:
    """Write, download, check or clean a data set."""


@data.command("mini")
@click.option("--out", type=OUT, required=True, help="Folder: new, empty or an earlier set.")
@click.option("--train", default=1200, show_default=True, help="Training images.")
@click.option("--val", default=300, show_default=True, help="Validation images.")
@click.option("--size", default=128, show_default=True, help="Width and height in pixels.")
@click.option("--seed", default=0, show_default=True)
def data_mini(out: Path, train: int, val: int, size: int, seed: int) -> None:
    """Write the mini set: handwritten digits on photographs, in COCO format."""
    from fgd.mini import digits

    digits.write(out, train=train, val=val, size=size, seed=seed)
    click.echo(f"{out}: {train} training and {val} validation images; see contact_sheet.png")


@data.command("coco")
@click.option("--out", type=OUT, required=True, help="Folder; what is there already is kept.")
@click.option(
    "--from",
    "address",
    envvar="FGD_COCO",
    default="http://images.cocodataset.org",
    show_default=True,
    help="http, https or file address of zips/ and annotations/; or $FGD_COCO.",
)
@click.option("--report", type=OUT, help="What was done, JSON.")
def data_coco(out: Path, address: str, report: Path | None) -> None:
    """Download COCO 2017 and unpack it: 20 GB, and as much again while archives are unpacked.

    Can be repeated after anything that stopped it.
    """
    from fgd.data.archive import download_coco
    from fgd.files import write_json

    made = download_coco(out, address)
    click.echo(f"{out}: {', '.join(made) or 'nothing'} downloaded from {address}")
    if report is not None:
        write_json(report, {"address": address, "folder": str(out), "downloaded": made})


@data.command("check")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--classes", help="Comma-separated class names that the annotations must have.")
@click.option("--strict", is_flag=True, help="Refuse boxes that mmdet would silently drop.")
@click.option("--open-images", is_flag=True, help="Decode every image.")
@click.option("--masks", is_flag=True, help="Refuse annotations without a segmentation.")
@click.option("--number", type=int, help="How many images there have to be.")
@click.option("--accept", multiple=True, help="Count this kind of finding, do not refuse it.")
@click.option("--out", type=OUT, required=True, help="Report, JSON.")
def data_check(
    annotations: Path,
    images: Path,
    classes: str | None,
    strict: bool,
    open_images: bool,
    masks: bool,
    number: int | None,
    accept: tuple[str, ...],
    out: Path,
) -> None:
    """Check a COCO-format data set before anything is trained on it."""
    from fgd.data.coco import check
    from fgd.data.findings import KINDS
    from fgd.files import write_json

    # As CSV: a name with a comma or a line break stands in double quotes.
    names = next(csv.reader(io.StringIO(classes, newline=""))) if classes else None
    for kind in accept:
        if kind not in KINDS:
            raise click.UsageError(f"--accept {kind!r}: the kinds are {', '.join(KINDS)}")
    report = check(annotations, images, names, strict, open_images, accept, number, masks)
    write_json(out, report)


@data.command("clean")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--masks", is_flag=True, help="Leave out annotations without a segmentation.")
@click.option("--out", type=OUT, required=True, help="Annotation file to write.")
def data_clean(annotations: Path, images: Path, masks: bool, out: Path) -> None:
    """Write ANNOTATIONS without what `fgd data check` would refuse, and say what was left out.

    Images that cannot be read or are not as stated go with their annotations, and annotations that
    are wrong; boxes that lie partly beyond the border are cut off there. The file itself and the
    images stay as they are.
    """
    from fgd.data.clean import clean

    report = clean(annotations, images, out, masks)
    for kind, example in report.examples.items():
        click.echo(f"{report.counts[kind]:6} {kind}, for example {example}")
    click.echo(f"{out}: {report.images} images and {report.annotations} annotations are left")


@click.command("mini-backbone")
@click.argument("name")
@click.option("--out", type=OUT, required=True, help="Checkpoint to write.")
@click.option("--iterations", default=150, show_default=True)
@click.option("--seed", default=0, show_default=True)
def mini_backbone(name: str, out: Path, iterations: int, seed: int) -> None:
    """Train a narrow ResNet on digits, the mini set's stand-in for ImageNet weights.

    NAME is resnet<depth>x<base channels>, for example resnet18x16.
    """
    from fgd.mini.backbone import train_backbone

    train_backbone(name, out, iterations=iterations, seed=seed)
