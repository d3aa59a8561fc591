"""Which GPUs of this machine a training gets: each is reserved for one training at a time.

torch tells each GPU's identity, and the process that computes on it binds a socket to that name (an
abstract one, unix(7)): of a machine's processes one can, whoever's it is, wherever its temporary
files are, and whatever number it has for that GPU. Only containers with a network of their own have
names of their own, too; Apptainer's have the machine's. Names are free again when their processes
end, killed or not, and outlive the launcher that chose the GPUs.
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
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from cluster.environment import AROUND
from fgd.errors import FGDError

logger = logging.getLogger("fgd.cluster")

_PAUSE_S = 1
_held: list[socket.socket] = []  # by this process, until it ends
_CHOOSING = "choosing"  # the name of the one launcher that may look which are free
# For how long a name may be held by a launcher that only looks, or by a training that ends.
_PATIENCE_S = 60
# torch is asked, since it is what trains; in a process of its own, since it is large and a launcher
# waits for days. It prints how many there are, and the identity of each, if it can tell.
_ASKED = """
import torch
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
try:
    identities = [torch.cuda.get_device_properties(index).uuid for index in range(count)]
except (AttributeError, RuntimeError):
    identities = []
print(count, *identities)
"""

_AMD = Path("/dev/kfd")  # what its driver makes


class Gpu(NamedTuple):
    """A GPU of this machine.

    Attributes:
        name: as CUDA_VISIBLE_DEVICES has it; in another job or session 0 may be another GPU.
        identity: the same for all of the machine's processes.
    """

    name: str
    identity: str


def visible() -> list[Gpu]:
    """The GPUs that a training started here could use.

    Raises:
        FGDError: torch cannot say.
    """
    if not _has_driver():
        return []
    done = subprocess.run([sys.executable, "-c", _ASKED], capture_output=True, text=True)
    if done.returncode:
        raise FGDError(f"torch cannot count this machine's GPUs: {done.stderr.strip()}")
    count, *identities = done.stdout.splitlines()[-1].split()
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = map(str, range(int(count))) if named is None else map(str.strip, named.split(","))
    found = list(islice(names, int(count)))
    if len(set(identities)) < len(found):
        identities = [_around() + name for name in found]
    return [
        # A part of a GPU is named by an identity; torch's may be the whole GPU's.
        Gpu(name, name if name.startswith("MIG-") else identity)
        for name, identity in zip(found, identities, strict=False)
    ]


def _has_driver() -> bool:
    """Whether a GPU could be computed on at all: asking torch takes seconds."""
    try:
        ctypes.CDLL("libcuda.so.1")  # what every CUDA build of torch looks for
    except OSError:
        return _AMD.exists()
    return True


@contextmanager
def reserve(count: int, gpus: Sequence[Gpu]) -> Iterator[tuple[Gpu, ...]]:
    """Choose `count` of these GPUs that no training uses; wait until there are so many.

    Until the context ends nobody else chooses: start the processes in it, and `wait_until_held`.

    Raises:
        FGDError: there will never be so many.
    """
    if not gpus:  # trained on the CPU, by as many processes as are asked for
        yield ()
        return
    if count > len(gpus):
        names = ", ".join(gpu.name for gpu in gpus)
        raise FGDError(
            f"the suite's gpus ({count}) ask for a GPU for each of {count} processes, and this "
            f"machine has {len(gpus)} ({names}). Lower gpus and raise samples_per_gpu by "
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


def wait_until_held(gpus: Sequence[Gpu], runs: Callable[[], bool]) -> None:
    """Wait until processes hold all these GPUs, or no longer run."""
    while not all(_is_held(gpu) for gpu in gpus) and runs():
        time.sleep(0.1)


def hold(gpu: Gpu) -> None:
    """Keep a GPU until this process ends.

    Raises:
        FGDError: another training has it.
    """
    end = time.monotonic() + _PATIENCE_S
    while (claimed := _claim(gpu.identity)) is None:
        if time.monotonic() > end:
            raise FGDError(
                f"GPU {gpu.name} is used by another training, though it was free when this one was "
                "started. Give the same command again"
            )
        time.sleep(0.1)
    # Never closed: the name goes with the process, and the GPU's memory does not go earlier.
    _held.append(claimed)


@contextmanager
def _choosing() -> Iterator[None]:
    told = time.monotonic() + _PATIENCE_S
    while (claimed := _claim(_CHOOSING)) is None:
        if time.monotonic() >= told:
            # Whoever's it is: stopped, for one, it would keep all others from starting.
            logger.info("waiting for another launcher on this machine, which is choosing its GPUs")
            told = math.inf
        time.sleep(0.1)
    with claimed:
        yield


def _is_held(gpu: Gpu) -> bool:
    claimed = _claim(gpu.identity)
    if claimed is None:
        return True
    claimed.close()
    return False


def _claim(name: str) -> socket.socket | None:
    """A socket that holds the name until it is closed; None if another has it."""
    claimed = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claimed.bind(f"\0fgd-gpu {name}")
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
