"""Detectors as mmdet 3 itself writes them, which this runs in: config and checkpoint."""

import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmdet.apis import inference_detector, init_detector
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.runner import save_checkpoint
from torch import nn

CONFIGS = next(Path(sys.prefix).glob("lib/python3*/site-packages/mmdet/.mim/configs"))
_IMAGE = (150, 200)  # height and width that images are resized to, no multiples of what pads them
# Of a stock model that finds as much in a test's time.
_CHANNELS, _FC_CHANNELS, _BASE_CHANNELS = 32, 64, 8


def write(
    config: str,
    checkpoint: str,
    *,
    out: str,
    data: Mapping[str, Any] | None = None,
    spread: Mapping[str, Sequence[str]] | None = None,
    std: Mapping[str, float] | None = None,
) -> None:
    """Write `config.py` and `epoch_1.pth` to the folder `out`, as mmdet 3 dumps and saves them.

    Args:
        config: a file, or the name of one of mmdet 3's own, which is made narrow.
        checkpoint: its weights; "" for random ones, with which it finds something.
        data: of one of mmdet 3's own: `root`, `annotations`, `images`, `classes`.
        spread, std: as `random_student` has them.
    """
    cfg = Config.fromfile(config if data is None else CONFIGS / config)
    if data is not None:
        cfg.model = _narrow(cfg.model.to_dict(), len(data["classes"]))
        _read(cfg, data)
    if "rpn" not in cfg.model.test_cfg:
        cfg.model.test_cfg.setdefault("min_bbox_size", 0)  # as its own configs have it
    folder = Path(out)
    folder.mkdir()
    cfg.dump(folder / "config.py")
    torch.manual_seed(0)
    with warnings.catch_warnings(record=True):  # that there is no checkpoint
        detector = init_detector(str(folder / "config.py"), checkpoint or None, device="cpu")
    if spread and std:
        _scale(detector, spread, std)
    hub = MessageHub.get_current_instance()
    hub.update_scalar("train/loss", 0.5)
    dataset = {"classes": tuple(cfg.test_dataloader.dataset.metainfo.classes), "palette": None}
    meta = {"epoch": 1, "iter": 9, "cfg": cfg.pretty_text, "dataset_meta": dataset}
    content = {"meta": meta, "state_dict": detector.state_dict(), "message_hub": hub.state_dict()}
    save_checkpoint(content, str(folder / "epoch_1.pth"))


def _narrow(value: Any, classes: int) -> Any:
    """A stock model's settings with fewer layers and channels, for other classes."""
    if not isinstance(value, dict):
        return value
    others = {
        "depth": 18,
        "num_classes": classes,
        "stacked_convs": 1,
        "fc_out_channels": _FC_CHANNELS,
        "init_cfg": None,
    }
    found = {key: others.get(key, _narrow(each, classes)) for key, each in value.items()}
    for key, each in found.items():
        if each == [256, 512, 1024, 2048]:
            found[key] = [_BASE_CHANNELS * factor for factor in (1, 2, 4, 8)]
        elif key.endswith("channels") and each == 256:
            found[key] = _CHANNELS
    return found | ({"base_channels": _BASE_CHANNELS} if found.get("type") == "ResNet" else {})


def _read(cfg: Config, data: Mapping[str, Any]) -> None:
    """Have a stock config read other data, in small images."""
    for split in ("train", "val", "test"):
        loader = cfg[f"{split}_dataloader"]
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(
            data_root=data["root"],
            ann_file=data["annotations"],
            data_prefix={"img": data["images"]},
            metainfo={"classes": tuple(data["classes"])},
        )
        for step in loader.dataset.pipeline:
            if step["type"] == "Resize":
                step["scale"] = _IMAGE[::-1]
        if split != "train":
            evaluator = cfg[f"{split}_evaluator"]
            evaluator.ann_file = str(Path(data["root"], data["annotations"]))


def _scale(
    detector: nn.Module, spread: Mapping[str, Sequence[str]], std: Mapping[str, float]
) -> None:
    """Scale the layers that predict, so that some of what they say is certain."""
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for kind, names in spread.items():
        for name, layer in detector.named_modules():
            if name.split(".")[-1] in names:
                outputs: list[torch.Tensor] = []
                hook = layer.register_forward_hook(lambda *a, seen=outputs: seen.append(a[2]))
                inference_detector(detector, image)
                hook.remove()
                layer.weight.data *= std[kind] / torch.cat([o.flatten() for o in outputs]).std()
