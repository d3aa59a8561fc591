"""The command that examines the installation."""

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from fgd.doctor.checks import Check


@click.command()
@click.argument("topics", nargs=-1, metavar="[TOPIC]...")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(topics: tuple[str, ...], as_json: bool) -> None:
    """Examine the installation: versions, operators, GPUs, disk, locks, COCO, Slurm.

    Operators are run and locks are tried, not only looked for. Exits with 1 if a check failed;
    warnings are for what only some suites need.

    TOPIC is python, packages, torchvision, operators, gpus, disk, coco or slurm; all by default.
    """
    from dataclasses import asdict

    from fgd.doctor.checks import FAIL, TOPICS, examine

    unknown = [topic for topic in topics if topic not in TOPICS]
    if unknown:
        raise click.UsageError(f"no topic {unknown[0]!r}; there are {', '.join(TOPICS)}")
    checks = examine(topics) if as_json else examine(topics, _tell)
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=2))
    sys.exit(any(check.status == FAIL for check in checks))


def _tell(check: "Check") -> None:
    colour = {"ok": "green", "warn": "yellow", "fail": "red"}[check.status]
    indent = " " * 24
    click.echo(click.style(f"{check.status:<6}", fg=colour), nl=False)
    said = click.wrap_text(f"{check.name:<18}{check.found}", 74, "", indent[6:])
    click.echo(said.replace("\n", "\n      "))
    if check.mend:
        click.echo(click.wrap_text(f"mend it: {check.mend}", 80, indent, indent))
