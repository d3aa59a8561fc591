"""What a suite asks of a cluster: its `cluster:` section, with a row's own wishes over it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fgd.errors import FGDError
from fgd.suite import Suite


@dataclass(frozen=True)
class ClusterSettings:
    """One training on a cluster; every field is described in workflow/schemas/suite.schema.yaml."""

    nodes: int = 1
    gpus_per_node: int = 1
    cpus_per_task: int = 4
    mem_gb: float = 32
    timeout_min: int = 1440
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    sbatch: dict[str, Any] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)
    signal_delay_s: int = 120
    max_timeouts: int = 10
    max_restarts: int = 3
    poll_s: float = 15
    cancel_on_interrupt: bool = True

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
        FGDError: the processes cannot share the suite's total batch.
    """
    # A suite that says nothing is trained on one node, by as many processes as on one machine.
    settings = ClusterSettings(**{"gpus_per_node": suite.gpus} | _wishes(suite, name))
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
    kept = {key: wishes[key] for key in ("max_restarts", "cancel_on_interrupt") if key in wishes}
    return ClusterSettings(gpus_per_node=suite.gpus, poll_s=1, **kept)


def check(suite: Suite, path: str | Path) -> None:
    """Refuse a `cluster:` section that no training could use.

    Raises:
        FGDError: it names a row that the suite has not, or processes that cannot share a batch.
    """
    section = suite.cluster or {}
    for name in section.get("rows", {}):
        if name not in suite.rows:
            raise FGDError(
                f"{path}: cluster.rows.{name}: the suite has no such row; it has "
                f"{', '.join(suite.rows)}"
            )
    for name in suite.rows:
        for_training(suite, name, path)


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
        slurm_additional_parameters={
            key: value for key, value in options.items() if value is not False
        },
    )
    if settings.gpus_per_node:
        parameters["gpus_per_node"] = settings.gpus_per_node
    for key in ("partition", "account", "qos", "constraint", "exclude"):
        if getattr(settings, key) is not None:
            parameters[f"slurm_{key}"] = getattr(settings, key)
    return parameters


def _wishes(suite: Suite, name: str) -> dict[str, Any]:
    """The suite's section with a row's own wishes over it."""
    section = dict(suite.cluster or {})
    rows = section.pop("rows", {})
    return section | rows.get(name, {})
