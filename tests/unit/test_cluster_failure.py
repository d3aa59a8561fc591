"""Why a job ended: told from what its ranks left, and whether another try could help."""

import os
from dataclasses import replace

import pytest
from submitit.core.utils import cloudpickle_dump

from cluster.executors import task_paths
from cluster.failure import held, hopeless, judge
from cluster.settings import ClusterSettings
from cluster.slurm import JobState

JOB = "17"
TWO_RANKS = ClusterSettings(nodes=2, gpus_per_node=1)
FAILED = JobState("FAILED", reason="NonZeroExitCode", exit_code="1:0")
KILLED = JobState("FAILED", reason="NonZeroExitCode", exit_code="137:0")

TRACEBACK = """Traceback (most recent call last):
  File "/fgd/training/run.py", line 35, in train
    _run(Path(config), work_dir, Path(out), rank, world_size, device)
{}
"""
OWN_ERROR = TRACEBACK.format("ValueError: the box has no width")
STARTED = "submitit INFO (2026-11-23 15:59:56,666) - Starting with JobEnvironment(job_id=17)\n"
LOST_PEER = TRACEBACK.format(
    "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] "
    "Read error [127.0.0.1]:18829: Connection reset by peer"
)
NO_GROUP = """Traceback (most recent call last):
  File "/fgd/training/run.py", line 300, in _process_group
    dist.init_process_group("nccl" if on_gpu else "gloo")
  File "/torch/distributed/c10d_logger.py", line 83, in wrapper
    return func(*args, **kwargs)
           ^^^^^^^^^^^^^^^^^^^^^
torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/NCCLUtils.cpp:94
ncclInvalidUsage: This usually reflects invalid usage of NCCL library.
Last error:
Duplicate GPU detected : rank 1 and rank 0 both on CUDA device 1d
"""
NCCL_LOST_PEER = NO_GROUP.replace("ncclInvalidUsage: This usually", "ncclRemoteError: This usually")


pytestmark = pytest.mark.usefixtures("command")  # none of the machine's own


def leave(folder, rank, error=None, out=STARTED, err="", at=None):
    """A rank's files in submitit's format; without an error it was killed while it trained."""
    paths = task_paths(folder, JOB, rank)
    paths.stdout.write_text(out)
    paths.stderr.write_text(err)
    if error is not None:
        cloudpickle_dump(("error", error), paths.result_pickle)
        if at is not None:
            os.utime(paths.result_pickle, (at, at))


# --- Another try ---


def test_ranks_that_a_silent_controller_did_not_start_are_worth_another_try(tmp_path):
    words = "srun: error: Unable to create step for job 17: Unable to contact slurm controller"
    leave(tmp_path, 0, out="", err=words)
    verdict = judge(tmp_path, JOB, FAILED, TWO_RANKS)
    assert verdict.worth_another_try
    assert "controller did not answer" in verdict.text


# submitit's own words; its handler of the time limit runs in the middle of the training.
NOT_REQUEUED = "subprocess.{}: Command '['scontrol', 'requeue', '17']' {}"
STATUS_1 = NOT_REQUEUED.format("CalledProcessError", "returned non-zero exit status 1.")
TIMED_OUT = NOT_REQUEUED.format("TimeoutExpired", "timed out after 60 seconds")


@pytest.mark.parametrize(
    ("words", "err"),
    [
        (STATUS_1, "slurm_requeue error: Unable to contact slurm controller (connect failure)"),
        (TIMED_OUT, ""),
    ],
)
def test_a_job_that_a_silent_controller_did_not_requeue_is_worth_another_try(tmp_path, words, err):
    leave(tmp_path, 0, TRACEBACK.format(words), err=err)
    leave(tmp_path, 1)
    verdict = judge(tmp_path, JOB, FAILED, TWO_RANKS)
    assert verdict.worth_another_try
    assert "did not answer when it was to be requeued" in verdict.text


