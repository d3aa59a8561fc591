"""Which jobs a training was given: written before and after each submission, read by the next run.

A launcher that is killed leaves this record. The next one finds the job that is running or has
finished, instead of training a second time.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cluster.settings import ClusterSettings
from fgd.errors import FGDError
from fgd.files import write_json

# An attempt's end, where it decides what the next launcher and the status make of it.
COMPLETED = "completed"
CANCELLED = "cancelled by Ctrl-C"


@dataclass
class Attempt:
    """One job of a training.

    Attributes:
        name: the job's name, unique, so that a job can be found whose id was not yet written.
        settings: what was asked for; the suite may ask for something else by now. None in a record
            of an earlier version.
        job_id: None between the decision to submit and the answer of the executor.
        end: what became of it, in words; None while it is not known to have ended.
    """

    name: str
    settings: ClusterSettings | None = None
    job_id: str | None = None
    end: str | None = None

    @property
    def submitted_id(self) -> str:
        """The id of a job that was submitted."""
        assert self.job_id is not None
        return self.job_id

    @property
    def known_settings(self) -> ClusterSettings:
        """The settings, once the launcher has filled in what an old record lacks."""
        assert self.settings is not None
        return self.settings


@dataclass
class Record:
    """All jobs of a training, oldest first."""

    fingerprint: str
    executor: str
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def current(self) -> Attempt | None:
        """The job that may still be there."""
        return self.attempts[-1] if self.attempts else None

    @property
    def newest(self) -> Attempt:
        """The newest job, of a record that has one."""
        return self.attempts[-1]

    def begin(self, name: str, settings: ClusterSettings) -> Attempt:
        """A new attempt with a unique name; `save` it before submitting."""
        attempt = Attempt(f"{name}.{secrets.token_hex(3)}", settings)
        self.attempts.append(attempt)
        return attempt

    def save(self, folder: Path) -> None:
        """Write the record."""
        attempts = [
            vars(attempt) | {"settings": attempt.settings and attempt.settings.model_dump()}
            for attempt in self.attempts
        ]
        write_json(path(folder), vars(self) | {"attempts": attempts})


def path(folder: Path) -> Path:
    """The record's file in the folder of a training's jobs."""
    return folder / "job.json"


def load(folder: Path) -> Record | None:
    """The record of an earlier launcher, or None.

    Raises:
        FGDError: there is one, and it cannot be read.
    """
    file = path(folder)
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        content["attempts"] = [_attempt(entry) for entry in content["attempts"]]
        return _made(Record, content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FGDError(
            f"{file}: not a record of jobs ({error}). Look with `squeue` whether a job of this "
            "training still runs; then remove the file"
        ) from error


@contextmanager
def only_launcher(folder: Path) -> Iterator[None]:
    """Let no second launcher watch a training; the lock ends with the process, killed or not.

    Raises:
        FGDError: another launcher watches it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A file system without flock is an error: filelock's other kind outlives a killed process.
    lock = FileLock(folder / ".lock", fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise FGDError(
            f"{folder}: another launcher watches this training's job. Wait for it, or stop it "
            f"with Ctrl-C; `fuser {folder / '.lock'}` tells which process it is"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _attempt(entry: dict[str, Any]) -> Attempt:
    settings = entry.get("settings")
    return _made(Attempt, entry | {"settings": settings and _made(ClusterSettings, settings)})


def _made(kind: type, entry: dict[str, Any]) -> Any:
    """From what was written, perhaps by a version of this program that had other fields."""
    names = ClusterSettings.model_fields if kind is ClusterSettings else kind.__annotations__
    return kind(**{name: value for name, value in entry.items() if name in names})
