"""The tutorial's commands, in order, as written: on a shrunken suite, or all of it.

With FGD_TUTORIAL=full (`make tutorial`) nothing is shrunken.
"""

import os
import re
import shutil
import subprocess

import yaml
from project import ROOT, tiny_suite, write_data

FULL = os.environ.get("FGD_TUTORIAL") == "full"


def commands() -> list[str]:
    """Every line of the tutorial's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(), re.S)
    return [line for block in blocks for line in block.splitlines()]


def test_the_tutorial(tmp_path):
    clone(tmp_path)
    said = {}
    for command in commands():
        done = subprocess.run(
            command,
            shell=True,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        said[command] = done.stdout
    results = tmp_path / "results/mini"
    student = results / "retinanet_r50/fgd"
    assert (results / "again.json").read_text().split('"seconds"')[0] == (
        (student / "eval.json").read_text().split('"seconds"')[0]
    )
    table = next(text for command, text in said.items() if "fgd table" in command)
    assert "retinanet_r50" in table
    assert "Unfinished" in table


def clone(folder) -> None:
    """The checkout with its set-up, nothing run in it."""
    names = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to(os.readlink(ROOT / name))
        else:
            shutil.copy(ROOT / name, target)
            # Older than the set-up that is there: `make setup` must not install the copy into it.
            os.utime(target, (1e9, 1e9))
    (folder / ".venv").symlink_to(ROOT / ".venv")
    if not FULL:
        suite = tiny_suite() | {"rows": ["retinanet_r50", "fcos_r50"]}
        (folder / "configs/suites/mini.yaml").write_text(yaml.safe_dump(suite))
        write_data(folder)
