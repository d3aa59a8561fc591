"""What all rules share: the suites, what a path's wildcards name, and what jobs ask for."""

import hashlib
import json
import os
import re
import shlex
import shutil
import sys
from functools import cache, wraps
from pathlib import Path

from snakemake.exceptions import WorkflowError

from fgd import compat
from fgd.errors import FGDError

compat.quiet()  # before anything imports mmcv, which it silences
from cluster import settings as cluster_settings
from fgd import recipe
from fgd.method import method_id
from fgd.suite import ARMS
from fgd.suite import load_suite as read_suite

# Named for Snakemake's linter; the file says why it holds nothing.
ENVIRONMENT = "../envs/fgd.yaml"

# Rules call `fgd`, the one that was installed beside this Snakemake.
shell.prefix(f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; ")


def explained(function):
    """A user's error becomes Snakemake's own kind, which is printed without a traceback."""

    @wraps(function)
    def wrapper(*args):
        try:
            return function(*args)
        except FGDError as error:
            raise WorkflowError(f"error: {error}") from None

    return wrapper


def chosen_suite():
    """The suite that `--config suite=...` names, by its name or its path."""
    for key in config:
        if key != "suite":
            sys.exit(
                f"error: --config {key}=...: the workflow has no such key. It has `suite`; "
                "everything else stands in the suite's file"
            )
    # A suite may be called 2024, which Snakemake reads as a number; nothing it reads as None.
    chosen = str(config.get("suite", "coco") or "")
    if not chosen:
        sys.exit("error: --config suite=: name a suite, or the path of its file")
    # One spelling of a path: files are compared by it with those of the last run.
    return os.path.relpath(chosen) if chosen.endswith(".yaml") else chosen


def suite_files(chosen):
    """The path of every suite by its name: those of configs/suites and the chosen one."""
    folder = Path(os.path.relpath(workflow.basedir)) / "configs" / "suites"
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return known if chosen in known else known | {Path(chosen).stem: Path(chosen)}


SUITE_FILES = suite_files(chosen_suite())
SUITE = Path(chosen_suite()).stem


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


@cache
@explained
def load_suite(name):
    """A suite and what its rows need, checked before anything runs."""
    suite = read_suite(SUITE_FILES[name])
    if suite.results != f"results/{name}":
        raise FGDError(
            f"{SUITE_FILES[name]}: `results` has to be results/{name}, as the file is called"
        )
    cluster_settings.check(suite, SUITE_FILES[name])
    needed = recipe.plan(suite)
    owned = [
        teacher.own.checkpoint for teacher in needed.teachers.values() if teacher.own
    ]
    owned += [path for path in needed.backbones.values() if "://" not in path]
    for path in (SUITE_FILES[name], *owned):
        if re.search("[{}]", str(path)):
            raise FGDError(
                f"{path}: Snakemake takes what stands in braces for a wildcard. Rename the file or "
                "its folder"
            )
    return suite, needed


def suite(wildcards):
    return load_suite(wildcards.suite)[0]


def plan(wildcards):
    return load_suite(wildcards.suite)[1]


@explained
def row(wildcards):
    """The row that a path names."""
    rows = plan(wildcards).rows
    if wildcards.row not in rows:
        raise FGDError(f"suite {wildcards.suite} has no row {wildcards.row!r}")
    return rows[wildcards.row]


@explained
def teacher(wildcards):
    """The teacher that a path names."""
    teachers = plan(wildcards).teachers
    if wildcards.teacher not in teachers:
        raise FGDError(f"suite {wildcards.suite} has no teacher {wildcards.teacher!r}")
    return teachers[wildcards.teacher]


def is_mini(wildcards):
    return suite(wildcards).mini is not None


def by_size(mini, full):
    """A resource of a suite on the mini set, and of one at full size."""
    return lambda wildcards: mini if is_mini(wildcards) else full


def training_processes(wildcards):
    return suite(wildcards).gpus


def training_threads(wildcards):
    return suite(wildcards).gpus * (1 + suite(wildcards).workers_per_gpu)


def evaluation_gpus(wildcards):
    """GPUs of a single job that evaluates: none where the suite's trainings have none."""
    return int((suite(wildcards).cluster or {}).get("gpus_per_node") != 0)


def from_cluster(key):
    """A resource of single jobs that the suite's `cluster:` section names; empty if it does not."""
    return lambda wildcards: (suite(wildcards).cluster or {}).get(key, "")


@explained
def digest(wildcards):
    """A hash of the configs that `fgd compose` would write.

    A suite's file names many rows. As a parameter of the rules that compose, this hash makes a row
    train anew exactly when its own recipe has changed.
    """
    if "teacher" in wildcards.keys():
        configs = recipe.compose_teacher(suite(wildcards), wildcards.teacher)
    else:
        loaded = recipe.load_row(wildcards.row, suite(wildcards))
        configs = recipe.compose(
            suite(wildcards), loaded, wildcards.arm, seed(wildcards)
        )
    text = json.dumps([config.to_dict() for config in configs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@explained
def check_account():
    """Whether Snakemake's Slurm executor will submit jobs under the suite's account.

    It asks when it submits, in a thread whose errors nobody hears, and then waits for ever.
    """
    if workflow.executor_plugin.name != "slurm":
        return
    from snakemake_executor_plugin_slurm.accounts import test_account

    account = (load_suite(SUITE)[0].cluster or {}).get("account")
    place = f"{SUITE_FILES[SUITE]}: cluster.account"
    if not account and shutil.which("sacct") is None:
        raise FGDError(
            f"{place}: none is given, and Snakemake's Slurm executor asks `sacct` for your last "
            "one, which is not on this machine. Is this the cluster's login node? Where there is "
            "no accounting, see docs/cluster.md"
        )
    try:
        if account:
            test_account(account, logger)
    except (WorkflowError, FileNotFoundError) as error:
        said = " ".join(str(error).removeprefix("WorkflowError:").split()).rstrip(".")
        raise FGDError(
            f"{place} ({account}): {said}. Name one of yours, or leave it out if your cluster "
            "wants none"
        ) from None


# A wrong suite is refused before anything is planned.
try:
    load_suite(SUITE)
except WorkflowError as error:
    sys.exit(str(error))
