"""An mmdet config as the text of its file."""

import ast
from pprint import pformat
from typing import Any

from mmcv import Config

from fgd.errors import FGDError


def config_text(config: Config) -> str:
    """The Python file that reads back as `config`.

    mmcv's own `pretty_text` puts strings between quotes as they are: a class or a folder whose name
    has a quote in it would become code, which runs when the file is read.

    Raises:
        FGDError: a value is no plain data.
    """
    return "".join(
        f"{key} = {_literal(key, value)}\n" for key, value in config._cfg_dict.to_dict().items()
    )


def _literal(key: str, value: Any) -> str:
    text = pformat(value, width=100 - len(key) - 3, sort_dicts=False)
    # mmcv replaces what stands in double braces when it reads a file. Outside of strings there are
    # none in plain data.
    text = text.replace("{{", "{\\x7b")
    try:
        sound = ast.literal_eval(text) == value
    except (ValueError, SyntaxError):
        sound = False
    if not sound:
        raise FGDError(f"the config's {key!r} holds something else than plain data: {value!r:.200}")
    return text
