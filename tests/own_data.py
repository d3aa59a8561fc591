"""A user who comes with data and detectors of their own: what they bring, made of the mini set."""

import copy
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmcv import Config
from mmdet.models import build_detector

from fgd.recipe.narrow import Size, narrow
from fgd.zoo import zoo_config

FGD = Path(sys.executable).with_name("fgd")
CLASSES = ("round", "straight", "mixed")
_CLASS_OF_DIGIT = (0, 1, 2, 2, 1, 2, 0, 1, 0, 2)
SIZE = 160  # pixels; the mini set's images have 128


def write_data(
    folder: Path, train: int = 12, val: int = 6, classes: tuple[str, ...] = CLASSES
) -> None:
    """The mini set under other names: three classes, other files, another size of images."""
    command = [FGD, "data", "mini", f"--out={folder}", f"--size={SIZE}"]
    subprocess.run([*command, f"--train={train}", f"--val={val}"], check=True)
    for split, name in (("train", "learn"), ("val", "test")):
        (folder / split).rename(folder / f"pictures_{name}")
        annotations = folder / "annotations" / f"instances_{split}.json"
        content = json.loads(annotations.read_text())
        ids = {entry["id"]: int(entry["name"]) for entry in content["categories"]}
        for entry in content["annotations"]:
            entry["category_id"] = 10 * (1 + _CLASS_OF_DIGIT[ids[entry["category_id"]]])
        content["categories"] = [
            {"id": 10 * (1 + number), "name": name} for number, name in enumerate(classes)
        ]
        (folder / f"{name}.json").write_text(json.dumps(content))
        annotations.unlink()


def write_detector(
    path: Path,
    model: str,
    channels: int,
    classes: int = len(CLASSES),
    backbone: str | None = None,
    base_channels: int = 8,
) -> Config:
    """A complete mmdet config of a small detector; its backbone starts from the file `backbone`."""
    config = Config.fromfile(zoo_config(model))
    size = Size(channels=channels, fc_channels=32, classes=classes, length=1, candidates=0.0625)
    config.model = narrow(config.model.to_dict(), size, 18, base_channels)
    config.model["backbone"]["init_cfg"] = backbone and dict(type="Pretrained", checkpoint=backbone)
    config.dump(str(path))
    return config


def write_checkpoint(path: Path, config: Config, part: str = "", **meta) -> None:
    """Random weights that fit the config, or a part of its detector."""
    model = copy.deepcopy(config.model)
    model["backbone"]["init_cfg"] = None
    state = build_detector(model).get_submodule(part).state_dict()
    torch.save({"state_dict": state, "meta": meta}, path)


def write_all(
    folder: Path,
    student: str = "retinanet_r50_fpn_1x_coco",
    classes: tuple[str, ...] = CLASSES,
) -> None:
    """The data, a teacher with its checkpoint, a student with its backbone."""
    write_data(folder / "data", classes=classes)
    teacher = write_detector(folder / "teacher.py", "retinanet_r101_fpn_1x_coco", 24)
    write_checkpoint(folder / "teacher.pth", teacher, CLASSES=classes)
    # The student's heads are COCO's: they follow the data.
    config = write_detector(
        folder / "student.py", student, 16, classes=80, backbone="resnet18x8.pth"
    )
    write_checkpoint(folder / "resnet18x8.pth", config, part="backbone")


def contents(folder: Path) -> dict[str, tuple[dict, Path]]:
    """By split what `write_data` wrote to a folder: COCO content and its images."""
    names = {"train": "learn", "val": "test"}
    return {
        split: (json.loads((folder / f"{name}.json").read_text()), folder / f"pictures_{name}")
        for split, name in names.items()
    }


def new_row(
    folder: Path, *options: str, train: Sequence[Path] = (), val: Sequence[Path] = ()
) -> list[str]:
    """The command for the row `mine` of the suite `own`, for files as the functions above write.

    Args:
        train, val: annotations and images in place of those.
    """
    data = folder / "data"
    files = {
        "train": train or (data / "learn.json", data / "pictures_learn"),
        "val": val or (data / "test.json", data / "pictures_test"),
    }
    splits = [
        f"--{split}{part}={path}"
        for split, paths in files.items()
        for part, path in zip(("", "-images"), paths, strict=True)
    ]
    return [
        str(FGD), "new-row", "--name=mine", "--out=own",
        f"--student={folder / 'student.py'}", f"--teacher={folder / 'teacher.py'}",
        f"--teacher-checkpoint={folder / 'teacher.pth'}", *splits,
        f"--img-scale={SIZE},{SIZE}", "--epochs=1", *options,
    ]  # fmt: skip
