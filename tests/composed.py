"""Digests of the configs that `fgd compose` writes, for tests/data/composed.json.

    PYTHONPATH=tests:. .venv/bin/python tests/composed.py

writes that file anew. A digest that changes there makes finished trainings start anew: that is a
decision for CHANGELOG.md, not for a refactoring.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from fgd import recipe
from fgd.checkout import root
from fgd.config_text import config_text
from fgd.suite import ARMS, Suite, load_suite

FILE = Path(__file__).parent / "data" / "composed.json"
SUITES = sorted(path.stem for path in (root() / "configs/suites").glob("*.yaml"))
SEEDS = (0, 1, 2)


def suite_of(name: str) -> Suite:
    """A suite of the repository with three seeds, whatever its file says of them."""
    return replace(load_suite(root() / f"configs/suites/{name}.yaml"), seeds=SEEDS)


def row_digests(suite: Suite, name: str) -> Iterator[tuple[str, str]]:
    """Of both files of every training of a row, by <row>/<arm>/<seed>."""
    row = recipe.load_row(name, suite)
    for arm in ARMS:
        for seed in suite.seeds:
            yield f"{name}/{arm}/{seed}", _digest(recipe.compose(suite, row, arm, seed))


def teacher_digests(suite: Suite) -> Iterator[tuple[str, str]]:
    """Of both files of every teacher, by teachers/<name>."""
    for name in dict.fromkeys(recipe.load_row(row, suite).teacher for row in suite.rows):
        yield f"teachers/{name}", _digest(recipe.compose_teacher(suite, name))


def _digest(composed: recipe.Composed) -> str:
    texts = (config_text(config) for config in composed)
    return " ".join(hashlib.sha256(text.encode()).hexdigest()[:16] for text in texts)


if __name__ == "__main__":
    found = {}
    for name in SUITES:
        suite = suite_of(name)
        found[name] = dict(teacher_digests(suite))
        for row in suite.rows:
            found[name] |= row_digests(suite, row)
    FILE.write_text(json.dumps(found, indent=1) + "\n")
