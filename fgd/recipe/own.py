"""Detectors of one's own: an mmdet config by its path, and for a teacher its checkpoint."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmcv import Config

from fgd.configs import is_of_mmdet_3, read_any, read_config
from fgd.errors import FGDError
from fgd.mmdet3.incoming import translated_teacher
from fgd.pretrained import Part, parts
from fgd.suite import rate

# What is taken from a detector's config; the one that mmdet writes beside a checkpoint has it all.
_NEEDED = ("model", "data", "optimizer", "optimizer_config", "lr_config", "runner")
_NEEDED_OF_3 = ("model", "test_dataloader")  # of a teacher alone


@dataclass(frozen=True)
class OwnDetector:
    """A detector that a row names by its files, not by a name of the model zoo.

    Attributes:
        name: the config's file name without its ending; results are filed under it.
        config: its complete mmdet config.
        checkpoint: a teacher's weights; None for a student, and a teacher that is to be trained.
        sha256: hex digits that the SHA-256 of the checkpoint begins with; "" if nobody said.
        ap: box AP in points on the suite's validation set that the teacher has to reach.
    """

    name: str
    config: Path
    checkpoint: Path | None = None
    sha256: str = ""
    ap: float = 0.0


def find_in_row(content: dict[str, Any], row: Path) -> dict[str, OwnDetector]:
    """The student and the teacher of a row as far as they are files, by name.

    Args:
        content: of the row's file, as its schema allows it.
        row: the row's file; paths in it are relative to its folder.

    Raises:
        FGDError: a file is missing, the AP is no number of points, or student and teacher have the
            same name and are two detectors.
    """
    found = []
    student, teacher = content["student"], content["teacher"]
    if student.endswith(".py"):
        config = _existing(row, "student", student)
        found.append(OwnDetector(config.stem, config))
    if isinstance(teacher, dict):
        config = _existing(row, "teacher.config", teacher["config"])
        checkpoint = _existing(row, "teacher.checkpoint", teacher["checkpoint"])
        check_points(teacher.get("ap", 0), f"{row}: teacher.ap")
        settings = {key: teacher[key] for key in ("sha256", "ap") if key in teacher}
        found.append(OwnDetector(config.stem, config, checkpoint, **settings))
    elif teacher.endswith(".py"):
        config = _existing(row, "teacher", teacher)
        found.append(OwnDetector(config.stem, config))
    merged = merge([{detector.name: detector} for detector in found], str(row))
    named = (each for each in (student, teacher) if isinstance(each, str))
    check_apart((name for name in named if not name.endswith(".py")), merged, str(row))
    return merged


def check_points(ap: float, origin: str) -> None:
    """Refuse an AP that is no number of points.

    As a fraction, 0.412 for 41.2, any teacher would reach it.

    Args:
        ap: 0 stands for none.
        origin: what the error names first, for example a file and its key.
    """
    if ap != 0 and not 1 < ap <= 100:
        raise FGDError(
            f"{origin} is {ap:g}: expected AP in points, for example 41.2, or 0 for none"
        )


def merge(groups: list[dict[str, OwnDetector]], origin: str) -> dict[str, OwnDetector]:
    """All of them by name; what one says of a teacher's weights holds where another says nothing.

    Raises:
        FGDError: two detectors have one name, or one is said to be two things; `origin` is the file
            that names both.
    """
    merged: dict[str, OwnDetector] = {}
    for group in groups:
        for name, detector in group.items():
            merged[name] = _joined(merged.get(name, detector), detector, origin)
    return merged


def _joined(one: OwnDetector, other: OwnDetector, origin: str) -> OwnDetector:
    if (one.config, one.checkpoint) != (other.config, other.checkpoint):
        raise FGDError(
            f"{origin}: two detectors are called {one.name!r}: {one.config} and {other.config}, or "
            "one config with different checkpoints. Results are filed by a config's name: rename "
            "or copy one of them"
        )
    longer, shorter = sorted((one.sha256, other.sha256), key=len, reverse=True)
    for key, fits in (
        ("sha256", longer.startswith(shorter)),
        ("ap", not one.ap or not other.ap or one.ap == other.ap),
    ):
        if not fits:
            raise FGDError(
                f"{origin}: {key} of the teacher {one.name!r} is {getattr(one, key)} in one row, "
                f"{getattr(other, key)} in another: correct one, or leave it out there"
            )
    return replace(one, sha256=longer, ap=one.ap or other.ap)


def check_apart(known: Iterable[str], owned: dict[str, OwnDetector], origin: str) -> None:
    """Refuse a file that is called as a model that is meant, too.

    Args:
        known: names of the model zoo, or of configs/detectors.
        owned: detectors of one's own, by name.
        origin: the file that names both.

    Raises:
        FGDError: a name is of both.
    """
    for name in known:
        if name in owned:
            raise FGDError(
                f"{origin}: two detectors are called {name!r}: the one of the model zoo and "
                f"{owned[name].config}. Results are filed by a config's name: rename the file"
            )


def name_of(detector: str | dict[str, Any]) -> str:
    """What a row's `student` or `teacher` is called: a name of the zoo, or a config's own."""
    config: str = detector["config"] if isinstance(detector, dict) else detector
    return Path(config).stem if config.endswith(".py") else config


def load_config(detector: OwnDetector, *, learns: bool) -> Config:
    """The config of a detector, local weights that it starts from by their absolute paths.

    Args:
        learns: whether it is trained here. A teacher that is not can be one of mmdet 3; of that it
            has the model and `data.test`, in the words of mmdet 2.28.

    Raises:
        FGDError: it cannot be read, or lacks what a row needs of it.
    """
    config = read_config(detector.config) if learns else read_any(detector.config)
    newer = is_of_mmdet_3(config)
    missing = [key for key in (_NEEDED_OF_3 if newer else _NEEDED) if key not in config]
    if missing:
        raise FGDError(
            f"{detector.config}: has no {missing[0]!r}; give a complete mmdet config, such as the "
            "one that mmdet writes into the folder of a training"
        )
    if newer:
        return translated_teacher(config, str(detector.config))
    if (batch := rate.noted(config.text)) is not None:  # one that this project wrote
        config.setdefault("auto_scale_lr", {"base_batch_size": batch})
    for part in parts(config.model):
        _locate(part, detector.config, learns=learns)
    return config


def _locate(part: Part, file: Path, *, learns: bool) -> None:
    """Name the weights that a part of a config starts from by their absolute path, if it is local.

    It is relative to the config's folder, or to the working folder, as mmdet reads it and as what
    `fgd compose` writes has it. A teacher brings all of its weights, and need not have these.
    """
    named: Any = part.checkpoint  # a config can say anything
    if not isinstance(named, str):
        if learns:
            raise FGDError(
                f"{file}: model.{part.path}.init_cfg is of type Pretrained, and its checkpoint is "
                f"{named!r}; expected a file or an address. To train it from scratch, set init_cfg "
                "= None there and from_scratch = True in the row (`fgd new-row --from-scratch`)"
            )
        part.start_from_scratch()
    elif "://" not in named:
        beside, here = (file.parent / named).absolute(), Path(named).absolute()
        found = here if here.is_file() and not beside.is_file() else beside
        if learns and not found.is_file():
            raise FGDError(
                f"{file}: model.{part.path} starts from {named!r}: there is no file {beside}, and "
                f"no {here}; name one that is there, relative to one of these folders"
            )
        part.start_from(str(found))


def _existing(file: Path, key: str, value: str) -> Path:
    """The absolute path of a file that `file` names relative to its own folder."""
    path = (file.parent / value).absolute()
    if not path.is_file():
        raise FGDError(f"{file}: {key} {value!r}: there is no file {path}")
    return path
