"""Why a job ended, in words, and whether another try could help."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from submitit.core.utils import JobPaths

from cluster import slurm
from cluster.executors import nodes_asked_for, submitit_result, task_paths
from cluster.settings import ClusterSettings
from cluster.slurm import JobState

_LINES = 12


@dataclass(frozen=True)
class Verdict:
    """What a launcher makes of a job that did not complete.

    Attributes:
        summary: in a few words, for the record and the status.
        text: for the user: the rank, its last lines, what to change, where the logs are.
        worth_another_try: the training was healthy and lost its machine.
    """

    summary: str
    text: str
    worth_another_try: bool


def judge(folder: Path, job_id: str, state: JobState, settings: ClusterSettings) -> Verdict:
    """Find out what happened to a job that ended without a result."""
    errors = sorted(_errors(folder, job_id, state, settings.tasks))
    killed = _killed(folder, job_id, state, settings.tasks)
    cause = _cause(folder, job_id, state)
    advice, again = _explain(folder, job_id, cause, settings=settings, errors=errors, killed=killed)
    words = [f"job {job_id} ended as {state.state}" + (f": {advice}" if advice else "")]
    if again or not errors:
        rank = killed[0] if killed else 0
        where = task_paths(folder, job_id, rank)
        words += _last_lines(rank, _first_text(where.stderr, where.stdout))
    if errors:
        words += _last_lines(errors[0].rank, errors[0].words)
    words.append(f"whole logs: {folder}/{job_id.split('@')[0]}_<rank>_log.out and .err")
    return Verdict(
        summary=f"{cause.lower()}" + (f", exit {state.exit_code}" if state.exit_code else ""),
        text="\n".join(words),
        worth_another_try=again,
    )


def all_finished(folder: Path, job_id: str, tasks: int) -> bool:
    """Whether every rank of a job has left its success, whatever Slurm makes of their ends."""
    results = [task_paths(folder, job_id, rank).result_pickle for rank in range(tasks)]
    return all(path.exists() and submitit_result(path)[0] == "success" for path in results)


def hopeless(state: JobState, settings: ClusterSettings) -> str | None:
    """Why a waiting job will never start; None if it may.

    One that has started before could do so again: nodes that are down come back.
    """
    if state.restarts != 0:
        return None
    reason = state.reason
    if reason in _NO_SUCH_NODES:  # of nodes, processors, memory and GPUs alike
        return (
            f"would wait for ever ({reason}): the partition has no such nodes, or fewer than "
            f"cluster.nodes ({settings.nodes}). {nodes_asked_for(settings)}"
        )
    if reason in _HOPELESS:
        key, hint = _HOPELESS[reason]
    elif match := _LIMIT.fullmatch(reason):
        key = _BY_LIMIT[match["what"].lower()]
        table = "qos" if match["whose"] == "QOS" else "associations"
        hint = f"`sacctmgr show {table}` shows the limits"
    else:
        return None
    return (
        f"would wait for ever ({reason}): cluster.{key} ({getattr(settings, key)}) cannot be "
        f"met; {hint}"
    )


def held(job_id: str, state: JobState) -> str | None:
    """Why a waiting job waits for a person; None if it does not. It can still become a good one."""
    if state.reason != "launch_failed_requeued_held":
        return None
    return (
        f"could not be started on its node, and Slurm holds it ({state.reason}). The node's log "
        f"(slurmd's) tells why. `scontrol release {job_id}` lets it start: then run the same again "
        f"to follow it. `scancel {job_id}` ends it"
    )


_PORT_TAKEN = "EADDRINUSE"  # torch's word

# By Slurm's state: what it means and what to change, and whether to try again.
_ADVICE = {
    "OUT_OF_MEMORY": (
        "it needed more than cluster.mem_gb ({settings.mem_gb} GB a node; the most seen of one of "
        "a node's {settings.tasks_per_node} tasks was {memory}). Raise that, or lower the suite's "
        "workers_per_gpu",
        False,
    ),
    "TIMEOUT": (
        "it reached its time limit, and could not be requeued in the last "
        "cluster.signal_delay_s ({settings.signal_delay_s} s). Raise that or cluster.timeout_min "
        "({settings.timeout_min}); run the same again to go on from the newest state",
        False,
    ),
    "NODE_FAIL": ("a node failed", True),
    "BOOT_FAIL": ("a node did not start", True),
    "PREEMPTED": ("another job took its nodes", True),
    "DEADLINE": ("its deadline passed before it could end", False),
    "CANCELLED": (
        "somebody cancelled it (scancel). Run the same again to go on from the newest state",
        False,
    ),
    slurm.GONE: ("Slurm has no record of it, and it left no result", True),
}

# Slurm's reasons for letting a job wait for ever: the nodes that it asks for cannot be had,
_NO_SUCH_NODES = ("PartitionConfig", "BadConstraints")
# one setting cannot be met,
_HOPELESS = {
    "PartitionNodeLimit": (
        "nodes",
        "`sinfo --summarize` shows how many the partition has, and how many are down",
    ),
    "PartitionTimeLimit": ("timeout_min", "`sinfo --format='%P %l'` shows the limits"),
    "InvalidAccount": ("account", "`sacctmgr show associations user=$USER` lists yours"),
    "AccountNotAllowed": ("account", "`scontrol show partition` shows which the partition takes"),
    "InvalidQOS": ("qos", "`sacctmgr show qos` lists them"),
    "QOSNotAllowed": ("qos", "`scontrol show partition` shows which the partition takes"),
}
# or one exceeds what a job may have. What all jobs of a user or group have together does not last.
_LIMIT = re.compile(
    "(?P<whose>QOS|Assoc)Max(?P<what>Cpu|CpuMinutes|Mem|Memory|GRES|Node|WallDuration)"
    "Per(Job|Node)(Limit)?"
)
_BY_LIMIT = {
    "cpu": "cpus_per_task",
    "cpuminutes": "timeout_min",
    "gres": "gpus_per_node",
    "mem": "mem_gb",
    "memory": "mem_gb",
    "node": "nodes",
    "wallduration": "timeout_min",
}

# What an exception of a healthy rank says when another one has gone: gloo's words, the store's,
# NCCL's.
_LOST_PEER = (
    "closed by peer",
    "reset by peer",
    "Broken pipe",
    "Connection was likely closed",
    "closed by remote peer",
    "remote process exit",  # ed, or ing
    "ncclRemoteError",
)
# The command with which submitit requeues a job, in the exception that says it failed.
_REQUEUE = "'scontrol', 'requeue'"
# srun's words when the controller does not answer, which it does again after a moment.
_NOT_STARTED = ("Unable to create step", "Unable to confirm allocation")
# srun's words for a rank that got the signal of a time limit or of a preemption while it could not
# handle it: in its first seconds, before submitit runs.
_NOT_READY = ("User defined signal",)
# submitit's first words in a rank's output.
_STARTED = "Starting with"


class _Error(NamedTuple):
    """The exception that ended a rank; sorted, the one to be shown comes first."""

    lost_peer: bool  # it only followed from another rank's end
    time: float
    rank: int
    words: str


def _errors(folder: Path, job_id: str, state: JobState, tasks: int) -> Iterator[_Error]:
    """Of every rank that ended in an exception."""
    for rank in range(tasks):
        path = task_paths(folder, job_id, rank).result_pickle
        if _has_result(path, state):
            kind, words = submitit_result(path)
            if kind == "error":
                lost_peer = any(sign in _own_words(words) for sign in _LOST_PEER)
                yield _Error(lost_peer, path.stat().st_mtime, rank, words)


def _killed(folder: Path, job_id: str, state: JobState, tasks: int) -> list[int]:
    """The ranks that started and left no result."""
    # Status 1 is Python's own end after an exception. After SIGKILL it is 137 for scontrol and 9
    # for sacct; that says little, as srun kills the siblings of every rank that fails.
    if state.exit_code == "1:0":
        return []
    ranks = [(rank, task_paths(folder, job_id, rank)) for rank in range(tasks)]
    return [rank for rank, paths in ranks if _was_cut_short(paths, state)]


def _has_result(path: Path, state: JobState) -> bool:
    """Whether a rank left a result; not in an earlier start, if it never came so far in this."""
    return path.exists() and path.stat().st_mtime >= state.started


def _was_cut_short(paths: JobPaths, state: JobState) -> bool:
    if _has_result(paths.result_pickle, state) or not paths.stdout.exists():
        return False
    return _STARTED in paths.stdout.read_text(errors="replace")


def _cause(folder: Path, job_id: str, state: JobState) -> str:
    """Slurm's state, or OUT_OF_MEMORY where that alone does not tell."""
    # A step that needs too much memory is killed. Its job has then just failed, or (26.05) been
    # cancelled, which nobody did. If it was a worker, its rank tells of it in an exception.
    if state.state in ("FAILED", "CANCELLED") and _ran_out_of_memory(folder, job_id):
        return "OUT_OF_MEMORY"
    return state.state


