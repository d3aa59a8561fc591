"""Snakemake in a job of its own: killed, preempted and timed out; and what its trainings get."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from shrunken import shrunken
from slurm_project import BIN, ROOT, Project, Run, difference, hurry, queue, ranks, scontrol, show
from test_snakemake import Workflow

ROW = "retinanet_r50"
TRAINING = f"results/mini/{ROW}/baseline"


class HeadJob:
    """The head job of a suite's one training."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.folder = workflow.folder
        self.job_id = ""

    def submit(self, *options: str) -> "HeadJob":
        """What a user types."""
        command = [BIN / "fgd-cluster", "head", *options, "mini.yaml"]
        command += ["--", f"{TRAINING}/trained.pth", "--snakefile", str(ROOT / "Snakefile")]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        self.job_id = re.search(r"submitted head job (\d+)", done.stdout)[1]
        return self

    @property
    def text(self) -> str:
        """What all its starts have printed."""
        file = self.folder / f"results/mini/head/{self.job_id}.log"
        return file.read_text() if file.exists() else ""

    @property
    def shown(self) -> dict[str, str]:
        """What Slurm says of it."""
        return dict(item.partition("=")[::2] for item in show(self.job_id).split())

    @property
    def attempts(self) -> list[dict]:
        """The jobs of the training."""
        file = self.folder / TRAINING / "jobs/job.json"
        return json.loads(file.read_text())["attempts"] if file.exists() else []

    def until(self, condition) -> None:
        """Wait until something holds, and let the job start soon whenever it was requeued."""
        hurried: set[tuple[str, str]] = set()
        while not condition():
            hurry(self.job_id, hurried)
            assert self.shown["JobState"] != "FAILED", self.text
            time.sleep(1)

    def finish(self) -> None:
        """Wait for its end, which has to be a success, after a single job that trained."""
        self.until(lambda: self.shown["JobState"] == "COMPLETED")
        assert (self.folder / TRAINING / "trained.pth").exists()
        assert len(self.attempts) == 1
        assert queue() == ""

    def processes(self) -> list[int]:
        """Of the job on this machine: its supervisor, Snakemake and the launchers."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                text = (folder / "environ").read_text(errors="replace")
                here = (folder / "cwd").resolve() == self.folder.resolve()
            except OSError:  # it has just ended
                continue
            # Snakemake's own have no number, and trainings start in this folder, too.
            number = dict(item.partition("=")[::2] for item in text.split("\0")).get("SLURM_JOB_ID")
            if here and number in (None, self.job_id):
                found.append(int(folder.name))
        return found


@pytest.fixture
def head(tmp_path) -> HeadJob:
    """A head job that is not yet submitted, of trainings that last a while."""
    workflow = Workflow(tmp_path)
    suite = shrunken(rows=[ROW], samples_per_gpu=4, epochs=40)
    suite["cluster"] |= {"poll_s": 1, "cpus_per_task": 1, "mem_gb": 4, "signal_delay_s": 20}
    (tmp_path / "mini.yaml").write_text(yaml.safe_dump(suite))
    return HeadJob(workflow)


def test_a_head_job_that_reaches_its_time_limit_goes_on_by_itself(head: HeadJob):
    head.submit()
    head.until(lambda: head.attempts and ranks(head.attempts[0]["job_id"]))
    stopped = ranks(head.attempts[0]["job_id"])  # not to end before the head job does
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    hours, minutes, _ = map(int, head.shown["RunTime"].split(":"))
    scontrol("update", f"jobid={head.job_id}", f"TimeLimit={60 * hours + minutes + 1}")
    head.until(lambda: int(head.shown["Restarts"]) >= 1)
    for pid in stopped:
        os.kill(pid, signal.SIGCONT)
    head.finish()
    assert "launchers end, their trainings go on" in head.text


@pytest.mark.less
def test_a_head_job_that_is_preempted_goes_on_by_itself(head: HeadJob):
    head.submit()
    head.until(lambda: head.attempts and queue().count("\n") > 1)
    scontrol("requeue", head.job_id)
    head.finish()
    assert int(head.shown["Restarts"]) == 1


def test_a_head_job_that_was_killed_is_submitted_again_and_finds_its_trainings(head: HeadJob):
    head.submit()
    head.until(lambda: head.attempts and queue().count("\n") > 1)
    for pid in head.processes():
        os.kill(pid, signal.SIGKILL)
    while head.shown["JobState"] in ("RUNNING", "COMPLETING"):
        time.sleep(0.5)
    assert head.shown["JobState"] == "FAILED"
    head.submit().finish()
    assert "Snakemake's lock is removed" in head.text


# What the options of a head job set in it, and srun's in a step of it.
OPTIONS = ["--ntasks=1", "--ntasks-per-node=1", "--cpus-per-task=2", "--mem-per-cpu=1500"]
OPTIONS += ["--gpus-per-task=1"]
STEP = ["--cpu-bind=none", "--mem-bind=none", "--distribution=cyclic", "--overlap"]


class RunInAJob(Run):
    """A training whose launcher runs in a step of a job."""

    def start(self) -> Run:
        """Start the job, and stay until it ends."""
        self.folder.mkdir(parents=True, exist_ok=True)
        launcher = [BIN / "fgd-cluster", "train", self.suite, ROW, self.config, "--arm=fgd"]
        launcher += ["--on=slurm", "--work-dir", self.work_dir, "--out", self.out]
        command = ["salloc", "--quiet", *OPTIONS, "srun", *STEP, *launcher]
        self.process = subprocess.Popen(
            command,
            stdout=(self.folder / "log.txt").open("a"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self


def _of_the_rank(run: Run) -> tuple[dict[str, str], dict[str, str]]:
    """What a training got: its variables, and what Slurm says of its job."""
    run.reach(5)
    (pid,) = run.ranks()
    variables = dict(
        item.partition("=")[::2]
        for item in Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    )
    shown = dict(item.partition("=")[::2] for item in show(run.job_id).split())
    run.finish()
    return variables, shown


# Other for every job, or of the shell.
_OWN = re.compile(
    r"SLURM_(.*ADDR|.*PORT|.*COMM_(HOST|PORT)|JOB_?ID|JOB_NAME|.*TIME|NODELIST|JOB_NODELIST|NODENAME"
    r"|JOB_SLUID|STEP_NODELIST|TOPOLOGY_ADDR|LAUNCH_NODE_IPADDR|STEPID|STEP_ID|TASK_PID|JOB_GPUS|STEP_GPUS)"
    r"|SLURMD_NODENAME|SRUN_DEBUG|CUDA_VISIBLE_DEVICES|GPU_DEVICE_ORDINAL|COLUMNS|LINES|_|SHLVL"
    r"|PWD|OLDPWD|TMPDIR|HOSTNAME|FGD_JOB_NAME"
)
_REQUEST = ("NumNodes", "NumCPUs", "NumTasks", "CPUs/Task", "ReqTRES", "TRES", "MinMemoryNode")
_REQUEST += ("MinMemoryCPU", "TresPerNode", "TresPerTask", "TimeLimit", "Partition", "Requeue")


def test_a_training_gets_from_a_job_what_it_gets_from_a_login_node(project: Project):
    alone = project.run("from_login", 1).start()
    login, asked = _of_the_rank(alone)
    run = project.run("from_job", 1)
    within = RunInAJob(run.folder, run.suite, run.config, False).start()
    in_a_job, asked_in_a_job = _of_the_rank(within)
    assert {k: v for k, v in in_a_job.items() if not _OWN.fullmatch(k)} == {
        k: v for k, v in login.items() if not _OWN.fullmatch(k)
    }
    assert {k: asked_in_a_job.get(k) for k in _REQUEST} == {k: asked.get(k) for k in _REQUEST}
    assert difference(within.student(), alone.student()) == 0
