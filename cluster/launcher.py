"""One training through the executor, from submission to its result; read it top to bottom.

What it promises: one job at a time trains, and always from the newest state. A launcher that died
is followed by one that finds its job; a job that lost a node or a rank, by one that resumes.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from cluster import failure, record
from cluster.executors import EXECUTORS, Executor
from cluster.follow import Follower
from cluster.record import Attempt, Record
from cluster.settings import ClusterSettings
from cluster.slurm import JobState, NoAnswer
from cluster.task import TrainingTask
from fgd.errors import FGDError
from fgd.files import link_or_copy

logger = logging.getLogger("fgd.cluster")

# For how long a cancelled job may go on: Slurm gives its ranks KillWait, by default 30 s.
_ENDING_S = 60
# For how long a job is submitted again and again while Slurm does not answer.
_SILENCE_S = 3600
# For how long a file from another node may stay unseen: NFS remembers a folder's content.
_APPEARING_S = 30


@dataclass(frozen=True)
class Training:
    """A training to be launched.

    Attributes:
        name: for people: mini.retinanet_r50.fgd.
        config: what `fgd train` takes.
        work_dir: training states and log.
        out: the final state, which appears when the job is seen to be done.
        full_size: whether it takes days on a CPU.
    """

    name: str
    config: Path
    work_dir: Path
    out: Path
    full_size: bool = False

    @property
    def jobs(self) -> Path:
        """Folder of the training's job records and of its ranks' output."""
        return self.work_dir.with_name("jobs")

    @property
    def final(self) -> Path:
        """What the job writes. Not `out`: Snakemake removes a rule's output before it runs it."""
        return self.work_dir / "final.pth"


def launch(training: Training, settings: ClusterSettings, executor_name: str) -> None:
    """Train, and wait until it is done.

    Args:
        training: what to train.
        settings: what to ask of the cluster.
        executor_name: "slurm" or "local".

    Raises:
        FGDError: the job is refused, or it failed in a way that another try would not mend.
        KeyboardInterrupt: Ctrl-C; the job was cancelled, unless the settings say otherwise.
    """
    # As it is now: whoever edits it while jobs wait and run wants another training.
    config = training.config.read_bytes()
    fingerprint = _fingerprint(training.config)
    executor = EXECUTORS[executor_name]
    with record.only_launcher(training.jobs), _termination_leaves_the_job():
        log = record.load(training.jobs)
        if log is not None:
            for attempt in log.attempts:
                attempt.settings = attempt.settings or settings
            _settle(training, log)
        if log is None or log.fingerprint != fingerprint or log.executor != executor_name:
            _refuse_while_running(training, log)
            log = Record(fingerprint, executor_name)
        try:
            _until_done(training, config=config, settings=settings, executor=executor, log=log)
        except KeyboardInterrupt:
            _interrupted(training, settings, executor, log)
            raise
    _publish(training)


def _until_done(
    training: Training, *, config: bytes, settings: ClusterSettings, executor: Executor, log: Record
) -> None:
    """Follow the job that is there, or submit one; again after deaths that are nobody's fault."""
    if log.current and log.current.end == record.COMPLETED and training.final.exists():
        return  # without asking Slurm, which forgets its jobs
    attempt = _attach(training, executor, log)
    attempt = attempt or _submit(
        training, config=config, settings=settings, executor=executor, log=log
    )
    for restarts_left in range(settings.max_restarts, -1, -1):
        state = _follow(training, settings.poll_s, executor, log)
        if state.state == "COMPLETED" and _appears(training.final):
            attempt.end = record.COMPLETED
            log.save(training.jobs)
            return
        verdict = failure.judge(training.jobs, attempt.submitted_id, state, attempt.known_settings)
        attempt.end = verdict.summary
        log.save(training.jobs)
        if not verdict.worth_another_try or not restarts_left:
            raise FGDError(f"{training.name}: {verdict.text}")
        logger.warning("%s", verdict.text)
        logger.warning("trying again from the newest state; %d more tries", restarts_left - 1)
        attempt = _submit(training, config=config, settings=settings, executor=executor, log=log)


def _settle(training: Training, log: Record) -> None:
    """See to the end of a job that an earlier launcher cancelled, or died while it submitted."""
    attempt, executor = log.current, EXECUTORS[log.executor]
    if attempt is None:
        return
    if attempt.end is None and attempt.job_id is None:
        _cancel_lost(training, executor, attempt.name, "its launcher died")
        attempt.end = "its launcher died while submitting it"
    elif attempt.end == record.CANCELLED and attempt.job_id is not None:
        if not executor.state(attempt.job_id, attempt.name, training.jobs).is_final:
            executor.cancel(attempt.job_id, attempt.name)  # again: the order may have been lost
        _wait_for_end(training, executor, attempt.job_id, attempt.name)


