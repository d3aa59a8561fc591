"""Which annotations and images a suite reads, and how strictly they are checked."""

import csv
import io
import os
import shlex
from pathlib import Path


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
    classes = recipe.data_classes(suite(wildcards))
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


def data_folder(wildcards):
    """What a rule writes the split to; nothing where the user brings the data."""
    if suite(wildcards).coco_address is not None:
        return f"results/{wildcards.suite}/data/downloaded.json"
    annotations = Path(data_files(wildcards)["ann_file"])
    return "data/mini" if Path("data/mini") in annotations.parents else []


@explained
def coco_root(wildcards):
    """The folder that COCO is downloaded to, two levels above its annotation files."""
    return os.path.dirname(os.path.dirname(data_files(wildcards)["ann_file"]))