def test_a_job_that_may_not_be_requeued_is_not_tried_again(tmp_path):
    leave(tmp_path, 0, TRACEBACK.format(STATUS_1), err="Requested operation is presently disabled")
    leave(tmp_path, 1)
    verdict = judge(tmp_path, JOB, FAILED, TWO_RANKS)
    assert not verdict.worth_another_try
    assert "refuses to requeue it: allow that (cluster.sbatch.requeue)" in verdict.text


def test_ranks_that_had_to_leave_before_they_had_started_are_worth_another_try(tmp_path):
    leave(tmp_path, 0, out="", err="srun: error: n1: task 0: User defined signal 2")
    verdict = judge(tmp_path, JOB, KILLED, TWO_RANKS)
    assert verdict.worth_another_try
    assert "before its ranks had started" in verdict.text


def test_a_killed_rank_is_worth_another_try(tmp_path):
    leave(tmp_path, 0, LOST_PEER)
    leave(tmp_path, 1, out=f"{STARTED}iter 40/375\niter 60/375\n")
    verdict = judge(tmp_path, JOB, KILLED, TWO_RANKS)
    assert verdict.worth_another_try
    assert "rank 1 was killed" in verdict.text
    assert "last lines of rank 1:" in verdict.text
    assert "    iter 60/375" in verdict.text
    assert "last lines of rank 0:" in verdict.text
    assert "Connection reset by peer" in verdict.text


def test_a_rank_that_nccl_lost_was_killed(tmp_path):
    leave(tmp_path, 0, NCCL_LOST_PEER)
    leave(tmp_path, 1)
    assert judge(tmp_path, JOB, KILLED, TWO_RANKS).worth_another_try


def test_ranks_that_could_not_form_their_group_are_not_worth_another_try(tmp_path):
    # The line of source that failed names NCCL and gloo. srun killed the other rank.
    leave(tmp_path, 0, NO_GROUP)
    leave(tmp_path, 1)
    verdict = judge(tmp_path, JOB, KILLED, TWO_RANKS)
    assert not verdict.worth_another_try
    assert "Duplicate GPU detected" in verdict.text


def test_an_error_of_an_earlier_start_is_not_the_last_ones(tmp_path):
    # When a job is requeued, the ranks that its signal does not end lose their peers.
    leave(tmp_path, 0)
    leave(tmp_path, 1, OWN_ERROR, at=1000)
    verdict = judge(tmp_path, JOB, replace(KILLED, started=1001), TWO_RANKS)
    assert verdict.worth_another_try
    assert "rank 0 was killed" in verdict.text
    assert not judge(tmp_path, JOB, replace(KILLED, started=999), TWO_RANKS).worth_another_try


@pytest.mark.parametrize("exit_code", ["137:0", "134:0", "0:9", "9:0", ""])
def test_ranks_that_were_all_killed_are_worth_another_try(tmp_path, exit_code):
    # SIGKILL and SIGABRT as scontrol tells them, the batch script's own, sacct's; none locally.
    leave(tmp_path, 0)
    leave(tmp_path, 1)
    state = JobState("FAILED", reason="NonZeroExitCode", exit_code=exit_code)
    assert judge(tmp_path, JOB, state, TWO_RANKS).worth_another_try


@pytest.mark.parametrize("exit_code", ["1:0", "143:0"])
def test_ranks_that_never_started_are_not(tmp_path, exit_code):
    # 143: srun killed rank 0, which was as far, when rank 1 failed.
    leave(tmp_path, 0, out="")
    leave(tmp_path, 1, out="", err="ModuleNotFoundError: No module named 'submitit'")
    state = JobState("FAILED", reason="NonZeroExitCode", exit_code=exit_code)
    assert not judge(tmp_path, JOB, state, TWO_RANKS).worth_another_try


