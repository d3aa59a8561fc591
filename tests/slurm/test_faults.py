"""What clusters do to jobs: after each, the undisturbed run's student and one chain of jobs.

With `--during-write` every fault hits while rank 0 is in the middle of writing a state.
"""

import os
import signal
import subprocess
import time

import pytest
from slurm_project import operate, queue, restarts, scontrol, show

# What another test has in a harder case: `make test-slurm ALL=1` runs it.
LESS = pytest.mark.less
ON_ONE_AND_TWO = pytest.mark.parametrize("nodes", [pytest.param(1, marks=LESS), 2])


def _seconds_run(job_id: str) -> int:
    days, _, clock = show(job_id).split("RunTime=")[1].split()[0].rpartition("-")
    hours, minutes, seconds = map(int, clock.split(":"))
    return 86400 * int(days or 0) + 3600 * hours + 60 * minutes + seconds


@ON_ONE_AND_TWO
def test_requeue_by_an_administrator(project, survives, nodes):
    def disturb(run):
        run.reach(20)
        scontrol("requeue", run.job_id)
        run.go_on()
        run.restart_now()

    run = survives("scontrol requeue", project.run("requeue", nodes), nodes, disturb)
    assert len(run.attempts) == 1


@pytest.mark.parametrize(
    ("nodes", "during_write"),
    # On two nodes a rank is killed after a requeue, too.
    [pytest.param(1, False, marks=LESS), (1, True), pytest.param(2, False, marks=LESS)],
)
def test_a_rank_is_killed(project, survives, nodes, during_write):
    run = project.run(f"rank_{during_write}", nodes)
    run.during_write |= during_write

    def disturb(run):
        run.reach(20)
        os.kill(run.ranks()[0 if run.during_write else -1], signal.SIGKILL)
        run.go_on()

    run = survives("SIGKILL of a rank", run, nodes, disturb)
    assert len(run.attempts) == 2
    assert "was killed" in run.text


def test_a_rank_is_killed_after_a_requeue(project, survives):
    # What the ranks of the first start left says nothing of the second.
    def disturb(run):
        run.reach(20)
        scontrol("requeue", run.job_id)
        run.go_on()
        run.restart_now()
        # The first start trains on for the seconds that Slurm gives it to end.
        output = run.folder / f"fgd/jobs/{run.job_id}_0_log.out"
        run.wait_for(lambda: "resuming from" in output.read_text())
        run.reach(45)
        os.kill(run.ranks()[-1], signal.SIGKILL)

    run = survives("requeue, SIGKILL of a rank", project.run("requeue_rank", 2), 2, disturb)
    assert len(run.attempts) == 2
    assert "was killed" in run.text


@ON_ONE_AND_TWO
def test_a_node_dies(project, survives, nodes):
    def disturb(run):
        run.reach(20)
        node = "n1" if nodes == 1 else "n2"
        if nodes == 1:
            node = show(run.job_id).split(" NodeList=")[1].split()[0]
        operate("kill-node", node)
        job_id = run.job_id
        run.go_on()
        run.wait_for(lambda: "Restarts=0" not in show(job_id))
        operate("start-node", node)
        # As Slurm would, which lets the job wait for two minutes: its controller (22.05) can crash
        # when the job starts before its old start on the node is forgotten.
        time.sleep(20)
        run.restart_now()

    run = survives("SIGKILL of a slurmd", project.run("node", nodes), nodes, disturb)
    # Slurm's own late order to end the old start can hit the new one; a second job goes on then.
    assert len(run.attempts) <= 2


@LESS
def test_the_controller_restarts(project, survives):
    def disturb(run):
        run.reach(20)
        operate("restart-controller")
        run.go_on()

    run = survives("slurmctld restarted", project.run("controller", 2), 2, disturb)
    assert len(run.attempts) == 1


def test_the_controller_is_killed(project, survives):
    def disturb(run):
        run.reach(20)
        # The testbed starts it anew, as systemd does.
        subprocess.run(["pkill", "-KILL", "-x", "slurmctld"], check=True)
        run.go_on()

    run = survives("SIGKILL of slurmctld", project.run("controller_killed", 1), 1, disturb)
    assert len(run.attempts) == 1


def test_preemption_is_not_counted(project, survives):
    def disturb(run):
        run.reach(20)
        # As Slurm does when it preempts: TERM to all, which is passed over, then submitit's signal.
        subprocess.run(["scancel", "--signal=TERM", run.job_id], check=True)
        subprocess.run(["scancel", "--signal=USR2", run.job_id], check=True)
        run.go_on()
        run.restart_now()

    # A time-out would end it; a preemption does not.
    run = project.run("preempted", 2, max_timeouts=0, timeout_min=60)
    survives("preempted", run, 2, disturb)
    assert len(run.attempts) == 1


def test_the_time_limit_is_reached(project, survives):
    def disturb(run):
        if run.during_write:
            run.reach(20)
            # Stopped until Slurm gives its signal, ten seconds before the limit; it wakes what it
            # signals.
            run.wait_for(
                lambda: _seconds_run(run.job_id) > 53 or "JobState=RUNNING" not in show(run.job_id)
            )
            run.go_on()
        run.never_wait()

    # A start has 20 to 40 seconds for iterations, on a busy machine less: Slurm looks now and then.
    epochs = project.epochs_of(seconds=50)
    run = project.run("timeout", 1, epochs, timeout_min=1, signal_delay_s=10, max_timeouts=60)
    survives("time limit", run, 1, disturb, epochs)
    assert len(run.attempts) == 1
    assert restarts(run.job_id) >= 1


@LESS
def test_a_time_limit_reached_too_often_ends_the_training(project):
    epochs = project.epochs_of(seconds=300)
    run = project.run("too_often", 1, epochs, timeout_min=1, signal_delay_s=10, max_timeouts=0)
    run.start()
    assert run.end() == 2
    assert "cluster.max_timeouts (0)" in run.text
    assert queue() == ""


@ON_ONE_AND_TWO
def test_the_launcher_is_killed(project, survives, nodes):
    def disturb(run):
        run.reach(20)
        run.kill()
        run.go_on()
        run.start()

    run = survives("SIGKILL of the launcher", project.run("launcher", nodes), nodes, disturb)
    assert len(run.attempts) == 1
    assert "found job" in run.text


@LESS
def test_the_launcher_is_killed_and_the_job_ends_meanwhile(project, survives):
    def disturb(run):
        run.reach(20)
        run.kill()
        run.go_on()
        while not (run.work_dir / "final.pth").exists():
            time.sleep(0.2)
        run.start()

    run = survives("launcher away till the end", project.run("away", 2), 2, disturb)
    assert len(run.attempts) == 1


@ON_ONE_AND_TWO
def test_ctrl_c_cancels_and_the_next_run_resumes(project, survives, nodes):
    def disturb(run):
        run.reach(20)
        assert run.kill(signal.SIGINT) != 0
        run.go_on()
        cancelled = run.job_id
        assert f"job {cancelled} is cancelled" in run.text
        while queue():
            time.sleep(0.2)
        run.start()

    run = survives("Ctrl-C", project.run("ctrl_c", nodes), nodes, disturb)
    assert len(run.attempts) == 2


@LESS
def test_ctrl_c_can_leave_the_job(project, survives):
    def disturb(run):
        run.reach(20)
        assert run.kill(signal.SIGINT) != 0
        run.go_on()
        run.start()

    run = project.run("ctrl_c_leaves", 1, cancel_on_interrupt=False)
    survives("Ctrl-C, job left", run, 1, disturb)
    assert len(run.attempts) == 1
