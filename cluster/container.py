"""Jobs in a container: how Apptainer starts what computes, and what is refused before that.

The image brings packages and compiled operators; the code that runs is this clone's, which the
container sees under its own path. Snakemake and the launchers stay outside, where Slurm is.
"""

import os
import shlex
import shutil
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from cluster.settings import ClusterSettings
from fgd.checkout import is_checkout, root
from fgd.errors import FGDError
from fgd.files import cache_root

PROGRAM = "apptainer"
# What Apptainer sets inside.
_INSIDE = "APPTAINER_CONTAINER"
_COMMANDS = Path(__file__).resolve().with_name("in_container")
# The signal before a time limit, in place of submitit's USR2. Slurm sends it to every process of
# the ranks, and the one that mounts an image for them would die of USR2: it leaves URG alone.
_SIGNAL = "URG"

# An image has no Slurm. A rank that wants its job requeued asks by a file (in_container/scontrol),
# and its job's script, which runs beside rank 0, does it and answers with scontrol's status.
_ANSWER = """\
FGD_REQUESTS=$(mktemp -d /tmp/fgd-requests-XXXXXX); export FGD_REQUESTS
(
    until [ -e "$FGD_REQUESTS/asked" ]; do sleep 1; done
    scontrol requeue "$SLURM_JOB_ID"
    echo $? >"$FGD_REQUESTS/answer.part" && mv "$FGD_REQUESTS/answer.part" "$FGD_REQUESTS/answer"
) &
trap 'kill '$!' 2>/dev/null; rm -rf "$FGD_REQUESTS"' EXIT"""


def check(settings: ClusterSettings) -> None:
    """Refuse a container that could not start, before anything is submitted.

    Raises:
        FGDError: the image is not there, or Apptainer is not.
    """
    if settings.container is None:
        return
    _check_image(settings.container)
    if not settings.setup:  # a line of it may bring Apptainer on the nodes
        _check_program(", or in cluster.setup")


def check_single_jobs(settings: ClusterSettings, path: str | Path) -> None:
    """Refuse what Snakemake's `--sdm apptainer` would run outside a container, or not at all.

    Args:
        path: the suite's file, for the error.

    Raises:
        FGDError: the suite names no image, or as for `check`.
    """
    if settings.container is None:
        raise FGDError(f"{path}: --sdm apptainer: the suite names no image; say cluster.container")
    _check_image(settings.container)
    _check_program("")  # Snakemake asks it for its version, whatever jobs have


def python(settings: ClusterSettings) -> str | None:
    """What submitit runs in Python's place, as a shell reads it; None without a container."""
    if settings.container is None:
        return None
    command = [PROGRAM, "exec"]
    command += ["--nv"] if settings.gpus_per_node else []
    for folder in binds(settings):
        command += ["--bind", folder]
    for name, value in (_variables() | {"SUBMITIT_PREEMPT_SIGNAL": _SIGNAL}).items():
        command += ["--env", f"{name}={value}"]
    command += ["--pwd", str(Path.cwd()), str(Path(settings.container).absolute()), "python"]
    return shlex.join(command)


def submission(settings: ClusterSettings, parameters: dict[str, Any]) -> dict[str, Any]:
    """What submitit's AutoExecutor is told of a Slurm job, as ranks in a container need it.

    Args:
        parameters: as `submitit_parameters` has them.
    """
    if settings.container is None:
        return parameters
    options = {"signal": f"{_SIGNAL}@{settings.signal_delay_s}"}
    options |= parameters["slurm_additional_parameters"]
    return parameters | {
        "slurm_setup": [*parameters["slurm_setup"], _ANSWER],
        "slurm_additional_parameters": options,
    }


def binds(settings: ClusterSettings) -> list[str]:
    """What a container sees of this machine, beside what Apptainer shows it anyway.

    These are the clone, the working directory, the cache, folders for temporary files (GPUs are
    reserved there), what links in data/ lead to, and what the suite names.
    """
    cache = cache_root()
    cache.mkdir(parents=True, exist_ok=True)  # Apptainer refuses what is not there
    temporary = [Path("/tmp"), Path(tempfile.gettempdir())]
    own = [root(), Path.cwd(), cache.absolute(), *temporary, *_linked_data()]
    return list(dict.fromkeys([*map(str, own), *settings.container_binds]))


def single_jobs(settings: ClusterSettings) -> dict[str, str]:
    """Apptainer's variables for jobs that Snakemake starts in the container."""
    if settings.container is None:
        return {}
    found = {"APPTAINER_BIND": ",".join(binds(settings))}
    found |= {"APPTAINER_NV": "1"} if settings.gpus_per_node else {}
    return found | {f"APPTAINERENV_{name}": value for name, value in _variables().items()}


def find_commands(environment: MutableMapping[str, str]) -> None:
    """In a container, put what stands for Slurm's commands on the PATH."""
    if environment.get(_INSIDE):
        environment["PATH"] = f"{_COMMANDS}:{environment.get('PATH', os.defpath)}"


def path_prefix(folder: str) -> str:
    """Shell words that put a folder of this machine on the PATH, but not in a container."""
    # Snakemake formats it: braces are doubled.
    return f'[ -n "${{{{{_INSIDE}:-}}}}" ] || export PATH={shlex.quote(folder)}:$PATH; '


def _check_image(image: str) -> None:
    if not Path(image).exists():
        raise FGDError(
            f"cluster.container: there is no image {image}; expected a .sif file, or an image's "
            "folder, seen from here. docs/cluster.md says how to build one"
        )


def _check_program(otherwise: str) -> None:
    if shutil.which(PROGRAM) is None:
        raise FGDError(
            f"cluster.container: {PROGRAM} is not on the PATH. Load it before (`module load "
            f"{PROGRAM}`), as jobs start with this shell's environment{otherwise}"
        )


def _variables() -> dict[str, str]:
    """What a process in a container is told: whose code it runs, and where the cache is."""
    code = {"PYTHONPATH": str(root())} if is_checkout() else {}
    return code | {"FGD_CACHE": str(cache_root().absolute())}


def _linked_data() -> list[Path]:
    """Where the links in data/ lead, one step: what a path through them needs."""
    links = [path for path in sorted(Path("data").glob("*")) if path.is_symlink() and path.exists()]
    return [Path(os.path.abspath(link.parent / link.readlink())) for link in links]
