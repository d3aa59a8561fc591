"""A new user's path: data, teacher and student of their own, two commands, a distilled student."""

import json
import subprocess
import sys
from pathlib import Path

from project import BIN, ROOT

sys.path.insert(0, str(ROOT / "tests"))
import own_data


def test_from_ones_own_folder_to_a_distilled_student(tmp_path):
    own_data.write_all(tmp_path / "mine")
    written = subprocess.run(
        own_data.new_row(Path("mine"), "--samples-per-gpu=4"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert written.returncode == 0, written.stderr
    # The command that it prints, in a project of its own.
    command = written.stdout.split("Distil it:")[1].split()
    assert command[:2] == [".venv/bin/snakemake", "--profile"]
    command[0] = str(BIN / "snakemake")
    command[2] = str(ROOT / "cluster/profiles/local")
    ran = subprocess.run(
        [*command, f"--snakefile={ROOT / 'Snakefile'}"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout

    results = tmp_path / "results/own"
    table = json.loads((results / "table.json").read_text())
    assert [row["missing"] for row in table["rows"]] == [[]]
    report = json.loads((results / "data/train.json").read_text())
    assert list(report["per_class"]) == list(own_data.CLASSES)
    teacher = json.loads((results / "teachers/teacher/checked.json").read_text())
    assert teacher["box"]["published"] == 0
