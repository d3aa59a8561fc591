"""Whether mmcv and torch take a schedule's settings, found out before any training starts."""

import inspect
from typing import Any

from mmcv.runner import HOOKS
from mmcv.runner.optimizer import OPTIMIZERS

from fgd.errors import FGDError


def check_buildable(origin: str, schedule: dict) -> None:
    """Refuse an optimizer or a policy that cannot be built.

    A training would find out after its teacher was trained and its job had waited.

    Args:
        origin: for an error.
        schedule: `optimizer` and `lr_config`, in mmcv's words.

    Raises:
        FGDError: there is no such class, or it has no such setting.
    """
    lr_config = dict(schedule["lr_config"])
    policy = lr_config.pop("policy", None)
    if not isinstance(policy, str):
        raise FGDError(f"{origin}: lr_config has no policy; for example policy='step'")
    _try(f"{origin}: lr_config", _policy(policy), f"policy {policy}", lr_config)
    optimizer = dict(schedule["optimizer"])
    for key in ("constructor", "paramwise_cfg"):
        optimizer.pop(key, None)
    kind = str(optimizer.pop("type", None))
    known = OPTIMIZERS.get(kind)
    # Bound, and not built: torch's optimizers import its compiler.
    bind = known and inspect.signature(known).bind
    _try(f"{origin}: optimizer", bind, kind, {"params": []} | optimizer)


def _policy(name: str) -> Any:
    """mmcv's hook of a policy, or one that mmdet adds to them, as YOLOX's; None for none."""
    hook = f"{name.title() if name == name.lower() else name}LrUpdaterHook"
    if HOOKS.get(hook) is None:
        import mmdet.core.hook  # noqa: F401  (registers them; of all rows a few need it)
    return HOOKS.get(hook)


def _try(origin: str, build: Any, name: str, settings: dict[str, Any]) -> None:
    if build is None:
        raise FGDError(f"{origin} has the {name}, which mmcv does not know")
    try:
        build(**settings)
    except Exception as error:  # mmcv asserts, Python misses or does not know an argument
        said = {key: value for key, value in settings.items() if key != "params"}
        reason = str(error).partition("__init__() ")[2] or str(error) or repr(error)
        raise FGDError(
            f"{origin} of the {name} cannot be built with {said}: {reason}. A row's settings are "
            "merged over the student's own where both are of one kind"
        ) from error
