"""The learning rate follows the total batch: twice the images a step, twice the rate.

Published schedules are for 16 images a step. Whoever takes more and leaves the rate as it is loses
an AP point in silence; here the rate follows by itself, and a rate that does not fit is refused.
"""

import math
from collections.abc import Mapping
from typing import Any

from fgd.errors import FGDError

BASE_BATCH = 16  # images, that the rows' learning rates are for: 8 GPUs x 2


def scaled(
    schedule: Mapping[str, Any], total_batch: int, base_batch: int = BASE_BATCH
) -> dict[str, Any]:
    """A schedule for steps of `base_batch` images at another number of images.

    The learning rate is scaled linearly. What is counted in iterations, the warm-up and steps that
    are not by epoch, stays as long in images.

    Args:
        schedule: `optimizer` and `lr_config`, in mmcv's words; other keys stay as they are.
    """
    scale = total_batch / base_batch
    optimizer, lr_config = dict(schedule["optimizer"]), dict(schedule["lr_config"])
    optimizer["lr"] *= scale
    if "warmup_iters" in lr_config and not lr_config.get("warmup_by_epoch", False):
        lr_config["warmup_iters"] = round(lr_config["warmup_iters"] / scale)
    if "step" in lr_config and not lr_config.get("by_epoch", True):
        step = lr_config["step"]
        lr_config["step"] = (
            [round(each / scale) for each in step]
            if isinstance(step, list | tuple)
            else round(step / scale)
        )
    return dict(schedule) | {"optimizer": optimizer, "lr_config": lr_config}


def recorded(schedule: Mapping[str, Any], base_batch: int = BASE_BATCH) -> dict[str, Any]:
    """What a config keeps of the schedule that it was scaled from."""
    warmup = schedule["lr_config"].get("warmup_iters")
    return dict(lr=schedule["optimizer"]["lr"], images=base_batch, warmup_iters=warmup)


def of_config(cfg: Mapping[str, Any]) -> str:
    """How a training's learning rate follows from its total batch, in words.

    Args:
        cfg: a training config, as `fgd compose` writes it.

    Raises:
        FGDError: the rate is not the one that follows.
    """
    base = cfg.get("recipe", {}).get("learning_rate")
    if base is None:
        return f"learning rate {cfg['optimizer']['lr']:g}, the suite's own"
    total, images = cfg["total_batch"], base["images"]
    right = base["lr"] * total / images
    product = f"{base['lr']:g} x {total} images / {images} images = {right:g}"
    if not math.isclose(cfg["optimizer"]["lr"], right, rel_tol=1e-6):
        raise FGDError(
            f"the config's learning rate is {cfg['optimizer']['lr']:g}, but it has to be {product}."
            " Write the config anew with `fgd compose`; the rate follows the suite's gpus and "
            "samples_per_gpu"
        )
    warmup = cfg["lr_config"].get("warmup_iters")
    if warmup == base["warmup_iters"]:
        return f"learning rate {product}"
    return (
        f"learning rate {product}; warm-up {base['warmup_iters']} iterations x {images} / {total} "
        f"= {warmup}"
    )


def check_stated(
    origin: str, *, stated: float, lr: float, base_batch: int, gpus: int, samples_per_gpu: int
) -> None:
    """Refuse a learning rate that somebody wrote down for another total batch.

    Args:
        origin: what the error names as the origin of `stated`.
        lr: the rate for steps of `base_batch` images.

    Raises:
        FGDError: with the arithmetic.
    """
    total = gpus * samples_per_gpu
    right = lr * total / base_batch
    if math.isclose(stated, right, rel_tol=1e-6):
        return
    fitting = stated / lr * base_batch
    raise FGDError(
        f"{origin} is {stated:g}, but {gpus} GPUs x {samples_per_gpu} images = {total} images a "
        f"step, and {lr:g} x {total} / {base_batch} = {right:g}. The learning rate follows the "
        f"total batch: leave it out or write {right:g}, or change gpus and samples_per_gpu "
        f"({stated:g} fits {fitting:g} images a step)"
    )
