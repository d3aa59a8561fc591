"""The launcher's promises: one job at a time, found again, tried again only where that helps."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest
from submitit.core.utils import cloudpickle_dump

from cluster import launcher, record
from cluster.executors import EXECUTORS, task_paths
from cluster.launcher import Training, launch
from cluster.record import Record
from cluster.settings import ClusterSettings
from cluster.slurm import JobState, NoAnswer
from cluster.task import TrainingTask
from fgd import progress
from fgd.errors import FGDError

SETTINGS = ClusterSettings(poll_s=1e-9, max_restarts=2)
TWO_RANKS = SETTINGS.model_copy(update={"nodes": 2, "gpus_per_node": 1})

PENDING = JobState("PENDING", reason="Resources")
RUNNING = JobState("RUNNING", nodes="n1")
COMPLETED = JobState("COMPLETED", exit_code="0:0")
FAILED = JobState("FAILED", exit_code="1:0")
NODE_FAIL = JobState("NODE_FAIL", exit_code="1:0")
CANCELLED = JobState("CANCELLED", exit_code="0:15")
UNKNOWN = JobState("UNKNOWN")
GONE = JobState("GONE")
COMPLETING = JobState("COMPLETING", nodes="n1")


class RecordedExecutor:
    """Runs jobs as a test says: each goes through states, and stays in its last one.

    Args:
        final: the file that a job writes before it completes.
    """

    def __init__(self, final):
        self.final = final
        self.coming = []  # of the jobs that will be submitted, their states
        self.jobs = {}  # by id, the states that are still to be seen
        self.submitted = []  # (task, settings, name)
        self.cancelled = []
        self.ending = []  # of a cancelled job, its states before the last
        self.deaf = 0  # to so many orders to cancel
        self.lost_ids = []
        self.asked_for_lost = []
        self.told = []

    def notes(self, settings):
        return self.told

    def submit(self, task, settings, name, folder):
        self.submitted.append((task, settings, name))
        states = self.coming.pop(0)
        if isinstance(states, Exception):
            raise states
        job_id = str(100 + len(self.submitted))
        self.jobs[job_id] = list(states)
        return job_id

    def state(self, job_id, name, folder):
        states = self.jobs[job_id]
        state = states.pop(0) if len(states) > 1 else states[0]
        if state is KeyboardInterrupt:
            raise KeyboardInterrupt
        if state.state == "COMPLETED" and self.final is not None:
            self.final.parent.mkdir(exist_ok=True)
            self.final.write_text(f"trained by {job_id}")
        return state

    def cancel(self, job_id, name):
        if self.deaf:
            self.deaf -= 1
            return False
        self.cancelled.append(job_id)
        self.jobs[job_id] = [*self.ending, CANCELLED]
        return True

    def how_to_end(self, job_id):
        return f"end {job_id}"

    def lost(self, name):
        self.asked_for_lost.append(name)
        return self.lost_ids


@pytest.fixture
def training(tmp_path):
    arm = tmp_path / "fgd"
    arm.mkdir()
    (arm / "config.py").write_text("recipe = 'abc'")
    return Training("mini.fcos_r50.fgd", arm / "config.py", arm / "run", arm / "trained.pth")


@pytest.fixture
def executor(training, tmp_path, monkeypatch):
    """In Slurm's place; the recipe's fingerprint is "abc", and there are no commands of Slurm."""
    executor = RecordedExecutor(training.final)
    monkeypatch.setitem(EXECUTORS, "slurm", executor)
    monkeypatch.setattr(launcher, "_fingerprint", lambda config: "abc")
    monkeypatch.setattr(launcher, "_APPEARING_S", 0)
    monkeypatch.setattr(launcher.time, "sleep", lambda seconds: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return executor


@pytest.fixture
def messages():
    """What the launcher says."""
    lines = []
    handler = logging.Handler()
    handler.emit = lambda entry: lines.append(entry.getMessage())
    logger = logging.getLogger("fgd.cluster")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def earlier(training, job_id, end=None, fingerprint="abc", settings=SETTINGS):
    """The record that an earlier launcher left."""
    log = Record(fingerprint, "slurm")
    attempt = log.begin(training.name, settings)
    attempt.job_id, attempt.end = job_id, end
    log.save(training.jobs)
    return attempt


def ends(training):
    """Of every job that the record knows, oldest first."""
    return [attempt.end for attempt in record.load(training.jobs).attempts]


# --- One job ---


def test_a_training_is_submitted_once_and_its_result_appears(training, executor):
    executor.coming = [[PENDING, RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 1
    assert training.out.read_text() == "trained by 101"
    assert ends(training) == ["completed"]
    assert executor.cancelled == []


def test_a_job_is_given_whole_paths_the_settings_and_the_name_of_the_record(
    training, executor, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    relative = Training("x", Path("fgd/config.py"), Path("fgd/run"), Path("fgd/trained.pth"))
    executor.coming = [[COMPLETED]]
    launch(relative, SETTINGS, "slurm")
    task, settings, name = executor.submitted[0]
    copy = training.jobs / f"{name}.py"
    assert task == TrainingTask(copy, training.work_dir, training.final, "abc")
    assert settings is SETTINGS
    assert name == record.load(training.jobs).current.name


def test_a_job_reads_the_config_that_it_was_submitted_with(training, executor):
    ask = executor.state

    def edit_and_ask(job_id, name, folder):
        training.config.write_text("recipe = 'another'")
        return ask(job_id, name, folder)

    executor.state = edit_and_ask
    executor.coming = [[RUNNING, NODE_FAIL], [RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    read = [task.config.read_text() for task, _, _ in executor.submitted]
    assert read == ["recipe = 'abc'"] * 2


def test_the_record_is_written_before_the_job_is_submitted(training, executor):
    known = []

    def submit(task, settings, name, folder):
        known.extend(json.loads(record.path(folder).read_text())["attempts"])
        raise FGDError("enough")

    executor.submit = submit
    with pytest.raises(FGDError, match="enough"):
        launch(training, SETTINGS, "slurm")
    assert [(attempt["job_id"], attempt["end"]) for attempt in known] == [(None, None)]


def test_news_of_the_job_and_every_line_of_the_training_are_told_once(training, executor, messages):
    entry = {"max_iters": 40, "epoch": 1, "max_epochs": 1, "lr": 0.1, "loss": 1.0}
    entry |= {"images_per_second": 10, "eta_seconds": 5}
    ask = executor.state

    def state(job_id, name, folder):
        found = ask(job_id, name, folder)
        training.work_dir.mkdir(exist_ok=True)
        if found == RUNNING and len(progress.read(training.work_dir)) < 2:
            iteration = 20 * (1 + len(progress.read(training.work_dir)))
            progress.append(training.work_dir, entry | {"iter": iteration})
        return found

    executor.state = state
    executor.coming = [[PENDING, PENDING, RUNNING, RUNNING, RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert [line for line in messages if line.startswith("job 101")] == [
        "job 101: pending (Resources)",
        "job 101: running on n1",
        "job 101: completed",
    ]
    assert [line.split("  ")[1] for line in messages if "loss" in line] == [
        "iter 20/40",
        "iter 40/40",
    ]


def succeed(training, job_id, *ranks):
    """The results of a job's ranks, as submitit writes them."""
    training.jobs.mkdir(parents=True, exist_ok=True)
    for rank in ranks:
        cloudpickle_dump(("success", None), task_paths(training.jobs, job_id, rank).result_pickle)


