"""What a detector's config asks of a training with `custom_hooks`, and what becomes of it here."""

from collections.abc import Mapping
from typing import Any

from mmcv import Config

from fgd.data.mixing import MIXING
from fgd.errors import FGDError

_MODE_SWITCH = "YOLOXModeSwitchHook"
_PLAIN_EPOCHS = 15  # if it does not say how many
# Not run, for what they do is done here otherwise.
_DONE_OTHERWISE = {
    "NumClassCheckHook": "plans and trainings compare the classes of heads and data",
    "CheckInvalidLossHook": "fgd.training.watch looks at every loss",
    "SetEpochInfoHook": "fgd.training.epochs tells every detector that asks",
    _MODE_SWITCH: "fgd.training.yolox ends with plain images",
    "SyncNormHook": "DistributedDataParallel hands out the first process's statistics",
}


def moving_average(name: str, config: Config) -> dict | None:
    """The moving average of the weights that a detector's config asks for; None if it does not.

    Args:
        name: of the detector, for an error.
        config: its mmdet config.

    Returns:
        Arguments of `fgd.training.ema.MovingAverage`.

    Raises:
        FGDError: the config asks for a hook that is neither run here nor replaced. Left out in
            silence, it would make another training than the one that was asked for.
    """
    average = None
    for hook in config.get("custom_hooks") or ():
        settings = dict(hook)
        kind = settings.pop("type", "a hook without a type")
        settings.pop("priority", None)
        if kind == "ExpMomentumEMAHook":
            settings.pop("resume_from", None)
            average = settings
        elif kind not in _DONE_OTHERWISE:
            known = ", ".join(["ExpMomentumEMAHook", *_DONE_OTHERWISE])
            raise FGDError(
                f"{name}: custom_hooks has {kind}, which a training here does not run (known are "
                f"{known}). Take it out of the detector's config if the detector can do without"
            )
    unknown = sorted((average or {}).keys() - {"momentum", "total_iter"})
    if unknown:
        raise FGDError(
            f"{name}: custom_hooks, ExpMomentumEMAHook: unknown setting {', '.join(unknown)}; "
            "momentum and total_iter are known"
        )
    return average


def plain_epochs(name: str, config: Config, schedule: Mapping[str, Any]) -> int | None:
    """Epochs at a training's end in which a detector sees its images unmixed; None for no such end.

    Args:
        name: of the detector, for an error.
        config: its mmdet config.
        schedule: `lr_config` and `runner` of the training, which may have fewer epochs than the
            config's. Where the config's own last epochs at a low rate are the plain ones, these
            are, too.

    Raises:
        FGDError: the hook is to leave out other steps than mmdet's own, or all epochs are plain.
    """
    hooks = [hook for hook in config.get("custom_hooks") or () if hook.get("type") == _MODE_SWITCH]
    if not hooks:
        return None
    left_out = hooks[-1].get("skip_type_keys", MIXING)
    if set(left_out) != set(MIXING):
        raise FGDError(
            f"{name}: custom_hooks, {_MODE_SWITCH}: skip_type_keys is {', '.join(left_out)}; a "
            f"training here leaves out {', '.join(MIXING)}. Take the setting out of the config, or "
            "of a copy of it"
        )
    last = hooks[-1].get("num_last_epochs", _PLAIN_EPOCHS)
    if (config.get("lr_config") or {}).get("num_last_epochs") == last:
        last = (schedule.get("lr_config") or {}).get("num_last_epochs", last)
    epochs = schedule["runner"].get("max_epochs")
    if epochs is not None and last >= epochs:
        raise FGDError(
            f"{name}: custom_hooks, {_MODE_SWITCH}: images are mixed until the last {last} epochs, "
            f"and the training has {epochs}: give num_last_epochs there, in a copy of the config, "
            "or more epochs"
        )
    return last
