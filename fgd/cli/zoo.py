"""Commands that look into mmdet's model zoo."""

import json
from typing import Any

import click

_WIDTH = 62  # of a name, so that a line has 80 letters


@click.group()
def zoo() -> None:
    """Look into mmdet's model zoo for teachers and students."""


@zoo.command("search")
@click.argument("words", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def zoo_search(words: tuple[str, ...], as_json: bool) -> None:
    """List the models whose name holds all WORDS, the best box AP first.

    The AP is the published one on COCO val2017; models of other data come after, with theirs.
    """
    from fgd.zoo.index import COCO, models

    found = models(" ".join(words))
    if as_json:
        click.echo(json.dumps([_entry(model) for model in found], indent=2))
        return
    if not found:
        raise click.UsageError(f"no model has {' and '.join(words)} in its name")
    dataset = None
    for model in found:
        if model.dataset != dataset:
            title = "name" if model.dataset == COCO else f"\non {model.dataset or 'other data'}"
            click.echo(f"{title:<{_WIDTH}}{'box AP':>9}{'mask AP':>9}")
            dataset = model.dataset
        name = model.name if len(model.name) < _WIDTH else f"{model.name[: _WIDTH - 2]}~"
        click.echo(f"{name:<{_WIDTH}}{_points(model.box_ap):>9}{_points(model.mask_ap):>9}")


@zoo.command("show")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def zoo_show(name: str, as_json: bool) -> None:
    """Tell what a student or teacher called NAME is: AP, parameters, FPN, checkpoint.

    Builds the model to count its parameters.
    """
    from fgd.download import cached_file
    from fgd.heads import number_of_classes
    from fgd.pair import Member
    from fgd.recipe import known_config
    from fgd.zoo import find

    model = find(name)
    config = known_config(name).model
    known = Member("teacher", config).levels if config.get("neck") else None
    levels = list((known or {}).values())
    channels = {level.channels for level in levels}
    cached = cached_file(model.address)
    entry = _entry(model) | {
        "detector": config.type,
        "backbone": config.backbone.type,
        "parameters": _parameters(name, config),
        "classes": number_of_classes(config),
        "fpn_strides": [level.stride for level in levels] or None,
        "fpn_channels": channels.pop() if len(channels) == 1 else None,
        "cached": str(cached) if cached.exists() else None,
    }
    if as_json:
        click.echo(json.dumps(entry, indent=2))
        return
    for key, value in entry.items():
        if value is not None:
            text = f"{value / 1e6:.1f} million" if key == "parameters" else value
            text = ", ".join(map(str, text)) if isinstance(text, list) else text
            click.echo(f"{key.replace('_', ' '):<14}{text}")


def _entry(model: Any) -> dict[str, Any]:
    return {
        "name": model.name,
        "box_ap": model.box_ap,
        "mask_ap": model.mask_ap,
        "dataset": model.dataset,
        "config": None if model.config is None else str(model.config),
        "address": model.address,
        "sha256": model.hash8,
    }


def _parameters(name: str, model: Any) -> int:
    """Of the whole detector; nothing is downloaded for it, and no memory taken."""
    import torch
    from torch.overrides import TorchFunctionMode

    from fgd.recipe.building import build

    class RealLinspace(TorchFunctionMode):
        """Transformers of mmdet read the rates of their dropped paths off a linspace."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            device = {"device": "cpu"} if func is torch.linspace else {}
            return func(*args, **device | (kwargs or {}))

    with torch.device("meta"), RealLinspace():
        return sum(parameter.numel() for parameter in build(name, model).parameters())


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
