"""Commands for data sets and the weights that students begin with."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from fgd.cli import look_up
from fgd.cli.group import scale
from fgd.cli.paths import FILE, OUT_FOLDER, PICTURE, out_file
from fgd.errors import FGDError

_LISTED = 20  # annotations that are left out; all of them stand in the file's info


def _names(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    # As CSV: a name with a comma or a line break stands in double quotes.
    return next(csv.reader(io.StringIO(value, newline=""))) if value else None


def _where(out: Path | None, *, dry_run: bool) -> Path | None:
    """Where to write; None, with --dry-run, writes nothing, whatever --out says."""
    if out is None and not dry_run:
        raise click.UsageError("give --out, or --dry-run")
    return None if dry_run else out


_ALL = click.option(
    "--all-categories",
    is_flag=True,
    help="Keep categories without objects that group others or are called background.",
)


@click.group()
def data() -> None:
    """Write, download, check or clean a data set."""


@data.command("mini")
@click.option("--out", type=OUT_FOLDER, required=True, help="Folder: new, empty or an earlier set.")
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
@click.option(
    "--out", type=OUT_FOLDER, required=True, help="Folder; what is there already is kept."
)
@click.option(
    "--from",
    "address",
    envvar="FGD_COCO",
    default="http://images.cocodataset.org",
    show_default=True,
    help="http, https or file address of zips/ and annotations/; or $FGD_COCO.",
)
@click.option("--report", type=out_file('"downloaded"'), help="What was done, JSON.")
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


@contextmanager
def _told_of_cocos(are_cocos: bool) -> Iterator[None]:
    """Say of other classes than COCO's, where these are, why they were expected."""
    from fgd.data.coco import OtherClasses

    try:
        yield
    except OtherClasses as error:
        if not are_cocos:
            raise
        raise FGDError(
            f"{error}. The data set's config names no classes, which stands for COCO's 80: give "
            "its train, val and test `classes`, in the order of the file's categories"
        ) from None


@data.command("check")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option(
    "--classes", callback=_names, help="Comma-separated names that the classes must have."
)
@click.option(
    "--coco-classes", is_flag=True, help="Without --classes: those of COCO, as mmdet has it."
)
@click.option("--strict", is_flag=True, help="Refuse boxes that mmdet would silently drop.")
@click.option("--open-images", is_flag=True, help="Decode every image.")
@click.option("--masks", is_flag=True, help="Refuse annotations without a segmentation.")
@click.option("--training", is_flag=True, help="Refuse images that mmdet's training leaves out.")
@_ALL
@click.option("--number", type=int, help="How many images there have to be.")
@click.option("--accept", multiple=True, help="Count this kind of finding, do not refuse it.")
@click.option("--out", type=out_file('"dropped_by_mmdet"'), required=True, help="Report, JSON.")
def data_check(
    annotations: Path,
    images: Path,
    classes: list[str] | None,
    coco_classes: bool,
    strict: bool,
    open_images: bool,
    masks: bool,
    training: bool,
    all_categories: bool,
    number: int | None,
    accept: tuple[str, ...],
    out: Path,
) -> None:
    """Check a COCO-format data set before anything is trained on it."""
    from fgd.data.coco import check, remarks
    from fgd.data.findings import KINDS
    from fgd.files import write_json
    from fgd.importing.finding import or_other_format

    for kind in accept:
        if kind not in KINDS:
            raise click.UsageError(f"--accept {kind!r}: the kinds are {', '.join(KINDS)}")
    if cocos := coco_classes and classes is None:
        from mmdet.datasets import CocoDataset

        classes = list(CocoDataset.CLASSES)
    with or_other_format(annotations), _told_of_cocos(cocos):
        report = check(
            annotations,
            images,
            classes=classes,
            strict=strict,
            open_images=open_images,
            accept=accept,
            number=number,
            masks=masks,
            training=training,
            all_categories=all_categories,
        )
    write_json(out, report)
    for line in remarks(report):
        click.echo(line)


@data.command("clean")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--masks", is_flag=True, help="Leave out objects without a segmentation.")
@click.option("--training", is_flag=True, help="Leave out images that mmdet's training leaves out.")
@click.option("--like", type=FILE, help="Annotation file whose categories these shall be.")
@click.option("--classes", callback=_names, help="The same by comma-separated names.")
@_ALL
@click.option(
    "--corners/--no-corners", default=None, help="Whether boxes are x1, y1, x2, y2; see below."
)
@click.option("--dry-run", is_flag=True, help="Write nothing, say what would be changed.")
@click.option(
    "--out",
    type=out_file('"by": "fgd data clean"'),
    help="Annotation file to write. One that is there is replaced if `fgd data clean` wrote it.",
)
def data_clean(
    annotations: Path,
    images: Path,
    like: Path | None,
    classes: list[str] | None,
    dry_run: bool,
    out: Path | None,
    corners: bool | None,
    **options: bool,
) -> None:
    """Write ANNOTATIONS mended, as `fgd data check` wants them, and say what was changed.

    Numbers that are text, missing ids, areas, sizes and iscrowd, names with the folder's path and
    objects that stand twice are mended; a wrong segmentation goes, and its box stays. Boxes that
    lie partly beyond the border are cut off there, and unusable ones go, as do images that cannot
    be read or are not as stated. What is ambiguous is refused. Boxes that look like corners are
    refused unless --corners or --no-corners says what they are. The file itself and the images
    stay as they are; what was done stands in the written file's `info`.
    """
    from fgd.data.clean import clean
    from fgd.importing.finding import or_other_format

    if like and classes:
        raise click.UsageError("--like and --classes say the same; give one")
    out = _where(out, dry_run=dry_run)
    with or_other_format(annotations):
        report = clean(
            annotations, images, out=out, like=like, classes=classes, corners=corners, **options
        )
    for kind, example in report.examples.items():
        click.echo(f"{report.counts[kind]:6} {kind}, for example {example}")
    if report.left_out:
        more = len(report.left_out) - _LISTED
        named = ", ".join(map(str, report.left_out[:_LISTED]))
        click.echo(f"left out   annotations {named}" + (f" and {more} more" if more > 0 else ""))
    left = f"{report.images} images and {report.annotations} annotations"
    click.echo(f"{annotations}: {left} would be left" if dry_run else f"{out}: {left} are left")


