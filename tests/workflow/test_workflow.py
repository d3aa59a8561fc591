"""From nothing to the table of eight rows, and what runs again when something changes."""

import csv
import json
import os
import signal
import subprocess
import time

from project import tiny_suite

ARMS = 16  # eight rows, with and without their teachers


def test_all_eight_rows_are_measured(finished_run):
    project, printed = finished_run
    table = json.loads((project.folder / "results/mini/table.json").read_text())
    assert len(table["rows"]) == 8
    assert [row["missing"] for row in table["rows"]] == [[]] * 8
    with (project.folder / "results/mini/table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["kind"] for line in lines].count("mask") == 1
    markdown = (project.folder / "results/mini/table.md").read_text()
    assert "Unfinished" not in markdown
    assert markdown in printed


def test_a_row_keeps_everything_it_was_made_from(finished):
    row = finished.folder / "results/mini/fcos_r50/fgd"
    report = json.loads((row / "eval.json").read_text())
    checkpoint = row / "student.pth"
    assert os.readlink(checkpoint) == report["checkpoint"]
    assert report["checkpoint"].endswith(f"-{report['sha256'][:8]}.pth")
    for kind in ("logs", "benchmarks"):
        assert list((finished.folder / f"results/mini/{kind}/distill").glob("fcos_r50.*"))


def test_a_second_run_has_nothing_to_do(finished):
    result = finished.run()
    assert result.returncode == 0
    assert "Nothing to be done" in result.stdout


def test_evaluating_again_runs_evaluation_and_table_alone(finished):
    assert finished.plan("--forcerun=evaluate") == {"evaluate": ARMS + 4, "table": 1, "all": 1}


def test_a_changed_row_runs_again_and_no_other(finished):
    suite = tiny_suite()
    suite["mini"]["detectors"]["fcos_student"]["epochs"] = 2  # only fcos_r50 has this student
    finished.write_suite(suite)
    assert finished.plan() == {
        "compose": 2,
        "distill": 1,
        "baseline": 1,
        "transfer": 2,
        "evaluate": 2,
        "table": 1,
        "all": 1,
    }


def test_coco_is_planned_with_every_stage_of_every_row(new_project):
    assert new_project.plan(suite="coco") == {
        "check_data": 2,
        "download_backbone": 3,
        "compose_teacher": 4,
        "download_teacher": 4,
        "compose": ARMS,
        "distill": 8,
        "baseline": 8,
        "transfer": ARMS,
        "evaluate": ARMS + 4,
        "table": 1,
        "all": 1,
    }


def test_one_result_plans_its_row_alone_whatever_suite_is_configured(new_project):
    plan = new_project.plan("results/coco/retinanet_r50/fgd/eval.json")
    assert plan == {
        "check_data": 2,
        "download_backbone": 1,
        "download_teacher": 1,
        "compose": 1,
        "distill": 1,
        "transfer": 1,
        "evaluate": 1,
    }


def test_the_demo_trains_and_publishes_what_it_then_downloads(new_project):
    plan = new_project.plan("demo", suite="mini")
    assert (plan["distill"], plan["baseline"], plan["table"]) == (2, 2, 1)
    assert plan["write_mini_set"] == 1
    assert plan["train_teacher"] == plan["publish_teacher"] == plan["download_teacher"] == 2
    assert plan["train_backbone"] == plan["publish_backbone"] == plan["download_backbone"]


def test_an_unknown_key_is_refused_by_name_before_anything_runs(new_project):
    new_project.write_suite(tiny_suite() | {"sede": 1})
    result = new_project.run()
    assert result.returncode != 0
    assert "unknown key 'sede'; did you mean 'seed'" in result.stdout
    assert "Traceback" not in result.stdout
    assert not (new_project.folder / "results").exists()


def test_a_row_that_the_suite_does_not_have_is_refused_by_name(new_project):
    result = new_project.run("results/coco/fcos_r51/fgd/eval.json", suite="coco")
    assert result.returncode != 0
    assert "suite coco has no row 'fcos_r51'" in result.stdout


def test_a_killed_training_goes_on_where_it_was(copy):
    """Snakemake and its job die together, as when a machine is switched off."""
    suite = tiny_suite()
    suite["mini"]["detectors"]["fcos_student"]["epochs"] = 20
    copy.write_suite(suite)
    target = "results/mini/fcos_r50/baseline/trained.pth"
    states = copy.folder / "results/mini/fcos_r50/baseline/run"
    process = subprocess.Popen(copy.command(target), cwd=copy.folder, start_new_session=True)
    while not list(states.glob("iter_000001?.pth")):
        assert process.poll() is None, "the training ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (copy.folder / target).exists()

    assert copy.run("--unlock").returncode == 0
    result = copy.run(target)
    assert result.returncode == 0, result.stdout
    log = (copy.folder / "results/mini/logs/baseline/fcos_r50.log").read_text()
    assert "resuming from" in log
    assert (states / "iter_0000060.pth").samefile(copy.folder / target)
