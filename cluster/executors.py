"""Where jobs run: on Slurm, or as processes of this machine. Both through submitit."""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import submitit
from submitit.core.utils import FailedJobError, FailedSubmissionError, JobPaths

from cluster import container, devices, environment, slurm
from cluster.settings import ClusterSettings, submitit_parameters
from cluster.slurm import JobState
from cluster.task import TrainingTask
from fgd.errors import FGDError

_A_YEAR_MIN = 365 * 24 * 60
_NAME = "FGD_JOB_NAME"  # of a job on this machine, in its processes' environment


class Executor(Protocol):
    """What the launcher needs to run jobs somewhere: Slurm, this machine."""

    def notes(self, settings: ClusterSettings) -> list[str]:
        """What a job will be given other than this shell and the suite together ask for."""

    def submit(
        self, task: TrainingTask, *, settings: ClusterSettings, name: str, folder: Path
    ) -> str:
        """Submit a job and return its id."""

    def state(self, job_id: str, name: str, folder: Path) -> JobState:
        """The state of a job."""

    def cancel(self, job_id: str, name: str) -> bool:
        """End a job; whether that was possible."""

    def how_to_end(self, job_id: str) -> str:
        """The command with which a person ends a job."""

    def lost(self, name: str) -> list[str]:
        """Ids of jobs that were submitted under `name` by a launcher that died before it knew."""


class Slurm:
    """Jobs through sbatch."""

    def notes(self, settings: ClusterSettings) -> list[str]:
        """What becomes of the shell's variables for Slurm."""
        return environment.notes(settings)

    def submit(
        self, task: TrainingTask, *, settings: ClusterSettings, name: str, folder: Path
    ) -> str:
        """Submit a job.

        Raises:
            NoAnswer: the job may be there or not; `lost` tells.
            FGDError: there is no Slurm here, its container could not start, or Slurm refuses it,
                with the setting to change.
        """
        if absent := slurm.missing("srun", "sbatch"):
            raise FGDError(absent)
        container.check(settings)
        executor = submitit.AutoExecutor(
            folder=folder,
            cluster="slurm",
            slurm_max_num_timeout=settings.max_timeouts,
            slurm_python=container.python(settings),
        )
        parameters = container.submission(settings, submitit_parameters(settings, name))
        executor.update_parameters(**parameters)
        try:
            with environment.submitting(settings):
                return executor.submit(task).job_id
        except (FailedJobError, FailedSubmissionError) as error:
            if slurm.is_silence(str(error)):
                raise slurm.NoAnswer(_said(str(error))) from None
            raise FGDError(refusal(str(error), settings)) from None

    def state(self, job_id: str, name: str, folder: Path) -> JobState:
        """From scontrol or sacct; of a job that both have forgotten, from what its ranks left."""
        state = slurm.job_state(job_id, name)
        if state.state == slurm.GONE:
            return JobState(_by_results(folder, job_id) or slurm.GONE)
        return state

    def cancel(self, job_id: str, name: str) -> bool:
        """scancel."""
        return slurm.cancel(job_id, name)

    def how_to_end(self, job_id: str) -> str:
        """scancel."""
        return f"scancel {job_id}"

    def lost(self, name: str) -> list[str]:
        """By the job's name."""
        return slurm.jobs_named(name)


class Elsewhere(FGDError):
    """A local job is one of another machine: only there can be seen whether it runs.

    Args:
        job: its process number there.
        host: that machine.
        folder: of the training's record of jobs.
    """

    def __init__(self, job: str, host: str, folder: Path) -> None:
        super().__init__(
            f"process {job} of the machine {host} trains it, or did: whether it still does can be "
            f"seen there alone, and this is {os.uname().nodename}. Give the command there; if that "
            f"machine is gone, delete {folder / 'job.json'}, and the training goes on from its "
            "newest state"
        )
        self.host = host