def test_a_rank_that_did_not_start_after_a_requeue_is_not(tmp_path):
    # Its output has the words of its first start.
    leave(tmp_path, 0, err="ModuleNotFoundError: No module named 'submitit'")
    assert not judge(tmp_path, JOB, FAILED, ClusterSettings()).worth_another_try


def test_the_trainings_own_error_is_not(tmp_path):
    leave(tmp_path, 0, OWN_ERROR)
    verdict = judge(tmp_path, JOB, FAILED, ClusterSettings())
    assert not verdict.worth_another_try
    assert "    ValueError: the box has no width" in verdict.text


def test_an_error_that_took_its_sibling_with_it_is_not(tmp_path):
    leave(tmp_path, 0)
    leave(tmp_path, 1, OWN_ERROR)
    verdict = judge(tmp_path, JOB, FAILED, TWO_RANKS)
    assert not verdict.worth_another_try
    assert "last lines of rank 1:" in verdict.text
    assert "ValueError" in verdict.text


@pytest.mark.parametrize("at", [1000, 1001, 1002])
def test_the_trainings_error_is_shown_not_the_one_that_followed_from_it(tmp_path, at):
    # Nodes' clocks differ, and some file systems count whole seconds.
    leave(tmp_path, 0, LOST_PEER, at=at)
    leave(tmp_path, 1, OWN_ERROR, at=1001)
    verdict = judge(tmp_path, JOB, FAILED, TWO_RANKS)
    assert not verdict.worth_another_try
    assert "ValueError" in verdict.text
    assert "reset by peer" not in verdict.text


@pytest.mark.parametrize(
    ("state", "again"),
    [
        ("NODE_FAIL", True),
        ("BOOT_FAIL", True),
        ("PREEMPTED", True),
        ("GONE", True),
        ("TIMEOUT", False),
        ("OUT_OF_MEMORY", False),
        ("DEADLINE", False),
        ("CANCELLED", False),
        ("COMPLETED", False),
    ],
)
def test_what_slurm_says_decides(tmp_path, state, again):
    leave(tmp_path, 0)
    assert judge(tmp_path, JOB, JobState(state), ClusterSettings()).worth_another_try == again


# --- What to change ---


def test_too_little_memory_names_the_setting_and_the_most_seen(tmp_path, command):
    command("sacct", "printf '\\n12528K\\n31G\\n'")
    leave(tmp_path, 0)
    verdict = judge(tmp_path, JOB, JobState("OUT_OF_MEMORY"), ClusterSettings(mem_gb=32))
    assert (
        "cluster.mem_gb (32 GB a node; the most seen of one of a node's 1 tasks was 31G)"
        in verdict.text
    )


def test_too_little_memory_where_nobody_kept_count(tmp_path):
    verdict = judge(tmp_path, JOB, JobState("OUT_OF_MEMORY"), ClusterSettings())
    assert "tasks was unknown" in verdict.text


def test_a_worker_that_needed_too_much_memory_is_told_by_the_step_manager(tmp_path):
    # The rank itself was not killed.
    error = "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed."
    said = "slurmstepd: error: Detected 1 oom_kill event in StepId=17.0. Some of the step tasks ..."
    leave(tmp_path, 0, TRACEBACK.format(error), err=said)
    verdict = judge(tmp_path, JOB, FAILED, ClusterSettings(mem_gb=32))
    assert "cluster.mem_gb (32 GB a node" in verdict.text
    assert not verdict.worth_another_try


# What slurmstepd says in the job's log when a job is over its memory, with and without cgroups.
OVER_MEMORY = (
    "slurmstepd: error: StepId=17.0 exceeded memory limit (5368709120 > 4294967296), being killed",
    "slurmstepd: error: Exceeded job memory limit",
    "slurmstepd: error: *** STEP 17.0 ON n1 CANCELLED AT 2026-11-27T20:00:00 ***\n"
    "slurmstepd: error: Detected 1 oom_kill event in StepId=17.0. Some of the step tasks ...",
)


