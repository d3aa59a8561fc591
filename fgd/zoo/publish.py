"""Publish one's own weights the way the model zoo does: a hashed file and a metafile."""

import json
from pathlib import Path
from typing import Any

import yaml

from fgd.errors import FGDError
from fgd.export import check_name, plain_checkpoint, write_hashed
from fgd.files import sha256, write_text


def publish(
    checkpoint: str | Path,
    *,
    name: str,
    index: str | Path,
    config: str | None = None,
    evaluation: str | Path | None = None,
    least_ap: float = 0.0,
) -> Path:
    """Write `<name>-<hash>.pth` and `<name>.yml`, a metafile as `fgd.zoo.find` reads it.

    Args:
        checkpoint: of a training; what is published has neither optimizer nor training state.
        index: folder of both files.
        config: path of the model's plain mmdet config; a backbone has none.
        evaluation: `fgd evaluate`'s JSON, for the published AP.
        least_ap: what its first AP has to be, in points.

    Returns:
        The path of the metafile.

    Raises:
        FGDError: the AP is lower. The gate before distilling compares a teacher with its published
            AP; of one that is published here, this is the only judge.
    """
    check_name(name)
    index = Path(index)
    metrics = {} if evaluation is None else _metrics(evaluation, checkpoint)
    kind, ap = next(iter(metrics.items()), ("AP", least_ap))
    if ap < least_ap:
        raise FGDError(
            f"{name}: its training ended at {kind} {ap}, and the suite asks for {least_ap:g} "
            "(mini.teacher.least_ap): it would teach nobody. Look at the loss in the log beside "
            f"{checkpoint}. If it jumped and stayed up, lower the rate or grad_clip "
            "(mini.schedule, or `lr` of this detector); if it was still falling, raise its `epochs`"
        )
    weights = write_hashed(plain_checkpoint(checkpoint), index, name)
    entry: dict[str, Any] = {"Name": name, "Weights": weights.resolve().as_uri()}
    if config is not None:
        entry["Config"] = config
    if metrics:
        entry["Results"] = [{"Task": "Object Detection", "Metrics": metrics}]
    metafile = index / f"{name}.yml"
    write_text(metafile, yaml.safe_dump({"Models": [entry]}, sort_keys=False))
    return metafile


def _metrics(evaluation: str | Path, checkpoint: str | Path) -> dict[str, float]:
    """AP in points under the names that metafiles have for it.

    Raises:
        FGDError: it is none of `fgd evaluate`'s, or another checkpoint's.
    """
    try:
        metrics = json.loads(Path(evaluation).read_text())
        found = {kind: float(metrics[kind]["AP"]) for kind in ("box", "mask") if kind in metrics}
    except (ValueError, TypeError, KeyError) as error:
        raise FGDError(
            f"{evaluation}: holds no figures ({type(error).__name__}: {error}); expected the JSON "
            "of `fgd evaluate` for what is published"
        ) from error
    if not found:
        raise FGDError(
            f"{evaluation}: has an AP neither of boxes nor of masks; expected the JSON of `fgd "
            "evaluate` for what is published"
        )
    measured, there = str(metrics.get("sha256")), sha256(checkpoint)
    if measured != there:
        raise FGDError(
            f"{evaluation}: is of a checkpoint with the sha256 {measured[:8]}..., and {checkpoint} "
            f"has {there[:8]}...: evaluate what is published"
        )
    return {f"{kind} AP": round(100 * ap, 1) for kind, ap in found.items()}
