"""The learning rate follows the total batch: twice the images a step, twice the rate.

Published schedules are for 16 images a step. Whoever takes more and leaves the rate as it is loses
an AP point in silence; here the rate follows by itself, and a rate that does not fit is refused.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from fgd.errors import FGDError

BASE_BATCH = 16  # images, that the rows' learning rates are for: 8 GPUs x 2
# What of mmcv's policies is a learning rate itself, not a part of the optimizer's.
_RATES = ("max_lr", "min_lr")
# What stands first in a detector's config that was written for a suite: its rate has been scaled.
_NOTE = "# The learning rate is for {} images a step; `fgd new-row` reads this line.\n"
_NOTED = re.compile(_NOTE.split("{}")[0] + r"(\d+) images a step\b")
_LONGEST_WARMUP = 0.5  # of a training; a longer one is shortened
_SHORT_WARMUP = 0.1  # of a training, to this
_FILLED_UP = 2  # steps of an epoch: the last of each orientation


def scaled(
    schedule: Mapping[str, Any], total_batch: int, base_batch: int = BASE_BATCH
) -> dict[str, Any]:
    """A schedule for steps of `base_batch` images at another number of images.

    The learning rate is scaled linearly, and so are those that the policy names. What is counted in
    iterations, the warm-up and a policy that is not by epoch, stays as long in images.

    Args:
        schedule: `optimizer` and `lr_config`, in mmcv's words; other keys stay as they are.
    """
    scale = total_batch / base_batch
    optimizer, lr_config = dict(schedule["optimizer"]), times(schedule["lr_config"], scale)
    optimizer["lr"] *= scale
    if "warmup_iters" in lr_config and not lr_config.get("warmup_by_epoch", False):
        lr_config["warmup_iters"] = round(lr_config["warmup_iters"] / scale)
    if not lr_config.get("by_epoch", True):
        lr_config |= _in_iterations(lr_config, scale)
    return dict(schedule) | {"optimizer": optimizer, "lr_config": lr_config}


def _in_iterations(lr_config: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """What a policy that counts iterations has other values of, where each has more images.

    Args:
        scale: how many times as many.
    """
    found: dict[str, Any] = {}
    for key in ("step", "periods"):
        if key in lr_config:
            value = lr_config[key]
            several = isinstance(value, list | tuple)
            found[key] = [round(n / scale) for n in value] if several else round(value / scale)
    # After n iterations mmcv's Exp has the factor gamma^n, and its Inv 1 / (1 + gamma n)^power.
    policy = str(lr_config.get("policy")).lower()
    if policy == "exp":
        found["gamma"] = lr_config["gamma"] ** scale
    elif policy == "inv":
        found["gamma"] = lr_config["gamma"] * scale
    return found


def times(lr_config: Mapping[str, Any], factor: float) -> dict[str, Any]:
    """A policy with its rates so many times as high: a number, or those of a list or dict."""

    def product(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: product(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [product(each) for each in value]
        return value if value is None else value * factor

    rates = {key: product(lr_config[key]) for key in _RATES if lr_config.get(key)}
    return dict(lr_config) | rates


def fitting_warmup(
    lr_config: Mapping[str, Any], epoch_length: int, epochs: int
) -> tuple[dict[str, Any], str | None]:
    """A policy whose warm-up is over well before the training is, and what was changed, in words.

    A schedule for a large data set on a small one would end before its learning rate is reached.

    Args:
        epoch_length: iterations of an epoch.
    """
    by_epoch = lr_config.get("warmup_by_epoch", False)
    iterations = epoch_length * epochs
    warmup = (lr_config.get("warmup_iters") or 0) * (epoch_length if by_epoch else 1)
    if lr_config.get("warmup") is None or warmup <= _LONGEST_WARMUP * iterations:
        return dict(lr_config), None
    shorter = max(1, round(_SHORT_WARMUP * iterations))
    note = (
        f"a warm-up of {warmup} iterations is too long for a training of {iterations}: shortened "
        f"to {shorter}"
    )
    return dict(lr_config) | {"warmup_by_epoch": False, "warmup_iters": shorter}, note


def fitting_periods(
    lr_config: Mapping[str, Any], epoch_length: int, epochs: int
) -> tuple[dict[str, Any], str | None]:
    """A policy of periods in iterations that has a rate to the end, and what was changed, in words.

    The last steps of an epoch are filled up, one for each orientation of images: periods that fit
    one batch are up to two iterations an epoch too short for another. The last one is lengthened.

    Args:
        epoch_length: iterations of an epoch.

    Raises:
        FGDError: they are shorter; mmcv would find out at their end.
    """
    if "periods" not in lr_config or lr_config.get("by_epoch", True):
        return dict(lr_config), None  # in epochs, as composed
    *others, last = lr_config["periods"]
    end, iterations = sum(others) + last, epoch_length * epochs
    if end >= iterations:
        return dict(lr_config), None
    if iterations - end > _FILLED_UP * epochs:
        raise FGDError(
            f"lr_config.periods has {[*others, last]}, {end} iterations, and the training has "
            f"{iterations}: give periods of as many, or in epochs (by_epoch=True)"
        )
    longer = last + iterations - end
    note = (
        f"periods of {end} iterations end before a training of {iterations}: the last lasts "
        f"{longer}, not {last}"
    )
    return dict(lr_config) | {"periods": [*others, longer]}, note


def recorded(schedule: Mapping[str, Any], base_batch: int = BASE_BATCH) -> dict[str, Any]:
    """What a config keeps of the schedule that it was scaled from."""
    lr_config = schedule["lr_config"]
    rates = {key: lr_config[key] for key in _RATES if lr_config.get(key)}
    warmup = lr_config.get("warmup_iters")
    return dict(lr=schedule["optimizer"]["lr"], images=base_batch, warmup_iters=warmup) | rates


def note(total_batch: int) -> str:
    """What a detector's file says first: for which batch its rate is.

    A comment: as a key it would make another config of each that is finished.
    """
    return _NOTE.format(total_batch)


def noted(text: str) -> int | None:
    """The images a step that a config's file notes its rate to be for; None where it notes none."""
    found = _NOTED.search(text)
    return None if found is None else int(found[1])


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
    lr_config = cfg["lr_config"]
    rates = times({key: base[key] for key in _RATES if key in base}, total / images)
    for key, rate in rates.items():
        if lr_config.get(key) != rate:
            raise FGDError(
                f"the config's lr_config.{key} is {lr_config.get(key)}, but it has to be {rate}, "
                f"for {total} images a step. Write the config anew with `fgd compose`"
            )
    said = [f"learning rate {product}", *(f"{key} {_words(rate)}" for key, rate in rates.items())]
    if (warmup := lr_config.get("warmup_iters")) != base["warmup_iters"]:
        said.append(f"warm-up {base['warmup_iters']} iterations x {images} / {total} = {warmup}")
    return "; ".join(said)


def _words(rate: Any) -> str:
    return f"{rate:g}" if isinstance(rate, float) else str(rate)


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
