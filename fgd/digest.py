"""A hash of composed configs: of what they say, not of how their files are written.

Without mmcv: planning compares the files in the results with what a suite would compose.
"""

import ast
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def digest(configs: Iterable[dict[str, Any]]) -> str:
    """Sixteen hex digits of configs that are plain data."""
    text = json.dumps(list(configs), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def digest_of_files(files: Iterable[str]) -> str | None:
    """That of the configs in files as `fgd.config_text` writes them; None where one is no such."""
    try:
        return digest([_content(Path(file)) for file in files])
    except (OSError, ValueError, SyntaxError, TypeError):
        return None


def _content(file: Path) -> dict[str, Any]:
    found = {}
    for line in ast.parse(file.read_text(encoding="utf-8")).body:
        if not (isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name)):
            raise ValueError(f"{file}: is no composed config")
        found[line.targets[0].id] = ast.literal_eval(line.value)
    return found
