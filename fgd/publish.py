"""Publish one's own weights the way the model zoo does: a hashed file and a metafile."""

import json
from pathlib import Path

import yaml

from fgd.files import write_text
from fgd.transfer import plain_checkpoint, write_hashed


def publish(
    checkpoint: str | Path,
    name: str,
    index: str | Path,
    config: str | None = None,
    evaluation: str | Path | None = None,
) -> Path:
    """Write `<name>-<hash>.pth` and `<name>.yml`, a metafile as `fgd.zoo.find` reads it.

    Args:
        checkpoint: of a training; what is published has neither optimizer nor training state.
        index: folder of both files.
        config: path of the model's plain mmdet config; a backbone has none.
        evaluation: `fgd evaluate`'s JSON, for the published AP.

    Returns:
        The path of the metafile.
    """
    index = Path(index)
    weights = write_hashed(plain_checkpoint(checkpoint), index, name)
    entry = {"Name": name, "Weights": weights.resolve().as_uri()}
    if config is not None:
        entry["Config"] = config
    if evaluation is not None:
        figures = json.loads(Path(evaluation).read_text())
        metrics = {
            f"{kind} AP": round(100 * figures[kind]["AP"], 1)
            for kind in ("box", "mask")
            if kind in figures
        }
        entry["Results"] = [{"Task": "Object Detection", "Metrics": metrics}]
    metafile = index / f"{name}.yml"
    write_text(metafile, yaml.safe_dump({"Models": [entry]}, sort_keys=False))
    return metafile
