"""A new user's path: data, teacher and student of their own, two commands, a distilled student.

Their folder and classes have names that a shell, a config or a page could take for something else;
their environment has secrets.
"""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from project import BIN, ROOT

sys.path.insert(0, str(ROOT / "tests"))
import label_formats
import own_data

FOLDER = Path('it\'s "mine"; touch ran $(touch ran) `touch ran` & é -x')
CLASSES = (
    "-round' \"; touch ran",
    "$(touch ran)\n<script>{level}</script>",
    "' + __import__('os').system('touch ran') + '",
)
SECRETS = {"WANDB_API_KEY": "5ecret-0f-wandb", "AWS_SECRET_ACCESS_KEY": "5ecret-0f-aws"}


def test_from_ones_own_folder_to_a_distilled_student(tmp_path):
    own_data.write_all(tmp_path / FOLDER, classes=CLASSES)
    environment = os.environ | SECRETS
    written = subprocess.run(
        own_data.new_row(FOLDER, "--samples-per-gpu=4"),
        cwd=tmp_path,
        env=environment,
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
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout

    results = tmp_path / "results/own"
    table = json.loads((results / "table.json").read_text())
    assert [row["missing"] for row in table["rows"]] == [[]]
    report = json.loads((results / "data/train.json").read_text())
    assert list(report["per_class"]) == list(CLASSES)
    teacher = json.loads((results / "teachers/teacher/checked.json").read_text())
    assert teacher["box"]["published"] == 0

    # Another file in the backbone's place is another start.
    backbone = tmp_path / FOLDER / "resnet18x8.pth"
    backbone.write_bytes(backbone.read_bytes() + b" ")
    planned = subprocess.run(
        [*command, f"--snakefile={ROOT / 'Snakefile'}", "--dry-run"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    for rule in ("download_backbone", "distill", "baseline"):
        assert re.search(rf"^{rule} +1$", planned.stdout, re.MULTILINE), planned.stdout

    assert not list(tmp_path.rglob("ran"))
    page = (results / "index.html").read_text()
    assert "What the student learns from" in page
    assert "<script>" not in page
    secret = [
        path for path in tmp_path.rglob("*") if path.is_file() and b"5ecret" in path.read_bytes()
    ]
    assert secret == []
    assert "5ecret" not in ran.stdout + written.stdout + written.stderr


FORMS = [
    pytest.param(form, marks=[] if form == "voc" else pytest.mark.less)
    for form in label_formats.WRITERS
]


@pytest.mark.parametrize("form", FORMS)
def test_three_commands_from_another_format_to_a_distilled_student(tmp_path, form):
    own_data.write_all(tmp_path / "mine")
    splits = label_formats.renamed(own_data.contents(tmp_path / "mine/data"))
    label_formats.WRITERS[form](tmp_path / "source", splits)
    classes = f"--classes={','.join(own_data.CLASSES)}"
    run = functools.partial(subprocess.run, cwd=tmp_path, capture_output=True, text=True)
    imported = run([BIN / "fgd", "data", "import", "source", "--out=data", classes])
    assert imported.returncode == 0, imported.stderr
    images = re.search(r"--train-images=(\S+)", imported.stdout + imported.stderr)[1]
    files = {split: (f"data/{split}.json", images) for split in ("train", "val")}
    written = run(own_data.new_row(Path("mine"), "--samples-per-gpu=4", **files))
    assert written.returncode == 0, written.stderr
    options = ["--profile", ROOT / "cluster/profiles/local", "--snakefile", ROOT / "Snakefile"]
    student = "results/own/mine/fgd/student.pth"
    ran = run([BIN / "snakemake", *options, student, "--config", "suite=own/own.yaml"])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / student).is_file()
