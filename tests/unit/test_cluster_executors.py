"""Where jobs run: what sbatch is asked, what its refusals say, and what a process has become."""

import os
import re
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
from submitit.core.utils import DelayedSubmission, cloudpickle_dump

from cluster import devices
from cluster.devices import Gpu
from cluster.executors import Local, Slurm, refusal, task_paths
from cluster.settings import ClusterSettings
from cluster.slurm import NoAnswer
from cluster.task import TrainingTask
from fgd.errors import FGDError

TASK = TrainingTask(Path("/fgd/config.py"), Path("/fgd/run"), Path("/fgd/run/final.pth"), "abc")


def directives(script):
    """The options of a batch script, by name."""
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if "#SBATCH" in line]
    return dict(line.partition("=")[::2] for line in lines)


# --- Submission ---


def test_a_job_is_submitted_with_the_settings(cluster_settings, command, tmp_path):
    command("srun", "exit 0")
    command("sbatch", "echo Submitted batch job 17")
    settings = cluster_settings.model_copy(
        update=dict(sbatch={"reservation": "july"}, setup=["module load cuda"], signal_delay_s=200)
    )
    jobs = tmp_path / "jobs"
    assert (
        Slurm().submit(TASK, settings=settings, name="mini.fcos_r50.fgd.1a2b3c", folder=jobs)
        == "17"
    )
    script = (jobs / "17_submission.sh").read_text()
    options = directives(script)
    expected = {"nodes": "2", "gpus-per-node": "4", "ntasks-per-node": "4", "cpus-per-task": "8"}
    expected |= {"mem": "100GB", "time": "90", "partition": "gpu", "account": "vision"}
    expected |= {"qos": "long", "constraint": "a100", "exclude": "n9", "reservation": "july"}
    expected |= {"job-name": "mini.fcos_r50.fgd.1a2b3c", "signal": "USR2@200", "requeue": ""}
    assert {key: options.get(key) for key in expected} == expected
    setup, start = script.index("module load cuda"), script.index("\nsrun ")
    assert setup < start
    assert "--kill-on-bad-exit=1" in script[start:]
    assert "--cpus-per-task=8" in script[start:]


def test_a_type_of_gpu_takes_the_place_of_the_mere_number(command, tmp_path):
    command("srun", "exit 0")
    command("sbatch", "echo Submitted batch job 17")
    settings = ClusterSettings(gpus_per_node=4, sbatch={"gpus-per-node": "a100:4"})
    Slurm().submit(TASK, settings=settings, name="name", folder=tmp_path)
    script = (tmp_path / "17_submission.sh").read_text()
    assert [line for line in script.splitlines() if "gpus" in line] == [
        "#SBATCH --gpus-per-node=a100:4"
    ]


def test_the_job_gets_the_task_and_how_often_it_may_time_out(command, tmp_path):
    command("srun", "exit 0")
    command("sbatch", "echo Submitted batch job 17")
    Slurm().submit(
        TASK, settings=ClusterSettings(max_timeouts=7, timeout_min=90), name="name", folder=tmp_path
    )
    submission = DelayedSubmission.load(task_paths(tmp_path, "17", 0).submitted_pickle)
    assert submission.function == TASK
    assert (submission._timeout_countdown, submission._timeout_min) == (7, 90)


def test_a_requeued_job_runs_the_same_task():
    assert TASK.checkpoint().function == TASK


def test_a_refused_job_names_the_setting(command, tmp_path):
    command("srun", "exit 0")
    command(
        "sbatch",
        "echo 'sbatch: error: invalid partition specified: gpus' >&2\n"
        "echo 'sbatch: error: Batch job submission failed: Invalid partition name specified' >&2\n"
        "exit 1",
    )
    with pytest.raises(FGDError, match=r"refuses cluster\.partition \(gpus\): invalid partition"):
        Slurm().submit(
            TASK, settings=ClusterSettings(partition="gpus"), name="name", folder=tmp_path
        )


@pytest.mark.parametrize(
    "words",
    [
        "Unable to contact slurm controller (connect failure)",
        "Socket timed out on send/recv operation",
        "Resource temporarily unavailable",
    ],
)
def test_a_silent_controller_is_not_taken_for_a_refusal(command, tmp_path, words):
    command("srun", "exit 0")
    command("sbatch", f"echo 'sbatch: error: Batch job submission failed: {words}' >&2; exit 1")
    with pytest.raises(NoAnswer, match=re.escape(words)):
        Slurm().submit(TASK, settings=ClusterSettings(), name="name", folder=tmp_path)


