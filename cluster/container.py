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
from fgd.experiment import Experiment
from fgd.files import cache_root
from fgd.suite.layout import default_results

PROGRAM = "apptainer"
# Says inside that a job is in this project's container; a user's session may be in one of its own.
_INSIDE = "FGD_IN_CONTAINER"
# Where a rank's job script waits for what the rank asks of Slurm.
_REQUESTS = "FGD_REQUESTS"
_COMMANDS = Path(__file__).resolve().with_name("in_container")
# The signal before a time limit, in place of submitit's USR2. Slurm sends it to every process of
# the ranks, and the one that mounts an image for them would die of USR2: it leaves URG alone.
_SIGNAL = "URG"

# An image has no Slurm. A rank that wants its job requeued asks by a file (in_container/scontrol),
# and its job's script, which runs beside rank 0, does it and answers with scontrol's status. Slurm
# sends TERM to all of a job's processes as soon as it is requeued: these two go on till then.
# (`set -e` among the suite's own lines holds here, too.)
_ANSWER = f"""\
{_REQUESTS}=$(mktemp -d /tmp/fgd-requests-XXXXXX); export {_REQUESTS}
(
    until [ -e "${_REQUESTS}/asked" ]; do sleep 1; done
    trap '' TERM
    status=0; scontrol requeue "$SLURM_JOB_ID" || status=$?
    echo $status >"${_REQUESTS}/answer.part"; mv "${_REQUESTS}/answer.part" "${_REQUESTS}/answer"
) &
trap 'kill '$!' 2>/dev/null || true; rm -rf "${_REQUESTS}"' EXIT"""


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


def python(settings: ClusterSettings, temporary: str = "/tmp") -> str | None:
    """What submitit runs in Python's place, as a shell reads it; None without a container.

    Args:
        temporary: folder for temporary files of the machine on which it runs.
    """
    if settings.container is None:
        return None
    command = [PROGRAM, "exec"]
    command += ["--nv"] if settings.gpus_per_node else []
    for folder in dict.fromkeys([*binds(settings), temporary]):
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

    These are the clone, the working directory, the cache, /tmp, what links to data and results lead
    to, and what the suite names.

    Raises:
        FGDError: a folder's name has a character that Apptainer reads otherwise.
    """
    cache = cache_root()
    cache.mkdir(parents=True, exist_ok=True)  # Apptainer refuses what is not there
    own = [root(), Path.cwd(), cache.absolute(), Path("/tmp"), *_linked()]
    for folder in own:
        if {",", ":"} & set(str(folder)):
            raise FGDError(
                f"cluster.container: {folder}: a comma or colon in a folder's name means something "
                "else to Apptainer; rename it"
            )
    return list(dict.fromkeys([*map(str, own), *settings.container_binds]))


def note(settings: ClusterSettings, experiment: Experiment) -> str:
    """What jobs will open that is in no folder that their container is shown; "" for nothing."""
    if settings.container is None:
        return ""
    shown = [Path(bind.split(":")[0]).resolve() for bind in binds(settings)]
    files = [str(experiment.suite.file)]
    for split in experiment.splits.values():
        files += [split.annotations, split.images]
    unseen = [
        file
        for file in files
        if not any(Path(file).resolve().is_relative_to(folder) for folder in shown)
    ]
    if not unseen:
        return ""
    return (
        f"cluster.container: unless your site shows it anyway, a container does not see "
        f"{', '.join(unseen)}; name the folder in cluster.container_binds"
    )


def single_jobs(settings: ClusterSettings) -> dict[str, str]:
    """Apptainer's variables for jobs that Snakemake starts in the container."""
    if settings.container is None:
        return {}
    sites = os.environ.get("APPTAINER_BIND", "").split(",")
    folders = dict.fromkeys([*filter(None, sites), *binds(settings), tempfile.gettempdir()])
    found = {"APPTAINER_BIND": ",".join(folders)}
    found |= {"APPTAINER_NV": "1"} if settings.gpus_per_node else {}
    return found | {f"APPTAINERENV_{name}": value for name, value in _variables().items()}


def find_commands(environment: MutableMapping[str, str]) -> None:
    """For a rank in a container, put what stands for Slurm's commands on the PATH."""
    if environment.get(_REQUESTS):
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
    return code | {"FGD_CACHE": str(cache_root().absolute()), _INSIDE: "1"}


def _linked() -> list[Path]:
    """Where data, results and the links in data/ lead, one step: what a path through them needs."""
    links = [Path(default_results("suite")).parent, Path("data"), *sorted(Path("data").glob("*"))]
    links = [path for path in links if path.is_symlink() and path.exists()]
    return [Path(os.path.abspath(link.parent / link.readlink())) for link in links]
