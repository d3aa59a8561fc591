"""What all rules share: the suites, and a way to ask for what their jobs are given."""

import gc
import os
import re
import shlex
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

from cluster import accounts, container, environment, settings as cluster_settings
from fgd import compat
from fgd.errors import FGDError
from fgd.experiment import Experiment, jobs, load_experiment, outdated
from fgd.experiment.choice import chosen_suite, suite_files
from fgd.method import method_id
from fgd.suite import ARMS
from fgd.suite.layout import FIGURES, default_results

compat.prepare()  # before anything imports mmcv

# What Snakemake has imported by now is there until the end. Looking through it for garbage, again
# and again, took a sixth of a plan.
gc.freeze()

# Of a job around Snakemake nothing goes to the jobs that it submits. Those run a Snakemake, too,
# and to that one their Slurm's variables belong.
if workflow.is_main_process:
    environment.leave_job(os.environ)

# Rules call `fgd`, the one that was installed beside this Snakemake.
shell.prefix(f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; ")


try:
    CHOSEN = chosen_suite(config)
except FGDError as error:
    sys.exit(f"error: {error}")
SUITE_FILES = suite_files(
    CHOSEN, Path(os.path.relpath(workflow.basedir)) / "configs" / "suites"
)
SUITE = Path(CHOSEN).stem


wildcard_constraints:
    suite="|".join(map(re.escape, SUITE_FILES)),
    row=r"[^/]+",
    arm="|".join(ARMS),
    # Behind the arm of a run; the first seed of a suite has nothing there.
    seed=r"(?:/seed\d+)?",
    teacher=r"[^/]+",
    backbone=r"[^/]+",
    split="train|val",
    model=r"teachers/[^/]+|[^/]+/(?:fgd|baseline)(?:/seed\d+)?",
    table="table|demo",


def explained(function, *arguments):
    """What a function returns; a user's error becomes Snakemake's, printed without a traceback."""
    try:
        return function(*arguments)
    except FGDError as error:
        raise WorkflowError(f"error: {error}") from None


@cache
def experiment(name):
    """A suite and what its rows need, checked before anything runs."""
    loaded = explained(load_experiment, SUITE_FILES[name])
    explained(jobs.check_names, loaded, default_results(name))
    explained(cluster_settings.check, loaded.suite, SUITE_FILES[name])
    return loaded


@cache
def make_anew(name):
    """Let a suite's outdated files be made anew where a target needs them, as `-R` would.

    That option is read too late: there is no plan yet, and no targets, when this file is.
    """
    files = explained(outdated.to_make_anew, experiment(name))
    workflow.dag.forcefiles.update(files)
    if files:
        logger.info(
            f"Of other settings or files than the suite {name}'s, and made anew if needed:\n    "
            + "\n    ".join(files)
        )


def of(wildcards, function, *arguments):
    """What a function of fgd.experiment.jobs says of the suite that a path names."""
    if workflow.is_main_process:
        make_anew(wildcards.suite)
    return explained(function, experiment(wildcards.suite), *arguments)


def suite(wildcards):
    """What the file of the suite says that a path names."""
    return experiment(wildcards.suite).suite


def by_size(mini, full):
    """A resource of a suite on the mini set, and of one at full size."""
    return lambda wildcards: full if suite(wildcards).full_size else mini


def from_cluster(key):
    """A resource of single jobs that the suite's `cluster:` section names; empty if it does not."""
    return lambda wildcards: cluster_settings.single_job(suite(wildcards), key)


def evaluation_gpus(wildcards):
    return cluster_settings.evaluation_gpus(suite(wildcards))


def training_threads(wildcards):
    return suite(wildcards).gpus * (1 + suite(wildcards).workers_per_gpu)


def image(wildcards):
    """The container in which single jobs of a suite run, with `--sdm apptainer`; None if none."""
    name = wildcards.get("suite", SUITE)
    return cluster_settings.in_container(experiment(name).suite).container


def outside(wildcards):
    """No container: launchers submit jobs, and start what trains in the suite's container."""
    return None


def enter_container():
    """Let single jobs run in the suite's container: with its `fgd`, and seeing what they need."""
    settings = cluster_settings.in_container(experiment(SUITE).suite)
    explained(container.check_single_jobs, settings, SUITE_FILES[SUITE])
    os.environ.update(container.single_jobs(settings))
    shell.prefix(container.path_prefix(os.path.dirname(sys.executable)))


# A wrong suite is refused before anything is planned.
try:
    experiment(SUITE)
    if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
        enter_container()
except WorkflowError as error:
    sys.exit(str(error))


# Once, and not by every job of the run.
if workflow.is_main_process and (needed := jobs.gpu_memory(experiment(SUITE))):
    logger.info(needed)