def test_a_machine_without_slurm_says_where_to_run(command, tmp_path):
    with pytest.raises(FGDError, match=r"no Slurm on this machine.*login node"):
        Slurm().submit(TASK, settings=ClusterSettings(), name="name", folder=tmp_path)


# --- Refusals ---


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("Invalid partition name specified", "cluster.partition (gpu)"),
        ("Invalid account or account/partition combination specified", "cluster.account (vision)"),
        ("Invalid qos specification", "cluster.qos (long)"),
        ("Invalid feature specification", "cluster.constraint (a100)"),
        ("Node count specification invalid", "cluster.nodes (2)"),
        (
            "Requested time limit is invalid (missing or exceeds some limit)",
            "cluster.timeout_min (90)",
        ),
        ("Memory specification can not be satisfied", "cluster.mem_gb (100)"),
        ("Invalid generic resource (gres) specification", "cluster.gpus_per_node (4)"),
        ("CPU count per node can not be satisfied", "cluster.cpus_per_task (8)"),
        ("Invalid node name specified", "cluster.exclude (n9)"),
    ],
)
def test_a_refusal_names_the_setting_its_value_and_slurms_words(cluster_settings, reason, named):
    said = refusal(f"sbatch: error: Batch job submission failed: {reason}", cluster_settings)
    assert said.startswith(f"Slurm refuses {named}: ")
    assert reason in said
    assert "sbatch: error" not in said


def test_an_unknown_option_of_sbatch_is_found_in_the_settings():
    words = "sbatch: unrecognized option '--reservtion=july'\nTry \"sbatch --help\""
    said = refusal(words, ClusterSettings(sbatch={"reservtion": "july"}))
    assert said.startswith("Slurm refuses cluster.sbatch ({'reservtion': 'july'})")
    assert "--reservtion" in said


@pytest.mark.parametrize(
    "words",
    [
        "Requested node configuration is not available",
        "Requested partition configuration not available now",
        "More processors requested than permitted",
    ],
)
def test_nodes_that_do_not_exist_are_described_as_they_were_asked_for(words):
    settings = ClusterSettings(nodes=100, gpus_per_node=4, mem_gb=900, constraint="a100")
    said = refusal(f"sbatch: error: Batch job submission failed: {words}", settings)
    assert said.startswith("Slurm has no such nodes, or fewer than cluster.nodes (100): Batch job")
    for part in (words, "gpus_per_node 4", "mem_gb 900", "constraint a100", "sinfo"):
        assert part in said


def test_a_limit_of_the_account_is_not_taken_for_the_time_limit():
    words = (
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
        "(job submit limit, user's size and/or time limits)"
    )
    said = refusal(words, ClusterSettings())
    assert said.startswith("Slurm refuses the job: QOSMaxSubmitJobPerUserLimit")
    assert "sacctmgr" in said
    assert "timeout_min" not in said


def test_a_refusal_of_another_kind_is_told_in_slurms_words():
    words = "sbatch: error: Batch job submission failed: Access denied by the site's plugin"
    said = refusal(words, ClusterSettings())
    assert said.startswith("Slurm refuses the job: ")
    assert "Access denied by the site's plugin" in said


# --- Jobs that Slurm has forgotten ---


@pytest.mark.parametrize(
    ("kinds", "state"),
    [([], "GONE"), (["success", "success"], "COMPLETED"), (["success", "error"], "FAILED")],
)
def test_a_forgotten_job_is_judged_by_what_its_ranks_left(command, tmp_path, kinds, state):
    command("scontrol", "echo slurm_load_jobs error: Invalid job id specified >&2; exit 1")
    command("sacct", "exit 0")
    for rank, kind in enumerate(kinds):
        leave(tmp_path, rank, kind, "17")
    leave(tmp_path, 0, "error", "171")  # another job's
    assert Slurm().state("17", "name", tmp_path).state == state


# --- Processes of this machine ---


