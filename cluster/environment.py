"""Which of a shell's variables Slurm's commands see.

sbatch prefers variables (SBATCH_PARTITION) to what its script says, and srun, in that script, reads
what Slurm has set in the job from which the script was submitted (SLURM_CPU_BIND). Neither may
overrule a suite, and a training starts alike from a login node and from a job.
"""

import os
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import NamedTuple

from cluster.settings import ClusterSettings, decided_by

# Keeps the id of the job that Snakemake runs in, whose variables go (`leave_job`): each job on a
# node may call another GPU 0 (`cluster.devices`, where torch tells no identities).
AROUND = "FGD_JOB_AROUND"
# How Slurm's commands reach its controller: the machine's own, and no option of a job.
_ROUTE = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"}
# The beginnings of what Slurm's commands read as options, and of what Slurm tells a job of itself.
_SLURMS = (
    *("SLURM_", "SLURMD_", "SBATCH_", "SALLOC_", "SRUN_", "SQUEUE_", "SCANCEL_", "SACCT_"),
    *("SCONTROL_", "PMI_", "PMI2_", "PMIX_"),
)
# They number the devices of the machine that submits; Slurm sets them anew on the nodes, but not
# where a job has no GPU.
_DEVICES = {
    "CUDA_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ROCR_VISIBLE_DEVICES",
    "ZE_AFFINITY_MASK",
}
# sbatch's variables that are not called after their option.
_OPTIONS = {
    "SBATCH_ARRAY_INX": "array",
    "SBATCH_MEM_PER_NODE": "mem",
    "SBATCH_NO_REQUEUE": "requeue",
    "SBATCH_REQ_SWITCH": "switches",
    "SBATCH_TIMELIMIT": "time",
    "SBATCH_WAIT4SWITCH": "switches",
}
# Slurm itself writes these into jobs.
_BINDINGS = ("SBATCH_CPU_BIND", "SBATCH_MEM_BIND")


class Variable(NamedTuple):
    """One of sbatch's variables in the user's shell.

    Attributes:
        name, value: as the shell has them.
        decided_by: what of the suite decides its option, in words; empty if nothing does, and
            sbatch gets the variable.
    """

    name: str
    value: str
    decided_by: str

    @property
    def text(self) -> str:
        """In words, for a line of a log."""
        if self.decided_by:
            return f"{self.name}={self.value} is left out: {self.decided_by}"
        return f"{self.name}={self.value} goes to sbatch, as the suite says nothing of it"


def variables(settings: ClusterSettings, environment: Mapping[str, str]) -> list[Variable]:
    """sbatch's variables in an environment, and whether the suite leaves room for them."""
    return [
        Variable(name, value, decided_by(settings, option_of(name), value))
        for name, value in sorted(environment.items())
        if name.startswith("SBATCH_") and not name.startswith(_BINDINGS)
    ]


def option_of(name: str) -> str:
    """The long option of sbatch that a variable stands for: SBATCH_TIMELIMIT is `time`."""
    return _OPTIONS.get(name) or name.removeprefix("SBATCH_").lower().replace("_", "-")


def notes(settings: ClusterSettings) -> list[str]:
    """What becomes of the variables that the user's shell has for Slurm, a line each."""
    told = [variable.text for variable in variables(settings, os.environ)]
    # In a job they are Slurm's, and there are dozens.
    own = [name for name in sorted(os.environ) if name.startswith("SLURM_") and name not in _ROUTE]
    if own and "SLURM_JOB_ID" not in os.environ:
        told.append(
            f"{', '.join(own)}: trainings do not get what this shell sets for srun; a line `export "
            "...` of cluster.setup does"
        )
    return told


def note_on_single_jobs() -> str:
    """What the user's shell adds to jobs that Snakemake's executor submits; empty if nothing."""
    own = [
        name
        for name in sorted(os.environ)
        if name.startswith("SBATCH_") and not name.startswith(_BINDINGS)
    ]
    return (
        f"sbatch reads {', '.join(own)} of this shell for single jobs, too, where the profile and "
        "the suite's cluster.partition and cluster.account say nothing"
        if own
        else ""
    )


@contextmanager
def submitting(settings: ClusterSettings) -> Iterator[None]:
    """The environment in which sbatch is run, which is also what its job starts with."""
    from submitit.helpers import clean_env  # not for a plan, which imports this file

    kept = {name: os.environ[name] for name in _ROUTE & os.environ.keys()}
    kept |= {v.name: v.value for v in variables(settings, os.environ) if not v.decided_by}
    slurms = [name for name in os.environ if name.startswith(_SLURMS)]
    with clean_env([*slurms, *_DEVICES, AROUND]):
        os.environ.update(kept)
        try:
            yield
        finally:
            for name in kept:  # clean_env brings them back
                del os.environ[name]


def for_questions() -> dict[str, str]:
    """The environment in which squeue, scontrol and their like say all that they are asked for.

    SQUEUE_STATES and SCANCEL_PARTITION would hide jobs, SLURM_TIME_FORMAT changes what times look
    like.
    """
    return {
        name: value
        for name, value in os.environ.items()
        if name in _ROUTE or not name.startswith(_SLURMS)
    }


def leave_job(environment: MutableMapping[str, str]) -> None:
    """Remove what a job has of Slurm, so that what is started from there starts as on a login node.

    Snakemake's Slurm executor does it too, and loses the way to the controller (SLURM_CONF).
    """
    if "SLURM_JOB_ID" not in environment:
        return
    environment[AROUND] = environment["SLURM_JOB_ID"]
    for name in list(environment):
        if name.startswith(("SLURM_", "SLURMD_", *_BINDINGS)) and name not in _ROUTE:
            del environment[name]
