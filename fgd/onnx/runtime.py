"""An ONNX file in onnxruntime, with the results that mmdet's own detector gives."""

import json
from pathlib import Path
from typing import Any

import cv2
import mmcv
import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

from fgd.errors import FGDError


class OnnxDetector:
    """A file that `fgd.onnx.write` wrote.

    Args:
        path: of it.
        threads: of a session; 0 leaves it to onnxruntime.

    Attributes:
        classes: their names.
        facts: all that the file says of itself, by name.

    Raises:
        FGDError: onnxruntime is missing or cannot run the file, or it is another's.
    """

    def __init__(self, path: str | Path, threads: int = 0) -> None:
        runtime = imported("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's own, of several kinds
            reason = str(error).strip().splitlines()[0]
            raise FGDError(f"{path}: onnxruntime cannot run it: {reason}") from error
        stored = self._session.get_modelmeta().custom_metadata_map
        if "fgd" not in stored:
            raise FGDError(f"{path}: is not of `fgd export`, whose files say how images go in")
        self.facts: dict[str, Any] = json.loads(stored["fgd"])
        self.classes: tuple[str, ...] = tuple(self.facts["classes"])

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """The graph's outputs for images (N, H, W, 3), RGB, as they are."""
        return self._session.run(None, {"images": images})

    def detect(self, image: np.ndarray) -> Any:
        """mmdet's result of one image: boxes by class, or boxes and masks.

        Args:
            image: (H, W, 3) uint8, BGR, as OpenCV reads it.
        """
        height, width = image.shape[:2]
        resized, factors = self.resized(image)
        outputs = self.run(self.prepared(resized)[None])
        boxes, scores, labels = (output[0] for output in outputs[:3])
        there = labels >= 0
        boxes = boxes[there] / factors
        found = np.concatenate([boxes, scores[there, None]], axis=1).astype(np.float32)
        labels = labels[there]
        by_class = [found[labels == number] for number in range(len(self.classes))]
        if len(outputs) == 3:
            return by_class
        pasted = _pasted(outputs[3][0][there], boxes, height, width, self.facts["mask_threshold"])
        masks = [list(pasted[labels == number]) for number in range(len(self.classes))]
        return by_class, masks

    def resized(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """An image in the size that the detector wants, and the factors of x1 y1 x2 y2."""
        height, width = image.shape[:2]
        scale = tuple(self.facts["scale"])
        if self.facts.get("to_float32"):  # files of before do not say it
            image = image.astype(np.float32)
        if self.facts["keep_ratio"]:
            resized = mmcv.imrescale(image, scale)
        else:
            resized = mmcv.imresize(image, scale)
        across, down = resized.shape[1] / width, resized.shape[0] / height
        return resized, np.array([across, down] * 2, np.float32)

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """An image as the graph takes it."""
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        if self.facts["pixels"] == "float32":
            mean, std = (np.array(self.facts[key], np.float32) for key in ("mean", "std"))
            return (image.astype(np.float32) - mean) / std
        return image


def imported(name: str) -> Any:
    """A package that only exporting needs.

    Raises:
        FGDError: it is not installed.
    """
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise FGDError(
            f"{name} is not installed; it is part of `make setup`, and of pip install 'fgd[onnx]'"
        ) from error


def _pasted(
    masks: np.ndarray, boxes: np.ndarray, height: int, width: int, threshold: float
) -> np.ndarray:
    """Masks (K, h, w) of boxes (K, 4) in an image: (K, height, width) bool, as mmdet pastes."""
    if not len(masks):
        return np.zeros((0, height, width), bool)
    likely, _ = _do_paste_mask(
        torch.from_numpy(masks[:, None]), torch.from_numpy(boxes), height, width, skip_empty=False
    )
    return (likely >= threshold).numpy()
