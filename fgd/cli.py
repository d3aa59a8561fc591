"""The command line: every step of the workflow is one command that a person can type.

Imports stay inside the commands, so that `fgd --help` and planning need not wait for torch.
"""

import json
import logging
import sys
from pathlib import Path

import click

from fgd import compat
from fgd.errors import FGDError

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUT = click.Path(path_type=Path)


class _Group(click.Group):
    """Commands in the order of a run; an error of the user's is a line, not a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context):
        try:
            return super().invoke(ctx)
        except FGDError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fgd")
def main() -> None:
    """Distil object detectors with FGD (arXiv 2111.11837).

    The workflow (`snakemake`) runs these commands in this order for every row of the results
    table; each can also be run alone.
    """
    compat.quiet()


def _log_to_stdout() -> None:
    # A handler of our own: mmcv silences those of the root logger.
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", datefmt="%H:%M:%S"))
    logger = logging.getLogger("fgd")
    logger.addHandler(handler)
    logger.propagate = False


@main.group()
def data() -> None:
    """Write or check a data set."""


@data.command("mini")
@click.option("--out", type=_OUT, required=True, help="Folder to write; it must not exist.")
@click.option("--train", default=1200, show_default=True, help="Training images.")
@click.option("--val", default=300, show_default=True, help="Validation images.")
@click.option("--size", default=128, show_default=True, help="Width and height in pixels.")
@click.option("--seed", default=0, show_default=True)
def data_mini(out: Path, train: int, val: int, size: int, seed: int) -> None:
    """Write the mini set: handwritten digits on photographs, in COCO format."""
    from fgd.mini import digits

    digits.write(out, train=train, val=val, size=size, seed=seed)
    click.echo(f"{out}: {train} training and {val} validation images; see contact_sheet.png")


@data.command("check")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path))
@click.option("--classes", help="Comma-separated class names that the annotations must have.")
@click.option("--strict", is_flag=True, help="Refuse boxes that mmdet would silently drop.")
@click.option("--out", type=_OUT, required=True, help="Report, JSON.")
def data_check(
    annotations: Path, images: Path, classes: str | None, strict: bool, out: Path
) -> None:
    """Check a COCO-format data set before anything is trained on it."""
    from fgd.coco import check
    from fgd.files import write_json

    names = classes.split(",") if classes else None
    write_json(out, check(annotations, images, classes=names, strict=strict))


@main.command("mini-backbone")
@click.argument("name")
@click.option("--out", type=_OUT, required=True, help="Checkpoint to write.")
@click.option("--iterations", default=150, show_default=True)
@click.option("--seed", default=0, show_default=True)
def mini_backbone(name: str, out: Path, iterations: int, seed: int) -> None:
    """Train a narrow ResNet on digits, the mini set's stand-in for ImageNet weights.

    NAME is resnet<depth>x<base channels>, for example resnet18x16.
    """
    from fgd.mini.backbone import train_backbone

    train_backbone(name, out, iterations=iterations, seed=seed)


@main.command()
@click.argument("suite", type=_FILE)
@click.argument("row", required=False)
@click.option("--arm", type=click.Choice(["fgd", "baseline"]), help="With the teacher or without.")
@click.option("--teacher", help="Compose the training of this teacher instead of a row.")
@click.option("--out", type=_OUT, required=True, help="Folder for the configs.")
def compose(suite: Path, row: str | None, arm: str | None, teacher: str | None, out: Path) -> None:
    """Write the complete mmdet configs of a suite's row, or of its teacher.

    config.py is what `fgd train` takes; student.py (a teacher's: detector.py) is a plain mmdet
    config for evaluation and deployment.
    """
    from fgd import recipe

    if (row is None) == (teacher is None) or (row is not None and arm is None):
        raise click.UsageError("give a ROW with --arm, or --teacher NAME")
    loaded = recipe.load_suite(suite)
    if teacher is not None:
        recipe.write_teacher(loaded, teacher, out)
    else:
        recipe.write_row(loaded, row, arm, out)


@main.command()
@click.argument("name")
@click.option("--index", type=click.Path(path_type=Path), help="Folder of metafiles (*.yml).")
@click.option("--out", type=_OUT, required=True, help="Where the checkpoint goes.")
def download(name: str, index: Path | None, out: Path) -> None:
    """Download a checkpoint and verify its hash.

    NAME is a model of mmdet's zoo, a backbone as configs name it (torchvision://resnet50), or a
    model of the metafiles in --index.
    """
    from fgd import zoo
    from fgd.download import fetch

    if index is None and "://" in name:
        address, digest = zoo.backbone_address(name)
    else:
        model = zoo.find(name, index)
        address, digest = model.address, model.hash8
    fetch(address, out, digest)


@main.command()
@click.argument("config", type=_FILE)
@click.option("--work-dir", type=_OUT, required=True, help="Training states and log; resumed from.")
@click.option("--out", type=_OUT, required=True, help="The final training state.")
def train(config: Path, work_dir: Path, out: Path) -> None:
    """Train or distil what CONFIG describes, resuming where an earlier run was stopped.

    Under torchrun or Slurm every rank runs this command.
    """
    from fgd.train import train as run

    _log_to_stdout()
    run(config, work_dir, out)


@main.command()
@click.argument("checkpoint", type=_FILE)
@click.option("--name", required=True, help="The checkpoint is called NAME-<hash>.pth.")
@click.option("--out", type=_OUT, required=True, help="Link to the checkpoint, and its folder.")
def transfer(checkpoint: Path, name: str, out: Path) -> None:
    """Take the plain mmdet student out of a distillation checkpoint.

    Takes the published FGD code's checkpoints too.
    """
    from fgd.transfer import transfer as run

    click.echo(run(checkpoint, out, name))


@main.command()
@click.argument("config", type=_FILE)
@click.argument("checkpoint", type=_FILE)
@click.option("--out", type=_OUT, required=True, help="Figures, JSON.")
@click.option("--pycocotools", is_flag=True, help="Use the reference implementation (slower).")
def evaluate(config: Path, checkpoint: Path, out: Path, pycocotools: bool) -> None:
    """Evaluate a plain mmdet checkpoint: the twelve COCO figures for boxes and masks."""
    from fgd.evaluate import evaluate as run

    report = run(config, checkpoint, out, pycocotools)
    click.echo(json.dumps({kind: report[kind] for kind in ("box", "mask") if kind in report}))


@main.command()
@click.argument("checkpoint", type=_FILE)
@click.option("--name", required=True, help="Name of the model.")
@click.option("--index", type=_OUT, required=True, help="Folder of metafiles to publish in.")
@click.option("--config", help="Its plain mmdet config.")
@click.option("--eval", "evaluation", type=_FILE, help="`fgd evaluate`'s JSON, for its AP.")
def publish(
    checkpoint: Path, name: str, index: Path, config: str | None, evaluation: Path | None
) -> None:
    """Publish weights as the model zoo does: NAME-<hash>.pth and a metafile NAME.yml."""
    from fgd.publish import publish as run

    click.echo(run(checkpoint, name, index, config, evaluation))


@main.command()
@click.argument("suite", type=_FILE)
@click.option("--results", type=click.Path(path_type=Path), required=True, help="Suite's results.")
@click.option("--out", type=_OUT, required=True, help="Path without its ending.")
def table(suite: Path, results: Path, out: Path) -> None:
    """Write the results table as Markdown, CSV and JSON, and print it."""
    from fgd import recipe
    from fgd.table import write_table

    click.echo(write_table(recipe.load_suite(suite), results, out))


@main.group()
def zoo() -> None:
    """Look into mmdet's model zoo."""


@zoo.command("search")
@click.argument("words", nargs=-1)
def zoo_search(words: tuple[str, ...]) -> None:
    """List the models whose name holds all WORDS."""
    from fgd.zoo import search

    for name in search(" ".join(words)):
        click.echo(name)
