"""The command that writes a row for one's own data."""

import sys
from pathlib import Path
from typing import Any

import click

from fgd.checkout import workflow_command
from fgd.cli.group import numbers, scale

_PATH = click.Path(path_type=Path)
# Options that are asked for where they are missing and somebody is there to answer.
_QUESTIONS = {
    "name": "Name of the row",
    "out": "Folder of its files; its name is the suite's",
    "student": "Student: a name of the model zoo (`fgd zoo search`) or a config (.py)",
    "teacher": "Teacher: the same",
    "teacher_checkpoint": "Checkpoint of the teacher (.pth)",
    "train": "Training annotations (COCO's JSON)",
    "train_images": "Folder of the training images",
    "val": "Validation annotations (COCO's JSON)",
    "val_images": "Folder of the validation images",
}


def _levels(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    return None if value is None else numbers(value, parameter)


@click.command("new-row")
@click.option("--name", help="Name of the row, for example birds_r50.")
@click.option("--out", type=_PATH, help="Folder of its files; its name is the suite's.")
@click.option("--student", help="A name of the model zoo, or the path of an mmdet config (.py).")
@click.option("--teacher", help="The same; a config that brings its weights may be mmdet 3's.")
@click.option("--teacher-checkpoint", type=_PATH, help="Weights of a teacher that is a config.")
@click.option("--train-teacher", is_flag=True, help="Train the teacher first, on the same data.")
@click.option("--teacher-ap", type=float, help="Its AP x 100; checked before distilling.")
@click.option("--train", type=_PATH, help="Training annotations, COCO's JSON.")
@click.option("--train-images", type=_PATH, help="Folder of the training images.")
@click.option("--val", type=_PATH, help="Validation annotations, COCO's JSON.")
@click.option("--val-images", type=_PATH, help="Folder of the validation images.")
@click.option("--clean", is_flag=True, help="Mend both annotation files first, into --out.")
@click.option(
    "--all-categories",
    is_flag=True,
    help="Also those without objects that group others or are called background are classes.",
)
@click.option("--levels", callback=_levels, help="FPN levels: 0,1,2. By default all that fit.")
@click.option("--taps", default="neck", help="Modules to take features from: distill.taps.")
@click.option(
    "--renormalise/--no-renormalise",
    default=None,
    help="Give the teacher the pixels as it knows them. Asked for where it knows other ones.",
)
@click.option("--inherit/--no-inherit", default=None, help="By default where it is possible.")
@click.option("--epochs", type=click.IntRange(1), help="By default the student's own.")
@click.option(
    "--lr",
    type=click.FloatRange(0, min_open=True),
    help="For the batch of the student's config, or 16.",
)
@click.option("--from-scratch", is_flag=True, help="The student's backbone is not pretrained.")
@click.option("--img-scale", callback=scale, metavar="W,H", help="By default the detectors' own.")
@click.option("--gpus", type=click.IntRange(1), help="By default 1, or the suite's.")
@click.option("--samples-per-gpu", type=click.IntRange(1), help="By default 2, or the suite's.")
def new_row(**options: Any) -> None:
    """Write a row for your own data: COCO-format annotations, a student and a teacher.

    Asks for what is missing if it runs in a terminal. Before anything is written, the data are
    checked, both detectors are built, and their FPN levels, strides, channels and classes are
    compared. In a folder that has a suite already, the row is added to it.
    """
    from fgd import new_row as run

    _ask(options)
    options["renormalise"] = _renormalises(options)
    written = run.write(
        run.RowRequest(
            name=options.pop("name"),
            folder=options.pop("out"),
            checkpoint=options.pop("teacher_checkpoint"),
            ap=options.pop("teacher_ap"),
            train=_split(run.Split, options, "train"),
            val=_split(run.Split, options, "val"),
            **options,
        )
    )
    click.echo("\n".join(written.notes))
    click.echo(f"written   {', '.join(map(str, written.files))}\n\nDistil it:\n")
    click.echo(f"    {workflow_command(str(written.suite))}")


def _ask(options: dict[str, Any]) -> None:
    for key, question in _QUESTIONS.items():
        if options[key] is not None or not _wanted(key, options):
            continue
        if not sys.stdin.isatty():
            raise click.UsageError(f"give --{key.replace('_', '-')}: {question.lower()}")
        kind = str if key in ("name", "student", "teacher") else _PATH
        options[key] = click.prompt(question, type=kind)


def _wanted(key: str, options: dict[str, Any]) -> bool:
    if key == "teacher_checkpoint":
        return options["teacher"].endswith(".py") and not options["train_teacher"]
    if key.startswith(("train", "val")):
        folder = options["out"].absolute()
        return not (folder / f"{folder.name}.yaml").exists()
    return True


def _renormalises(options: dict[str, Any]) -> bool:
    """Whether the teacher gets other pixels; who does not say so in advance is refused."""
    from fgd.new_row import other_pixels

    if options["renormalise"] is not None or not sys.stdin.isatty():
        return bool(options["renormalise"])
    student, teacher = options["student"], options["teacher"]
    other = other_pixels(student, teacher, train_teacher=options["train_teacher"])
    return bool(other) and click.confirm(f"{other}.\nNormalise images anew for the teacher?")


def _split(kind: type, options: dict[str, Any], name: str) -> Any:
    annotations, images = options.pop(name), options.pop(f"{name}_images")
    if (annotations is None) != (images is None):
        raise click.UsageError(f"--{name} and --{name}-images belong together")
    return None if annotations is None else kind(annotations, images)