def leave(folder, rank, kind, number="4194305"):
    """What submitit's task leaves: its result under the process number of its watcher."""
    path = task_paths(folder, number, rank).result_pickle
    cloudpickle_dump((kind, "words"), path)
    return path


@pytest.fixture
def not_started(monkeypatch):
    """The environment in which submitit would start its process; this one's number stands for it.

    GPUs are as if they were held.
    """
    seen = {}

    def start(*_, env, **__):
        seen.update(env)
        return SimpleNamespace(pid=os.getpid(), poll=lambda: 0)

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(devices, "wait_until_held", lambda gpus, runs: None)
    return seen


def test_a_local_job_has_its_own_gpus_and_no_time_limit(tmp_path, not_started):
    settings = ClusterSettings(gpus_per_node=2, timeout_min=1)
    gpus = tuple(Gpu(name, uuid4().hex) for name in ("2", "3", "5"))
    job_id = Local(lambda: gpus).submit(TASK, settings=settings, name="name", folder=tmp_path)
    submission = DelayedSubmission.load(task_paths(tmp_path, job_id, 0).submitted_pickle)
    assert submission.function == replace(TASK, gpus=gpus[:2])
    assert not_started["SUBMITIT_LOCAL_NTASKS"] == "2"
    assert int(not_started["SUBMITIT_LOCAL_TIMEOUT_S"]) >= 365 * 24 * 3600


def start_time(pid):
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]


@pytest.fixture
def process():
    """A process that does nothing for a long time."""
    started = subprocess.Popen(["/bin/sleep", "600"])
    yield started
    started.kill()
    started.wait()


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ([], "FAILED"),
        (["success", "success"], "COMPLETED"),
        (["success", "error"], "FAILED"),
    ],
)
def test_a_process_that_has_ended_is_judged_by_what_it_left(tmp_path, kinds, state):
    for rank, kind in enumerate(kinds):
        leave(tmp_path, rank, kind)
    assert Local().state("4194305@17", "name", tmp_path).state == state


def test_a_process_that_is_there_runs(tmp_path):
    pid = os.getpid()
    assert Local().state(f"{pid}@{start_time(pid)}", "name", tmp_path).state == "RUNNING"


def test_a_process_of_another_machine_is_not_taken_for_one_that_ended(tmp_path):
    with pytest.raises(
        FGDError, match=r"process 17 of the machine there trains it, or did: .* gone"
    ):
        Local().state("17@456@there", "name", tmp_path)
    leave(tmp_path, 0, "success", "17")
    assert Local().state("17@456@there", "name", tmp_path).state == "COMPLETED"
    assert Local().state(f"{os.getpid()}@17@{os.uname().nodename}", "", tmp_path / "x").is_final


def test_another_process_of_the_same_number_is_not_the_job(tmp_path):
    leave(tmp_path, 0, "success", str(os.getpid()))
    assert Local().state(f"{os.getpid()}@17", "name", tmp_path).state == "COMPLETED"


def test_a_process_that_ended_before_its_start_was_seen_does_not_run(tmp_path):
    assert Local().state("4194305@", "name", tmp_path).state == "FAILED"


def test_what_an_earlier_job_of_the_same_process_number_left_is_not_read(tmp_path, not_started):
    old = leave(tmp_path, 0, "success", str(os.getpid()))
    os.utime(old, (1000, 1000))
    Local(lambda: []).submit(TASK, settings=ClusterSettings(), name="name", folder=tmp_path)
    assert Local().state(f"{os.getpid()}@17", "name", tmp_path).state == "FAILED"


def test_cancel_interrupts_the_process(process):
    Local().cancel(f"{process.pid}@{start_time(process.pid)}", "name")
    assert process.wait() == -signal.SIGINT


def test_cancel_leaves_another_process_of_the_same_number_alone(process):
    Local().cancel(f"{process.pid}@17", "name")
    process.send_signal(signal.SIGTERM)
    assert process.wait() == -signal.SIGTERM


def test_a_person_ends_a_job_with_a_command_of_its_place():
    assert Slurm().how_to_end("17") == "scancel 17"
    assert Local().how_to_end("123@456") == "kill -INT 123"


def test_a_local_jobs_files_have_the_process_number(tmp_path):
    assert task_paths(tmp_path, "123@456", 1).stdout == tmp_path / "123_1_log.out"