class Local:
    """Jobs as processes of this machine, each on a GPU of its own; on the CPU if there is none.

    They survive a launcher that is killed, but not Ctrl-C: a terminal interrupts its whole process
    group, and submitit starts them in the launcher's. Where the settings leave the job alone, it
    therefore ends all the same; the next launcher goes on from its newest state.

    Args:
        gpus: tells which GPUs there are.
    """

    def __init__(self, gpus: Callable[[], Sequence[devices.Gpu]] = devices.visible) -> None:
        self._gpus = gpus

    def notes(self, settings: ClusterSettings) -> list[str]:
        """None."""
        return []

    def submit(
        self, task: TrainingTask, *, settings: ClusterSettings, name: str, folder: Path
    ) -> str:
        """Start the processes, once there are GPUs for them.

        Raises:
            FGDError: this machine has fewer GPUs than they need, or the container could not start.
        """
        container.check(settings)
        executor = submitit.AutoExecutor(
            folder=folder,
            cluster="local",
            # TMPDIR, which may be set, has to be there.
            local_python=container.python(settings, tempfile.gettempdir()),
        )
        executor.update_parameters(
            name=name,
            tasks_per_node=settings.tasks_per_node,
            timeout_min=_A_YEAR_MIN,  # nobody waits for this machine; submitit needs a limit
        )
        os.environ[_NAME] = name  # the processes inherit it
        with devices.reserve(settings.tasks_per_node, self._gpus()) as gpus:
            began = time.time()
            pid = int(executor.submit(replace(task, gpus=gpus)).job_id)
            _forget_results(folder, pid, began)
            job_id = f"{pid}@{_start_time(pid)}@{os.uname().nodename}"
            devices.wait_until_held(gpus, lambda: _runs(job_id))
        return job_id

    def state(self, job_id: str, name: str, folder: Path) -> JobState:
        """From the process and from what its tasks left.

        Raises:
            Elsewhere: it is a process of another machine, and has left nothing yet.
        """
        if _runs(job_id):
            return JobState("RUNNING", nodes=os.uname().nodename)
        left = _by_results(folder, job_id)
        if left is None and (host := _host(job_id)) != os.uname().nodename:
            raise Elsewhere(job_id.split("@")[0], host, folder)
        return JobState(left or "FAILED")

    def cancel(self, job_id: str, name: str) -> bool:
        """Interrupt the process that watches over the tasks."""
        if _runs(job_id):
            os.kill(int(job_id.split("@")[0]), signal.SIGINT)
        return True

    def how_to_end(self, job_id: str) -> str:
        """The signal that submitit hands on to the tasks."""
        return f"kill -INT {job_id.split('@')[0]}"

    def lost(self, name: str) -> list[str]:
        """By the name in the environment of the process that watches over the tasks."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes()
                variables = (folder / "environ").read_bytes().split(b"\0")
            except OSError:  # it has just ended, or is somebody else's
                continue
            if b"submitit.local._local" in command and f"{_NAME}={name}".encode() in variables:
                started = _start_time(int(folder.name))
                found.append(f"{folder.name}@{started}@{os.uname().nodename}")
        return found


EXECUTORS: dict[str, Executor] = {"slurm": Slurm(), "local": Local()}


def submitit_result(path: Path) -> tuple[str, str]:
    """What a task left: ("success", ...) or ("error", its traceback)."""
    from submitit.core.utils import pickle_load

    return pickle_load(path)


def task_paths(folder: Path, job_id: str, rank: int) -> JobPaths:
    """Where submitit keeps a rank's output, errors and result."""
    return JobPaths(folder, job_id.split("@")[0], rank)


def _by_results(folder: Path, job_id: str) -> str | None:
    """COMPLETED or FAILED, by what the tasks left; None if they left nothing."""
    kinds = [
        submitit_result(path)[0] for path in folder.glob(f"{job_id.split('@')[0]}_*_result.pkl")
    ]
    if not kinds:
        return None
    return "FAILED" if "error" in kinds else "COMPLETED"


