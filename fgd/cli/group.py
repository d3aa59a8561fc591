"""What all commands share: their order in `--help`, and errors without a traceback."""

import errno
import sys
from typing import Any

import click

from fgd.errors import FGDError, not_installed

# Options of what detects on a test set.
BATCH = click.option(
    "--batch", type=click.IntRange(min=1), help="Images at a time; else the config's."
)
PRECISION = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="bf16 and fp16: mixed precision.",
)


def scale(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Any:
    """The callback of an option of width and height."""
    if value is None:
        return None
    sides = _numbers(value)
    if len(sides) != 2 or min(sides) < 1:
        raise click.BadParameter(
            f"{value!r}: expected WIDTH,HEIGHT in pixels, for example 1333,800", param=parameter
        )
    return sides


def numbers(text: str, parameter: click.Parameter) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    if found := _numbers(text):
        return found
    raise click.BadParameter(
        f"{text!r}: expected whole numbers with commas between them, for example 0,1,2",
        param=parameter,
    )


def _numbers(text: str) -> tuple[int, ...]:
    """The numbers of a text; none where something else stands in it."""
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        return ()


_ROOM = "Make room and run the same again"
# What the disk refuses that no code can mend, and what to do.
_OF_THE_DISK = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EROFS: "Give another place, or have it mounted for writing",
    errno.EACCES: "Give another place, or have its owner let you in",
}


class Group(click.Group):
    """Commands in the order of a run; an error of the user's is a line, not a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except FGDError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] in ("fgd", "cluster"):
                raise
            click.echo(f"error: {not_installed('this command', error)}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except OSError as error:
            if error.errno not in _OF_THE_DISK:
                raise
            origin = f"{error.filename}: " if error.filename else ""
            click.echo(f"error: {origin}{error.strerror}. {_OF_THE_DISK[error.errno]}", err=True)
            sys.exit(2)
