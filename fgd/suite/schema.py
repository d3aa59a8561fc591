"""Refuses a configuration that its JSON schema does not allow, naming the key."""

from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from fgd.checkout import root
from fgd.errors import FGDError, suggestion


def validate(value: Any, schema: str, place: str) -> None:
    """Check `value` against workflow/schemas/<schema>.schema.yaml.

    Args:
        place: what the error names as the origin of `value`, for example a file.

    Raises:
        FGDError: a key is unknown or missing, or its value is not allowed.
    """
    path = root() / "workflow" / "schemas" / f"{schema}.schema.yaml"
    validator = Draft202012Validator(yaml.safe_load(path.read_text(encoding="utf-8")))
    error = best_match(validator.iter_errors(value))
    if error is not None:
        raise FGDError(f"{place}: {_explain(error)}")


def _explain(error: ValidationError) -> str:
    where = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        unknown = sorted(key for key in error.instance if key not in known)
        inside = f" in {where}" if where else ""
        return f"unknown key {unknown[0]!r}{inside}{suggestion(unknown[0], known)}"
    return f"{where or 'the file'}: {error.message}"
