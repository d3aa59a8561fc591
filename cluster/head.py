"""Snakemake in a job of its own, the head job, where a login node lets nothing run for days.

`fgd-cluster head` writes the job's script and submits it. The script runs `fgd-cluster supervise`,
which runs Snakemake, and before the job's time limit lets it go and requeues the job. Trainings run
on meanwhile, and are found again as after any other end of Snakemake.
"""

import hashlib
import json
import logging
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from cluster import environment, slurm
from cluster.executors import refusal
from cluster.settings import ClusterSettings, check_options, check_times
from fgd.errors import FGDError
from fgd.files import write_text
from fgd.suite import Suite

logger = logging.getLogger("fgd.cluster")

CPUS, MEM_GB = 2, 8  # a plan composes up to four configs at once, each with torch
# For how long launchers may take to end, and Snakemake to cancel its single jobs.
_LEAVING_S, _CANCELLING_S = 30, 45
_PAUSE_S = 0.5


def settings_of(suite: Suite, wishes: dict[str, object]) -> ClusterSettings:
    """What a suite's head job asks of Slurm: one node, no GPU.

    Args:
        suite: whose partition, account, qos, setup and time limit count otherwise.
        wishes: keys of the `cluster:` section; None counts as not said.
    """
    section = suite.cluster.said() if suite.cluster else {}
    inherited = ("partition", "account", "qos", "setup", "timeout_min", "signal_delay_s")
    said = {key: section[key] for key in inherited if key in section}
    said |= {key: value for key, value in wishes.items() if value is not None}
    small = {"nodes": 1, "gpus_per_node": 0, "cpus_per_task": CPUS, "mem_gb": MEM_GB}
    return ClusterSettings(**small | said)


def submit(name: str, suite: Suite, settings: ClusterSettings, arguments: Sequence[str]) -> str:
    """Write a suite's head script and submit it.

    Args:
        name: what `snakemake --config suite=` is given: the suite's name, or its file.
        suite: that suite.
        settings: what the job asks of Slurm.
        arguments: further ones of Snakemake, targets among them.

    Returns:
        The job's id.

    Raises:
        FGDError: there is no Slurm here, or such a job already, Snakemake cannot plan the suite, or
            Slurm refuses.
    """
    if absent := slurm.missing("squeue", "sbatch"):
        raise FGDError(absent)
    check_options(settings, lambda option: f"--sbatch {option}")
    check_times(settings, f"{suite.file}: cluster")
    job_name = _job_name(suite)
    _refuse_second(slurm.jobs_named(job_name))
    _plan(name, arguments)
    folder = Path(suite.layout.head)
    file = folder / "head.sh"
    write_text(file, script(name, job_name, settings, folder.absolute(), arguments))
    for note in environment.notes(settings):
        logger.info("%s", note)
    with environment.submitting(settings):
        done = _run(["sbatch", "--parsable", str(file)])
    if done.returncode:
        if slurm.is_silence(done.stderr):
            raise slurm.NoAnswer(
                f"Slurm does not answer: {' '.join(done.stderr.split())}. Look with `squeue "
                f"--name={job_name}` whether it has the job, and try again"
            )
        raise FGDError(refusal(done.stderr, settings))
    return done.stdout.strip().split(";")[0]


def script(
    name: str, job_name: str, settings: ClusterSettings, folder: Path, arguments: Sequence[str]
) -> str:
    """The text of a head script, for the folder in which it is written.

    Args:
        folder: of the job's log, absolute.
    """
    options: dict[str, object] = {
        "job-name": job_name,
        "chdir": Path.cwd(),
        "output": folder / "%j.log",
        "open-mode": "append",
        "nodes": 1,
        "ntasks": 1,
        "cpus-per-task": settings.cpus_per_task,
        "mem": f"{int(settings.mem_gb * 1024)}M",
        "time": settings.timeout_min,
        # To the script alone, which becomes the supervisor.
        "signal": f"B:USR1@{settings.signal_delay_s}",
        "requeue": True,
    }
    for key in ("partition", "account", "qos", "constraint", "exclude"):
        options[key] = getattr(settings, key)
    options |= {key.replace("_", "-"): value for key, value in settings.sbatch.items()}
    lines = ["#!/bin/bash"]
    for key, value in options.items():
        if value is True:
            lines.append(f"#SBATCH --{key}")
        elif value not in (None, False):
            lines.append(f"#SBATCH --{key}={shlex.quote(str(value))}")
    command = [str(_beside("fgd-cluster")), "supervise", name]
    command += ["--", *arguments] if arguments else []
    return "\n".join([*lines, "", *settings.setup, f"exec {shlex.join(command)}", ""])