def _explain(
    folder: Path,
    job_id: str,
    cause: str,
    *,
    settings: ClusterSettings,
    errors: list[_Error],
    killed: list[int],
) -> tuple[str, bool]:
    """What ended a job and what to change, and whether to try again."""
    if cause == "FAILED":
        if not errors and _says(folder, job_id, _NOT_STARTED):
            return "Slurm's controller did not answer when its ranks were to start", True
        if killed and all(error.lost_peer for error in errors):
            return f"rank {killed[0]} was killed; its siblings cannot go on without it", True
        if any(_PORT_TAKEN in _own_words(error.words) for error in errors):
            # submitit chooses it by the job's id: another job has another.
            return "another program had the port by which its ranks were to meet", True
        if not errors and _says(folder, job_id, _NOT_READY):
            return "it was told to leave its nodes before its ranks had started", True
        if unrequeued := [e for e in errors if _REQUEUE in _own_words(e.words)]:
            silent = any("TimeoutExpired" in error.words for error in unrequeued)
            if silent or _says(folder, job_id, slurm.SILENT):
                return "Slurm's controller did not answer when it was to be requeued", True
            return (
                "Slurm refuses to requeue it: allow that (cluster.sbatch.requeue), or raise "
                f"cluster.timeout_min ({settings.timeout_min}) so that it need not be"
            ), False
        if any("timed-out too many times" in error.words for error in errors):
            return (
                f"it reached its time limit more often than cluster.max_timeouts "
                f"({settings.max_timeouts}) allows. Raise that, or cluster.timeout_min "
                f"({settings.timeout_min})"
            ), False
    memory = slurm.largest_memory(job_id) if cause == "OUT_OF_MEMORY" else ""
    advice, again = _ADVICE.get(cause, ("", False))
    return advice.format(settings=settings, memory=memory or "unknown"), again


