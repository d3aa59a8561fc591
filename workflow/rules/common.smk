"""What all rules share: the suites, and how their files depend on one another."""

import hashlib
import json
import os
import re
import shlex
import sys
from functools import cache, wraps
from pathlib import Path

from snakemake.exceptions import WorkflowError

from fgd import compat
from fgd.errors import FGDError

compat.quiet()
from fgd import recipe

# Two rows that show a one-stage and a two-stage detector in minutes.
DEMO_ROWS = ("retinanet_r50", "faster_rcnn_r50")

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


def suite_files(chosen):
    """The path of every suite by its name: those of configs/suites and the chosen one."""
    folder = Path(os.path.relpath(workflow.basedir)) / "configs" / "suites"
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return known if chosen in known else known | {Path(chosen).stem: Path(chosen)}


SUITE_FILES = suite_files(config.get("suite", "coco"))
SUITE = Path(config.get("suite", "coco")).stem


wildcard_constraints:
    suite="|".join(map(re.escape, SUITE_FILES)),
    row=r"[^/]+",
    arm="|".join(recipe.ARMS),
    teacher=r"[^/]+",
    backbone=r"[^/]+",
    split="train|val",
    model="teachers/[^/]+|[^/]+/(?:fgd|baseline)",
    table="table|demo",


@cache
@explained
def load_suite(name):
    """A suite and what its rows need, checked before anything runs."""
    suite = recipe.load_suite(SUITE_FILES[name])
    if suite.results != f"results/{name}":
        raise FGDError(
            f"{SUITE_FILES[name]}: `results` has to be results/{name}, as the file is called"
        )
    return suite, recipe.plan(suite)


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
def teacher_backbone(wildcards):
    """The backbone that a teacher's own training starts from; None if it is downloaded."""
    teachers = plan(wildcards).teachers
    if wildcards.teacher not in teachers:
        raise FGDError(f"suite {wildcards.suite} has no teacher {wildcards.teacher!r}")
    return teachers[wildcards.teacher]


def trains_its_own(wildcards):
    """Whether the suite trains and publishes its teachers and backbones itself."""
    return suite(wildcards).mini is not None


def by_size(mini, full):
    """A resource of a suite on the mini set, and of one at full size."""
    return lambda wildcards: mini if trains_its_own(wildcards) else full


def published(wildcards, kind, name):
    """The metafile of a model that the suite publishes itself; nothing for one of a public zoo."""
    if not trains_its_own(wildcards):
        return []
    return f"results/{wildcards.suite}/zoo/{kind}/{name}.yml"


def index(wildcards, kind):
    """The option that names the folder of such metafiles."""
    if not trains_its_own(wildcards):
        return ""
    return f"--index results/{wildcards.suite}/zoo/{kind}"


def backbone(wildcards, key):
    return suite(wildcards).backbone_checkpoint(key)


def teacher_checkpoint(wildcards):
    return suite(wildcards).teacher_checkpoint(row(wildcards).teacher)


def training_processes(wildcards):
    return suite(wildcards).gpus


def training_threads(wildcards):
    return suite(wildcards).gpus * (1 + suite(wildcards).workers_per_gpu)


@explained
def data_files(wildcards):
    """Annotation file and image folder of a split, as all rows of the suite read them."""
    loaded = suite(wildcards)
    first = recipe.load_row(loaded.rows[0])
    return recipe.compose(loaded, first, "baseline").detector.data[wildcards.split]


def data_checks(wildcards):
    """One's own data names its classes, and every box has to be right; COCO has some faulty ones."""
    classes = data_files(wildcards).get("classes")
    return f"--strict --classes {shlex.quote(','.join(classes))}" if classes else ""


def data_folder(wildcards):
    """The folder that a rule writes the split to; nothing where the user brings the data."""
    annotations = Path(data_files(wildcards)["ann_file"])
    return "data/mini" if Path("data/mini") in annotations.parents else []


def model_files(wildcards):
    """Config and checkpoint of a teacher or a student."""
    is_teacher = wildcards.model.startswith("teachers/")
    names = (
        ("detector.py", "teacher.pth") if is_teacher else ("student.py", "student.pth")
    )
    folder = f"results/{wildcards.suite}/{wildcards.model}"
    return {"config": f"{folder}/{names[0]}", "checkpoint": f"{folder}/{names[1]}"}


def evaluations(wildcards):
    """The figures that a table shows: of all rows, or of the demo's."""
    rows = plan(wildcards).rows
    shown = DEMO_ROWS if wildcards.table == "demo" else rows
    models = [f"{name}/{arm}" for name in shown for arm in recipe.ARMS]
    models += dict.fromkeys(f"teachers/{rows[name].teacher}" for name in shown)
    return [f"results/{wildcards.suite}/{model}/eval.json" for model in models]


@explained
def digest(wildcards):
    """A hash of the configs that `fgd compose` would write.

    A suite's file names many rows. As a parameter of the rules that compose, this hash makes a row
    train anew exactly when its own recipe has changed.
    """
    if "teacher" in wildcards.keys():
        configs = recipe.compose_teacher(suite(wildcards), wildcards.teacher)
    else:
        loaded = recipe.load_row(wildcards.row)
        configs = recipe.compose(suite(wildcards), loaded, wildcards.arm)
    text = json.dumps([config.to_dict() for config in configs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# A wrong suite is refused before anything is planned.
try:
    load_suite(SUITE)
except WorkflowError as error:
    sys.exit(str(error))
