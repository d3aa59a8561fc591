"""Detectors by name: mmdet's model zoo, or a folder of metafiles of the same form.

The metafiles are the ones that the installed mmdet carries; nothing of mmdet is imported, so that
planning is quick.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import yaml

from fgd.checkout import root
from fgd.errors import FGDError, suggestion

# `..._20200130-366f5af1.pth`: the first digits of the file's SHA-256 end its name.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")


COCO = "COCO"
# The tasks whose AP is of boxes and masks; of a panoptic one some metafiles call PQ "box AP".
_TASKS = ("Object Detection", "Instance Segmentation")


@dataclass(frozen=True)
class ZooModel:
    """A trained model that can be downloaded.

    Attributes:
        name: as the metafile has it.
        config: mmdet config of the model; None for a backbone.
        address: of the checkpoint, http(s) or file.
        hash8: hex digits with which the checkpoint's SHA-256 begins.
        box_ap: published box AP on the validation images of `dataset`, in points (36.5), if there
            is one.
        mask_ap: the same for masks.
        dataset: as the metafile calls what it was trained and measured on, "COCO" for most; ""
            where it does not say.
    """

    name: str
    config: Path | None
    address: str
    hash8: str
    box_ap: float | None
    mask_ap: float | None
    dataset: str = ""


def find(name: str, index: Path | None = None) -> ZooModel:
    """Look up a model by its name.

    Args:
        name: for example `retinanet_r50_fpn_2x_coco`.
        index: a folder of metafiles (`*.yml`); without it the ones inside the installed mmdet.

    Raises:
        FGDError: there is no such model, or its entry has no address with a hash.
    """
    models = _zoo() if index is None else _read(sorted(Path(index).glob("*.yml")), Path())
    if name not in models:
        origin = "mmdet's model zoo" if index is None else str(index)
        raise FGDError(f"{origin} has no model {name!r}{suggestion(name, models)}")
    return _model(*models[name])


def search(text: str) -> list[str]:
    """The names of mmdet's model zoo that contain every word of `text`, sorted."""
    words = text.lower().split()
    return sorted(name for name in _zoo() if all(word in name.lower() for word in words))


def models(text: str) -> list[ZooModel]:
    """The models that `search` finds and that can be downloaded.

    The best box AP first; those of other data than COCO, whose AP is another figure, come after.
    """
    found = []
    for name in search(text):
        try:
            found.append(find(name))
        except FGDError:
            continue  # an entry without a checkpoint, or without its hash
    return sorted(found, key=lambda m: (m.dataset != COCO, m.dataset, -(m.box_ap or 0), m.name))


def zoo_config(name: str) -> str:
    """Path of a zoo model's mmdet config; `_base_ = zoo_config(name)` inherits from it.

    Raises:
        FGDError: there is no such model.
    """
    return str(find(name).config)


def detector_config(name: str) -> Path:
    """Path of the mmdet config of a detector: of configs/detectors, or of mmdet's model zoo.

    Raises:
        FGDError: there is none of that name.
    """
    shipped = root() / "configs" / "detectors" / f"{name}.py"
    return shipped if shipped.exists() else Path(zoo_config(name))


def backbone_address(init_checkpoint: str) -> tuple[str, str]:
    """Address and hash of the weights that a config names as a backbone's `init_cfg.checkpoint`.

    `torchvision://resnet50` and `open-mmlab://detectron2/resnet50_caffe` are read from the tables
    that mmcv resolves these names by. An http(s) address stands for itself; its hash is "" if its
    file's name does not tell it and it is https.

    Raises:
        FGDError: another scheme, or a name that the scheme's table lacks.
    """
    tables = {"torchvision": "torchvision_0.12.json", "open-mmlab": "open_mmlab.json"}
    scheme, separator, key = init_checkpoint.partition("://")
    if scheme == "https" and not _HASH_IN_NAME.search(init_checkpoint):
        return init_checkpoint, ""
    if scheme in ("http", "https"):
        return init_checkpoint, hash_of(init_checkpoint)
    if not separator or scheme not in tables:
        raise FGDError(
            f"backbone checkpoint {init_checkpoint!r}: expected torchvision://<name>, "
            "open-mmlab://<name>, an http(s) address or the path of a .pth file"
        )
    table = json.loads((_package("mmcv") / "model_zoo" / tables[scheme]).read_text())
    if key not in table:
        raise FGDError(f"mmcv knows no backbone {init_checkpoint!r}{suggestion(key, table)}")
    return table[key], hash_of(table[key])


def hash_of(address: str) -> str:
    """The hex digits that end a checkpoint's file name.

    Raises:
        FGDError: the name does not end in a hash, so that the file could not be verified.
    """
    match = _HASH_IN_NAME.search(address)
    if match is None:
        raise FGDError(
            f"{address}: the file name does not end in -<8 hex digits of its sha256>.pth, so the "
            "download could not be verified"
        )
    return match[1]


def metafiles() -> list[Path]:
    """The metafiles inside the installed mmdet."""
    return sorted(_zoo_folder().glob("configs/*/metafile.yml"))


@cache
def _zoo() -> dict[str, tuple[dict, Path]]:
    return _read(metafiles(), _zoo_folder())


def _zoo_folder() -> Path:
    return _package("mmdet") / ".mim"


def _read(metafiles: list[Path], root: Path) -> dict[str, tuple[dict, Path]]:
    """Every model's entry by name, with the folder that its `Config:` is relative to."""
    models: dict[str, tuple[dict, Path]] = {}
    for metafile in metafiles:
        content = yaml.load(metafile.read_text(encoding="utf-8"), yaml.CSafeLoader)
        # Some metafiles are a bare list of models, most have it beside the list of collections.
        entries = content["Models"] if isinstance(content, dict) else content
        models.update((entry["Name"], (entry, root)) for entry in entries)
    return models


def _model(entry: dict, root: Path) -> ZooModel:
    results = [result for result in entry.get("Results", ()) if result["Task"] in _TASKS]
    metrics: dict[str, float | str] = {}
    for result in results:
        metrics |= result["Metrics"]
    if "Weights" not in entry:
        raise FGDError(f"model {entry['Name']!r} has no checkpoint (`Weights`) in its metafile")
    return ZooModel(
        name=entry["Name"],
        config=_config(root, entry["Config"]) if "Config" in entry else None,
        address=entry["Weights"],
        hash8=hash_of(entry["Weights"]),
        box_ap=_points(metrics.get("box AP")),
        mask_ap=_points(metrics.get("mask AP")),
        dataset=next((result.get("Dataset", "") for result in entry.get("Results", ())), ""),
    )


def _config(root: Path, said: str) -> Path:
    """A config's path; a few metafiles name a folder that is called otherwise."""
    path = root / said
    if path.exists():
        return path
    found = list(root.glob(f"configs/*/{path.name}"))
    return found[0] if len(found) == 1 else path


def _points(value: float | str | None) -> float | None:
    # A few entries add a second figure in brackets, "39.3 (37.9)": the first is this model's.
    return None if value is None else float(str(value).split()[0])


def _package(name: str) -> Path:
    spec = find_spec(name)
    if spec is None or spec.submodule_search_locations is None:
        raise FGDError(f"the package {name} is not installed; `make setup` installs it")
    return Path(spec.submodule_search_locations[0])
