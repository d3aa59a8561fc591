"""What in the results is of other settings or files is found without Snakemake's records."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from fgd import recipe
from fgd.checkout import root
from fgd.experiment import load_experiment, outdated
from fgd.files import sha256
from fgd.method import method_id
from fgd.report.page import page_text
from fgd.suite import load_suite
from fgd.table import collect, to_markdown

ROW = "retinanet_r50"


@pytest.fixture
def suite(tmp_path):
    """A suite of one row with its results in a folder of the test's."""
    mini = load_suite(root() / "configs/suites/mini.yaml")
    return replace(mini, rows=(ROW,), results=str(tmp_path / "results"))


@pytest.fixture
def run(suite) -> Path:
    """The folder of the row's distilled student, composed, trained and evaluated."""
    folder = Path(suite.results) / ROW / "fgd"
    recipe.write_row(suite, ROW, arm="fgd", out=folder)
    for name in ("student.pth", "trained.pth"):
        (folder / name).write_text("weights")
    report = {"box": {"AP": 0.3, "per_class": {}}, "images": 8, "checkpoint": "s.pth"}
    report["sha256"] = sha256(folder / "student.pth")
    report["annotations"] = "a" * 64
    (folder / "eval.json").write_text(json.dumps(report))
    made = {"config_sha256": sha256(folder / "config.py"), "method": method_id()}
    (folder / "provenance.json").write_text(json.dumps({"trained": {"made": made}}))
    return folder


def left_out(suite) -> dict[str, str]:
    return outdated.why_left_out(load_experiment(suite), suite.layout)


def test_what_is_the_suites_is_taken(suite, run):
    assert outdated.to_make_anew(load_experiment(suite)) == []
    assert left_out(suite) == {}


def test_a_config_of_other_settings_is_composed_anew_and_its_figures_are_left_out(suite, run):
    other = replace(suite, samples_per_gpu=2)
    assert outdated.to_make_anew(load_experiment(other)) == [str(run / "config.py")]
    assert list(left_out(other)) == [f"{run}/eval.json"]
    table = collect(other, Path(other.results))
    assert table.rows[0].metrics["box"].fgd_ap is None
    assert f"- {run}/eval.json:\n  its config.py was composed with other settings" in to_markdown(
        table
    )
    page = page_text(other, table, Path(other.results), run)
    assert "What was measured of fgd is left out: its config.py was composed with other" in page
    assert collect(suite, Path(suite.results)).rows[0].metrics["box"].fgd_ap == pytest.approx(30)


def test_a_training_that_was_begun_anew_has_no_figures_yet(suite, run):
    (run / "trained.pth").unlink()
    assert left_out(suite) == {}  # it was only deleted
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["trained"]["made"]["config_sha256"] = "b" * 64
    (run / "provenance.json").write_text(json.dumps(provenance))
    assert "not trained with it yet" in left_out(suite)[f"{run}/eval.json"]


def test_another_checkpoint_than_the_evaluated_one_has_no_figures(suite, run):
    (run / "student.pth").touch()  # newer, and the same
    assert left_out(suite) == {}
    (run / "student.pth").write_text("others")
    assert left_out(suite) == {f"{run}/eval.json": "its checkpoint has changed since"}


def test_figures_of_other_annotations_than_the_checked_ones_are_left_out(suite, run):
    checked = Path(suite.layout.data("val"))
    checked.parent.mkdir()
    checked.write_text(json.dumps({"sha256": "a" * 64}))
    assert left_out(suite) == {}
    checked.write_text(json.dumps({"sha256": "c" * 64}))
    assert "annotations have changed" in left_out(suite)[f"{run}/eval.json"]


def test_another_version_of_the_method_distils_anew(suite, run):
    provenance = json.loads((run / "provenance.json").read_text())
    provenance["trained"]["made"]["method"] = "of before"
    (run / "provenance.json").write_text(json.dumps(provenance))
    assert outdated.to_make_anew(load_experiment(suite)) == [str(run / "trained.pth")]


def test_annotations_that_were_moved_over_the_checked_ones_are_checked_anew(suite, tmp_path):
    experiment = load_experiment(suite)
    annotations = tmp_path / "instances_train.json"
    train = replace(experiment.splits["train"], annotations=str(annotations))
    experiment = replace(experiment, splits=experiment.splits | {"train": train})
    annotations.write_text("{}")
    report = Path(suite.layout.data("train"))
    report.parent.mkdir(parents=True)
    report.write_text(json.dumps({"sha256": sha256(annotations)}))
    assert outdated.to_make_anew(experiment) == []
    other = tmp_path / "other.json"
    other.write_text("[]")
    os.utime(other, (0, 0))
    other.replace(annotations)  # with its time, as mv, cp -p and rsync do
    assert outdated.to_make_anew(experiment) == [str(report)]
