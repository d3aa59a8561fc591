"""What all commands share: their order in `--help`, and errors without a traceback."""

import errno
import sys
from pathlib import Path

import click

from fgd.errors import FGDError

# Arguments: a file that has to be there, and a path to write to.
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
OUT = click.Path(path_type=Path)


class Group(click.Group):
    """Commands in the order of a run; an error of the user's is a line, not a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context):
        """Run a command."""
        try:
            return super().invoke(ctx)
        except FGDError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(2)
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                raise
            place = f"{error.filename}: " if error.filename else ""
            words = f"{place}{error.strerror}. Make room and run the same again"
            click.echo(f"error: {words}", err=True)
            sys.exit(2)
