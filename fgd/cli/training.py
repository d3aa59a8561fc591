"""Commands that train, and what follows a training."""

import json
import sys
from pathlib import Path

import click

from fgd.cli.group import BATCH, PRECISION
from fgd.cli.paths import (
    CHECKPOINT,
    CONFIG,
    FILE,
    OUT,
    OUT_FOLDER,
    TRAINED,
    out_file,
    refuse_file,
    refuse_folder,
    refuse_foreign,
)

# By which words these know the files that they wrote.
_ONNX = out_file('"made_with"', '"mask_threshold"')
_FIGURES = out_file('"checkpoint"', '"seconds"')
_PROVENANCE = out_file('"evaluated"', '"trained"')


@click.command()
@click.argument("config", type=CONFIG)
@click.option(
    "--work-dir", type=OUT_FOLDER, required=True, help="Training states and log; resumed from."
)
@click.option("--out", type=TRAINED, required=True, help="The final training state.")
def train(config: Path, work_dir: Path, out: Path) -> None:
    """Train or distil what CONFIG describes, resuming where an earlier run was stopped.

    Under torchrun or Slurm every rank runs this command.
    """
    from fgd.configs import read_training
    from fgd.progress import log_to
    from fgd.training import train as run

    read_training(config)  # before a process group and a work folder are made
    log_to(sys.stdout)
    run(config, work_dir, out)


@click.command()
@click.argument("config", type=CONFIG)
def fingerprint(config: Path) -> None:
    """Print the hash of a training: its CONFIG and the weights that it starts from."""
    from fgd.fingerprint import fingerprint as run

    click.echo(run(config))


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--name", required=True, help="The checkpoint is called NAME-<hash>.pth.")
@click.option(
    "--out", type=OUT, required=True, help="Link to the checkpoint; for mmdet3 a folder of both."
)
@click.option(
    "--for",
    "target",
    type=click.Choice(["mmdet2", "mmdet3"]),
    default="mmdet2",
    show_default=True,
    help="mmdet3: config and checkpoint for mmdet 3.",
)
@click.option("--config", type=CONFIG, help="The student's config, which mmdet3 needs.")
@click.option(
    "--keep",
    type=click.Choice(["student", "teacher"]),
    help="Of a checkpoint of two detectors; of a distillation the student, by default.",
)
def transfer(
    checkpoint: Path, name: str, out: Path, target: str, config: Path | None, keep: str | None
) -> None:
    """Take the plain mmdet student out of a distillation checkpoint.

    Takes the published FGD code's checkpoints too.
    """
    if (target == "mmdet3") != (config is not None):
        raise click.UsageError("--for mmdet3 and --config student.py go together")
    if keep is not None and target == "mmdet3":
        raise click.UsageError("--keep goes without --for mmdet3: give that what it has written")
    (refuse_folder if config is None else refuse_file)(out)
    if config is not None:
        from fgd.mmdet3.write import transfer_to_mmdet3

        click.echo(transfer_to_mmdet3(config, checkpoint, out=out, name=name))
        return
    from fgd.export import transfer as run

    click.echo(run(checkpoint, out, name, keep=keep))


@click.command()
@click.argument("config", type=CONFIG)
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--out", type=_ONNX, required=True, help="ONNX file.")
@click.option(
    "--pixels",
    type=click.Choice(["uint8", "float32"]),
    default="uint8",
    show_default=True,
    help="float32: images come normalised.",
)
@click.option("--opset", default=17, show_default=True, help="Of ONNX's operators, 16 to 20.")
def export(config: Path, checkpoint: Path, out: Path, pixels: str, opset: int) -> None:
    """Write a plain mmdet detector as ONNX, from pixels to boxes, scores, labels and masks.

    It is written when onnxruntime has found in images of the test set what mmdet finds there.
    `fgd evaluate` takes the file in a checkpoint's place.
    """
    from fgd.onnx.write import export as run

    compared = run(config, checkpoint, out=out, pixels=pixels, opset=opset)["compared"]
    click.echo(
        f"{out}: onnxruntime finds {compared['again']} of {compared['detections']} detections that "
        f"mmdet finds in {compared['images']} images"
    )


@click.command()
@click.argument("config", type=CONFIG)
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--out", type=_FIGURES, required=True, help="Figures, JSON.")
@click.option("--pycocotools", is_flag=True, help="Use the reference implementation (slower).")
@BATCH
@PRECISION
@click.option("--provenance", type=_PROVENANCE, help="From what it was made, JSON.")
@click.option("--per-class", is_flag=True, help="Add the AP of every class.")
def evaluate(
    config: Path,
    checkpoint: Path,
    out: Path,
    pycocotools: bool,
    batch: int | None,
    precision: str,
    provenance: Path | None,
    per_class: bool,
) -> None:
    """Evaluate a plain mmdet checkpoint: the twelve COCO figures for boxes and masks.

    CHECKPOINT may be an ONNX file that `fgd export` wrote, which onnxruntime then runs.
    """
    from fgd.evaluation.evaluate import evaluate as run

    report = run(
        config,
        checkpoint,
        out=out,
        pycocotools=pycocotools,
        batch=batch,
        precision=precision,
        provenance=provenance,
        per_class=per_class,
    )
    click.echo(json.dumps({kind: report[kind] for kind in ("box", "mask") if kind in report}))


@click.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--name", required=True, help="Name of the model.")
@click.option("--index", type=OUT_FOLDER, required=True, help="Folder of metafiles to publish in.")
@click.option("--config", help="Its plain mmdet config.")
@click.option("--eval", "evaluation", type=FILE, help="`fgd evaluate`'s JSON, for its AP.")
@click.option("--least-ap", type=float, default=0.0, help="Refuse it below this AP x 100.")
def publish(
    checkpoint: Path,
    name: str,
    index: Path,
    config: str | None,
    evaluation: Path | None,
    least_ap: float,
) -> None:
    """Publish weights as the model zoo does: NAME-<hash>.pth and a metafile NAME.yml."""
    from fgd.zoo.publish import publish as run

    refuse_foreign(index / f"{name}.yml", ("Weights: file:",))
    click.echo(
        run(
            checkpoint,
            name=name,
            index=index,
            config=config,
            evaluation=evaluation,
            least_ap=least_ap,
        )
    )
