"""What a suite asks of a cluster: its `cluster:` section, with a row's own wishes over it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from fgd.errors import FGDError
from fgd.suite import Suite
from fgd.suite.settings import Job

# sbatch's options that a key of `cluster:` decides: said twice, one would silently win.
_DECIDED_BY = {
    "nodes": "nodes",
    "gpus": "gpus_per_node",
    "gpus-per-node": "gpus_per_node",
    "gpus-per-socket": "gpus_per_node",
    "gpus-per-task": "gpus_per_node",
    "tres-per-task": "gpus_per_node",
    "ntasks": "gpus_per_node",
    "ntasks-per-core": "gpus_per_node",
    "ntasks-per-gpu": "gpus_per_node",
    "ntasks-per-node": "gpus_per_node",
    "ntasks-per-socket": "gpus_per_node",
    "cpus-per-gpu": "cpus_per_task",
    "cpus-per-task": "cpus_per_task",
    "mem": "mem_gb",
    "mem-per-cpu": "mem_gb",
    "mem-per-gpu": "mem_gb",
    "time": "timeout_min",
    "signal": "signal_delay_s",
    "partition": "partition",
    "account": "account",
    "qos": "qos",
    "constraint": "constraint",
    "exclude": "exclude",
}
# What the launcher needs for itself.
_LAUNCHERS = (
    *("array", "chdir", "clusters", "error", "job-name", "open-mode", "output"),
    *("parsable", "test-only", "wait", "wrap"),
)


class ClusterSettings(Job):
    """One training on a cluster."""

    @property
    def tasks_per_node(self) -> int:
        """One task a GPU; on nodes without GPUs, one task a node."""
        return max(1, self.gpus_per_node)

    @property
    def tasks(self) -> int:
        """World size."""
        return self.nodes * self.tasks_per_node

    @property
    def shape(self) -> str:
        """In words: 2 nodes x 4 GPUs."""
        nodes = f"{self.nodes} node{'s' * (self.nodes > 1)}"
        if self.gpus_per_node == 0:
            return f"{nodes}, without GPUs"
        return f"{nodes} x {self.gpus_per_node} GPU{'s' * (self.gpus_per_node > 1)}"


def for_training(suite: Suite, name: str, path: str | Path) -> ClusterSettings:
    """The settings of one training of a suite.

    Args:
        suite: as `fgd.suite.load_suite` gives it.
        name: a row, or a teacher that the suite trains.
        path: the suite's file, for the error.

    Raises:
        FGDError: the processes cannot share the suite's total batch, or an option of sbatch
            contradicts another key.
    """
    # A suite that says nothing is trained on one node, by as many processes as on one machine.
    settings = ClusterSettings(**{"gpus_per_node": suite.gpus} | _wishes(suite, name))
    settings = _with_data(settings, suite)
    check_options(settings, lambda option: f"{path}: cluster.sbatch.{option} ({name})")
    check_times(settings, f"{path}: cluster", f" ({name})")
    if settings.cpus_per_task < suite.workers_per_gpu + 1:
        raise FGDError(
            f"{path}: cluster.cpus_per_task is {settings.cpus_per_task} ({name}), and a process "
            f"has {suite.workers_per_gpu} loaders (workers_per_gpu) beside itself: give "
            f"{suite.workers_per_gpu + 1} or more, or fewer workers"
        )
    if suite.total_batch % settings.tasks:
        raise FGDError(
            f"{path}: cluster: {settings.shape} are {settings.tasks} processes, and they cannot "
            f"share the {suite.total_batch} images of a step ({name}: gpus {suite.gpus} x "
            f"samples_per_gpu {suite.samples_per_gpu}) evenly. Change nodes or gpus_per_node, or "
            "the suite's gpus and samples_per_gpu; the learning rate follows those"
        )
    return settings


def on_this_machine(suite: Suite, name: str) -> ClusterSettings:
    """One process a GPU of the suite, on this machine; of the section, what holds anywhere."""
    wishes = _wishes(suite, name)
    anywhere = ("max_restarts", "cancel_on_interrupt", "container", "container_binds")
    kept = {key: wishes[key] for key in anywhere if key in wishes}
    return _with_data(ClusterSettings(gpus_per_node=suite.gpus, poll_s=1, **kept), suite)


def check(suite: Suite, path: str | Path) -> None:
    """Refuse a `cluster:` section that no training could use.

    Raises:
        FGDError: it names a row that the suite has not, processes that cannot share a batch, or
            an option of sbatch that contradicts another key.
    """
    for name in suite.cluster.rows if suite.cluster else ():
        if name not in suite.rows:
            raise FGDError(
                f"{path}: cluster.rows.{name}: the suite has no such row; it has "
                f"{', '.join(suite.rows)}"
            )
    for name in suite.rows:
        for_training(suite, name, path)


def check_times(settings: ClusterSettings, origin: str, of: str = "") -> None:
    """Refuse a job that is told of its time limit before it has begun.

    Args:
        origin: where the settings are said, for the error.
        of: behind it, what they are of.

    Raises:
        FGDError: it would be, and be requeued again and again.
    """
    if settings.signal_delay_s >= 60 * settings.timeout_min:
        raise FGDError(
            f"{origin}.signal_delay_s is {settings.signal_delay_s}{of}: a job ends so many seconds "
            f"before its time limit, timeout_min {settings.timeout_min}, and would never begin. "
            "Give fewer seconds, or more minutes"
        )


def check_options(settings: ClusterSettings, origin: Callable[[str], str]) -> None:
    """Refuse options of sbatch that another key decides, or that the launcher needs for itself.

    Args:
        origin: where an option is said, for the error.

    Raises:
        FGDError: there is such an option.
    """
    for option, value in settings.sbatch.items():
        _check_option(origin(option), option, value, settings)


def single_job(suite: Suite, key: str) -> str:
    """What a single job, no training, asks of Slurm by a key of the section; "" for nothing."""
    return getattr(suite.cluster, key, None) or ""


def in_container(suite: Suite) -> ClusterSettings:
    """What the section says of the container, as of all trainings that have no own."""
    section = suite.cluster.said() if suite.cluster else {}
    keys = ("container", "container_binds", "setup")
    kept = {key: section[key] for key in keys if key in section}
    return _with_data(ClusterSettings(gpus_per_node=evaluation_gpus(suite), **kept), suite)


def evaluation_gpus(suite: Suite) -> int:
    """GPUs of a single job that evaluates: none where the suite's trainings have none."""
    return int(suite.cluster is None or suite.cluster.gpus_per_node != 0)


