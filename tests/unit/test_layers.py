"""Imports go one way: workflow, cluster, fgd; and within fgd as docs/architecture.md lists it."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fgd.checkout import root

LAYERS = [
    line.strip().split(", ")
    for line in re.search(
        r"imports only from lines below.*?\n\n(.*?)\n\n",
        (root() / "docs/architecture.md").read_text(),
        re.DOTALL,
    )[1].splitlines()
]
HEIGHT = {name: -line for line, names in enumerate(LAYERS) for name in names}


def parts(package: str) -> list[str]:
    """The modules and packages of a package."""
    found = (root() / package).iterdir()
    return sorted(
        path.stem
        for path in found
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and path.stem != "__init__"
    )


def sources(path: Path) -> list[Path]:
    """The files of a module, or of a package."""
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imported(file: Path) -> Iterator[str]:
    """What a file imports, by full names, at its top or in a function."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_list_has_every_part_of_fgd():
    assert sorted(HEIGHT) == parts("fgd")


@pytest.mark.parametrize("part", parts("fgd"))
def test_a_part_of_fgd_imports_only_from_below(part):
    for file in sources(root() / "fgd" / part):
        for name in imported(file):
            words = name.split(".")
            assert words[0] not in ("cluster", "snakemake", "submitit"), f"{file}: {name}"
            if words[0] == "fgd" and words[1] != part and words[1] in HEIGHT:
                assert HEIGHT[words[1]] < HEIGHT[part], f"{file}: {name}"


@pytest.mark.parametrize("file", sources(root() / "cluster"), ids=lambda file: file.stem)
def test_cluster_knows_nothing_of_snakemake(file):
    assert not [name for name in imported(file) if name.split(".")[0] == "snakemake"]


@pytest.mark.parametrize("file", sources(root() / "fgd/loss"), ids=lambda file: file.stem)
def test_the_loss_imports_torch_alone(file):
    others = {name.split(".")[0] for name in imported(file)} - sys.stdlib_module_names
    assert others <= {"torch", "triton", "fgd"}
    inside = [name for name in imported(file) if name.startswith("fgd.")]
    assert all(name.startswith("fgd.loss") for name in inside)
