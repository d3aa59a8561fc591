"""What Slurm says of a job: real answers of its commands, from scripts in their place."""

import time
from dataclasses import replace

import pytest

from cluster import slurm
from cluster.slurm import JobState
from fgd.errors import FGDError

# `scontrol show job --oneliner` of Slurm 22.05.
SHOWN = (
    "JobId=5 JobName={name} UserId=ada(1000) GroupId=ada(1000) "
    "MCS_label=N/A Priority=4294901755 Nice=0 Account=vision QOS=normal JobState={state} "
    "Reason={reason} Dependency=(null) Requeue=1 Restarts={restarts} BatchFlag=1 Reboot=0 "
    "ExitCode={exit_code} RunTime=00:00:00 TimeLimit=00:30:00 TimeMin=N/A "
    "SubmitTime=2026-11-23T15:32:48 EligibleTime=2026-11-23T15:32:48 "
    "StartTime={started} EndTime=Unknown Partition=main AllocNode:Sid=login:15819 ReqNodeList=n9 "
    "ExcNodeList=n8 NodeList={nodes} BatchHost=n1 NumNodes=2 NumCPUs=2 NumTasks=2 CPUs/Task=1 "
    "ReqB:S:C:T=0:0:*:* TRES=cpu=2,mem=8G,node=2,billing=2,gres/gpu=2 Features=(null) "
    "WorkDir=/home/ada/fgd StdIn=/dev/null Power= TresPerNode=gres:gpu:1 "
)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Puts a script in a command's place; without one there is no such command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name, answer="", status=0, error=""):
        script = folder / name
        calls = folder / f"{name}.calls"
        script.write_text(
            f'#!/bin/sh\necho "$*" >> {calls}\n/bin/cat <<"END"\n{answer}\nEND\n'
            f'echo "{error}" >&2\nexit {status}\n'
        )
        script.chmod(0o755)
        return calls

    return write


WHEN = "2026-11-23T15:33:20"
NAME = "mini.retinanet_r50.fgd.11651c"
STARTED = time.mktime((2026, 11, 23, 15, 33, 20, 0, 0, -1))


def shown(
    state, reason="None", restarts=0, exit_code="0:0", nodes="n[1-2]", started=WHEN, name=NAME
):
    return SHOWN.format(
        name=name,
        state=state,
        reason=reason,
        restarts=restarts,
        exit_code=exit_code,
        nodes=nodes,
        started=started,
    )


LISTED = JobState("", restarts=None, exit_code="0:0", started=STARTED)  # what sacct tells


def listed(state, reason="None", nodes="n1", exit_code="0:0", started=WHEN, name=NAME):
    """A line of sacct's."""
    return "|".join((state, reason, nodes, exit_code, started, name))


# --- The controller's answer ---


def test_a_running_job(command):
    calls = command("scontrol", shown("RUNNING"))
    state = slurm.job_state("5", NAME)
    assert state == JobState("RUNNING", nodes="n[1-2]", exit_code="0:0", started=STARTED)
    assert calls.read_text() == "show job --oneliner 5\n"
    assert not state.is_final and not state.is_waiting
    assert state.text == "running on n[1-2]"


def test_a_job_that_waits_for_its_nodes_says_why(command):
    command("scontrol", shown("PENDING", reason="Resources", nodes="(null)"))
    state = slurm.job_state("5", NAME)
    assert (state.is_waiting, state.is_final, state.nodes) == (True, False, "")
    assert state.text == "pending (Resources)"


def test_a_job_that_waits_after_a_requeue(command):
    command("scontrol", shown("PENDING", reason="BeginTime", restarts=1, nodes="(null)"))
    state = slurm.job_state("5", NAME)
    assert (state.is_waiting, state.restarts, state.reason) == (True, 1, "BeginTime")


def test_a_requeued_job_that_runs_again_tells_its_start(command):
    command("scontrol", shown("RUNNING", restarts=2, nodes="n1"))
    assert slurm.job_state("5", NAME).text == "running on n1, start 3"


