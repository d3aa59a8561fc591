"""The one exception that is meant for the user's eyes."""


class FGDError(Exception):
    """Something the user gave is wrong.

    The message names the file, key or tensor, says what was expected and what to do. The command
    line prints it as `error: <message>` without a traceback and exits with status 2.
    """
