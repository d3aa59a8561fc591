"""What all rules share: the suites, and how their files depend on one another."""

import csv
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import asdict
from functools import cache, wraps
from pathlib import Path

from snakemake.exceptions import WorkflowError

from fgd import compat
from fgd.errors import FGDError

compat.quiet()  # before anything imports mmcv, which it silences
from cluster import settings as cluster_settings
from fgd import recipe
from fgd.provenance import method_hash
from fgd.suite import ARMS
from fgd.suite import load_suite as read_suite

# Two rows that show a one-stage and a two-stage detector in minutes.
DEMO_ROWS = ("retinanet_r50", "faster_rcnn_r50")

# Figures for a paper (fgd.report.figures), and what Snakemake's report calls them.
FIGURES = {
    "ap": "AP",
    "sizes": "AP by size",
    "losses": "losses",
    "epochs": "AP by epoch",
}

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


def teacher_backbone(wildcards):
    """The file that a teacher's own training starts from; nothing for one from scratch."""
    return backbone(wildcards, teacher(wildcards).backbone)


def is_mini(wildcards):
    return suite(wildcards).mini is not None


def by_size(mini, full):
    """A resource of a suite on the mini set, and of one at full size."""
    return lambda wildcards: mini if is_mini(wildcards) else full


def trained_here(wildcards, kind):
    """Whether the suite trains and publishes a teacher or a backbone itself."""
    if kind == "teachers":
        return suite(wildcards).trains(wildcards.teacher)
    return is_mini(wildcards)


def published(wildcards, kind, name):
    """The metafile of a model that the suite publishes itself; nothing for one of a public zoo."""
    if not trained_here(wildcards, kind):
        return []
    return f"results/{wildcards.suite}/zoo/{kind}/{name}.yml"


def index(wildcards, kind):
    """The option that names the folder of such metafiles."""
    if not trained_here(wildcards, kind):
        return ""
    return f"--index results/{wildcards.suite}/zoo/{kind}"


def own_teacher(wildcards):
    """The user's own files that a teacher is; None if it is downloaded or trained."""
    found = teacher(wildcards)
    return None if found.trained else found.own


def own_checkpoint(wildcards):
    """The file that an own teacher is copied from."""
    own = own_teacher(wildcards)
    return [] if own is None else own.checkpoint


def teacher_source(wildcards):
    """What `fgd download` gets a teacher by: a name and where to look it up, or a file."""
    own = own_teacher(wildcards)
    if own is None:
        return f"{shlex.quote(wildcards.teacher)} {index(wildcards, 'teachers')}"
    hashed = f" --sha256 {own.sha256}" if own.sha256 else ""
    return shlex.quote(str(own.checkpoint)) + hashed


def teacher_promise(wildcards):
    """Where `fgd check-teacher` reads the AP that a teacher should reach."""
    own = own_teacher(wildcards)
    return index(wildcards, "teachers") if own is None else f"--ap {own.ap}"


def least_ap(wildcards):
    """What a teacher that the suite trains has to reach to be published."""
    mini = suite(wildcards).mini
    return mini["teacher"].get("least_ap", 0) if mini else 0


def backbone(wildcards, key):
    """The file of a backbone; nothing where there is none, for a detector from scratch."""
    return suite(wildcards).backbone_checkpoint(key) if key else []


def teacher_checkpoint(wildcards):
    return suite(wildcards).teacher_checkpoint(row(wildcards).teacher)


def teacher_check(wildcards):
    """That the row's teacher is the published one."""
    return f"results/{wildcards.suite}/teachers/{row(wildcards).teacher}/checked.json"


def student_name(wildcards):
    """What a student's checkpoint is called: <row>_fgd, with a further seed <row>_fgd_seed1."""
    run = Path(wildcards.arm + wildcards.seed)
    return "_".join([wildcards.row, *run.parts])


@explained
def seed(wildcards):
    """The seed of a training that a path names."""
    loaded = suite(wildcards)
    if not wildcards.seed:
        return loaded.seed
    number = int(re.sub(r"\D", "", wildcards.seed))
    if number == loaded.seed:
        raise FGDError(
            f"{wildcards.row}/{wildcards.arm}{wildcards.seed}: the suite's first seed needs no "
            f"folder of its own, ask for {wildcards.row}/{wildcards.arm}"
        )
    return number


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
def data_files(wildcards):
    """Annotation file and image folder of a split, as all rows of the suite read them."""
    loaded = suite(wildcards)
    first = recipe.load_row(loaded.rows[0], loaded)
    split = wildcards.get("split", "val")
    files = recipe.compose(loaded, first, "baseline").detector.data[split]
    return files.get("dataset", files)


