"""Where a suite stands: from the files that its trainings leave and from their jobs."""

import dataclasses
import json
import os

import pytest

from cluster import record
from cluster.executors import EXECUTORS
from cluster.record import Record
from cluster.settings import ClusterSettings
from cluster.slurm import JobState
from cluster.status import Line, as_json, as_table, lines
from fgd import progress
from fgd.checkout import root
from fgd.suite import load_suite

TEACHER = "retinanet_x101_64x4d_fpn_1x_coco"
ENTRY = {"iter": 40, "max_iters": 375, "epoch": 1, "max_epochs": 5, "loss": 1.25, "eta_seconds": 83}


class Jobs(dict):
    """In Slurm's place: the states of jobs by their ids."""

    def state(self, job_id, name, folder):
        return self[job_id]


def suite_of(name, results):
    suite = load_suite(root() / f"configs/suites/{name}.yaml")
    return dataclasses.replace(suite, rows=("retinanet_r50", "retinanet_r101"), results=results)


@pytest.fixture
def suite(tmp_path):
    """Two rows of the mini suite and their teacher; nothing has run."""
    return suite_of("mini", str(tmp_path))


@pytest.fixture
def jobs(monkeypatch):
    jobs = Jobs()
    monkeypatch.setitem(EXECUTORS, "slurm", jobs)
    return jobs


@pytest.fixture
def student(tmp_path):
    """The folder of retinanet_r50's distillation."""
    folder = tmp_path / "retinanet_r50" / "fgd"
    folder.mkdir(parents=True)
    return folder


def submit(folder, job_id, end=None):
    log = Record("abc", "slurm")
    attempt = log.begin("mini.retinanet_r50.fgd", ClusterSettings())
    attempt.job_id, attempt.end = job_id, end
    log.save(folder / "jobs")


def train(folder, **changes):
    (folder / "run").mkdir(parents=True)
    progress.append(folder / "run", ENTRY | changes)


def evaluate(folder, ap):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "eval.json").write_text(json.dumps({"box": {"AP": ap}}))


def line_of(suite, row="retinanet_r50", arm="fgd"):
    return next(line for line in lines(suite) if (line.row, line.arm) == (row, arm))


# --- Stages ---


def test_a_detector_of_masks_alone_shows_its_mask_ap(suite, student):
    (student / "trained.pth").touch()
    (student / "eval.json").write_text(json.dumps({"mask": {"AP": 0.331}}))
    assert (line_of(suite).stage, line_of(suite).ap) == ("evaluated", pytest.approx(33.1))


def test_a_suite_that_has_not_begun_is_planned_teachers_first(suite):
    found = lines(suite)
    assert [(line.row, line.arm) for line in found] == [
        (TEACHER, "teacher"),
        ("retinanet_r50", "fgd"),
        ("retinanet_r50", "baseline"),
        ("retinanet_r101", "fgd"),
        ("retinanet_r101", "baseline"),
    ]
    assert {line.stage for line in found} == {"planned"}


def test_a_job_that_waits_is_queued(suite, student, jobs):
    submit(student, "17")
    jobs["17"] = JobState("PENDING", reason="Resources")
    line = line_of(suite)
    assert (line.stage, line.job_id, line.state, line.nodes) == ("queued", "17", "pending", None)


def test_a_job_that_runs_tells_where_and_how_far(suite, student, jobs):
    submit(student, "17")
    train(student)
    jobs["17"] = JobState("RUNNING", nodes="n[1-2]")
    line = line_of(suite)
    assert (line.stage, line.state, line.nodes) == ("training", "running", "n[1-2]")
    assert (line.epoch, line.max_epochs, line.iter, line.max_iters) == (1, 5, 40, 375)
    assert (line.loss, line.eta_seconds) == (1.25, 83)


def test_other_trainings_are_not_taken_for_it(suite, student, jobs):
    submit(student, "17")
    jobs["17"] = JobState("RUNNING", nodes="n1")
    assert line_of(suite, arm="baseline").stage == "planned"
    assert line_of(suite, row="retinanet_r101").stage == "planned"