def test_a_job_whose_ranks_had_all_finished_did_not_fail(training, executor):
    # A signal killed one of them while its process ended.
    training.final.parent.mkdir(parents=True)
    training.final.write_text("trained by 101")
    succeed(training, "101", 0, 1)
    executor.coming = [[RUNNING, FAILED]]
    launch(training, TWO_RANKS, "slurm")
    assert training.out.read_text() == "trained by 101"
    assert ends(training) == ["completed"]


def test_a_job_of_which_one_rank_had_finished_failed(training, executor):
    training.final.parent.mkdir(parents=True)
    training.final.write_text("trained by 101")
    succeed(training, "101", 0)
    executor.coming = [[RUNNING, FAILED]]
    with pytest.raises(FGDError, match="job 101 ended as FAILED"):
        launch(training, TWO_RANKS, "slurm")


# --- A job that is there already ---


def test_a_job_is_judged_by_the_settings_that_it_was_submitted_with(training, executor):
    # The suite has since been changed to one rank and a longer time limit.
    earlier(training, "7", settings=TWO_RANKS.model_copy(update={"timeout_min": 90}))
    executor.jobs["7"] = [RUNNING, replace(FAILED, state="TIMEOUT")]
    with pytest.raises(FGDError, match=r"cluster\.timeout_min \(90\)"):
        launch(training, SETTINGS, "slurm")