def data_checks(wildcards):
    """One's own data names its classes, and every box has to be right; COCO has some faulty ones."""
    classes = data_files(wildcards).get("classes")
    options = [f"--accept={kind}" for kind in suite(wildcards).accept_data]
    if number := recipe.images_of(suite(wildcards), wildcards.split):
        options.append(f"--number={number}")
    if wildcards.split in plan(wildcards).masks:
        options.append("--masks")
    if classes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(classes)
        names = text.getvalue().removesuffix("\n")
        options += ["--strict", "--open-images", f"--classes={names}"]
    return shlex.join(options)


def data_changed(wildcards):
    """Size and time of the annotation file: what changes is checked again, and trained on anew."""
    if data_folder(wildcards):
        return None  # a rule's output: Snakemake sees its changes itself
    try:
        status = os.stat(data_files(wildcards)["ann_file"])
    except FileNotFoundError:
        return None
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


@explained
def coco_root(wildcards):
    """The folder that COCO is downloaded to, two levels above its annotation files."""
    return os.path.dirname(os.path.dirname(data_files(wildcards)["ann_file"]))


def data_folder(wildcards):
    """What a rule writes the split to; nothing where the user brings the data."""
    if suite(wildcards).coco_address is not None:
        return f"results/{wildcards.suite}/data/downloaded.json"
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


def row_files(wildcards):
    """Everything that pictures of a row are drawn from."""
    folder = f"results/{wildcards.suite}"
    teacher = f"{folder}/teachers/{row(wildcards).teacher}"
    fgd, baseline = (
        f"{folder}/{row(wildcards).folder(arm)}" for arm in ("fgd", "baseline")
    )
    return {
        "teacher_config": f"{teacher}/detector.py",
        "teacher": f"{teacher}/teacher.pth",
        "baseline_config": f"{baseline}/student.py",
        "baseline": f"{baseline}/student.pth",
        "fgd_config": f"{fgd}/student.py",
        "fgd": f"{fgd}/student.pth",
        "config": f"{fgd}/config.py",
        "trained": f"{fgd}/trained.pth",
    }


def picture_images(wildcards):
    """The images that pictures show: the suite's, or some of the validation set."""
    folder = data_files(wildcards)["img_prefix"]
    chosen = suite(wildcards).pictures
    if chosen:
        return " ".join(shlex.quote(os.path.join(folder, name)) for name in chosen)
    return f"--folder {shlex.quote(folder)}"


def pictures(wildcards, rows=None):
    """The pictures of all rows, or of some."""
    return [
        f"results/{wildcards.suite}/pictures/{name}_{kind}.png"
        for name in rows or plan(wildcards).rows
        for kind in ("detections", "attention")
    ]


def evaluations(wildcards):
    """The figures that a table shows: of all rows, or of the demo's."""
    loaded, rows = suite(wildcards), plan(wildcards).rows
    shown = DEMO_ROWS if wildcards.get("table") == "demo" else rows
    runs = [loaded.run_name(arm, seed) for arm in ARMS for seed in loaded.seeds]
    models = [rows[name].folder(run) for name in shown for run in runs]
    models += [f"teachers/{rows[name].teacher}" for name in shown]
    # Rows share teachers, and some share a baseline.
    return [
        f"results/{wildcards.suite}/{model}/eval.json"
        for model in dict.fromkeys(models)
    ]


def teacher_checks(wildcards):
    """That the teachers of a table are the published ones."""
    rows = plan(wildcards).rows
    shown = DEMO_ROWS if wildcards.table == "demo" else rows
    names = dict.fromkeys(rows[name].teacher for name in shown)
    return [f"results/{wildcards.suite}/teachers/{name}/checked.json" for name in names]


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
def shown(wildcards):
    """A hash of what a table, figures or page say beside what was measured.

    That is the suite's settings, its base's among them, and the published figures of its rows.
    """
    loaded = suite(wildcards)
    published = {name: recipe.load_row(name, loaded).published for name in loaded.rows}
    text = json.dumps([asdict(loaded), published], sort_keys=True)
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