def test_a_teacher_of_the_suite_is_a_training_like_any_other(suite, tmp_path, jobs):
    folder = tmp_path / "training" / "teachers" / TEACHER
    submit(folder, "17")
    train(folder)
    jobs["17"] = JobState("RUNNING", nodes="n1")
    line = line_of(suite, TEACHER, "teacher")
    assert (line.stage, line.job_id, line.epoch) == ("training", "17", 1)


def test_a_job_that_its_launcher_saw_fail_has_failed(suite, student, jobs):
    submit(student, "17", end="out_of_memory, exit 0:125")
    line = line_of(suite)
    assert (line.stage, line.state) == ("failed", "out_of_memory, exit 0:125")


def test_a_job_that_failed_while_nobody_watched_has_failed(suite, student, jobs):
    submit(student, "17")
    train(student)
    jobs["17"] = JobState("CANCELLED", nodes="n1")
    line = line_of(suite)
    assert (line.stage, line.state, line.eta_seconds) == ("failed", "cancelled", None)


def test_a_job_that_was_cancelled_by_ctrl_c_has_stopped(suite, student, jobs):
    submit(student, "17", end="cancelled by Ctrl-C")
    train(student)
    assert line_of(suite).stage == "stopped"


@pytest.mark.parametrize("end", [None, "completed"])
def test_a_job_that_finished_without_a_launcher_is_trained(suite, student, jobs, end):
    submit(student, "17", end=end)
    train(student, epoch=5, iter=375, eta_seconds=0)
    (student / "run" / "final.pth").touch()
    jobs["17"] = JobState("COMPLETED", nodes="n1")
    line = line_of(suite)
    assert (line.stage, line.state, line.eta_seconds) == ("trained", "completed", None)


def test_the_result_of_another_recipe_is_not_taken_for_a_waiting_jobs(suite, student, jobs):
    submit(student, "17")
    train(student)
    (student / "run" / "final.pth").touch()
    jobs["17"] = JobState("PENDING", reason="Priority")
    assert line_of(suite).stage == "queued"


def test_a_training_without_a_job_has_stopped(suite, student):
    train(student)
    line = line_of(suite)
    assert (line.stage, line.epoch, line.eta_seconds) == ("stopped", 1, None)


def test_a_training_that_is_done_is_trained(suite, student, jobs):
    submit(student, "17", end="completed")
    train(student, epoch=5, iter=375, eta_seconds=0)
    (student / "trained.pth").touch()
    line = line_of(suite)
    assert (line.stage, line.job_id, line.state, line.epoch) == ("trained", "17", "completed", 5)


def test_an_evaluated_training_has_its_figure(suite, student):
    (student / "trained.pth").touch()
    evaluate(student, 0.3146)
    line = line_of(suite)
    assert line.stage == "evaluated"
    assert line.ap == pytest.approx(31.46)


def test_a_training_that_runs_again_does_not_have_the_figure_of_the_one_before(
    suite, student, jobs
):
    evaluate(student, 0.3146)
    train(student)
    submit(student, "17")
    jobs["17"] = JobState("RUNNING", nodes="n1")
    assert (line_of(suite).stage, line_of(suite).ap) == ("training", None)
    (student / "trained.pth").touch()
    os.utime(student / "eval.json", (1000, 1000))
    assert (line_of(suite).stage, line_of(suite).ap) == ("trained", None)


def test_a_launcher_that_was_killed_while_submitting_leaves_no_job(suite, student, jobs):
    submit(student, None)
    line = line_of(suite)
    assert (line.stage, line.job_id, line.state) == ("planned", None, None)


def test_a_damaged_record_does_not_hide_the_other_trainings(suite, student):
    (student / "jobs").mkdir()
    record.path(student / "jobs").write_text("{")
    train(student.with_name("baseline"))
    assert line_of(suite).stage == "planned"
    assert line_of(suite, arm="baseline").stage == "stopped"


def test_teachers_of_the_zoo_are_downloaded(tmp_path):
    suite = suite_of("coco", str(tmp_path))
    assert line_of(suite, TEACHER, "teacher").stage == "planned"
    (tmp_path / "teachers" / TEACHER).mkdir(parents=True)
    (tmp_path / "teachers" / TEACHER / "teacher.pth").touch()
    assert line_of(suite, TEACHER, "teacher").stage == "downloaded"
    evaluate(tmp_path / "teachers" / TEACHER, 0.391)
    assert line_of(suite, TEACHER, "teacher").ap == pytest.approx(39.1)


