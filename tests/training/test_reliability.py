"""What `make reliability` counts, in small."""

import pytest
import yaml
from reliability import kills, steps, suites

from fgd.checkout import root


def test_wrong_suites_are_refused_without_a_traceback(tmp_path):
    sound = yaml.safe_load((root() / "configs/suites/mini.yaml").read_text())
    sound["rows"] = ["retinanet_r50"]
    counts = suites.count(tmp_path, sound, 12)
    assert sum(counts.values()) == 12
    assert counts["traceback"] == 0, (tmp_path / "bad.txt").read_text()


def test_memory_and_files_stay_flat(tmp_path):
    used = steps.count(tmp_path / "run", 400)
    assert used["late files"] <= used["early files"]
    assert used["late MB"] < used["early MB"] + 50


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_killed_runs_end_as_the_undisturbed_one(tiny_suite, tmp_path):
    counts = kills.count(tmp_path, tiny_suite, wanted=2)
    assert counts["kills"] == 2
    assert counts["different"] == 0
