#!/usr/bin/env python
"""Writes docs/reference.md from the schemas that refuse a wrong suite or row."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
SCHEMAS = HERE.parent / "workflow" / "schemas"
_LIMITS = {
    "minimum": "{} or more",
    "exclusiveMinimum": "more than {}",
    "maximum": "{} or less",
    "const": "always `{}`",
    "pattern": "matches `{}`",
}


def text() -> str:
    """The whole page."""
    parts = ["# Reference of suites and rows"]
    parts.append(
        "Made from `workflow/schemas` by `make docs`. An unknown key or a wrong value is refused "
        "by name before anything runs."
    )
    for name in ("suite", "row"):
        schema = yaml.safe_load((SCHEMAS / f"{name}.schema.yaml").read_text(encoding="utf-8"))
        parts += [f"## {schema['title']}".replace("<", "&lt;"), schema["description"]]
        parts += ["\n".join(_table(schema, ""))]
    return "\n\n".join(parts) + "\n"


def _table(schema: dict, prefix: str) -> Iterator[str]:
    yield "| key | what it is | value |"
    yield "|-----|------------|-------|"
    yield from _lines(schema, prefix)


def _lines(schema: dict, prefix: str) -> Iterator[str]:
    required = schema.get("required", [])
    for key, entry in schema.get("properties", {}).items():
        name = f"{prefix}{key}"
        needed = "" if key not in required or "." in name else " **(required)**"
        said = (
            " ".join(entry.get("description", "").split()).replace("|", r"\|").replace("<", "&lt;")
        )
        yield f"| `{name}`{needed} | {said} | {_value(entry)} |"
        # A row's own wishes repeat the section that they stand in.
        if name != "cluster.rows":
            yield from _lines(entry, f"{name}.")
            more = entry.get("additionalProperties")
            if isinstance(more, dict):
                yield from _lines(more, f"{name}.<name>.")


def _value(entry: dict[str, Any]) -> str:
    kinds = entry.get("type", [])
    parts = [" or ".join([kinds] if isinstance(kinds, str) else kinds)]
    if "enum" in entry:
        parts.append("one of " + ", ".join(f"`{each}`" for each in entry["enum"]))
    if "items" in entry:
        parts.append(f"of {_value(entry['items'])}")
    parts += [form.format(entry[key]) for key, form in _LIMITS.items() if key in entry]
    return ", ".join(part for part in parts if part).replace("|", r"\|").replace(", of ", " of ")


if __name__ == "__main__":
    # `-` prints it, for a comparison.
    if sys.argv[1:] == ["-"]:
        sys.stdout.write(text())
    else:
        (HERE / "reference.md").write_text(text(), encoding="utf-8")
