"""Whether an installation can do what it is for, found out by doing it.

Nothing that can be broken is imported here: packages with compiled parts are tried in a process of
their own (fgd/doctor/probes.py), so that one that crashes is a line of the report.
"""

import errno
import fcntl
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement

from fgd.checkout import root
from fgd.download import cache_folder

OK, WARN, FAIL = "ok", "warn", "fail"
# Another version of these gives other results or none; of any other package it is a warning.
_CORE = {"torch", "torchvision", "mmdet", "mmcv-full", "numpy", "opencv-python-headless"}
_PROBE_S = 300
_GIB = 1 << 30
_COCO = {"train2017": 118_287, "val2017": 5_000}
_REINSTALL = "remove .venv and say `make setup`"


@dataclass(frozen=True)
class Check:
    """What one check found.

    Attributes:
        name: what was checked.
        status: "ok", "warn" (something will not work, or slowly) or "fail" (mend it first).
        found: in a sentence.
        mend: how to mend it; empty if nothing is wrong.
    """

    name: str
    status: str
    found: str
    mend: str = ""


def examine(
    topics: Iterable[str] = (), tell: Callable[[Check], None] = lambda check: None
) -> list[Check]:
    """Examine this machine and the working directory.

    Args:
        topics: keys of TOPICS; all of them if there are none.
        tell: called with each result as soon as there is one.
    """
    checks: list[Check] = []
    for topic in topics or TOPICS:
        for check in TOPICS[topic]():
            checks.append(check)
            tell(check)
    return checks


