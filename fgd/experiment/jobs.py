"""What the jobs of a workflow are given: the files that each needs, and its commands' options.

The workflow's rules call these functions with what a path's wildcards name. A list is of files; an
empty one stands for nothing that is needed.
"""

import csv
import hashlib
import io
import json
import os
import re
import shlex
import textwrap
from pathlib import Path

from fgd.doctor import memory
from fgd.errors import FGDError
from fgd.experiment.experiment import Experiment
from fgd.suite import ARMS, Run
from fgd.suite.layout import PICTURES, RunFiles, TeacherFiles
from fgd.suite.plan import FromZoo, OwnFiles, TrainedHere

# Two rows that show a one-stage and a two-stage detector in minutes.
DEMO_ROWS = ("retinanet_r50", "faster_rcnn_r50")
MINI_SET = "data/mini"  # which a rule of the workflow writes


def check_names(experiment: Experiment, results: str) -> None:
    """Refuse what Snakemake could not tell from its own: other results, braces in a path.

    Args:
        results: the folder that the workflow's rules name.
    """
    suite = experiment.suite
    if suite.results != results:
        raise FGDError(f"{suite.file}: `results` has to be {results}, as the file is called")
    sources = [teacher.source for teacher in experiment.plan.teachers.values()]
    checkpoints = [source.checkpoint for source in sources if isinstance(source, OwnFiles)]
    backbones = [path for path in experiment.plan.backbones.values() if "://" not in path]
    for path in (suite.file, *checkpoints, *backbones):
        if re.search("[{}]", str(path)):
            raise FGDError(
                f"{path}: Snakemake takes what stands in braces for a wildcard. Rename the file or "
                "its folder"
            )


# --- Data ---


def data_checks(experiment: Experiment, split: str) -> str:
    """The options of `fgd data check`.

    One's own data names its classes, and every box has to be right; COCO has some faulty ones.
    """
    files = experiment.splits[split]
    options = [f"--accept={kind}" for kind in experiment.suite.accept_data]
    if files.number:
        options.append(f"--number={files.number}")
    if split in experiment.plan.masks:
        options.append("--masks")
    if files.classes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(files.classes)
        names = text.getvalue().removesuffix("\n")
        options += ["--strict", "--open-images", f"--classes={names}"]
    return shlex.join(options)


def data_changed(experiment: Experiment, split: str) -> str | None:
    """Size and time of the annotation file: what changes is checked again, and trained on anew."""
    if data_folder(experiment, split):
        return None  # a rule's output; `outdated` sees what is changed by hand
    try:
        status = os.stat(experiment.splits[split].annotations)
    except (FileNotFoundError, NotADirectoryError):
        return None  # the check says so
    return f"{status.st_size} bytes of {status.st_mtime_ns}"


def data_folder(experiment: Experiment, split: str) -> str | list[str]:
    """What a rule makes of the split; nothing where the user brings the data."""
    if experiment.suite.coco_address is not None:
        return experiment.layout.downloaded
    annotations = Path(experiment.splits[split].annotations)
    return MINI_SET if Path(MINI_SET) in annotations.parents else []


def coco_root(experiment: Experiment) -> str:
    """The folder that COCO is downloaded to, two levels above its annotation files."""
    return os.path.dirname(os.path.dirname(experiment.splits["val"].annotations))


# --- Models ---


def metafile(experiment: Experiment, kind: str, name: str) -> str | list[str]:
    """The metafile of a model that the suite publishes itself; nothing for one of a public zoo."""
    return experiment.layout.metafile(kind, name) if experiment.publishes(kind, name) else []


def index(experiment: Experiment, kind: str, name: str) -> str:
    """The option that names the folder of such metafiles."""
    return f"--index {experiment.layout.index(kind)}" if experiment.publishes(kind, name) else ""


def backbone(experiment: Experiment, row: str) -> str | list[str]:
    """The file that a row's student starts from."""
    key = experiment.row(row).backbone
    return experiment.layout.backbone(key) if key else []


def own_backbone(experiment: Experiment, key: str) -> str | list[str]:
    """The user's own file that a backbone is copied from."""
    name = experiment.plan.backbones[key]
    return [] if experiment.publishes("backbones", key) or "://" in name else name


def teacher_backbone(experiment: Experiment, name: str) -> str | list[str]:
    """The file that a teacher's own training starts from."""
    match experiment.teacher(name).source:
        case TrainedHere(backbone=str(key)):
            return experiment.layout.backbone(key)
    return []


def own_checkpoint(experiment: Experiment, name: str) -> Path | list[str]:
    """The user's own file that a teacher is copied from."""
    source = experiment.teacher(name).source
    return source.checkpoint if isinstance(source, OwnFiles) else []


def teacher_source(experiment: Experiment, name: str) -> str:
    """What `fgd download` gets a teacher by: a name and where to look it up, or a file."""
    match experiment.teacher(name).source:
        case OwnFiles(checkpoint, sha256):
            return shlex.quote(str(checkpoint)) + (f" --sha256 {sha256}" if sha256 else "")
        case FromZoo() | TrainedHere():
            return f"{shlex.quote(name)} {index(experiment, 'teachers', name)}"


def teacher_promise(experiment: Experiment, name: str) -> str:
    """Where `fgd check-teacher` reads the AP that a teacher should reach."""
    match experiment.teacher(name).source:
        case OwnFiles(ap=ap):
            return f"--ap {ap}"
        case FromZoo() | TrainedHere():
            return index(experiment, "teachers", name)


