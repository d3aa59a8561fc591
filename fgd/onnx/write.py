"""A config and a checkpoint to an ONNX file, checked against mmdet before it is there."""

import json
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import mmcv
import numpy as np
import torch
from mmcv import Config
from mmdet.apis import inference_detector
from torch import nn

from fgd import compat
from fgd.checkpoint import read_checkpoint
from fgd.configs import read_detector
from fgd.errors import FGDError
from fgd.files import atomic_path, sha256
from fgd.onnx.graph import Graph
from fgd.onnx.pipeline import read_input
from fgd.onnx.runtime import OnnxDetector, imported
from fgd.plain import load_plain, plain_classes

compat.apply()

OPSETS = range(16, 21)  # 16 has grid sampling and half-pixel RoIAlign; torch's tracer ends with 20
_PACKAGES = ("fgd", "torch", "onnx", "onnxruntime")
_TRACED = (96, 128)  # height and width of an image whose values mean nothing
_MADE = ((480, 640), (640, 480), (300, 900))  # of images for a detector without data
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
# Images of the test set that are compared, and more of them until there is a detection.
_COMPARED, _MOST = 3, 50
# Detections that have to be found again: rounding moves some across a threshold.
_AGAIN = 0.98
# Overlap of a detection's mask with the one that is found again: a border may be a pixel further.
_SAME_MASK = 0.8


def export(
    config: str | Path,
    checkpoint: str | Path,
    *,
    out: str | Path,
    pixels: str = "uint8",
    opset: int = 17,
) -> dict[str, Any]:
    """Write a plain mmdet detector as an ONNX graph from pixels to detections.

    Batch, height and width stay open. The file is written when onnx has checked it and onnxruntime
    has found in images of several sizes what mmdet finds.

    Args:
        config: a plain mmdet config.
        checkpoint: weights of its model; every tensor must fit.
        pixels: "uint8", bytes that the graph normalises, or "float32", normalised already.
        opset: of ONNX's operators.

    Returns:
        What the file says of itself (its metadata `fgd`).

    Raises:
        FGDError: a package is missing, the detector has a part with no known way into a graph, the
            checkpoint does not fit, or onnxruntime finds something else than mmdet.
    """
    if opset not in OPSETS:
        raise FGDError(f"opset {opset}: known are {OPSETS[0]} to {OPSETS[-1]}")
    library = imported("onnx")
    imported("onnxruntime")
    cfg = read_detector(config)
    classes = plain_classes(cfg, config)
    detector = load_plain(cfg, read_checkpoint(checkpoint), checkpoint, classes)
    try:
        graph = Graph(detector, read_input(cfg.data.test.pipeline), pixels)
        facts = {
            "classes": classes,
            "pixels": pixels,
            **asdict(graph.input),
            "mask_threshold": _mask_threshold(detector),
            "checkpoint": Path(checkpoint).resolve().name,
            "sha256": sha256(checkpoint),
            "made_with": {name: version(name) for name in _PACKAGES},
        }
        with atomic_path(out) as temporary:
            _trace(graph, temporary, opset)
            model = library.load(str(temporary))
            library.helper.set_model_props(model, {"fgd": json.dumps(facts)})
            library.checker.check_model(model, full_check=True)
            library.save(model, str(temporary))
            compared = _compare(OnnxDetector(temporary), detector, cfg)
    except FGDError as error:
        raise FGDError(f"{config}: {error}") from error
    return facts | {"compared": compared}


def _mask_threshold(detector: nn.Module) -> float | None:
    head = getattr(detector, "roi_head", None)
    return head.test_cfg.mask_thr_binary if head is not None and head.with_mask else None