def _attach(training: Training, executor: Executor, log: Record) -> Attempt | None:
    """The job of an earlier launcher, if nobody has seen its end."""
    attempt = log.current
    if attempt is None or attempt.end is not None:
        return None
    state = _state(training, executor, attempt)
    logger.info("found job %s: %s", attempt.job_id, state.text)
    if state.state == "COMPLETED" and not _appears(training.final):
        attempt.end = "completed, but its result was removed"
        return None
    if state.is_final and state.state != "COMPLETED":
        # Its failure was told to nobody, so it is told now, and the training goes on.
        verdict = failure.judge(training.jobs, attempt.submitted_id, state, attempt.known_settings)
        attempt.end = verdict.summary
        logger.warning("it ended unwatched: %s", verdict.text)
        return None
    return attempt


def _submit(
    training: Training, *, config: bytes, settings: ClusterSettings, executor: Executor, log: Record
) -> Attempt:
    attempt = log.begin(training.name, settings)
    log.save(training.jobs)
    for note in executor.notes(settings):
        logger.info("%s", note)
    # A job that starts again in a week reads the same.
    copy = training.jobs.absolute() / f"{attempt.name}.py"
    copy.write_bytes(config)
    work_dir, final = training.work_dir.absolute(), training.final.absolute()
    wants_gpu = training.full_size and settings.gpus_per_node > 0
    task = TrainingTask(copy, work_dir, final, log.fingerprint, wants_gpu=wants_gpu)
    try:
        attempt.job_id = _submit_patiently(
            training, task, settings=settings, executor=executor, name=attempt.name
        )
    except NoAnswer as error:  # it may be there: the next launcher looks
        raise FGDError(f"{training.name}: {error}") from None
    except FGDError as error:
        attempt.end = "refused"
        log.save(training.jobs)
        raise FGDError(f"{training.name}: {error}") from None
    log.save(training.jobs)
    logger.info(
        "submitted job %s: %s; its ranks write to %s", attempt.job_id, settings.shape, training.jobs
    )
    return attempt


def _submit_patiently(
    training: Training,
    task: TrainingTask,
    *,
    settings: ClusterSettings,
    executor: Executor,
    name: str,
) -> str:
    """Submit a job, as soon as Slurm answers; its id.

    Raises:
        NoAnswer: it has not for an hour.
        FGDError: it refuses the job.
    """
    tried, end = False, time.monotonic() + _SILENCE_S
    while True:
        try:
            if tried:  # it may have arrived all the same
                _cancel_lost(training, executor, name, "Slurm did not answer")
            return executor.submit(
                task, settings=settings, name=name, folder=training.jobs.absolute()
            )
        except NoAnswer as error:
            if time.monotonic() > end:
                raise
            if not tried:
                logger.warning("Slurm does not answer (%s); trying for an hour", error)
            tried = True
            time.sleep(settings.poll_s)


def _cancel_lost(training: Training, executor: Executor, name: str, why: str) -> None:
    """End the jobs of a submission that was not seen to succeed.

    submitit gives a job its files once sbatch has answered: without that it finds nothing to run.

    Raises:
        NoAnswer: there may be such a job.
    """
    for job_id in executor.lost(name):
        if not executor.cancel(job_id, name):
            raise NoAnswer(_not_cancelled(executor, job_id))
        logger.info("job %s was being submitted when %s: cancelled", job_id, why)
        _wait_for_end(training, executor, job_id, name)


def _state(training: Training, executor: Executor, attempt: Attempt) -> JobState:
    """A job's state; COMPLETED if all ranks had finished, though one was killed while it exited."""
    job_id = attempt.submitted_id
    state = executor.state(job_id, attempt.name, training.jobs)
    tasks = attempt.known_settings.tasks
    if state.state == "FAILED" and failure.all_finished(training.jobs, job_id, tasks):
        return replace(state, state="COMPLETED")
    return state


def _follow(training: Training, poll_s: float, executor: Executor, log: Record) -> JobState:
    """Report on a job until it has ended for good.

    Raises:
        FGDError: it will never start.
    """
    attempt = log.newest
    previous: JobState | None = None
    with closing(Follower(training.name, attempt.submitted_id, training.work_dir)) as follower:
        while True:
            state = _state(training, executor, attempt)
            follower.report(state)
            # Slurm gives some reasons for a moment, too: only one seen twice counts.
            if state.is_waiting and previous is not None and previous.reason == state.reason:
                _refuse_endless_wait(training, executor, log, state)
            # A job that is being requeued shows its end for a moment: only one seen twice counts.
            if state.is_final and (state.state == "COMPLETED" or state == previous):
                return state
            previous = state
            time.sleep(poll_s)


