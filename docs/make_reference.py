#!/usr/bin/env python
"""Writes docs/reference.md and docs/schemas from the models that refuse a wrong suite or row."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

# Descriptions are docstrings, for which pydantic reads source again: half a plan's imports, so that
# only this program asks for them, before there is any model.
BaseModel.model_config["use_attribute_docstrings"] = True

from fgd.suite.settings import RowFile, SuiteFile  # noqa: E402

HERE = Path(__file__).parent
MODELS = {"suite": SuiteFile, "row": RowFile}
_LIMITS = {
    "minimum": "{} or more",
    "exclusiveMinimum": "more than {}",
    "maximum": "{} or less",
    "const": "always `{}`",
    "pattern": "matches `{}`",
}


def files() -> dict[Path, str]:
    """The text of every file that is made, by its path."""
    made = {
        HERE / "schemas" / f"{name}.json": json.dumps(model.model_json_schema(), indent=1) + "\n"
        for name, model in MODELS.items()
    }
    return made | {HERE / "reference.md": reference()}


def reference() -> str:
    """The whole page."""
    parts = ["# Reference of suites and rows"]
    parts.append(
        "Made from `fgd/suite/settings.py` by `make docs`, as are the JSON schemas in "
        "`docs/schemas`, by which editors complete and check a file. An unknown key or a wrong "
        "value is refused by name before anything runs."
    )
    for model in MODELS.values():
        schema = model.model_json_schema()
        parts += [f"## {schema['title']}".replace("<", "&lt;"), _said(schema)]
        lines = _lines(_plain(schema, schema["$defs"]), "")
        parts += [
            "\n".join(["| key | what it is | value |", "|-----|------------|-------|", *lines])
        ]
    return "\n\n".join(parts) + "\n"


def _plain(node: Any, sections: dict[str, Any]) -> Any:
    """A schema with its sections in their places, and without null, which stands for no key."""
    if isinstance(node, list):
        return [_plain(item, sections) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _plain(value, sections) for key, value in node.items()}
    if "$ref" in node:
        section = sections[node.pop("$ref").rsplit("/", 1)[1]]
        node = _plain(section, sections) | node
    kinds = node.pop("anyOf", node.pop("oneOf", []))
    kinds = [kind for kind in kinds if kind.get("type") != "null"]
    types = [kind["type"] for kind in kinds]
    for kind in kinds:
        node = kind | node
    return node | ({"type": types} if len(types) > 1 else {})


def _lines(schema: dict, prefix: str) -> Iterator[str]:
    required = schema.get("required", [])
    for key, entry in schema.get("properties", {}).items():
        name = f"{prefix}{key}"
        needed = "" if key not in required or "." in name else " **(required)**"
        yield f"| `{name}`{needed} | {_said(entry)} | {_value(entry)} |"
        # A row's own wishes repeat the section that they stand in.
        if name != "cluster.rows":
            yield from _lines(entry, f"{name}.")
            more = entry.get("additionalProperties")
            if isinstance(more, dict):
                yield from _lines(more, f"{name}.<name>.")


def _said(entry: dict[str, Any]) -> str:
    return " ".join(entry.get("description", "").split()).replace("|", r"\|").replace("<", "&lt;")


def _value(entry: dict[str, Any]) -> str:
    kinds = entry.get("type", [])
    enum = entry.get("enum")
    parts = [] if enum else [" or ".join([kinds] if isinstance(kinds, str) else kinds)]
    if enum:
        parts.append("one of " + ", ".join(f"`{each}`" for each in enum))
    if "items" in entry:
        parts.append(f"of {_value(entry['items'])}")
    parts += [form.format(entry[key]) for key, form in _LIMITS.items() if key in entry]
    if isinstance(entry.get("default"), str | int | float) and entry["default"] != "":
        parts.append(f"by default `{json.dumps(entry['default']).strip(chr(34))}`")
    return ", ".join(part for part in parts if part).replace("|", r"\|").replace(", of ", " of ")


if __name__ == "__main__":
    # `--check` writes nothing and names what is not as it would be made.
    if sys.argv[1:] == ["--check"]:
        stale = [path for path, text in files().items() if path.read_text("utf-8") != text]
        sys.exit(" ".join(map(str, stale)) or 0)
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
