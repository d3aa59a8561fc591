"""A plain student as config and checkpoint of mmdet 3, both or neither."""

from pathlib import Path
from typing import Any

from mmcv import Config

from fgd.classes import Names
from fgd.config_text import config_text
from fgd.configs import read_detector
from fgd.errors import FGDError
from fgd.export import check_name, link, plain_checkpoint, write_hashed
from fgd.folders import atomic_folder
from fgd.heads import heads
from fgd.mmdet3.data import translated_pipeline, translated_test_set
from fgd.mmdet3.model import translated_model
from fgd.plain import load_plain, plain_classes

CONFIG, CHECKPOINT = "student.py", "student.pth"
_SCOPE = "default_scope"  # in every config that is written here, and in none of mmdet 2.28
_METRICS = {"box": "bbox", "mask": "segm"}


def transfer_to_mmdet3(
    config: str | Path, checkpoint: str | Path, *, out: str | Path, name: str
) -> Path:
    """Write a detector of mmdet 2.28 for mmdet 3: its config, whole in one file, and weights.

    Args:
        config: a plain mmdet config.
        checkpoint: weights of its model, or a distillation's, of which the student is taken.
        out: a folder for both, `student.py` and `student.pth`.
        name: the checkpoint is `<name>-<first 8 hex digits of its sha256>.pth`; `student.pth` is a
            link to it.

    Returns:
        The path of the checkpoint.

    Raises:
        FGDError: a class or a key is not known in mmdet 3, or the checkpoint does not fit.
    """
    check_name(name)
    cfg = read_detector(config)
    classes = plain_classes(cfg, config)
    try:
        text = config_text(Config(translated(cfg, classes)))
    except FGDError as error:
        raise FGDError(f"{config}: {error}") from error
    plain = plain_checkpoint(checkpoint)
    load_plain(cfg, plain, checkpoint, classes)
    others = (CHECKPOINT, f"*-{'[0-9a-f]' * 8}.pth")
    with atomic_folder(out, marker=CONFIG, says=_SCOPE, others=others) as folder:
        (folder / CONFIG).write_text(text, encoding="utf-8")
        written = write_hashed(_with_classes(plain, classes), folder, name)
        link(folder / CHECKPOINT, written.name)
    return Path(out) / written.name


def translated(cfg: Config, classes: Names) -> dict[str, Any]:
    """A plain mmdet 2.28 config for testing and inference in mmdet 3.

    Args:
        classes: names in the order of the labels.

    Raises:
        FGDError: a class or a key is not known to mean the same there.
    """
    content = cfg._cfg_dict.to_dict()
    if "custom_imports" in content:
        raise FGDError("custom_imports: what they bring was written for mmdet 2; leave them out")
    test = content["data"]["test"]
    pipeline, preprocessor = translated_pipeline(test.get("pipeline") or [], "data.test.pipeline")
    model = translated_model(content["model"])
    metrics = [_METRICS[kind] for kind in heads(model)]
    return {
        _SCOPE: "mmdet",
        "model": {"type": model.pop("type"), "data_preprocessor": preprocessor, **model},
        **translated_test_set(test, pipeline, classes, metrics),
    }


def _with_classes(plain: dict[str, Any], classes: Names) -> dict[str, Any]:
    """A plain checkpoint with its metadata where mmdet 3 has it."""
    meta = {key: value for key, value in plain["meta"].items() if key not in ("CLASSES", "PALETTE")}
    dataset: dict[str, Any] = {"classes": classes}
    if "PALETTE" in plain["meta"]:
        dataset["palette"] = plain["meta"]["PALETTE"]
    return plain | {"meta": meta | {"dataset_meta": dataset}}
