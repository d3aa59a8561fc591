"""Commands before a training: configs, checkpoints, the gate."""

import sys
from pathlib import Path

import click

from fgd.cli.paths import (
    CHECKPOINT,
    CONFIG,
    OUT,
    OUT_FOLDER,
    SUITE,
    out_file,
    refuse_folder,
    refuse_foreign,
)
from fgd.errors import FGDError


@click.command()
@click.argument("suite", type=SUITE)
@click.argument("row", required=False)
@click.option(
    "--arm",
    type=click.Choice(["fgd", "baseline"]),
    help="With the teacher or without. Goes with ROW.",
)
@click.option("--seed", type=int, help="One of the suite's; the first one by default.")
@click.option("--teacher", help="Compose the training of this teacher instead of a row.")
@click.option("--planned", help="Refuse configs of another digest than this: the workflow's.")
@click.option("--out", type=OUT_FOLDER, required=True, help="Folder for the configs.")
def compose(
    suite: Path,
    row: str | None,
    arm: str | None,
    seed: int | None,
    teacher: str | None,
    planned: str | None,
    out: Path,
) -> None:
    """Write the complete mmdet configs of a suite's row, or of its teacher.

    config.py is what `fgd train` takes; student.py (a teacher's: detector.py) is a plain mmdet
    config for evaluation and deployment. How the learning rate follows from the suite's total batch
    is printed.
    """
    from fgd.suite import load_suite

    _refuse_configs(out, "student.py" if teacher is None else "detector.py")
    loaded = load_suite(suite)
    if row is not None and arm is not None and teacher is None:
        loaded.check_rows([row])  # a misspelt one is told at once
        from fgd import recipe

        click.echo(recipe.write_row(loaded, row, arm=arm, out=out, seed=seed, planned=planned))
        return
    if row is not None or teacher is None:
        raise click.UsageError("give a ROW with --arm, or --teacher NAME")
    if arm is not None or seed is not None:
        raise click.UsageError("--arm and --seed go with a ROW; a teacher is trained once")
    from fgd import recipe

    click.echo(recipe.write_teacher(loaded, teacher, out, planned))


def _refuse_configs(folder: Path, detector: str) -> None:
    """Refuse a folder with configs of the user's own; a composed one says of which row it is."""
    config = folder / "config.py"
    refuse_foreign(config, ("recipe = {",))
    if not config.exists() and (folder / detector).exists():
        raise FGDError(
            f"{folder / detector}: is there already without the config.py that is composed with "
            "it; name another folder, or move it"
        )


@click.command()
@click.argument("name")
@click.option("--index", type=click.Path(path_type=Path), help="Folder of metafiles (*.yml).")
@click.option("--sha256", default="", help="First digits of the hash of a file of your own.")
@click.option("--out", type=OUT, required=True, help="Where the checkpoint goes.")
def download(name: str, index: Path | None, sha256: str, out: Path) -> None:
    """Download a checkpoint and verify its hash.

    NAME is a model of mmdet's zoo, a backbone as configs name it (torchvision://resnet50), a model
    of the metafiles in --index, or the path of a file of your own, which is copied. What is at
    --out already stays: it has to be this very file.
    """
    from fgd import files, zoo
    from fgd.download import copy, fetch

    refuse_folder(out)

    # Names of the zoo have no folder; some have a dot.
    is_path = "/" in name or name.endswith(".pth") or Path(name).is_file()
    if index is None and "://" not in name and is_path:
        if not (Path(name).is_file() and _is_there(out, sha256 or files.sha256(name))):
            copy(name, out, sha256)
        return
    if sha256:
        raise click.UsageError(
            "--sha256 goes with a file of your own; the hash of a download is known"
        )
    if index is None and "://" in name:
        address, digest = zoo.backbone_address(name)
    else:
        model = zoo.find(name, index)
        address, digest = model.address, model.hash8
    if _is_there(out, digest):
        return
    fetch(address, out, digest)
    if not digest:
        click.echo(
            f"{address} tells no hash to compare with; the file's sha256 is {files.sha256(out)}"
        )


def _is_there(out: Path, digest: str) -> bool:
    """Whether the file that is asked for is there already; another one there is refused."""
    from fgd import files

    if not out.exists():
        return False
    if digest and files.sha256(out).startswith(digest.lower()):
        click.echo(f"{out}: is there already, and is the file that is asked for")
        return True
    raise FGDError(f"{out}: is there already, and is another file; name another --out, or move it")


@click.command("check-teacher")
@click.argument("name")
@click.argument("config", type=CONFIG)
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--index", type=click.Path(path_type=Path), help="Folder of metafiles (*.yml).")
@click.option("--ap", type=float, help="Box AP x 100 that your own teacher should reach.")
@click.option("--tolerance", type=float, default=0.2, show_default=True, help="In AP points.")
@click.option("--out", type=out_file('"tolerance"'), required=True, help="Report, JSON.")
def check_teacher(
    name: str,
    config: Path,
    checkpoint: Path,
    index: Path | None,
    ap: float | None,
    tolerance: float,
    out: Path,
) -> None:
    """Evaluate a teacher, and refuse one whose AP is below its published one.

    CONFIG is the plain mmdet config of the teacher called NAME, CHECKPOINT its weights. Weights
    that were evaluated on the same data before are not evaluated again.
    """
    from fgd import zoo

    model = zoo.find(name, index) if ap is None else None  # an unknown name is told at once
    from fgd.evaluation.evaluate import measure
    from fgd.files import write_json
    from fgd.progress import log_to
    from fgd.recipe.own import check_points
    from fgd.zoo import gate

    if ap is not None:
        check_points(ap, "--ap")
    log_to(sys.stdout)
    metrics = measure(config, checkpoint, again=False)
    if model is not None:
        report = gate.check_teacher(metrics, model, tolerance)
    elif ap is not None:
        report = gate.check_own(metrics, name, ap, tolerance)
    click.echo(gate.summary(report))
    write_json(out, report)