@pytest.mark.parametrize("said", OVER_MEMORY)
@pytest.mark.parametrize("state", ["CANCELLED", "FAILED"])
def test_a_job_that_its_memory_ended_was_cancelled_by_nobody(tmp_path, said, state):
    # Slurm 26.05 can call it CANCELLED.
    leave(tmp_path, 0, err=said)
    verdict = judge(tmp_path, JOB, JobState(state, exit_code="0:15"), ClusterSettings(mem_gb=4))
    assert verdict.text.startswith(
        f"job 17 ended as {state}: it needed more than cluster.mem_gb (4 GB a node; the most seen "
        "of one of a node's 1 tasks was unknown). Raise that, or lower the suite's workers_per_gpu"
    )
    assert "somebody" not in verdict.text
    assert verdict.summary == "out_of_memory, exit 0:15"
    assert not verdict.worth_another_try


def test_accounting_tells_of_memory_where_no_log_does(tmp_path, command):
    command("sacct", "printf 'CANCELLED by 0\\nOUT_OF_MEMORY\\n'")
    verdict = judge(tmp_path, JOB, JobState("CANCELLED"), ClusterSettings(mem_gb=4))
    assert "cluster.mem_gb (4 GB a node" in verdict.text


def test_accounting_is_not_asked_for_a_job_of_this_machine(tmp_path, command):
    command("sacct", f"/bin/touch {tmp_path}/asked; echo OUT_OF_MEMORY")
    verdict = judge(tmp_path, "17@4711", KILLED, ClusterSettings())
    assert "mem_gb" not in verdict.text
    assert not (tmp_path / "asked").exists()


def test_ranks_whose_port_was_taken_are_worth_another_try(tmp_path):
    error = TRACEBACK.format(
        "torch.distributed.DistNetworkError: The server socket has failed to listen on any local "
        "network address. port: 35067, code: -98, name: EADDRINUSE, message: address already in use"
    )
    leave(tmp_path, 0, error)
    leave(tmp_path, 1)
    verdict = judge(tmp_path, JOB, FAILED, ClusterSettings(nodes=2))
    assert verdict.worth_another_try
    assert "another program had the port" in verdict.text


def test_a_job_that_timed_out_too_often_names_the_settings(tmp_path):
    error = TRACEBACK.format(
        "submitit.core.utils.UncompletedJobError: Job not requeued because: "
        "timed-out too many times."
    )
    leave(tmp_path, 0, error)
    leave(tmp_path, 1)
    settings = ClusterSettings(nodes=2, max_timeouts=4, timeout_min=90)
    verdict = judge(tmp_path, JOB, FAILED, settings)
    assert not verdict.worth_another_try
    assert "cluster.max_timeouts (4)" in verdict.text
    assert "cluster.timeout_min (90)" in verdict.text


def test_a_job_that_was_not_requeued_in_time_names_the_settings(tmp_path):
    settings = ClusterSettings(signal_delay_s=30, timeout_min=90)
    verdict = judge(tmp_path, JOB, JobState("TIMEOUT"), settings)
    assert "cluster.signal_delay_s (30 s)" in verdict.text
    assert "cluster.timeout_min (90)" in verdict.text


def test_a_cancelled_job_goes_on_when_it_is_run_again(tmp_path):
    verdict = judge(tmp_path, JOB, JobState("CANCELLED", exit_code="0:15"), ClusterSettings())
    assert "scancel" in verdict.text
    assert "Run the same again" in verdict.text


# --- How it is told ---


def test_the_summary_is_the_state_and_the_exit_code(tmp_path):
    state = JobState("NODE_FAIL", reason="NodeDown", exit_code="1:0")
    assert judge(tmp_path, JOB, state, TWO_RANKS).summary == "node_fail, exit 1:0"


def test_the_logs_of_all_ranks_are_named(tmp_path):
    verdict = judge(tmp_path, "123@456", JobState("FAILED"), ClusterSettings())
    assert verdict.text.startswith("job 123@456 ended as FAILED")
    assert f"whole logs: {tmp_path}/123_<rank>_log.out and .err" in verdict.text


