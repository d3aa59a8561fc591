"""Which GPUs of this machine a training gets: each is reserved for one training at a time.

A name stands for each GPU, and the process that computes on it binds a socket to that name (an
abstract one, unix(7)): of a machine's processes one can, whoever's it is and wherever its temporary
files are. Only containers with a network of their own have names of their own, too; Apptainer's
have the machine's. Names are free again when their processes end, killed or not, and outlive the
launcher that chose the GPUs.
"""

import ctypes
import errno
import logging
import math
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cluster.environment import AROUND
from fgd.errors import FGDError

logger = logging.getLogger("fgd.cluster")

_PAUSE_S = 1
# For how long a name may be held by a launcher that only looks, or by a training that ends.
_PATIENCE_S = 60
# torch is asked, since it is what trains; in a process of its own, since it is large and a launcher
# waits for days.
_COUNT = "import torch; print(torch.cuda.device_count() if torch.cuda.is_available() else 0)"

_AMD = Path("/dev/kfd")  # what its driver makes


def visible() -> list[str]:
    """The GPUs that a training started here could use, as CUDA_VISIBLE_DEVICES names them.

    Raises:
        FGDError: torch cannot say.
    """
    if not _has_driver():
        return []
    done = subprocess.run([sys.executable, "-c", _COUNT], capture_output=True, text=True)
    if done.returncode:
        raise FGDError(f"torch cannot count this machine's GPUs: {done.stderr.strip()}")
    count = int(done.stdout.split()[-1])
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(index) for index in range(count)] if named is None else named.split(",")
    return [name.strip() for name in names][:count]


def _has_driver() -> bool:
    """Whether a GPU could be computed on at all: asking torch takes seconds."""
    try:
        ctypes.CDLL("libcuda.so.1")  # what every CUDA build of torch looks for
    except OSError:
        return _AMD.exists()
    return True


@contextmanager
def reserve(count: int, gpus: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Choose `count` of these GPUs that no training uses; wait until there are so many.

    Until the context ends nobody else chooses: start the processes in it, and `wait_until_held`.

    Raises:
        FGDError: there will never be so many.
    """
    if not gpus:  # trained on the CPU, by as many processes as are asked for
        yield ()
        return
    if count > len(gpus):
        raise FGDError(
            f"the suite's gpus ({count}) ask for a GPU for each of {count} processes, and this "
            f"machine has {len(gpus)} ({', '.join(gpus)}). Lower gpus and raise samples_per_gpu by "
            "as much: the total batch, and with it the learning rate, stays"
        )
    said = False
    while True:
        with _choosing():
            free = [gpu for gpu in gpus if not _is_held(gpu)]
            if len(free) >= count:
                yield tuple(free[:count])
                return
        if not said:
            wanted = "a free GPU" if count == 1 else f"{count} free GPUs"
            used = len(gpus) - len(free)
            verb = "is" if used == 1 else "are"
            logger.info(
                "waiting for %s: %d of %d %s used by other trainings", wanted, used, len(gpus), verb
            )
            said = True
        time.sleep(_PAUSE_S)


def wait_until_held(gpus: Sequence[str], runs: Callable[[], bool]) -> None:
    """Wait until processes hold all these GPUs, or no longer run."""
    while not all(_is_held(gpu) for gpu in gpus) and runs():
        time.sleep(0.1)


def hold(gpu: str) -> None:
    """Keep a GPU until this process ends.

    Raises:
        FGDError: another training has it.
    """
    end = time.monotonic() + _PATIENCE_S
    while (claimed := _claim(gpu)) is None:
        if time.monotonic() > end:
            raise FGDError(
                f"GPU {gpu} is used by another training, though it was free when this one was "
                "started. Give the same command again"
            )
        time.sleep(0.1)
    # Never closed: the name goes with the process, and the GPU's memory does not go earlier.
    _held.append(claimed)


_held: list[socket.socket] = []


@contextmanager
def _choosing() -> Iterator[None]:
    told = time.monotonic() + _PATIENCE_S
    while (claimed := _claim("choosing")) is None:
        if time.monotonic() >= told:
            # Whoever's it is: stopped, for one, it would keep all others from starting.
            logger.info("waiting for another launcher on this machine, which is choosing its GPUs")
            told = math.inf
        time.sleep(0.1)
    with claimed:
        yield


def _is_held(gpu: str) -> bool:
    claimed = _claim(gpu)
    if claimed is None:
        return True
    claimed.close()
    return False


def _claim(name: str) -> socket.socket | None:
    """A socket that holds the name until it is closed; None if another has it."""
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claimed.bind(f"\0fgd-gpu {_around()}{name}")
    except OSError as error:
        claimed.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise
    return claimed


def _around() -> str:
    # In a job of Slurm's, 0 can be another GPU than in the next job on the same machine.
    job = os.environ.get("SLURM_JOB_ID") or os.environ.get(AROUND)
    return f"job {job} " if job else ""
