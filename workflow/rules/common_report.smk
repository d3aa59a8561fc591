"""What tables, pictures and pages show, and which files that takes."""

import hashlib
import json
import os
import shlex
from dataclasses import asdict

# Two rows that show a one-stage and a two-stage detector in minutes.
DEMO_ROWS = ("retinanet_r50", "faster_rcnn_r50")

# Figures for a paper (fgd.report.figures), and what Snakemake's report calls them.
FIGURES = {
    "ap": "AP",
    "sizes": "AP by size",
    "losses": "losses",
    "epochs": "AP by epoch",
}


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
def shown(wildcards):
    """A hash of what a table, figures or page say beside what was measured.

    That is the suite's settings, its base's among them, and the published figures of its rows.
    """
    loaded = suite(wildcards)
    published = {name: recipe.load_row(name, loaded).published for name in loaded.rows}
    text = json.dumps([asdict(loaded), published], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


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