def _python() -> list[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info < (3, 15):
        return [Check("python", OK, found)]
    return [
        Check("python", FAIL, f"{found}, expected 3.11 to 3.14", "make setup PYTHON=python3.11")
    ]


def _packages() -> list[Check]:
    """Every installed version against the one that is locked."""
    others: dict[bool, list[str]] = {True: [], False: []}
    file = _lock_file()
    locked = _locked(file)
    for name, wanted in locked.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "missing"
        if found.split("+")[0] != wanted:
            others[name in _CORE].append(f"{name} {found}, locked {wanted}")
    return [
        Check("packages", status, "; ".join(which), _REINSTALL)
        for status, which in ((FAIL, others[True]), (WARN, others[False]))
        if which
    ] or [Check("packages", OK, f"all {len(locked)} as setup/{file} has them")]


def _lock_file() -> str:
    """The lock whose torch this is; where it is neither's, that of CUDA 12."""
    other = "requirements-cu13.txt"
    try:
        ours = version("torch").split("+")[0] == _locked(other)["torch"]
    except PackageNotFoundError:
        ours = False
    return other if ours else "requirements.txt"


def _locked(lock: str) -> dict[str, str]:
    """The locked version of every package that this machine needs."""
    lines = []
    for file in (lock, "mmcv.txt"):
        lines += (root() / "setup" / file).read_text(encoding="utf-8").splitlines()
    stated = [re.split(r"\s+#|\s+--hash|\s*\\$", line)[0] for line in lines]
    wanted = [Requirement(line) for line in stated if re.match(r"[A-Za-z].*==", line)]
    return {
        each.name: next(iter(each.specifier)).version
        for each in wanted
        if each.marker is None or each.marker.evaluate()
    }


def _torchvision() -> list[Check]:
    return [_probe("torchvision", "torchvision", _REINSTALL)]


def _operators() -> list[Check]:
    return [_probe("operators, CPU", "operators cpu", "make setup CUDA=0, or CUDA=1 with GPUs")]


def _gpus() -> list[Check]:
    counted = _probe("GPUs", "gpus", _REINSTALL)
    if counted.status == FAIL:
        return [counted]
    number = int(counted.found.split()[0])
    if number == 0:
        return [
            Check(
                "GPUs",
                WARN,
                "none that torch can use: the mini suite runs, full-size training does not",
                "on a machine with GPUs see whether `nvidia-smi` works; a login node needs none",
            )
        ]
    checks = [counted]
    for device in range(number):
        name, compile_it = (
            f"operators, GPU {device}",
            "make setup CUDA=1, with torch's own nvcc version",
        )
        checks.append(_probe(name, f"operators cuda:{device}", compile_it))
        room = _probe(
            f"memory, GPU {device}",
            f"memory cuda:{device}",
            "fewer images a GPU (samples_per_gpu) on more GPUs (gpus), or precision: bf16 or fp16",
        )
        # Nothing is wrong with the machine: other rows run on it.
        checks.append(replace(room, status=WARN) if room.status == FAIL else room)
    return [*checks, _probe("NCCL", "nccl", "see NCCL_DEBUG=INFO fgd doctor")]


def _probe(name: str, arguments: str, mend: str) -> Check:
    """Run a function of fgd/doctor/probes.py in a process of its own."""
    command = [sys.executable, "-m", "fgd.doctor.probes", *arguments.split()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_S)
    except subprocess.TimeoutExpired:
        return Check(name, FAIL, f"no answer in {_PROBE_S} s", mend)
    if done.returncode == 0:
        return Check(name, OK, done.stdout.strip().splitlines()[-1])
    if done.returncode < 0:
        return Check(name, FAIL, f"crashed with signal {-done.returncode}", mend)
    last = (done.stderr.strip() or "no message").splitlines()[-1]
    return Check(name, FAIL, last[:300], mend)


def _places() -> list[Check]:
    """Disk space and file locks, where results and where checkpoints go."""
    checks = []
    for name, folder in (("here", Path.cwd()), ("cache", cache_folder())):
        there = next(path for path in (folder, *folder.parents) if path.is_dir())
        checks += [_space(f"disk, {name}", there), _lock(f"locks, {name}", there)]
    return checks


def _space(name: str, folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    found = f"{free / _GIB:.1f} GiB free in {folder}"
    mend = "free some, or put the clone elsewhere; for the cache set FGD_CACHE"
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(8 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        kind = "it is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror
        return Check(name, FAIL, f"{found}; 8 MiB could not be written: {kind}", mend)
    if free < 2 * _GIB:
        return Check(name, FAIL, f"{found}; the mini suite needs 2", mend)
    if free < 50 * _GIB:
        return Check(name, WARN, f"{found}; the COCO suite needs some 50", mend)
    return Check(name, OK, found)


def _lock(name: str, folder: Path) -> Check:
    """Whether a lock that one process holds keeps another out."""
    mend = "ask for a file system with flock (NFS: mount with local_lock=none, Lustre: -o flock)"
    attempt = (
        "import fcntl, sys\n"
        "try: fcntl.flock(open(sys.argv[1], 'a'), fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "except BlockingIOError: sys.exit(7)"
    )
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            other = subprocess.run([sys.executable, "-c", attempt, file.name], capture_output=True)
    except OSError as error:
        return Check(name, FAIL, f"no lock in {folder}: {error.strerror}", mend)
    if other.returncode != 7:
        return Check(name, FAIL, f"two processes could lock one file in {folder}", mend)
    return Check(name, OK, f"one process at a time in {folder}")


def _coco() -> list[Check]:
    """COCO where the suite `coco` looks for it; counted, not read."""
    folder = Path("data/coco")
    mend = "unpack train2017.zip, val2017.zip and annotations_trainval2017.zip of cocodataset.org "
    mend += "there, make data/coco a link, or `fgd data coco --out data/coco` downloads them"
    if not folder.exists():
        return [Check("COCO", WARN, f"no {folder.absolute()}: the mini suite needs none", mend)]
    faults = []
    for split, images in _COCO.items():
        annotations = folder / "annotations" / f"instances_{split}.json"
        if not annotations.is_file():
            faults.append(f"no {annotations}")
        found = len(os.listdir(folder / split)) if (folder / split).is_dir() else 0
        if found < images:
            faults.append(f"{found} of {images} images in {folder / split}")
    if faults:
        return [Check("COCO", FAIL, "; ".join(faults), mend)]
    return [Check("COCO", OK, f"complete in {folder.absolute()}")]


def _slurm() -> list[Check]:
    if shutil.which("sbatch") is None:
        return [Check("Slurm", OK, "not here; only --profile slurm needs it")]
    try:
        answer = subprocess.run(
            ["sinfo", "-h", "-N", "-o", "%N"], capture_output=True, text=True, timeout=20
        )
        said = answer.stderr.strip().splitlines()
    except (OSError, subprocess.TimeoutExpired) as error:
        answer, said = None, [str(error)]
    if answer is None or answer.returncode != 0:
        reason = said[-1] if said else "no message"
        if "configuration source" in reason:
            mend = "nothing, unless you want --profile slurm: then ask where slurm.conf is"
            return [Check("Slurm", WARN, "its commands are here, but no cluster", mend)]
        # No more than a warning: all but --profile slurm works without it.
        mend = "for --profile slurm: see `sinfo` and `scontrol ping`; the controller may be down"
        return [Check("Slurm", WARN, f"sinfo does not answer: {reason}", mend)]
    return [Check("Slurm", OK, f"answers; {len(set(answer.stdout.split()))} nodes")]


TOPICS: dict[str, Callable[[], list[Check]]] = {
    "python": _python,
    "packages": _packages,
    "torchvision": _torchvision,
    "operators": _operators,
    "gpus": _gpus,
    "disk": _places,
    "coco": _coco,
    "slurm": _slurm,
}