# --- How it is shown ---

SHOWN = [
    Line(TEACHER, "teacher", "trained", job_id="16", state="completed", epoch=10, max_epochs=10),
    Line(
        "retinanet_r50",
        "fgd",
        "training",
        job_id="17@4711",
        state="running",
        nodes="n[1-2]",
        epoch=1,
        max_epochs=5,
        eta_seconds=3725.4,
    ),
    Line("fcos_r50", "fgd", "planned"),
]


def test_the_table_has_a_line_a_training_and_fits_a_terminal():
    table = as_table(SHOWN).splitlines()
    assert len(table) == 1 + len(SHOWN)
    assert max(map(len, table)) <= 80
    assert table[2].split() == [
        *("retinanet_r50", "fgd", "training", "17", "running", "n[1-2]", "1/5", "1:02:05", "-"),
    ]


def test_what_is_not_known_is_a_dash():
    assert as_table(SHOWN).splitlines()[3].split() == ["fcos_r50", "fgd", "planned", *"------"]


def test_columns_are_aligned():
    table = as_table(SHOWN).splitlines()
    words = ("stage", "trained", "training", "planned")
    starts = {line.index(word) for line, word in zip(table, words, strict=True)}
    assert len(starts) == 1


def test_a_long_name_is_cut_where_the_terminal_is_narrow_and_whole_where_it_is_wide():
    assert f"{TEACHER} " not in as_table(SHOWN, 80)
    assert f"{TEACHER} " in as_table(SHOWN, 160)


DONE = {"job_id": "48210123", "state": "completed", "epoch": 24, "max_epochs": 24, "ap": 39.8}
RUNNING = Line(
    "faster_rcnn_r101",
    "baseline",
    "training",
    job_id="48211123",
    nodes="gpu[0012-0013]",
    state="running",
    epoch=3,
    max_epochs=24,
    eta_seconds=94025,
)


def test_a_suite_half_way_fits_and_its_rows_can_be_told_apart():
    rows = ("retinanet_r50", "retinanet_r101", "faster_rcnn_r50", "faster_rcnn_r101")
    done = [Line(row, "baseline", "evaluated", **DONE) for row in rows]
    table = as_table([Line(TEACHER, "teacher", "evaluated", **DONE), *done, RUNNING]).splitlines()
    assert max(map(len, table)) <= 80
    assert [line.split()[0] for line in table[2:6]] == list(rows)
    assert "26:07:05" in table[-1]


def test_a_failed_training_fits_without_its_exit_code():
    failed = Line(
        "retinanet_r101",
        "baseline",
        "failed",
        job_id="48210123",
        state="out_of_memory, exit 0:125",
        epoch=3,
        max_epochs=24,
    )
    table = as_table([failed, RUNNING])
    assert max(map(len, table.splitlines())) <= 80
    assert "out_of" in table
    assert "out_of_memory  " in as_table([failed, RUNNING], 120)
    assert "exit" not in as_table([failed, RUNNING], 120)


def test_nodes_are_shown_where_there_is_room():
    assert "nodes" not in as_table([RUNNING, Line("fcos_r50", "baseline", "evaluated", **DONE)], 80)
    assert "gpu[0012-0013]" in as_table([RUNNING], 120)


def test_json_has_every_figure(suite, student, jobs):
    submit(student, "17")
    train(student)
    jobs["17"] = JobState("RUNNING", nodes="n[1-2]")
    found = json.loads(as_json(lines(suite)))
    assert len(found) == 5
    assert found[1] == {
        "row": "retinanet_r50",
        "arm": "fgd",
        "stage": "training",
        "job_id": "17",
        "state": "running",
        "nodes": "n[1-2]",
        "epoch": 1,
        "max_epochs": 5,
        "iter": 40,
        "max_iters": 375,
        "loss": 1.25,
        "eta_seconds": 83,
        "ap": None,
    }
