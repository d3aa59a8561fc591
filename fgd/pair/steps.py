"""The steps of mmdet pipelines, however deep: some stand inside of an augmentation."""

from collections.abc import Iterator
from typing import Any


def steps(node: Any, kind: str) -> Iterator[dict]:
    """Every step of a type in a config, in order."""
    if isinstance(node, dict):
        if node.get("type") == kind:
            yield node
        else:
            for value in node.values():
                yield from steps(value, kind)
    elif isinstance(node, list | tuple):
        for item in node:
            yield from steps(item, kind)