def test_only_the_last_lines_are_shown(tmp_path):
    leave(tmp_path, 0, err="\n".join(f"warning {number}" for number in range(100)))
    text = judge(tmp_path, JOB, JobState("NODE_FAIL"), ClusterSettings()).text
    assert "warning 99" in text
    assert len(text.splitlines()) < 20


# --- Jobs that will never start ---


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        ("PartitionNodeLimit", "cluster.nodes (2)"),
        ("PartitionTimeLimit", "cluster.timeout_min (90)"),
        ("InvalidAccount", "cluster.account (vision)"),
        ("QOSMaxGRESPerJob", "cluster.gpus_per_node (4)"),
        ("AssocMaxGRESPerJob", "cluster.gpus_per_node (4)"),
        ("QOSMaxCpuPerJobLimit", "cluster.cpus_per_task (8)"),
        ("QOSMaxMemoryPerJob", "cluster.mem_gb (100)"),
        ("QOSMaxMemoryPerNode", "cluster.mem_gb (100)"),
        ("QOSMaxCpuPerNode", "cluster.cpus_per_task (8)"),
        ("QOSMaxGRESPerNode", "cluster.gpus_per_node (4)"),
        ("QOSMaxCpuMinutesPerJobLimit", "cluster.timeout_min (90)"),
        ("QOSMaxNodePerJobLimit", "cluster.nodes (2)"),
        ("QOSNotAllowed", "cluster.qos (long)"),
        ("AssocMaxCpuPerJobLimit", "cluster.cpus_per_task (8)"),
        ("AssocMaxMemPerJob", "cluster.mem_gb (100)"),
        ("AssocMaxWallDurationPerJobLimit", "cluster.timeout_min (90)"),
        ("AccountNotAllowed", "cluster.account (vision)"),
    ],
)
def test_a_job_that_will_never_start_names_the_setting(cluster_settings, reason, named):
    said = hopeless(JobState("PENDING", reason=reason), cluster_settings)
    assert said.startswith(f"would wait for ever ({reason}): {named} cannot be met; ")


@pytest.mark.parametrize("reason", ["PartitionConfig", "BadConstraints"])
def test_a_job_that_no_node_is_large_enough_for_names_all_that_was_asked_of_one(reason):
    # Slurm says the same of too few nodes, processors, GPUs and memory.
    settings = ClusterSettings(nodes=2, gpus_per_node=4, cpus_per_task=8, mem_gb=100)
    said = hopeless(JobState("PENDING", reason=reason), settings)
    assert "cluster.nodes 2, each with gpus_per_node 4, 4 tasks of cpus_per_task 8, mem_gb" in said


@pytest.mark.parametrize(
    "reason",
    [
        *("", "Resources", "Priority", "BeginTime", "ReqNodeNotAvail", "PartitionDown"),
        *("QOSMaxCpuPerUserLimit", "QOSMaxJobsPerUserLimit", "AssocGrpGRES", "AssocMaxJobsLimit"),
    ],
)
def test_a_job_that_waits_for_its_turn_may_start(reason):
    state = JobState("PENDING", reason=reason)
    assert hopeless(state, ClusterSettings()) is None
    assert held(JOB, state) is None


@pytest.mark.parametrize("restarts", [1, None])
def test_a_job_that_has_started_before_or_may_have_can_start_again(restarts):
    # After a requeue, while its nodes are down.
    state = JobState("PENDING", reason="PartitionNodeLimit", restarts=restarts)
    assert hopeless(state, ClusterSettings()) is None


def test_a_job_that_could_not_be_launched_is_held_until_a_person_releases_it():
    said = held(JOB, JobState("PENDING", reason="launch_failed_requeued_held"))
    assert "`scontrol release 17`" in said
    assert "slurmd" in said
