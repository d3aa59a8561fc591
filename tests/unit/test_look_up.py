"""What is misspelt or swapped is told at once: before anything is imported that takes long."""

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fgd.cli import main

STUDENT, TEACHER = "retinanet_r50_fpn_1x_coco", "retinanet_r101_fpn_1x_coco"
# Runs a command in an interpreter of its own, and fails if it imports what takes long.
QUICKLY = """
import sys
from fgd.cli import main
try:
    main(sys.argv[1:])
finally:
    slow = {"torch", "mmcv", "mmdet", "matplotlib"} & sys.modules.keys()
    if slow:
        print("imported", *sorted(slow))
"""


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A folder in which commands run."""
    monkeypatch.chdir(tmp_path)
    Path("images").mkdir()
    for name in ("train.json", "det.py", "det.pth"):
        Path(name).write_text("{}")
    return tmp_path


DATA = ("--train=train.json", "--train-images=images", "--val=train.json", "--val-images=images")
ROW = ("new-row", "--name=mine", "--out=own", *DATA)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("new-row",), "give --name: name of the row"),
        ((*ROW, "--student=fcos_r50", f"--teacher={TEACHER}"), "no model 'fcos_r50'; did you mean"),
        ((*ROW, f"--student={STUDENT}", "--teacher=t.py", "--teacher-checkpoint=det.pth"),
         "--teacher t.py: there is no such file"),
        ((*ROW, f"--student={STUDENT}", "--teacher=det.py", "--teacher-checkpoint=t.pth"),
         "--teacher-checkpoint t.pth: there is no such file"),
        ((*ROW, "--student=det.pth", f"--teacher={TEACHER}"), "--student det.pth: is a checkpoint"),
        ((*ROW, f"--student={STUDENT}", "--teacher=det.pth", "--teacher-checkpoint=det.py"),
         "--teacher det.pth: is a checkpoint; --teacher is a config (.py) or a name"),
        ((*ROW, f"--student={STUDENT}", f"--teacher={TEACHER}", "--teacher-checkpoint=det.py"),
         "--teacher-checkpoint det.py: is a config; --teacher is a config (.py) or a name"),
        ((*ROW, f"--student={STUDENT}", f"--teacher={TEACHER}", "--val=typo.json"),
         "annotation file typo.json is missing"),
        ((*ROW, f"--student={STUDENT}", f"--teacher={TEACHER}", "--img-scale=1333x800"),
         "'1333x800': expected WIDTH,HEIGHT in pixels, for example 1333,800"),
        (("zoo", "show", TEACHER, "--student=fcos_r50"), "no model 'fcos_r50'; did you mean"),
        (("zoo", "show", "fcos_r50"), "no model 'fcos_r50'; did you mean"),
        (("zoo", "match", "fcos_r50"), "no model 'fcos_r50'; did you mean"),
        (("zoo", "match", "/path/nofile.py"), "/path/nofile.py: is a path, and models go by their"),
        (("data", "show", "train.json", "images", "--student=fcos_r50", "--out=x.png"),
         "no model 'fcos_r50'; did you mean"),
        (("data", "show", "train.json", "images", "--student=typo.py", "--out=x.png"),
         "--student typo.py: there is no such file"),
        (("data", "show", "images", "train.json", "--out=x.png"),
         "they stand in each other's place"),
        (("compose", "coco", "retinanet_r500", "--arm=fgd", "--out=x"),
         "has no row 'retinanet_r500'"),
        (("check-teacher", "fcos_r50", "det.py", "det.pth", "--out=x"), "no model 'fcos_r50'"),
        (("evaluate", "det.pth", "det.py", "--out=x.json"),
         "det.pth: is a checkpoint, and a config (.py) is expected here"),
        (("evaluate", "det.py", "det.py", "--out=x.json"),
         "det.py: is a config, and a checkpoint is expected here"),
        (("export", "det.pth", "det.py", "--out=x.onnx"), "det.pth: is a checkpoint"),
        (("visualize", "train.json", "--model", "m", "det.pth", "det.py", "--out=x"),
         "det.pth: is a checkpoint"),
    ],
)  # fmt: skip
def test_a_wrong_name_is_told_at_once(there, command, said):
    before = sorted(there.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", QUICKLY, *command],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    words = " ".join((done.stderr + done.stdout).split())
    assert done.returncode == 2
    assert said in words
    assert "imported" not in words
    assert sorted(there.rglob("*")) == before


@pytest.mark.parametrize("scale", ["1333", "1333,800,3", "0,800", "-1333,800", "1333,x"])
def test_a_scale_is_two_sides(there, scale):
    result = CliRunner().invoke(
        main, ["data", "show", "train.json", "images", f"--img-scale={scale}"]
    )
    assert result.exit_code == 2
    assert "expected WIDTH,HEIGHT in pixels, for example 1333,800" in result.output