def _ran_out_of_memory(folder: Path, job_id: str) -> bool:
    """Accounting tells with cgroups, the step manager's own words without."""
    signs = ("exceeded memory limit", "exceeded job memory limit", "oom_kill", "oom-kill")
    of_slurm = "@" not in job_id  # not of this machine
    return (of_slurm and slurm.ran_out_of_memory(job_id)) or _says(folder, job_id, signs)


def _says(folder: Path, job_id: str, signs: tuple[str, ...]) -> bool:
    """Whether a sign stands in the errors of the job's script or ranks."""
    logs = folder.glob(f"{job_id.split('@')[0]}_*_log.err")
    texts = [log.read_text(errors="replace").lower() for log in logs]
    return any(sign.lower() in text for sign in signs for text in texts)


def _own_words(traceback: str) -> str:
    """What an exception says, without the lines of source that led to it."""
    lines = traceback.strip().splitlines()
    frames = [index for index, line in enumerate(lines) if line.startswith('  File "')]
    rest = lines[frames[-1] + 1 :] if frames else lines
    while rest and rest[0].startswith("    "):
        rest.pop(0)
    return "\n".join(rest)


def _first_text(*files: Path) -> str:
    texts = (file.read_text(errors="replace") for file in files if file.exists())
    return next((text for text in texts if text.strip()), "")


def _last_lines(rank: int, text: str) -> list[str]:
    lines = text.strip().splitlines()[-_LINES:]
    return [f"last lines of rank {rank}:", *(f"    {line}" for line in lines)] if lines else []