def _refuse_endless_wait(
    training: Training, executor: Executor, log: Record, state: JobState
) -> None:
    attempt = log.newest
    job_id = attempt.submitted_id
    if held := failure.held(job_id, state):
        raise FGDError(f"{training.name}: job {job_id} {held}")
    if hopeless := failure.hopeless(state, attempt.known_settings):
        if not executor.cancel(job_id, attempt.name):
            hopeless += f". {_not_cancelled(executor, job_id)}"
        else:
            attempt.end = "refused"
            log.save(training.jobs)
            _wait_for_end(training, executor, job_id, attempt.name)
        raise FGDError(f"{training.name}: job {job_id} {hopeless}")


def _not_cancelled(executor: Executor, job_id: str) -> str:
    return (
        f"Job {job_id} could not be cancelled, as Slurm does not answer. Say "
        f"`{executor.how_to_end(job_id)}` when it does"
    )


def _appears(file: Path) -> bool:
    """Whether a file is there, or comes in sight soon."""
    end = time.monotonic() + _APPEARING_S
    while not (there := file.exists()) and time.monotonic() < end:
        time.sleep(1)
    return there


def _wait_for_end(training: Training, executor: Executor, job_id: str, name: str) -> None:
    """Let a cancelled job end: until then it may write into the folder in which the next trains."""
    if executor.state(job_id, name, training.jobs).is_final:
        return
    logger.info("waiting for job %s to end (Ctrl-C: do not wait)", job_id)
    end = time.monotonic() + _ENDING_S
    while time.monotonic() < end:
        time.sleep(1)
        if executor.state(job_id, name, training.jobs).is_final:
            return
    logger.warning("job %s has still not ended", job_id)


def _publish(training: Training) -> None:
    """Give the result its place."""
    link_or_copy(training.final, training.out)
    logger.info("done: %s", training.out)


def _refuse_while_running(training: Training, log: Record | None) -> None:
    """A job of another recipe may be writing into the same folder."""
    if log is None or log.current is None or log.current.job_id is None or log.current.end:
        return
    job_id, executor = log.current.job_id, EXECUTORS[log.executor]
    state = executor.state(job_id, log.current.name, training.jobs)
    if not state.is_final:
        raise FGDError(
            f"{training.name}: {log.executor} job {job_id} ({state.text}) still trains in "
            f"{training.work_dir} with other settings. Wait for it, or end it with "
            f"`{executor.how_to_end(job_id)}`, and try again"
        )


def _interrupted(
    training: Training, settings: ClusterSettings, executor: Executor, log: Record
) -> None:
    attempt = log.current
    if attempt is None or attempt.end is not None:
        return
    if attempt.job_id is not None and not settings.cancel_on_interrupt:
        logger.warning(
            "interrupted; job %s goes on. Run the same again to follow it", attempt.job_id
        )
        return
    # A job that was just being submitted has nothing to run yet: it is cancelled in any case.
    try:
        ids = [attempt.job_id] if attempt.job_id is not None else executor.lost(attempt.name)
    except NoAnswer as error:
        logger.warning("interrupted. %s", error)
        return
    if not ids:
        logger.warning("interrupted; no job was submitted")
    for job_id in ids:
        if not executor.cancel(job_id, attempt.name):
            logger.warning("interrupted. %s", _not_cancelled(executor, job_id))
            return  # not known to have ended: the next launcher finds it
        logger.warning("interrupted; job %s is cancelled. Its last state is kept", job_id)
    attempt.end = record.CANCELLED
    log.save(training.jobs)
    for job_id in ids:
        _wait_for_end(training, executor, job_id, attempt.name)


class _termination_leaves_the_job:
    """SIGTERM and SIGHUP end the launcher, not its job: a login node goes down, a shell closes."""

    def __enter__(self) -> None:
        self._old = {
            number: signal.signal(number, self._leave)
            for number in (signal.SIGTERM, signal.SIGHUP)
            if signal.getsignal(number) != signal.SIG_IGN  # nohup's; it goes on then
        }

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)

    @staticmethod
    def _leave(number: int, frame: object) -> None:
        logger.warning(
            "%s: the launcher ends, its job goes on. Run the same again to follow it",
            signal.Signals(number).name,
        )
        os._exit(128 + number)


def _fingerprint(config: Path) -> str:
    """Of the training, in a process of its own: it needs mmcv, and a launcher waits for days."""
    command = [str(Path(sys.executable).with_name("fgd")), "fingerprint", str(config)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise FGDError(done.stderr.strip().removeprefix("error: "))
    return done.stdout.strip()