def test_a_job_that_ends_is_not_yet_final(command):
    command("scontrol", shown("COMPLETING"))
    assert not slurm.job_state("5", NAME).is_final


@pytest.mark.parametrize(
    ("state", "reason", "exit_code"),
    [
        ("COMPLETED", "None", "0:0"),
        ("FAILED", "NonZeroExitCode", "1:0"),
        ("CANCELLED", "None", "0:15"),
        ("OUT_OF_MEMORY", "OutOfMemory", "0:125"),
        ("TIMEOUT", "TimeLimit", "0:15"),
        ("NODE_FAIL", "NodeDown", "1:0"),
        ("PREEMPTED", "None", "0:15"),
    ],
)
def test_a_job_that_has_ended(command, state, reason, exit_code):
    command("scontrol", shown(state, reason, exit_code=exit_code))
    found = slurm.job_state("5", NAME)
    assert (found.state, found.exit_code, found.is_final) == (state, exit_code, True)
    assert found.text == state.lower()


@pytest.mark.parametrize("started", ["Unknown", "N/A", "None", ""])
def test_a_job_that_has_not_started_has_no_start(command, started):
    command("scontrol", shown("PENDING", started=started))
    assert slurm.job_state("5", NAME).started == 0


def test_reason_none_is_no_reason(command):
    command("scontrol", shown("PENDING", nodes="(null)"))
    assert slurm.job_state("5", NAME).text == "pending (no reason given)"


# --- The accounting database's ---


def test_a_job_that_the_controller_forgot_is_asked_of_the_database(command):
    command("scontrol", status=1)
    calls = command("sacct", listed("COMPLETED", nodes="n[1-2]"))
    assert slurm.job_state("5", NAME) == replace(LISTED, state="COMPLETED", nodes="n[1-2]")
    assert "--jobs 5 --allocations" in calls.read_text()


def test_a_machine_without_scontrol_asks_the_database(command):
    command("sacct", listed("RUNNING"))
    assert slurm.job_state("5", NAME).state == "RUNNING"


def test_who_cancelled_a_job_is_not_part_of_its_state(command):
    command("sacct", listed("CANCELLED by 1000", exit_code="0:15"))
    state = slurm.job_state("5", NAME)
    assert (state.state, state.is_final) == ("CANCELLED", True)


def test_a_job_in_the_database_that_has_no_nodes_yet(command):
    command("sacct", listed("PENDING", "Priority", "None assigned", started="Unknown"))
    state = slurm.job_state("5", NAME)
    assert (state.nodes, state.text) == ("", "pending (Priority)")


def test_the_newest_of_a_jobs_entries_counts(command):
    command("sacct", f"{listed('NODE_FAIL', nodes='n[1-2]')}\n{listed('RUNNING', nodes='n[3-4]')}")
    assert slurm.job_state("5", NAME) == replace(LISTED, state="RUNNING", nodes="n[3-4]")


def test_another_job_of_the_same_number_is_not_the_job(command):
    command("scontrol", shown("RUNNING", name="somebody.elses"))
    command("sacct", listed("COMPLETED"))
    assert slurm.job_state("5", NAME) == JobState(slurm.GONE)


@pytest.mark.parametrize(
    ("words", "state"),
    [("Invalid job id specified", slurm.GONE), ("Unable to contact", slurm.UNKNOWN)],
)
def test_another_job_of_the_same_number_in_the_database_is_not_the_job(command, words, state):
    command("scontrol", error=words, status=1)
    command("sacct", listed("RUNNING", name="somebody.elses"))
    assert slurm.job_state("5", NAME) == JobState(state)


def test_a_refusal_after_a_busy_moment_is_no_silence():
    busy = "sbatch: Slurm temporarily unable to accept job, sleeping and retrying"
    assert slurm.is_silence(busy)
    assert not slurm.is_silence(f"{busy}\nBatch job submission failed: Invalid account")


# --- No answer ---


