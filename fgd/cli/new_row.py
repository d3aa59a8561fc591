"""The command that writes a row for one's own data."""

import sys
from pathlib import Path
from typing import Any

import click

from fgd.checkout import workflow_command
from fgd.cli import look_up
from fgd.cli.group import numbers, scale
from fgd.cli.paths import OUT_FOLDER
from fgd.errors import FGDError

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
@click.option("--out", type=OUT_FOLDER, help="Folder of its files; its name is the suite's.")
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
    _swapped(options)
    _ask(options)
    _look_up(options)
    from fgd import new_row as run

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
    folder = options["out"].absolute() if options["out"] is not None else Path()
    suite = folder / f"{folder.name}.yaml"
    if key == "teacher_checkpoint":
        if not options["teacher"].endswith(".py"):
            return False
        trains = options["train_teacher"] or _trains(suite, options["teacher"])
        return not trains
    if key.startswith(("train", "val")):
        return not suite.exists()
    return True


def _trains(suite: Path, teacher: str) -> bool:
    """Whether the folder's suite trains the teacher already, for another row."""
    from fgd.suite import load_suite

    return suite.exists() and load_suite(suite).trains(Path(teacher).stem)


def _swapped(options: dict[str, Any]) -> None:
    """Refuse a teacher's config and weights in each other's place."""
    teacher, checkpoint = options["teacher"], options["teacher_checkpoint"]
    expected = (
        "--teacher is a config (.py) or a name of the model zoo, --teacher-checkpoint the weights "
        "of a config (.pth)"
    )
    if teacher is not None and Path(teacher).suffix in look_up.WEIGHTS:
        raise FGDError(f"--teacher {teacher}: is a checkpoint; {expected}")
    if checkpoint is not None and checkpoint.suffix == ".py":
        raise FGDError(f"--teacher-checkpoint {checkpoint}: is a config; {expected}")


def _look_up(options: dict[str, Any]) -> None:
    """Refuse what is not there, before what takes long is imported."""
    for role in ("student", "teacher"):
        look_up.detector(options[role], f"--{role}")
    checkpoint = options["teacher_checkpoint"]
    if checkpoint is not None and not checkpoint.is_file():
        raise FGDError(f"--teacher-checkpoint {checkpoint}: there is no such file")
    for name in ("train", "val"):
        annotations, images = options[name], options[f"{name}_images"]
        if (annotations is None) != (images is None):
            raise click.UsageError(f"--{name} and --{name}-images belong together")
        if annotations is not None:
            look_up.data_set(annotations, images)


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
    return None if annotations is None else kind(annotations, images)
