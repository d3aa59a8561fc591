"""setup/install.sh until it would fetch the first package."""

import os
import re
import shutil
import subprocess
import sys
import tomllib

import make_wheelhouse
import pytest

from fgd.checkout import root

# A Python that makes an environment without pip, which alone would take seconds.
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    [ ! -L "$3" ] || { echo "Unable to create directory '$3'" >&2; exit 1; }  # as venv says it
    exec %s -m venv --without-pip "$3"
fi
exec %s "$@"
"""


@pytest.fixture
def clone(tmp_path):
    """A checkout, as far as set-up reads it before it fetches anything."""
    folder = tmp_path / "clone"
    shutil.copytree(root() / "setup", folder / "setup")
    (tmp_path / "python").write_text(PYTHON % (sys.executable, sys.executable))
    (tmp_path / "python").chmod(0o755)
    return folder


def install(clone, *operators, **environment):
    said = {"PYTHON": str(clone.parent / "python"), "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        [clone / "setup" / "install.sh", *operators],
        env=os.environ | said | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    return done.stderr


def test_what_the_nodes_cannot_run_is_refused_before_anything_is_made(clone):
    said = install(clone, "auto", TORCH="cu13", GPU="v100", DRIVER="535")
    assert said.startswith("error: torch 2.")
    assert "`make setup` (torch 2." in said
    assert said.count("\n") == 1
    assert sorted(path.name for path in clone.iterdir()) == ["setup"]


def test_the_environment_can_lie_elsewhere(clone, tmp_path):
    elsewhere = tmp_path / "scratch" / "fgd"
    assert "pip could not install uv" in install(clone, "cpu", VENV=str(elsewhere))
    assert (clone / ".venv").readlink() == elsewhere
    assert (elsewhere / "pyvenv.cfg").exists()
    # Said again, it is the same one; another is not put in its place.
    assert "pip could not install uv" in install(clone, "cpu", VENV=str(elsewhere))
    said = install(clone, "cpu", VENV=str(tmp_path / "other"))
    assert said.startswith(f"error: .venv is there, and is not {tmp_path}/other: remove it")
    assert not (tmp_path / "other").exists()


def test_a_place_that_depends_on_where_one_stands_is_refused(clone):
    assert install(clone, "cpu", VENV="scratch").startswith("error: VENV=scratch: give a whole")
    assert not (clone / ".venv").exists()


def test_all_say_the_same_of_which_pythons_there_are():
    set_up = (root() / "setup/install.sh").read_text()
    low, high = re.search(r"\((3, \d+)\) <= sys.version_info < \((3, \d+)\)", set_up).groups()
    project = tomllib.loads((root() / "pyproject.toml").read_text())["project"]
    said = f">={low},<{high}".replace(", ", ".")
    assert project["requires-python"] == said
    doctor = (root() / "fgd/doctor/checks.py").read_text()
    assert f"({low}) <= sys.version_info < ({high})" in doctor
    newest = f"3.{int(high.removeprefix('3, ')) - 1}"
    assert f"expected {low.replace(', ', '.')} to {newest}" in doctor
    assert make_wheelhouse.PYTHONS[-1] == newest