def test_of_an_earlier_job_all_ranks_must_have_finished(training, executor):
    training.final.parent.mkdir(parents=True)
    training.final.write_text("trained by 7")
    earlier(training, "7", settings=TWO_RANKS)
    succeed(training, "7", 0)
    executor.jobs["7"] = [RUNNING, FAILED]
    with pytest.raises(FGDError, match="job 7 ended as FAILED"):
        launch(training, SETTINGS, "slurm")


def test_a_running_job_is_followed_and_not_submitted_again(training, executor):
    earlier(training, "7")
    executor.jobs["7"] = [RUNNING, COMPLETED]
    launch(training, SETTINGS, "slurm")
    assert executor.submitted == []
    assert training.out.read_text() == "trained by 7"
    assert ends(training) == ["completed"]


def test_a_job_that_finished_while_nobody_watched_is_not_submitted_again(training, executor):
    earlier(training, "7")
    executor.jobs["7"] = [COMPLETED]
    launch(training, SETTINGS, "slurm")
    assert executor.submitted == []
    assert training.out.exists()


def test_a_finished_job_is_not_submitted_again_though_the_output_was_removed(training, executor):
    executor.coming = [[COMPLETED]]
    launch(training, SETTINGS, "slurm")
    training.out.unlink()
    launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 1
    assert training.out.read_text() == "trained by 101"


def test_a_finished_job_that_slurm_has_forgotten_is_not_asked_for(training, executor):
    earlier(training, "7", end="completed")
    training.work_dir.mkdir()
    training.final.write_text("trained by 7")
    launch(training, SETTINGS, "slurm")  # nothing is known of job 7
    assert executor.submitted == []
    assert training.out.read_text() == "trained by 7"