def teacher_checkpoint(experiment: Experiment, row: str) -> str:
    """The weights of a row's teacher."""
    return experiment.layout.teacher(experiment.row(row).teacher).checkpoint


def teacher_checked(experiment: Experiment, row: str) -> str:
    """That a row's teacher is the published one."""
    return experiment.layout.teacher(experiment.row(row).teacher).checked


def seed(experiment: Experiment, row: str, run: str) -> int:
    """The seed of a run."""
    return experiment.run(row, run).seed


def digest(experiment: Experiment, row: str, run: str) -> str:
    """A hash of a run's configs."""
    return experiment.digests[experiment.layout.run_folder(experiment.run(row, run))]


def teacher_digest(experiment: Experiment, name: str) -> str:
    """A hash of a teacher's configs."""
    return experiment.digests[experiment.layout.teacher_folder(experiment.teacher(name).name)]


def student_name(row: str, run: str) -> str:
    """What a student's checkpoint is called: <row>_fgd, with a further seed <row>_fgd_seed1."""
    return "_".join([row, *Path(run).parts])


def model_files(experiment: Experiment, model: str) -> dict[str, str]:
    """Config and checkpoint of what a path names: teachers/<name>, or a run's folder."""
    folder, _, name = model.partition("/")
    files: TeacherFiles | RunFiles
    if folder == "teachers":
        files = experiment.layout.teacher(name)
    else:
        files = experiment.layout.run(experiment.run(folder, name))
    return {"config": files.detector, "checkpoint": files.checkpoint}


# --- What is shown ---


def gpu_memory(experiment: Experiment) -> str | None:
    """What the rows of the table need of a GPU at full size, as far as it was counted; in words.

    For people who plan: whether a card is large enough shows before days of waiting for it.
    """
    suite, known = experiment.suite, memory.known()
    if not suite.full_size:
        return None
    images = suite.samples_per_gpu
    needs = [f"{row} {known[row].of(images):.0f}" for row in suite.rows if row in known]
    if not needs:
        return None
    said = f"GPU memory for {images} images a process, float32, about, GB: {', '.join(needs)}"
    if left := [row for row in suite.rows if row not in known]:
        said += f"; not counted: {', '.join(left)}"
    return textwrap.fill(said, 80, break_on_hyphens=False)


def rows_of(experiment: Experiment, table: str = "table") -> list[str]:
    """The rows of a table: all of them, or the demo's."""
    return list(DEMO_ROWS if table == "demo" else experiment.plan.rows)


def evaluations(experiment: Experiment, table: str = "table") -> list[str]:
    """The metrics that a table shows."""
    return _evaluations(experiment, rows_of(experiment, table))


def row_evaluations(experiment: Experiment, row: str) -> list[str]:
    """The metrics of a row's teacher, baseline and student."""
    return _evaluations(experiment, [row])


def _evaluations(experiment: Experiment, names: list[str]) -> list[str]:
    layout, rows = experiment.layout, [experiment.row(name) for name in names]
    seeds = experiment.suite.seeds
    files = [
        layout.run(Run(row.trained_by(arm), arm, seed)).evaluation
        for row in rows
        for arm in ARMS
        for seed in seeds
    ]
    files += [layout.teacher(row.teacher).evaluation for row in rows]
    return list(dict.fromkeys(files))  # rows share teachers, and some share a baseline


def teacher_checks(experiment: Experiment, table: str) -> list[str]:
    """That the teachers of a table are the published ones."""
    names = dict.fromkeys(experiment.row(row).teacher for row in rows_of(experiment, table))
    return [experiment.layout.teacher(name).checked for name in names]


def shown(experiment: Experiment) -> str:
    """A hash of what a table, figures or page say beside what was measured.

    That is the suite's settings, its base's among them, and the published metrics of its rows.
    """
    published = {name: row.published for name, row in experiment.plan.rows.items()}
    text = json.dumps([experiment.suite.said(), published], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def picture_files(experiment: Experiment, row: str) -> dict[str, str]:
    """Everything that pictures of a row are drawn from."""
    planned, layout = experiment.row(row), experiment.layout
    teacher = layout.teacher(planned.teacher)
    fgd, baseline = (
        layout.run(Run(planned.trained_by(arm), arm, experiment.suite.seed)) for arm in ARMS
    )
    return {
        "teacher_config": teacher.detector,
        "teacher": teacher.checkpoint,
        "baseline_config": baseline.detector,
        "baseline": baseline.checkpoint,
        "fgd_config": fgd.detector,
        "fgd": fgd.checkpoint,
        "config": fgd.config,
        "trained": fgd.trained,
    }


def picture_images(experiment: Experiment) -> str:
    """The images that pictures show: the suite's, or some of the validation set."""
    folder, chosen = experiment.splits["val"].images, experiment.suite.pictures
    if chosen:
        return " ".join(shlex.quote(os.path.join(folder, name)) for name in chosen)
    return f"--folder {shlex.quote(folder)}"


def pictures(experiment: Experiment, table: str = "table") -> list[str]:
    """The pictures of a table's rows."""
    rows = rows_of(experiment, table)
    return [experiment.layout.picture(row, kind) for row in rows for kind in PICTURES]