def _trace(graph: Graph, out: Path, opset: int) -> None:
    image = torch.zeros((2, *_TRACED, 3), dtype=getattr(torch, graph.pixels))
    axes = {"images": {0: "images", 1: "height", 2: "width"}}
    axes |= {name: {0: "images"} for name in graph.outputs}
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of every size that Python sees
            torch.onnx.export(
                graph,
                (image,),
                str(out),
                input_names=["images"],
                output_names=graph.outputs,
                dynamic_axes=axes,
                opset_version=opset,
                # torch.export would have to prove what follows from sizes that it does not know.
                dynamo=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        reason = str(error).strip().splitlines()[0]
        raise FGDError(f"torch cannot export it: {reason}") from error


def _files(cfg: Config, folder: Path) -> Iterable[Path]:
    """Images of the test set, one by one, or made ones in `folder` where there is none."""
    test = cfg.data.test
    if places := [place for key in ("data_root", "img_prefix") if (place := test.get(key))]:
        paths = sorted(Path(*places).glob("*.*"))
        images = (path for path in paths if path.suffix.lower() in _SUFFIXES)
        readable = (path for path in images if cv2.imread(str(path)) is not None)
        if (first := next(readable, None)) is not None:
            return chain([first], islice(readable, _MOST - 1))
    random = np.random.default_rng(0)
    made = []
    for height, width in _MADE:
        small = random.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        made.append(folder / f"{height}x{width}.png")
        cv2.imwrite(str(made[-1]), cv2.resize(small, (width, height)))
    return made


def _compare(written: OnnxDetector, detector: nn.Module, cfg: Config) -> dict[str, int]:
    """How many images and detections of mmdet's were found again in the file.

    mmdet reads the images by the test pipeline, as evaluations do. Of an array it would leave out
    what the pipeline says about reading, such as the order of the channels.

    Raises:
        FGDError: not all but a few.
    """
    detector.cfg = cfg
    with tempfile.TemporaryDirectory() as folder:
        count, again, seen = 0, 0, 0
        for file in _files(cfg, Path(folder)):
            if seen >= _COMPARED and count:
                break
            seen += 1
            picture = mmcv.imread(str(file))
            theirs = _detections(inference_detector(detector, str(file)))
            ours = _detections(written.detect(picture))
            count += len(theirs)
            again += sum(_there(one, ours, max(picture.shape)) for one in theirs)
            again -= max(0, len(ours) - len(theirs))
    if again < _AGAIN * count:
        raise FGDError(
            f"onnxruntime finds {max(again, 0)} of {count} detections that mmdet finds in "
            f"{seen} images; nothing was written"
        )
    if not count:
        raise FGDError(
            f"mmdet finds nothing in {seen} images, so that nothing can be compared, and nothing "
            "was written. Lower score_thr in the config's test_cfg, or let its data.test name "
            "images in which the model finds something"
        )
    return {"images": seen, "detections": count, "again": again}


class _Detection(NamedTuple):
    """Box, score and class, (6,), and the mask, (H, W), of a detector that has them."""

    row: np.ndarray
    mask: np.ndarray | None


def _detections(result: Any) -> list[_Detection]:
    """Those of mmdet's result of an image."""
    boxes, masks = result if isinstance(result, tuple) else (result, None)
    return [
        _Detection(np.append(box, number), None if masks is None else masks[number][index])
        for number, of_class in enumerate(boxes)
        for index, box in enumerate(of_class)
    ]


def _there(one: _Detection, others: list[_Detection], side: int) -> bool:
    """Whether a detection is among others.

    Its class, its score to 0.01, its corners to 1/200 of a side, and most of its mask.
    """
    near = [side / 200] * 4 + [0.01, 0]
    return any(
        bool((np.abs(other.row - one.row) <= near).all()) and _overlap(one, other) >= _SAME_MASK
        for other in others
    )


def _overlap(one: _Detection, other: _Detection) -> float:
    """Intersection over union of two masks; 1 where there are none."""
    if one.mask is None or other.mask is None:
        return float(one.mask is other.mask)
    union = np.count_nonzero(one.mask | other.mask)
    return np.count_nonzero(one.mask & other.mask) / union if union else 1.0