def test_a_job_that_slurm_has_forgotten_and_that_left_nothing_is_followed_by_another(
    training, executor
):
    earlier(training, "7")
    executor.jobs["7"] = [GONE]
    executor.coming = [[RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert ends(training) == ["gone", "completed"]
    assert training.out.read_text() == "trained by 101"


def test_a_result_that_comes_in_sight_late_is_waited_for(training, executor, monkeypatch):
    monkeypatch.setattr(launcher, "_APPEARING_S", 30)
    executor.final = None
    executor.coming = [[RUNNING, COMPLETED]]
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 5:
            training.work_dir.mkdir()
            training.final.write_text("written on another node")

    monkeypatch.setattr(launcher.time, "sleep", sleep)
    launch(training, SETTINGS, "slurm")
    assert training.out.read_text() == "written on another node"


def test_a_training_whose_result_was_removed_is_trained_again(training, executor):
    earlier(training, "7", end="completed")
    executor.final = None
    executor.jobs["7"] = [COMPLETED]
    executor.coming = [FGDError("trained again")]
    with pytest.raises(FGDError, match="trained again"):
        launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 1


def test_a_job_that_lost_its_node_while_nobody_watched_is_followed_by_another(training, executor):
    earlier(training, "7")
    executor.jobs["7"] = [NODE_FAIL]
    executor.coming = [[RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 1
    assert ends(training) == ["node_fail, exit 1:0", "completed"]


def test_a_job_that_failed_while_nobody_watched_is_told_and_then_tried_again(training, executor):
    earlier(training, "7")
    executor.jobs["7"] = [CANCELLED]
    executor.coming = [[COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert training.out.read_text() == "trained by 101"
    assert ends(training)[0].startswith("cancelled")


def test_a_launcher_that_died_while_submitting_leaves_no_second_job(training, executor):
    name = earlier(training, None).name
    executor.lost_ids = ["7"]
    executor.coming = [[COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert executor.asked_for_lost == [name]
    assert executor.cancelled == ["7"]
    assert len(executor.submitted) == 1
    assert ends(training) == ["its launcher died while submitting it", "completed"]


def test_a_job_that_was_lost_is_cancelled_though_the_recipe_has_changed(training, executor):
    earlier(training, None, fingerprint="old")
    executor.lost_ids = ["7"]
    executor.coming = [[COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert executor.cancelled == ["7"]
    assert training.out.read_text() == "trained by 101"


@pytest.mark.parametrize("fingerprint", ["abc", "old"])
def test_a_cancelled_job_ends_before_the_next_is_submitted(
    training, executor, messages, fingerprint
):
    earlier(training, "7", end="cancelled by Ctrl-C", fingerprint=fingerprint)
    executor.jobs["7"] = [RUNNING]
    executor.ending = [COMPLETING, COMPLETING]
    executor.coming = [[COMPLETED]]
    submit = executor.submit

    def submit_after_its_end(task, **options):
        assert executor.jobs["7"] == [CANCELLED]
        return submit(task, **options)

    executor.submit = submit_after_its_end
    launch(training, SETTINGS, "slurm")
    assert executor.cancelled == ["7"]  # the first order had not arrived
    assert messages[0].startswith("waiting for job 7 to end")
    assert training.out.read_text() == "trained by 101"


def test_a_cancelled_job_that_does_not_end_is_not_waited_for_for_ever(
    training, executor, messages, monkeypatch
):
    monkeypatch.setattr(launcher, "_ENDING_S", 0)
    earlier(training, "7", end="cancelled by Ctrl-C")
    executor.jobs["7"] = [UNKNOWN]
    executor.deaf = 1
    executor.coming = [[COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert "job 7 has still not ended" in messages
    assert training.out.exists()


def test_a_second_launcher_is_refused(training, executor):
    with (
        record.only_launcher(training.jobs),
        pytest.raises(FGDError, match="another launcher watches"),
    ):
        launch(training, SETTINGS, "slurm")
    assert executor.submitted == []


# --- A job of another recipe ---


def test_another_recipe_is_refused_while_its_predecessor_runs(training, executor):
    earlier(training, "7", fingerprint="old")
    executor.jobs["7"] = [RUNNING]
    with pytest.raises(FGDError, match=r"slurm job 7 \(running on n1\) still trains.*`end 7`"):
        launch(training, SETTINGS, "slurm")
    assert (executor.submitted, executor.cancelled) == ([], [])
    assert record.load(training.jobs).fingerprint == "old"


def test_another_place_is_refused_while_the_job_runs(training, executor):
    earlier(training, "7")
    executor.jobs["7"] = [PENDING]
    with pytest.raises(FGDError, match="slurm job 7"):
        launch(training, SETTINGS, "local")
    assert executor.submitted == []


@pytest.mark.parametrize("end", [None, "completed"])
def test_another_recipe_is_trained_when_its_predecessor_has_ended(training, executor, end):
    earlier(training, "7", end=end, fingerprint="old")
    executor.jobs["7"] = [CANCELLED]
    executor.coming = [[COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert training.out.read_text() == "trained by 101"
    assert record.load(training.jobs).fingerprint == "abc"


# --- Deaths ---


def test_a_job_that_lost_its_node_is_followed_by_another(training, executor):
    executor.coming = [[RUNNING, NODE_FAIL], [RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 2
    assert ends(training) == ["node_fail, exit 1:0", "completed"]
    assert training.out.read_text() == "trained by 102"


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_job_is_restarted_as_often_as_the_settings_allow(training, executor, restarts):
    settings = ClusterSettings(poll_s=1e-9, max_restarts=restarts)
    executor.coming = [[NODE_FAIL]] * 10
    with pytest.raises(FGDError, match=r"mini\.fcos_r50\.fgd: job .* a node failed"):
        launch(training, settings, "slurm")
    assert len(executor.submitted) == 1 + restarts


def test_a_job_that_slurm_requeues_is_not_submitted_again(training, executor):
    executor.coming = [[RUNNING, NODE_FAIL, PENDING, RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 1


def test_a_controller_that_does_not_answer_is_waited_for_and_told_of_once(
    training, executor, messages
):
    executor.coming = [[RUNNING, UNKNOWN, UNKNOWN, RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 1
    assert training.out.exists()
    assert messages.count("job 101: unknown (Slurm does not answer)") == 1


def test_an_error_of_the_training_is_not_tried_again(training, executor):
    executor.coming = [[RUNNING, FAILED]]
    training.jobs.mkdir(parents=True)
    cloudpickle_dump(
        ("error", "ValueError: the box has no width"),
        task_paths(training.jobs, "101", 0).result_pickle,
    )
    with pytest.raises(FGDError, match="the box has no width"):
        launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 1
    assert ends(training) == ["failed, exit 1:0"]


def test_a_job_without_a_result_has_not_completed(training, executor):
    executor.final = None
    executor.coming = [[RUNNING, COMPLETED]]
    with pytest.raises(FGDError, match="job 101 ended as COMPLETED"):
        launch(training, SETTINGS, "slurm")
    assert not training.out.exists()


# --- Jobs that do not start ---


def test_a_job_that_will_never_start_is_cancelled(training, executor):
    executor.coming = [[PENDING, JobState("PENDING", reason="PartitionTimeLimit")]]
    with pytest.raises(FGDError, match=r"job 101 would wait for ever.*cluster\.timeout_min"):
        launch(training, SETTINGS, "slurm")
    assert executor.cancelled == ["101"]
    assert ends(training) == ["refused"]


def test_after_a_job_that_would_never_start_another_can_be_submitted(training, executor):
    executor.coming = [[JobState("PENDING", reason="PartitionTimeLimit")], [COMPLETED]]
    with pytest.raises(FGDError):
        launch(training, SETTINGS, "slurm")
    launch(training, SETTINGS, "slurm")
    assert ends(training) == ["refused", "completed"]


def test_a_job_that_is_held_is_told_of_and_found_again_when_it_was_released(training, executor):
    executor.coming = [[JobState("PENDING", reason="launch_failed_requeued_held")]]
    with pytest.raises(FGDError, match="scontrol release 101"):
        launch(training, SETTINGS, "slurm")
    assert executor.cancelled == []
    executor.jobs["101"] = [RUNNING, COMPLETED]
    launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 1
    assert training.out.exists()


def test_a_job_that_slurm_refuses_is_recorded_and_can_be_submitted_again(training, executor):
    executor.coming = [FGDError("Slurm refuses cluster.partition (gpus)"), [COMPLETED]]
    with pytest.raises(FGDError, match=r"mini\.fcos_r50\.fgd: Slurm refuses cluster\.partition"):
        launch(training, SETTINGS, "slurm")
    assert ends(training) == ["refused"]
    launch(training, SETTINGS, "slurm")
    assert ends(training) == ["refused", "completed"]
    assert executor.asked_for_lost == []


def test_a_reason_that_is_given_for_a_moment_is_not_believed(training, executor):
    passing = JobState("PENDING", reason="PartitionNodeLimit")
    executor.coming = [[PENDING, passing, PENDING, passing, RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert ends(training) == ["completed"]


# --- A silent controller ---


def test_a_job_is_submitted_when_the_controller_answers_again(training, executor, messages):
    silent = NoAnswer("Unable to contact slurm controller")
    executor.coming = [silent, silent, [RUNNING, COMPLETED]]
    launch(training, SETTINGS, "slurm")
    assert ends(training) == ["completed"]
    assert len([line for line in messages if "does not answer" in line]) == 1


def test_a_job_that_arrived_though_the_controller_did_not_answer_leaves_no_second_one(
    training, executor
):
    silent = NoAnswer("Socket timed out on send/recv operation")
    executor.coming = [silent, [RUNNING, COMPLETED]]
    executor.jobs["7"] = [PENDING]
    answers = [silent, silent, ["7"]]  # of squeue

    def lost(name):
        assert record.load(training.jobs).current.end is None
        answer = answers.pop(0)
        if isinstance(answer, NoAnswer):
            raise answer
        return answer

    executor.lost = lost
    launch(training, SETTINGS, "slurm")
    assert executor.cancelled == ["7"]
    assert len(executor.submitted) == 2
    assert ends(training) == ["completed"]


def test_a_controller_that_stays_silent_ends_the_launcher_but_not_the_search(
    training, executor, monkeypatch
):
    monkeypatch.setattr(launcher, "_SILENCE_S", 0)
    executor.coming = [NoAnswer("Unable to contact slurm controller")]
    with pytest.raises(FGDError, match="Unable to contact slurm controller"):
        launch(training, SETTINGS, "slurm")
    assert ends(training) == [None]  # the next launcher looks for it


def test_a_job_of_an_earlier_versions_record_is_judged_by_the_settings_of_now(training, executor):
    earlier(training, "17", settings=None)
    executor.jobs["17"] = [RUNNING, COMPLETED]
    launch(training, SETTINGS, "slurm")
    assert (ends(training), executor.submitted) == (["completed"], [])
    assert record.load(training.jobs).current.settings == SETTINGS


# --- Ctrl-C ---


def test_ctrl_c_cancels_the_job(training, executor):
    executor.coming = [[RUNNING, KeyboardInterrupt]]
    with pytest.raises(KeyboardInterrupt):
        launch(training, SETTINGS, "slurm")
    assert executor.cancelled == ["101"]
    assert ends(training) == ["cancelled by Ctrl-C"]


def test_a_job_that_could_not_be_cancelled_is_not_said_to_be(training, executor, messages):
    executor.coming = [[RUNNING, KeyboardInterrupt, RUNNING, COMPLETED]]
    executor.deaf = 1
    with pytest.raises(KeyboardInterrupt):
        launch(training, SETTINGS, "slurm")
    assert ends(training) == [None]
    assert "`end 101`" in messages[-1]
    assert not any("is cancelled" in line for line in messages)
    launch(training, SETTINGS, "slurm")
    assert len(executor.submitted) == 1


def test_a_hopeless_job_that_could_not_be_cancelled_is_still_on_record(training, executor):
    executor.coming = [[JobState("PENDING", reason="PartitionTimeLimit")]]
    executor.deaf = 1
    with pytest.raises(FGDError, match=r"timeout_min .*could not be cancelled.*`end 101`"):
        launch(training, SETTINGS, "slurm")
    assert ends(training) == [None]


def test_after_ctrl_c_the_job_ends_before_the_launcher(training, executor, messages):
    executor.coming = [[RUNNING, KeyboardInterrupt]]
    executor.ending = [COMPLETING, COMPLETING]
    with pytest.raises(KeyboardInterrupt):
        launch(training, SETTINGS, "slurm")
    assert executor.jobs["101"] == [CANCELLED]
    assert messages[-1].startswith("waiting for job 101 to end")


def test_a_second_ctrl_c_does_not_wait(training, executor):
    executor.coming = [[RUNNING, KeyboardInterrupt]]
    executor.ending = [COMPLETING, KeyboardInterrupt, COMPLETING]
    with pytest.raises(KeyboardInterrupt):
        launch(training, SETTINGS, "slurm")
    assert executor.jobs["101"] == [COMPLETING, CANCELLED]
    assert ends(training) == ["cancelled by Ctrl-C"]


def test_after_ctrl_c_the_same_again_submits_a_new_job(training, executor):
    executor.coming = [[RUNNING, KeyboardInterrupt], [COMPLETED]]
    with pytest.raises(KeyboardInterrupt):
        launch(training, SETTINGS, "slurm")
    launch(training, SETTINGS, "slurm")
    assert training.out.read_text() == "trained by 102"


def test_ctrl_c_leaves_the_job_where_the_settings_say_so(training, executor, messages):
    settings = ClusterSettings(poll_s=1e-9, cancel_on_interrupt=False)
    executor.coming = [[RUNNING, KeyboardInterrupt, RUNNING, COMPLETED]]
    with pytest.raises(KeyboardInterrupt):
        launch(training, settings, "slurm")
    assert (executor.cancelled, ends(training)) == ([], [None])
    assert "job 101 goes on" in messages[-1]
    launch(training, settings, "slurm")
    assert len(executor.submitted) == 1
    assert training.out.read_text() == "trained by 101"


@pytest.mark.parametrize("cancel", [True, False])
def test_ctrl_c_while_submitting_cancels_what_was_submitted(training, executor, cancel):
    def submit(task, settings, name, folder):
        raise KeyboardInterrupt

    executor.submit = submit
    executor.lost_ids = ["7"]
    with pytest.raises(KeyboardInterrupt):
        launch(training, ClusterSettings(poll_s=1e-9, cancel_on_interrupt=cancel), "slurm")
    assert executor.cancelled == ["7"]
    assert ends(training) == ["cancelled by Ctrl-C"]


def test_what_a_job_gets_of_the_shell_is_told_before_it_is_submitted(training, executor, messages):
    executor.told = ["SBATCH_QOS=short is left out"]
    executor.coming = [[COMPLETED]]
    launch(training, ClusterSettings(poll_s=1e-9), "slurm")
    assert messages.index("SBATCH_QOS=short is left out") == 0
    assert messages[1].startswith("submitted job 101")


@pytest.mark.parametrize("cancel", [True, False])
def test_ctrl_c_before_anything_was_submitted(training, executor, messages, cancel):
    def submit(task, settings, name, folder):
        raise KeyboardInterrupt

    executor.submit = submit
    with pytest.raises(KeyboardInterrupt):
        launch(training, ClusterSettings(poll_s=1e-9, cancel_on_interrupt=cancel), "slurm")
    assert messages == ["interrupted; no job was submitted"]
    assert ends(training) == ["cancelled by Ctrl-C"]