def test_without_slurm_the_state_is_unknown_and_not_final(command):
    state = slurm.job_state("5", NAME)
    assert state.state == slurm.UNKNOWN
    assert not state.is_final and not state.is_waiting


def test_a_job_that_nobody_knows_is_unknown(command):
    command("scontrol", status=1)
    command("sacct")
    assert slurm.job_state("5", NAME).state == slurm.UNKNOWN


@pytest.mark.parametrize("answer", ["", listed("RUNNING")])
def test_a_job_that_the_controller_does_not_know_is_gone(command, answer):
    # The database keeps a job as running whose controller lost it.
    command("scontrol", status=1, error="slurm_load_jobs error: Invalid job id specified")
    command("sacct", answer)
    state = slurm.job_state("5", NAME)
    assert (state.state, state.is_final) == (slurm.GONE, True)
    assert state.text == "gone (Slurm has no record of it)"


def test_a_job_that_only_the_database_knows_has_ended_as_it_says(command):
    command("scontrol", status=1, error="slurm_load_jobs error: Invalid job id specified")
    command("sacct", listed("COMPLETED"))
    assert slurm.job_state("5", NAME).state == "COMPLETED"


def test_a_controller_that_does_not_answer_leaves_the_state_unknown(command):
    error = "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"
    command("scontrol", status=1, error=error)
    command("sacct")
    assert slurm.job_state("5", NAME).text == "unknown (Slurm does not answer)"


def test_without_slurm_there_is_no_memory_and_nothing_is_cancelled(command):
    assert not slurm.cancel("5", NAME)
    assert slurm.largest_memory("5") == ""


# --- Other questions ---


@pytest.mark.parametrize(("answer", "ids"), [("", []), ("17", ["17"]), ("17\n18", ["17", "18"])])
def test_jobs_of_a_name_are_those_of_the_queue(command, answer, ids):
    calls = command("squeue", answer)
    assert slurm.jobs_named("mini.fcos_r50.fgd.11651c") == ids
    assert "--name=mini.fcos_r50.fgd.11651c" in calls.read_text()


def test_a_queue_that_does_not_answer_is_asked_again_and_not_taken_for_empty(command, monkeypatch):
    monkeypatch.setattr(slurm, "_PAUSE_S", 0)
    calls = command("squeue", status=1, error="slurm_load_jobs error: Unable to contact")
    with pytest.raises(FGDError, match=r"Slurm does not answer.*squeue --name=mini"):
        slurm.jobs_named("mini.fcos_r50.fgd.11651c")
    assert len(calls.read_text().splitlines()) == 3


def test_a_machine_without_slurm_is_not_asked_again(command, monkeypatch):
    monkeypatch.setattr(slurm.time, "sleep", pytest.fail)
    with pytest.raises(slurm.NoAnswer, match="no Slurm on this machine: squeue not on the PATH"):
        slurm.jobs_named("mini.fcos_r50.fgd.11651c")


def test_cancel_names_the_job_in_case_its_number_is_anothers_by_now(command):
    calls = command("scancel")
    assert slurm.cancel("17", NAME)
    assert calls.read_text() == f"--name={NAME} 17\n"


@pytest.mark.parametrize(
    ("error", "done"),
    [
        ("Unable to contact slurm controller", False),
        ("Invalid job id specified", True),
        ("Job/step already completing or completed", True),
    ],
)
def test_cancel_says_whether_the_order_arrived(command, error, done):
    command("scancel", status=1, error=f"scancel: error: Kill job error on job id 17: {error}")
    assert slurm.cancel("17", NAME) == done


@pytest.mark.parametrize(
    ("sizes", "largest"),
    [
        ("\n12528K\n904448K", "904448K"),
        ("\n3248K\n12M", "12M"),
        ("\n999M\n1.5G\n0", "1.5G"),
        ("\n\n", ""),
    ],
)
def test_the_most_memory_of_a_jobs_steps(command, sizes, largest):
    command("sacct", sizes)
    assert slurm.largest_memory("5") == largest
