"""Students that find something in every image, without a training."""

from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv import Config
from mmdet.apis import inference_detector
from mmdet.models import build_detector
from torch import nn

from fgd import recipe
from fgd.suite import Suite

# The layers that predict classes and boxes, and how far apart a detector's values are in them.
SPREAD = {
    "cls": ("retina_cls", "conv_cls", "reppoints_cls_out", "rpn_cls", "fc_cls"),
    "box": ("retina_reg", "conv_reg", "rpn_reg", "fc_reg"),
}
STD = {"cls": 2.0, "box": 0.5}


def random_student(suite: Suite, row: str, folder: Path) -> tuple[Path, Path, nn.Module]:
    """A row's plain student with random weights that finds something in every image.

    Returns:
        Its config and its checkpoint, both in `folder`, and the detector.
    """
    recipe.write_row(suite, row, arm="baseline", out=folder)
    config = Config.fromfile(folder / "student.py")
    torch.manual_seed(0)
    detector = build_detector(config.model).eval()
    detector.cfg = config
    for kind, names in SPREAD.items():
        for name, layer in detector.named_modules():
            if name.split(".")[-1] in names:
                outputs = []
                hook = layer.register_forward_hook(lambda *a, seen=outputs: seen.append(a[2]))
                inference_detector(detector, picture(64, 64))
                hook.remove()
                layer.weight.data *= STD[kind] / torch.cat([o.flatten() for o in outputs]).std()
    torch.save({"state_dict": detector.state_dict(), "meta": {}}, folder / "student.pth")
    return folder / "student.py", folder / "student.pth", detector


def picture(height: int, width: int) -> np.ndarray:
    """A smooth image of bytes, BGR."""
    random = np.random.default_rng(height)
    small = random.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(small, (width, height))
