"""What a launcher says while its job waits and runs."""

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

from cluster.slurm import JobState
from fgd import progress

logger = logging.getLogger("fgd.cluster")

_CLEAR = "\r\x1b[2K"


class Follower:
    """Tells news of one job: changes of its state, and the lines of its training.

    On a terminal a single line is kept up to date instead of many.

    Args:
        name: the training's.
        job_id: of its job.
        work_dir: where it trains.
    """

    def __init__(self, name: str, job_id: str, work_dir: Path) -> None:
        self._name = name
        self._job_id = job_id
        self._work_dir = work_dir
        self._said = ""
        self._told = len(progress.read(work_dir))
        self._live = sys.stderr.isatty()

    def report(self, state: JobState) -> None:
        """Say what is new."""
        if self._live:
            self._write(_CLEAR)  # the lines of the log would begin behind it
        entries = progress.read(self._work_dir)
        # A resumed run drops the lines after the state that it is resumed from.
        self._told = min(self._told, len(entries))
        for entry in entries[self._told :]:
            logger.info("%s", progress.text(entry))
        self._told = len(entries)
        if state.text != self._said:
            self._said = state.text
            logger.info("job %s: %s", self._job_id, state.text)
        if self._live:
            self._show(entries[-1] if entries and not state.is_waiting else None)

    def close(self) -> None:
        """End the live line."""
        if self._live:
            self._write("\n")

    def _show(self, entry: dict[str, Any] | None) -> None:
        line = f"{self._name}  job {self._job_id} {self._said}"
        if entry is not None:
            line += f"  {progress.text(entry, terms=False)}"
        # A line that wraps could not be cleared.
        self._write(_CLEAR + line[: shutil.get_terminal_size().columns - 1])

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
