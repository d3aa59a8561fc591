"""What a detector's config asks of a training with `custom_hooks`, and what becomes of it here."""

from mmcv import Config

from fgd.errors import FGDError

# Not run, for what they do is done here otherwise.
_DONE_OTHERWISE = {
    "NumClassCheckHook": "plans and trainings compare the classes of heads and data",
    "CheckInvalidLossHook": "fgd.training.watch looks at every loss",
    "SetEpochInfoHook": "fgd.training.epochs tells every detector that asks",
    "YOLOXModeSwitchHook": "fgd.training.yolox ends with plain images",
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
        kind = settings.pop("type")
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