# Words of sbatch's refusals, with the setting that each is about.
_REFUSALS = (
    ("invalid partition", "partition", "`sinfo --summarize` lists the partitions"),
    ("invalid account", "account", "`sacctmgr show associations user=$USER` lists yours"),
    ("invalid qos", "qos", "`sacctmgr show qos` lists them"),
    ("invalid feature", "constraint", "`sinfo --format='%n %f'` lists the nodes' features"),
    ("node count", "nodes", "`sinfo` shows how many the partition has"),
    ("time limit", "timeout_min", "`sinfo --format='%P %l'` shows the partitions' limits"),
    ("memory specification", "mem_gb", "`sinfo --Node --format='%N %m'` shows the nodes' memory"),
    ("invalid gres", "gpus_per_node", "`sinfo --format='%n %G'` shows the nodes' GPUs"),
    ("invalid generic resource", "gpus_per_node", "`sinfo --format='%n %G'` shows the nodes' GPUs"),
    ("cpu count", "cpus_per_task", "`sinfo --format='%n %c'` shows the nodes' processors"),
    ("invalid node name", "exclude", "`sinfo --Node` lists the nodes"),
    ("unrecognized option", "sbatch", "its keys are sbatch's long options"),
)

# The last words of many refusals: of nodes, processors, memory and GPUs alike. Which of them Slurm
# uses for too many nodes depends on its version.
_NO_SUCH_NODES = (
    "node configuration",
    "partition configuration",
    "processors requested than permitted",
    "nodes requested than permitted",
)


def refusal(words: str, settings: ClusterSettings) -> str:
    """sbatch's refusal with the setting that it is about."""
    said = _said(words)
    if "accounting/qos policy" in said.lower():  # its words name the time limit, whatever it is
        return (
            f"Slurm refuses the job: {said}. `sacctmgr show associations user=$USER` and "
            "`sacctmgr show qos` show the limits"
        )
    for pattern, key, hint in _REFUSALS:
        if pattern in said.lower():
            return f"Slurm refuses cluster.{key} ({getattr(settings, key)}): {said}; {hint}"
    if any(words in said.lower() for words in _NO_SUCH_NODES):
        return (
            f"Slurm has no such nodes, or fewer than cluster.nodes ({settings.nodes}): {said}. "
            f"{nodes_asked_for(settings)}"
        )
    return f"Slurm refuses the job: {said}. Its settings are in the suite's `cluster:` section"


def _said(words: str) -> str:
    """The errors among sbatch's lines."""
    lines = [line for line in words.strip().splitlines() if line]
    errors = [line for line in lines if "error" in line.lower()] or lines[:1]
    return ": ".join(line.removeprefix("sbatch: ").removeprefix("error: ") for line in errors)


def nodes_asked_for(settings: ClusterSettings) -> str:
    """Everything that a node has to have, and how to see what the cluster has."""
    return (
        f"Asked for were cluster.nodes {settings.nodes}, each with "
        f"gpus_per_node {settings.gpus_per_node}, {settings.tasks_per_node} tasks of "
        f"cpus_per_task {settings.cpus_per_task}, mem_gb {settings.mem_gb}"
        f"{f', constraint {settings.constraint}' if settings.constraint else ''}; "
        "`sinfo --Node --format='%N %c %m %G %f'` shows what there is"
    )


def _forget_results(folder: Path, pid: int, before: float) -> None:
    """Remove what an earlier job left whose process had the same number."""
    for path in folder.glob(f"{pid}_*_result.pkl"):
        if path.stat().st_mtime < before:
            path.unlink()


def _runs(job_id: str) -> bool:
    """Whether the process of a job on this machine is still there."""
    # A process number is used again after a while; its start time tells the two apart. It is
    # missing if the process ended before it could be read.
    pid, started, *_ = job_id.split("@")
    here = _host(job_id) == os.uname().nodename
    return here and bool(started) and _start_time(int(pid)) == started


def _host(job_id: str) -> str:
    """The machine of a local job; this one for a record of before, which does not say it."""
    _, _, *host = job_id.split("@")
    return host[0] if host else os.uname().nodename


def _start_time(pid: int) -> str:
    """When a process started, in clock ticks since boot; empty if there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            values = file.read().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    return "" if values[0] == "Z" else values[19]