@data.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--out", type=OUT_FOLDER, help="Folder for train.json and val.json: new or empty.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["voc", "yolo", "label-studio", "labelme", "cvat"]),
    help="By default what SOURCE looks like.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    help="Folder of the images, where they do not lie beside the annotations.",
)
@click.option(
    "--classes", callback=_names, help="Comma-separated names in the order of the new labels."
)
@click.option(
    "--val",
    "share",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.2,
    show_default=True,
    help="Share of the images for validation, where SOURCE has no such split.",
)
@click.option("--seed", default=0, show_default=True, help="Of the images drawn for that.")
@click.option(
    "--first",
    type=click.IntRange(0, 1),
    help="Pascal VOC's coordinate of the first pixel. By default 1, unless a box has 0.",
)
@click.option("--leave-out", is_flag=True, help="Import the rest where something cannot be.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier import in --out.")
@click.option("--dry-run", is_flag=True, help="Write nothing, say what would be written.")
def data_import(
    source: Path, out: Path | None, dry_run: bool, overwrite: bool, **options: Any
) -> None:
    """Write COCO files of the annotations in SOURCE, a folder or a file in another format.

    \b
    voc           Pascal VOC: Annotations/*.xml, JPEGImages/, perhaps ImageSets/Main
    yolo          YOLO: data.yaml, or images/ and labels/ with classes.txt
    label-studio  Label Studio: its JSON export
    labelme       LabelMe: a JSON file beside each image
    cvat          CVAT: annotations.xml of "CVAT for images"

    Training and validation images are those of SOURCE; where it has no such split, they are drawn
    by the seed, so that every class has its share. Images are neither copied nor changed. Boxes
    that lie partly beyond the border are cut off there. What cannot be imported is refused by file
    and reason, or left out with --leave-out; import.json lists it. All files are written or none.
    """
    from fgd.importing.importing import Request, import_annotations

    out = _where(out, dry_run=dry_run)
    done = import_annotations(Request(source, **options), out=out, overwrite=overwrite)
    click.echo(f"{done.form}, images in {done.images}")
    for kind, example in done.report.examples.items():
        click.echo(f"{done.report.counts[kind]:6} {kind}, for example {example}")
    for fault in done.left_out if dry_run else done.left_out[:_LISTED]:
        click.echo(f"left out   {fault}")
    if not dry_run and (more := len(done.left_out) - _LISTED) > 0:
        click.echo(f"left out   {more} more: {out}/import.json")
    for name, counts in done.counts.items():
        objects = ", ".join(f"{number} {name}" for name, number in counts["per_class"].items())
        click.echo(f"{name}: {counts['images']} images: {objects}")
    if out is not None:
        click.echo(f"{out}: written. Look at it, and write a row:\n")
        click.echo("\n".join(f"    {command}" for command in done.next_commands(out)))


@data.command("show")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--student", help="A name of the model zoo or a config: whose levels and anchors.")
@click.option(
    "--img-scale", callback=scale, metavar="W,H", help="By default the student's, or 1333,800."
)
@click.option("--number", type=click.IntRange(1), default=12, show_default=True, help="Images.")
@click.option("--seed", default=0, show_default=True, help="Which images.")
@click.option("--out", type=out_file(PICTURE), required=True, help="Picture to write, PNG.")
def data_show(
    annotations: Path,
    images: Path,
    student: str | None,
    img_scale: tuple[int, int] | None,
    number: int,
    seed: int,
    out: Path,
) -> None:
    """Draw random images of a COCO-format data set with their boxes, and what sizes objects have.

    The picture also has the sizes by class, a histogram of the boxes as the student sees them, with
    its FPN strides and anchors, and the smallest objects in the pixels that are left of them.
    """
    look_up.data_set(annotations, images)
    if student is not None:
        look_up.detector(student, "--student")
    from fgd.visual.make import show_data

    for line in show_data(
        annotations, images, student=student, scale=img_scale, number=number, seed=seed, out=out
    ):
        click.echo(line)
    click.echo(out)


@click.command("mini-backbone")
@click.argument("name")
@click.option(
    "--out", type=out_file("iterations", "accuracy"), required=True, help="Checkpoint to write."
)
@click.option("--iterations", default=150, show_default=True)
@click.option("--seed", default=0, show_default=True)
def mini_backbone(name: str, out: Path, iterations: int, seed: int) -> None:
    """Train a narrow ResNet on digits, the mini set's stand-in for ImageNet weights.

    NAME is resnet<depth>x<base channels>, for example resnet18x16.
    """
    from fgd.mini.backbone import train_backbone

    train_backbone(name, out, iterations=iterations, seed=seed)
