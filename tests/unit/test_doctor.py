"""`fgd doctor` where something is broken on purpose, and the rest of the command line's manners."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FGD = Path(sys.executable).with_name("fgd")


def fgd(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [FGD, *words], cwd=cwd, env=os.environ | environment, capture_output=True, text=True
    )


def examine(*topics: str, cwd: Path, **environment: str) -> tuple[int, dict[str, dict]]:
    """The exit code, and the checks by name."""
    result = fgd("doctor", *topics, "--json", cwd=cwd, **environment)
    assert "Traceback" not in result.stderr
    return result.returncode, {check["name"]: check for check in json.loads(result.stdout)}


def test_the_packages_of_this_installation_are_the_locked_ones(tmp_path):
    status, checks = examine("python", "packages", cwd=tmp_path)
    assert (status, checks["packages"]["status"]) == (0, "ok"), checks


def test_without_operators(tmp_path):
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv/__init__.py").write_text("raise ImportError('no module named mmcv._ext')\n")
    status, checks = examine("operators", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert status == 1
    check = checks["operators, CPU"]
    assert (check["status"], check["mend"][:10]) == ("fail", "make setup")
    assert "no module named mmcv._ext" in check["found"]


def test_operators_that_crash_are_a_line_of_the_report(tmp_path):
    (tmp_path / "mmcv").mkdir()
    (tmp_path / "mmcv/__init__.py").write_text("import os; os.kill(os.getpid(), 11)\n")
    status, checks = examine("operators", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert status == 1
    assert checks["operators, CPU"]["found"] == "crashed with signal 11"


def test_a_wrong_torchvision(tmp_path):
    record = tmp_path / "torchvision-0.14.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.14.0\n")
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    status, checks = examine("packages", "torchvision", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert status == 1
    assert "torchvision 0.14.0, locked 0.2" in checks["packages"]["found"]
    assert "torchvision::nms does not exist" in checks["torchvision"]["found"]
    assert "make setup" in checks["torchvision"]["mend"]


def test_missing_and_incomplete_coco(tmp_path):
    status, checks = examine("coco", cwd=tmp_path)
    assert (status, checks["COCO"]["status"]) == (0, "warn")
    (tmp_path / "data/coco/val2017").mkdir(parents=True)
    status, checks = examine("coco", cwd=tmp_path)
    assert status == 1
    assert "0 of 5000 images in data/coco/val2017" in checks["COCO"]["found"]
    assert "val2017.zip" in checks["COCO"]["mend"]


def test_a_full_disk(disk, tmp_path):
    status, checks = examine("disk", cwd=disk("1m"), FGD_CACHE=str(tmp_path / "cache"))
    assert status == 1
    assert "8 MiB could not be written: it is full" in checks["disk, here"]["found"]
    assert checks["locks, cache"]["status"] == "ok"


def test_a_slurm_that_does_not_answer(tmp_path):
    for name, script in (
        ("sbatch", ""),
        ("sinfo", "echo 'Unable to contact slurm controller' >&2"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    status, checks = examine("slurm", cwd=tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (status, checks["Slurm"]["status"]) == (0, "warn")
    assert "Unable to contact slurm controller" in checks["Slurm"]["found"]


def test_slurms_commands_without_a_cluster(tmp_path):
    for name in ("sbatch", "sinfo"):
        words = "sinfo: fatal: Could not establish a configuration source"
        (tmp_path / name).write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    status, checks = examine("slurm", cwd=tmp_path, PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (status, checks["Slurm"]["status"]) == (0, "warn")


def test_the_report_for_people_says_how_to_mend(tmp_path):
    result = fgd("doctor", "coco", cwd=tmp_path)
    assert result.stdout.startswith("warn  COCO")
    assert "mend it: unpack train2017.zip" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= max(80, len(str(tmp_path)) + 40)
    wrong = fgd("doctor", "cocoa", cwd=tmp_path)
    assert wrong.returncode == 2
    assert "no topic 'cocoa'" in wrong.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(tmp_path, shell):
    result = fgd("completion", shell, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"_FGD_COMPLETE={shell}_complete" in result.stdout


def test_completion_completes(tmp_path):
    result = fgd(
        cwd=tmp_path, _FGD_COMPLETE="bash_complete", COMP_WORDS="fgd zoo s", COMP_CWORD="2"
    )
    assert result.stdout.split() == ["plain,search", "plain,show"]


def test_the_zoo_is_searched_by_words_and_sorted_by_ap(tmp_path):
    result = fgd("zoo", "search", "retinanet", "r101", cwd=tmp_path)
    lines = result.stdout.splitlines()
    assert max(len(line) for line in lines) <= 80
    points = [float(line.split()[0]) for line in lines[1:]]
    assert points == sorted(points, reverse=True)
    entries = json.loads(fgd("zoo", "search", "retinanet", "r101", "--json", cwd=tmp_path).stdout)
    assert [entry["box_ap"] for entry in entries] == points
    assert [entry["name"] for entry in entries] == [line.split()[2] for line in lines[1:]]
    assert fgd("zoo", "search", "no-such-model", cwd=tmp_path).returncode == 2


def test_a_model_of_the_zoo_with_its_parameters(tmp_path):
    shown = fgd("zoo", "show", "retinanet_r50_fpn_2x_coco", "--json", cwd=tmp_path)
    entry = json.loads(shown.stdout)
    assert entry["fpn_strides"] == [8, 16, 32, 64, 128]
    # mmdet's own tool says 37.74 million, without the frozen stem (9,536) and stage (215,808).
    assert round((entry["parameters"] - 9_536 - 215_808) / 1e6, 2) == 37.74
    assert (entry["box_ap"], entry["classes"]) == (37.4, 80)
