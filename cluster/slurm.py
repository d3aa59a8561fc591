"""What Slurm says of a job."""

import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from datetime import datetime

from cluster.environment import for_questions
from fgd.errors import FGDError

UNKNOWN = "UNKNOWN"  # Slurm does not answer
GONE = "GONE"  # Slurm answers, and has no such job: its records are lost or were removed

# A job in one of these does not go on by itself.
FINAL = {
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    GONE,
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "TIMEOUT",
}
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT"}
_IN_WORDS = {UNKNOWN: "unknown (Slurm does not answer)", GONE: "gone (Slurm has no record of it)"}

# Slurm answers slowly when it is busy, and not at all when its controller restarts.
_PATIENCE_S = 60
_TRIES, _PAUSE_S = 3, 5


# Slurm's words, in lower case, for a controller that is away or busy; it may have done what it was
# asked to.
SILENT = (
    "unable to contact slurm controller",
    "socket timed out",
    "resource temporarily unavailable",
    "zero bytes were transmitted",
    "connection refused",
    "temporarily unable to accept job",
)


class NoAnswer(FGDError):
    """Slurm does not answer: neither yes nor no."""


def missing(*commands: str) -> str:
    """That some of Slurm's commands are not on this machine, in words; "" if all are."""
    absent = [command for command in commands if shutil.which(command) is None]
    if not absent:
        return ""
    return (
        f"no Slurm on this machine: {' and '.join(absent)} not on the PATH. Run this on a login "
        "node, load the module that brings Slurm's commands, or train on one machine with "
        "--profile cluster/profiles/local"
    )


def is_silence(words: str) -> bool:
    """Whether one of Slurm's commands failed only because the controller did not answer.

    Its last line decides: sbatch tells of a busy controller before a refusal, too.
    """
    lines = [line for line in words.lower().splitlines() if line.strip()]
    return bool(lines) and any(sign in lines[-1] for sign in SILENT)


@dataclass(frozen=True)
class JobState:
    """The state of a job at one moment.

    Attributes:
        state: Slurm's word for it, or UNKNOWN, or GONE.
        reason: why it waits, or Slurm's detail on its end.
        nodes: Slurm's node list, n[1-2]; empty while it waits.
        restarts: how often it was requeued; None if that is not known.
        exit_code: status:signal of its batch script.
        started: when it started last, in seconds since the epoch; 0 if that is not known.
    """

    state: str
    reason: str = ""
    nodes: str = ""
    restarts: int | None = 0
    exit_code: str = ""
    started: float = 0

    @property
    def is_final(self) -> bool:
        """Whether it has ended for good."""
        return self.state in FINAL

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its nodes."""
        return self.state in WAITING

    @property
    def text(self) -> str:
        """In words, for a line of a log."""
        if self.state in _IN_WORDS:
            return _IN_WORDS[self.state]
        if self.is_waiting:
            return f"{self.state.lower()} ({self.reason or 'no reason given'})"
        where = f" on {self.nodes}" if self.nodes and not self.is_final else ""
        again = f", start {self.restarts + 1}" if self.restarts and not self.is_final else ""
        return f"{self.state.lower()}{where}{again}"


def job_state(job_id: str, name: str) -> JobState:
    """Ask the controller, and the accounting database for what the controller has forgotten.

    A job of another name is another job: a controller that lost its state counts from 1 again.
    """
    shown = _run(["scontrol", "show", "job", "--oneliner", job_id])
    if shown is not None and shown.returncode == 0 and shown.stdout.strip():
        state = _parse_scontrol(shown.stdout)
        return state if f" JobName={name} " in shown.stdout else JobState(GONE)
    command = ["sacct", "--jobs", job_id, "--allocations", "--noheader", "--parsable2"]
    listed = _call([*command, "--format=State,Reason,NodeList,ExitCode,Start,JobName"])
    lines = (listed or "").splitlines()
    ours = bool(lines) and lines[-1].endswith(f"|{name}")
    state = _parse_sacct(lines[-1]) if ours else JobState(UNKNOWN)
    # The database may still say that it runs; the controller would know.
    gone = shown is not None and "Invalid job id" in shown.stderr and not state.is_final
    return JobState(GONE) if gone else state


def jobs_named(name: str) -> list[str]:
    """Ids of the jobs of a name that wait or run.

    Raises:
        NoAnswer: there may be such a job.
    """
    if absent := missing("squeue"):
        raise NoAnswer(absent)
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_S)
        listed = _run(["squeue", "--noheader", f"--name={name}", "--format=%i"])
        if listed is not None and listed.returncode == 0:
            return sorted(listed.stdout.split())
    raise NoAnswer(
        f"Slurm does not answer, and may have a job {name} that nobody watches. Try again when "
        f"`squeue --name={name}` answers; the job is cancelled then"
    )


def cancel(job_id: str, name: str) -> bool:
    """End a job of this name; one that has ended stays as it is. Whether Slurm took the order."""
    done = _run(["scancel", f"--name={name}", job_id])
    over = ("Invalid job id", "already completing or completed")
    return done is not None and (
        done.returncode == 0 or any(words in done.stderr for words in over)
    )


def largest_memory(job_id: str) -> str:
    """The most memory that a task of the job had, as sacct writes it; empty if it is not known."""
    command = ["sacct", "--jobs", job_id, "--noheader", "--parsable2", "--format=MaxRSS"]
    sizes = [line for line in (_call(command) or "").splitlines() if line]
    return max(sizes, key=_kilobytes, default="")


def ran_out_of_memory(job_id: str) -> bool:
    """Whether a step of the job was killed for its memory."""
    command = ["sacct", "--jobs", job_id, "--noheader", "--parsable2", "--format=State"]
    return "OUT_OF_ME" in (_call(command) or "")


def _kilobytes(size: str) -> float:
    match = re.fullmatch(r"([\d.]+)([KMGT]?)", size)
    return float(match[1]) * 1024 ** "KMGT".find(match[2] or "K") if match else 0


def _parse_scontrol(line: str) -> JobState:
    keys = "JobState|Reason|NodeList|Restarts|ExitCode|StartTime"
    values = dict(re.findall(rf"(?:^|\s)({keys})=(\S*)", line))
    nodes, reason = values.get("NodeList", ""), values.get("Reason", "")
    return JobState(
        state=values.get("JobState", UNKNOWN),
        reason="" if reason == "None" else reason,
        nodes="" if nodes == "(null)" else nodes,
        restarts=int(values.get("Restarts", 0)),
        exit_code=values.get("ExitCode", ""),
        started=_seconds(values.get("StartTime", "")),
    )


def _parse_sacct(line: str) -> JobState:
    state, reason, nodes, exit_code, started = line.split("|")[:5]
    return JobState(
        state=state.split()[0] if state else UNKNOWN,  # "CANCELLED by 1000"
        reason="" if reason == "None" else reason,
        nodes="" if nodes == "None assigned" else nodes,
        restarts=None,
        exit_code=exit_code,
        started=_seconds(started),
    )


def _seconds(moment: str) -> float:
    """Of a local time as Slurm writes it, 2026-11-23T15:32:48; 0 for Unknown, None, N/A."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return 0


def _call(command: list[str]) -> str | None:
    """What a command prints; None if it failed or printed nothing."""
    done = _run(command)
    return done.stdout if done and done.returncode == 0 and done.stdout.strip() else None


def _run(command: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Run a command; None if it is not there or does not end."""
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, env=for_questions()
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
