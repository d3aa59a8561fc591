"""Commands that look into mmdet's model zoo."""

import json
from typing import Any

import click

from fgd.cli import look_up


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
            if model.dataset != COCO:
                click.echo(f"\non {model.dataset or 'other data'}")
            click.echo("box AP  mask AP  name")
            dataset = model.dataset
        # Names come last, for some are long and all are to be copied.
        click.echo(f"{_points(model.box_ap):>6}{_points(model.mask_ap):>9}  {model.name}")


@zoo.command("match")
@click.argument("student")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Of teachers.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def zoo_match(student: str, limit: int, as_json: bool) -> None:
    """List the models that STUDENT can learn from, the best AP first.

    It goes by their configs: classes, pixels, and levels of the same stride. Those that are listed
    are built, to compare neck and head. The first call reads all configs.
    """
    from fgd.teachers import all_facts, built, compared, match

    look_up.model(student)
    matches = match(student, all_facts(_say))
    listed = matches.teachers[:limit]
    models = built([student, *(each.facts.name for each in listed)], _say)
    shown = [compared(matches.student, each, models) for each in listed]
    sizes = {name: None if each is None else each.parameters for name, each in models.items()}
    if as_json:
        found = [_teacher(each) | {"parameters": sizes[each.facts.name]} for each in shown]
        content = {"student": student, "teachers": found, "others": dict(matches.others)}
        click.echo(json.dumps(content, indent=2))
        return
    click.echo("box AP  mask  params  strides  head  teacher")
    for each in shown:
        facts = each.facts
        size = sizes[facts.name]
        click.echo(
            f"{_points(facts.box_ap):>6}{_points(facts.mask_ap):>6}"
            f"{'-' if size is None else f'{size / 1e6:.1f}M':>8}"
            f"{f'{min(each.strides):g}-{max(each.strides):g}':>9}"
            f"{'no' if each.own else 'yes':>6}  {facts.name}"
        )
    if len(shown) < len(matches.teachers):
        click.echo(f"and {len(matches.teachers) - len(shown)} more (--limit)")
    click.echo(
        "\nhead: whether the student can start with the teacher's neck and head; why not:\n"
        f"    fgd zoo show TEACHER --student {student}\n\nOthers do not fit:"
    )
    for reason, number in matches.others.most_common():
        click.echo(f"{number:>5} {reason}")


def _teacher(teacher: Any) -> dict[str, Any]:
    return {
        "name": teacher.facts.name,
        "box_ap": teacher.facts.box_ap,
        "mask_ap": teacher.facts.mask_ap,
        "levels": teacher.levels,
        "strides": list(teacher.strides),
        "inherit": not teacher.own,
        "inherit_obstacle": teacher.own or None,
    }


def _say(line: str) -> None:
    click.echo(line, err=True)


@zoo.command("show")
@click.argument("name")
@click.option("--student", help="Also tell whether NAME can teach this model.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def zoo_show(name: str, student: str | None, as_json: bool) -> None:
    """Tell what a student or teacher called NAME is: AP, parameters, FPN, checkpoint.

    Builds the model to count its parameters.
    """
    from fgd.zoo import find

    look_up.model(name)
    if student is not None:
        look_up.model(student)
    model = find(name)
    from fgd.download import cached_file
    from fgd.heads import number_of_classes
    from fgd.pair import Member
    from fgd.recipe import known_config
    from fgd.recipe.building import count_parameters

    config = known_config(name).model
    known = Member("teacher", config).levels if config.get("neck") else None
    levels = list((known or {}).values())
    channels = {level.channels for level in levels}
    cached = cached_file(model.address)
    entry = _entry(model) | {
        "detector": config.type,
        "backbone": config.backbone.type,
        "parameters": count_parameters(name, config),
        "classes": number_of_classes(config),
        "fpn_strides": [level.stride for level in levels] or None,
        "fpn_channels": channels.pop() if len(channels) == 1 else None,
        "cached": str(cached) if cached.exists() else None,
    }
    if student is not None:
        entry |= _as_teacher(name, student)
    if as_json:
        click.echo(json.dumps(entry, indent=2))
        return
    for key, value in entry.items():
        if value is not None:
            text = f"{value / 1e6:.1f} million" if key == "parameters" else value
            text = ", ".join(map(str, text)) if isinstance(text, list) else text
            click.echo(f"{key.replace('_', ' '):<14}{text}")


def _as_teacher(name: str, student: str) -> dict[str, Any]:
    """What `zoo match` says of one teacher."""
    from fgd.teachers import all_facts, built, compared, judged, match

    known = all_facts(_say)
    match(student, {student: known[student]} if student in known else known)  # refuses a wrong name
    teacher = judged(known[student], known[name])
    if teacher.reason:
        return {"teaches": f"not {student}: {teacher.reason}"}
    teacher = compared(known[student], teacher, built([student, name], _say))
    levels = ", ".join(f"{mine} from {its}" for mine, its in (teacher.levels or {}).items())
    return {
        "teaches": f"{student}, its levels {levels}",
        "neck and head": teacher.own or "can be inherited",
    }


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


def _points(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