def _check_option(origin: str, option: str, value: Any, settings: ClusterSettings) -> None:
    key = option.replace("_", "-")  # as submitit writes it
    typed = f"For a type of GPU say `gpus-per-node: <type>:{settings.gpus_per_node}`"
    if key == "gpus-per-node" and _is_typed(value, settings.gpus_per_node):
        return
    if key == "gres" and _asks_for_gpus(str(value)):
        raise FGDError(f"{origin}: GPUs are asked for by cluster.gpus_per_node. {typed}")
    if key in _DECIDED_BY:
        more = f". {typed}" if key.startswith("gpus") else ""
        raise FGDError(f"{origin}: is decided by cluster.{_DECIDED_BY[key]}; change that{more}")
    if key in _LAUNCHERS:
        raise FGDError(f"{origin}: the launcher needs this option for itself; leave it out")


def _asks_for_gpus(gres: str) -> bool:
    """Whether `gpu:2,lustre` has GPUs in it; Slurm also writes `gres/gpu:2`."""
    names = (part.removeprefix("gres/").split(":")[0] for part in gres.split(","))
    return "gpu" in names


def _is_typed(value: Any, count: int) -> bool:
    """Whether `a100:4`, for a count of 4."""
    kind, _, number = str(value).partition(":")
    return bool(kind) and number == str(count)


def decided_by(settings: ClusterSettings, option: str, value: str) -> str:
    """What of the settings decides an option of sbatch, in words; empty if nothing does.

    Keys that have a default decide whether the suite says them or not.
    """
    said = {key.replace("_", "-") for key in settings.sbatch} | {"requeue"}
    if option in said:
        return f"cluster.sbatch.{option} decides"
    key = _DECIDED_BY.get(option)
    if option == "gres" and _asks_for_gpus(value):
        key = "gpus_per_node"
    if key and (decision := getattr(settings, key)) is not None:
        return f"cluster.{key} ({decision}) decides"
    return "the launcher needs this option for itself" if option in _LAUNCHERS else ""


def submitit_parameters(settings: ClusterSettings, name: str) -> dict[str, Any]:
    """The settings in the words of submitit's AutoExecutor."""
    # Slurm requeues by itself when a node fails; some sites switch that off by default.
    options = {"requeue": True} | settings.sbatch
    parameters = dict(
        name=name,
        nodes=settings.nodes,
        tasks_per_node=settings.tasks_per_node,
        cpus_per_task=settings.cpus_per_task,
        mem_gb=settings.mem_gb,
        timeout_min=settings.timeout_min,
        slurm_signal_delay_s=settings.signal_delay_s,
        slurm_setup=settings.setup,
        slurm_srun_args=[
            # A rank that dies takes the others with it; they would wait for it for ever.
            "--kill-on-bad-exit=1",
            # Since Slurm 22.05 srun does not take this from the job.
            f"--cpus-per-task={settings.cpus_per_task}",
        ],
        # In submitit's spelling, so that a type of GPU takes the place of its mere number.
        slurm_additional_parameters={
            key.replace("-", "_"): value for key, value in options.items() if value is not False
        },
    )
    if settings.gpus_per_node:
        parameters["gpus_per_node"] = settings.gpus_per_node
    for key in ("partition", "account", "qos", "constraint", "exclude"):
        if getattr(settings, key) is not None:
            parameters[f"slurm_{key}"] = getattr(settings, key)
    return parameters


def _with_data(settings: ClusterSettings, suite: Suite) -> ClusterSettings:
    """A container sees the suite's own folder of data, too."""
    if settings.container is None or suite.data_root is None:
        return settings
    folder = str(Path(suite.data_root).absolute())
    return settings.model_copy(update={"container_binds": [*settings.container_binds, folder]})


def _wishes(suite: Suite, name: str) -> dict[str, Any]:
    """The suite's section with a row's own wishes over it."""
    section = dict(suite.cluster.said() if suite.cluster else {})
    rows = section.pop("rows", {})
    return section | rows.get(name, {})
