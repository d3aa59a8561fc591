"""What lies in a suite's results and is of something else: of other settings, or of other files.

Snakemake knows by its records of what it ran. There are none in another clone that shares the
results, for a folder that was copied, or once `.snakemake` was removed; and a file that was moved
over another one keeps its time. So the files themselves are looked at.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fgd.digest import digest_of_files
from fgd.experiment.experiment import Experiment
from fgd.files import sha256
from fgd.method import method_id
from fgd.suite.layout import Layout, RunFiles, TeacherFiles
from fgd.suite.plan import OwnFiles


def to_make_anew(experiment: Experiment) -> list[str]:
    """The files that the suite's workflow has to make anew, whatever their times are."""
    layout = experiment.layout
    found = [
        files.config
        for folder, files in _folders(experiment, layout)
        if _of_other_settings(experiment, folder, files)
    ]
    runs = [layout.run(run) for run in experiment.runs if run.arm == "fgd"]
    found += [files.trained for files in runs if _of_another_method(files)]
    found += [
        layout.data(split) for split in experiment.splits if _of_other_data(experiment, split)
    ]
    return found + [copy for own, copy in _copies(experiment) if _replaced(own, copy)]


def why_left_out(experiment: Experiment, layout: Layout) -> dict[str, str]:
    """Why metrics are not the suite's, by the path of the eval.json that they stand in.

    Args:
        layout: where to look; the suite's own, or that of a copy of its results.
    """
    checked = _read(layout.data("val")).get("sha256")
    found = {
        files.evaluation: _why_left_out(experiment, folder, files, checked)
        for folder, files in _folders(experiment, layout)
        if Path(files.evaluation).exists()
    }
    return {file: reason for file, reason in found.items() if reason}


def _why_left_out(
    experiment: Experiment, folder: str, files: RunFiles | TeacherFiles, checked: str | None
) -> str:
    """Why what was measured of a checkpoint is not the suite's; "" where it is.

    Args:
        checked: hash of the validation images' annotations that were checked last.
    """
    if _of_other_settings(experiment, folder, files):
        return "its config.py was composed with other settings than the suite's"
    if isinstance(files, RunFiles) and _trains_anew(files):
        return "its config.py has changed since, and it is not trained with it yet"
    if _is_newer(files.checkpoint, files.evaluation) and _of_another_checkpoint(files):
        return "its checkpoint has changed since"
    if checked and _read(files.evaluation).get("annotations", checked) != checked:
        return "the validation images' annotations have changed since"
    return ""


def _folders(
    experiment: Experiment, layout: Layout
) -> Iterator[tuple[str, RunFiles | TeacherFiles]]:
    for name in experiment.plan.teachers:
        yield layout.teacher_folder(name), layout.teacher(name)
    for run in experiment.runs:
        yield layout.run_folder(run), layout.run(run)


def _of_other_settings(experiment: Experiment, folder: str, files: RunFiles | TeacherFiles) -> bool:
    found = digest_of_files([files.config, files.detector])
    return found is not None and found != experiment.digests[folder]


def _of_another_method(files: RunFiles) -> bool:
    made = _made(files)
    return Path(files.trained).exists() and made.get("method", method_id()) != method_id()


def _trains_anew(files: RunFiles) -> bool:
    """Whether a training was begun whose result is not there yet."""
    made = _made(files).get("config_sha256")
    if made is None or Path(files.trained).exists() or not Path(files.config).exists():
        return False
    return made != sha256(files.config)


def _of_another_checkpoint(files: RunFiles | TeacherFiles) -> bool:
    return _read(files.evaluation).get("sha256") != sha256(files.checkpoint)


def _of_other_data(experiment: Experiment, split: str) -> bool:
    """Whether annotations are not those that were checked, and trained with."""
    report, annotations = experiment.layout.data(split), experiment.splits[split].annotations
    if not _is_newer(annotations, report):
        return False
    checked = _read(report).get("sha256")
    return checked is not None and checked != sha256(annotations)


def _copies(experiment: Experiment) -> Iterator[tuple[Path, str]]:
    """The user's own weights, and where the workflow copies them to."""
    for name, teacher in experiment.plan.teachers.items():
        if isinstance(teacher.source, OwnFiles):
            yield teacher.source.checkpoint, experiment.layout.teacher(name).checkpoint
    for key, name in experiment.plan.backbones.items():
        if "://" not in name and not experiment.publishes("backbones", key):
            yield Path(name), experiment.layout.backbone(key)


def _replaced(own: Path, copy: str) -> bool:
    return _is_newer(own, copy) and sha256(own) != sha256(copy)


def _is_newer(one: str | os.PathLike, other: str | os.PathLike) -> bool:
    """Whether `one` may have changed after `other` was made.

    By the time of its inode, which is the present for a file that is moved or copied with its time.
    """
    try:
        status, made = os.stat(one), os.stat(other)
    except OSError:
        return False
    return max(status.st_ctime_ns, status.st_mtime_ns) > made.st_mtime_ns


def _made(files: RunFiles) -> dict[str, Any]:
    made = (_read(files.provenance).get("trained") or {}).get("made")
    return made if isinstance(made, dict) else {}


def _read(file: str) -> dict[str, Any]:
    """A JSON file; empty where it is none: whoever needs it says so."""
    try:
        content = json.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