def supervise(name: str, arguments: Sequence[str]) -> int:
    """Run Snakemake in a job; before the time limit let it go, and requeue the job.

    Args:
        name, arguments: as for `submit`.

    Returns:
        Snakemake's status.

    Raises:
        FGDError: this is no job, another head job runs Snakemake here, or Slurm does not requeue.
    """
    job_id = os.environ.get("SLURM_JOB_ID")
    if job_id is None:
        raise FGDError(
            "`fgd-cluster supervise` is what the script of a Slurm job runs. On a login node say "
            f"`fgd-cluster head {name}`, which submits one"
        )
    orders: list[int] = []
    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, lambda number, frame: orders.append(number))
    command = _snakemake(name, arguments)
    job_name = os.environ.get("SLURM_JOB_NAME", "")
    if _take_folder(job_id, job_name):
        logger.info("an earlier start was killed: Snakemake's lock is removed")
        subprocess.run([*command, "--unlock"])
    status = _watch(subprocess.Popen(command, start_new_session=True), orders)
    if status >= 0:  # not killed: it has given its lock back
        _mark(job_name).unlink()
    if not orders:
        return status
    if orders[0] == signal.SIGUSR1:  # the time limit
        _requeue(job_id)
        return 0
    # Preempted or cancelled: Slurm knows what it wants.
    logger.warning("the head job ends, trainings go on. A new one finds them again")
    return 128 + orders[0]


def _watch(snakemake: subprocess.Popen, orders: list[int]) -> int:
    """Wait for Snakemake's end, or make it leave once there is an order; its status."""
    while not orders:
        with suppress(subprocess.TimeoutExpired):
            return snakemake.wait(_PAUSE_S)
    _let_go(snakemake)
    return snakemake.wait()


def _let_go(snakemake: subprocess.Popen) -> None:
    """End Snakemake and its single jobs, which it would submit anew; trainings run on."""
    logger.info("the head job leaves: launchers end, their trainings go on")
    _signal(snakemake.pid, signal.SIGTERM)  # it starts nothing more
    end = time.monotonic() + _LEAVING_S
    while (launchers := _launchers(snakemake.pid)) and time.monotonic() < end:
        for pid in launchers:
            _signal(pid, signal.SIGTERM)
        time.sleep(_PAUSE_S)
    with suppress(ProcessLookupError):
        os.killpg(snakemake.pid, signal.SIGINT)  # as Ctrl-C: it cancels its single jobs
    try:
        snakemake.wait(_CANCELLING_S)
    except subprocess.TimeoutExpired:
        logger.warning("Snakemake does not end and is killed; `squeue --me` shows its single jobs")
        os.killpg(snakemake.pid, signal.SIGKILL)


def _requeue(job_id: str) -> None:
    """Let Slurm start this job again."""
    for attempt in range(3):
        if attempt:
            time.sleep(5)
        done = _run(["scontrol", "requeue", job_id])
        if done.returncode == 0:
            return
    raise FGDError(
        f"Slurm does not requeue head job {job_id}: {' '.join(done.stderr.split())}. Submit it "
        "again to go on; trainings have not stopped"
    )


def _mark(job_name: str) -> Path:
    """Says which job of a suite runs Snakemake in this folder, or was killed while it did."""
    return Path(".snakemake", f"fgd-head.{job_name}.json")


def _take_folder(job_id: str, job_name: str) -> bool:
    """Note that this job runs Snakemake here; whether an earlier start was killed while it did.

    Raises:
        FGDError: another head job of the suite does, or the lock that one left cannot be removed,
            for Snakemake removes those of all suites.
    """
    mark = _mark(job_name)
    was_killed = mark.exists()
    if was_killed:
        before = json.loads(mark.read_text())
        if before["job"] != job_id and _lives(before):
            _refuse_second([before["job"]])
        for path in set(mark.parent.glob(_mark("*").name)) - {mark}:
            other = json.loads(path.read_text())
            if _lives(other):
                raise FGDError(
                    f"an earlier head job of this suite, {before['job']}, was killed, and left "
                    f"Snakemake's lock. It goes with those of all suites, and head job "
                    f"{other['job']} ({other['name']}) runs in this folder: submit again when that "
                    "has ended. Trainings have not stopped"
                )
    mark.parent.mkdir(exist_ok=True)
    write_text(mark, json.dumps({"job": job_id, "name": job_name}))
    return was_killed


def _lives(job: dict[str, str]) -> bool:
    return not slurm.job_state(job["job"], job["name"]).is_final


def _refuse_second(ids: list[str]) -> None:
    if ids:
        raise FGDError(
            f"head job {ids[0]} of this suite waits or runs. Wait for it, or end it with `scancel "
            f"{ids[0]}`, which leaves its trainings running, and try again"
        )


def _plan(name: str, arguments: Sequence[str]) -> None:
    """See now what would end the job after it has waited in the queue."""
    done = _run([*_snakemake(name, arguments), "--dry-run", "--quiet", "all"])
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).removeprefix("error: ")
        raise FGDError(f"Snakemake cannot run {name}: {said}")


def _snakemake(name: str, arguments: Sequence[str]) -> list[str]:
    # Options that take several values would swallow a target behind them.
    options = ["--profile", "slurm", "--config", f"suite={name}"]
    return [str(_beside("snakemake")), *arguments, *options]


def _job_name(suite: Suite) -> str:
    """One for each folder of results: other clones have their own."""
    folder = str(Path(suite.layout.results).absolute())
    return f"{suite.name}.head.{hashlib.sha256(folder.encode()).hexdigest()[:6]}"


def _launchers(group: int) -> list[int]:
    """The launchers of a process group, and the shells that wait for them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its_group = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            command = (folder / "cmdline").read_bytes()
        except OSError:  # it has just ended
            continue
        if int(its_group) == group and state != "Z" and b"fgd-cluster" in command:
            found.append(int(folder.name))
    return found


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


def _beside(program: str) -> Path:
    """A program of this environment."""
    return Path(sys.executable).with_name(program)
