"""What stands in for data and downloads: two small images, and checkpoints of random weights."""

import dataclasses
import logging
import re
from pathlib import Path

import numpy as np
import torch
from mmcv import Config
from mmcv.utils import get_logger
from mmdet.datasets import CocoDataset
from mmdet.models import build_detector
from PIL import Image
from torch import nn

from fgd import recipe, zoo
from fgd.checkout import root
from fgd.config_text import config_text
from fgd.download import fetch
from fgd.export import write_hashed
from fgd.files import write_json, write_text
from fgd.pretrained import parts
from fgd.recipe.building import build
from fgd.suite import Suite
from fgd.zoo.publish import publish

IMAGES = 2
# Sides of the objects, as fractions of the image's: some for every FPN level.
_SIDES = (0.08, 0.15, 0.3, 0.6, 0.9)
# Of DetectoRS's convolutions: deviation and mean of the weights that they were given.
_MOMENTS = re.compile(r"weight_(gamma|beta)$")
_NOISE = 0.01  # keeps the teacher's tensors apart from any other initialisation's


def rehearsal_suite(suite: Suite, row: recipe.Row, folder: Path, size: int) -> Suite:
    """A suite of one row on two images of `size` x `size` pixels, its results in `folder`.

    Detectors, recipes and pipelines stay the suite's own, but for the size of the images.
    """
    own = Config.fromfile(str(root() / suite.dataset))
    classes = own.data.train.get("classes")
    write_images(folder / "data", classes or CocoDataset.CLASSES, size)
    files = dict(ann_file=str(folder / "data/instances.json"), img_prefix=str(folder / "data"))
    split = dict(type=own.data.train.type, **files, **(dict(classes=classes) if classes else {}))
    dataset = Config(
        dict(
            data_root="",
            pipeline=dict(own.get("pipeline", {}), img_scale=(size, size)),
            data=dict(train=split, val=split, test=split),
        )
    )
    write_text(folder / "dataset.py", config_text(dataset))
    return dataclasses.replace(
        suite,
        rows=(row.name,),
        train_teachers=(row.teacher,) if row.teacher in suite.train_teachers else (),
        results=str(folder / "results"),
        dataset=str(folder / "dataset.py"),
        data_root=None,
        gpus=1,
        samples_per_gpu=IMAGES,
        workers_per_gpu=0,
        checkpoint_interval=1,
        log_interval=1,
    )


def write_images(folder: Path, classes: tuple[str, ...], size: int) -> None:
    """Two noisy images with squares of many sizes and classes, in COCO format, with masks."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images: list[dict] = []
    annotations: list[dict] = []
    for image in range(IMAGES):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        for fraction in _SIDES:
            side = round(fraction * size)
            x, y = (int(v) for v in rng.integers(0, size - side, 2))
            pixels[y : y + side, x : x + side] //= 2
            corners = [x, y, x + side, y, x + side, y + side, x, y + side]
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image,
                    category_id=int(rng.integers(len(classes))) + 1,
                    bbox=[x, y, side, side],
                    area=side * side,
                    segmentation=[corners],
                    iscrowd=0,
                )
            )
        Image.fromarray(pixels).save(folder / f"{image}.png")
        images.append(dict(id=image, file_name=f"{image}.png", width=size, height=size))
    categories = [dict(id=number, name=name) for number, name in enumerate(classes, start=1)]
    write_json(
        folder / "instances.json",
        dict(images=images, annotations=annotations, categories=categories),
    )


def make_backbone(suite: Suite, model: dict, key: str) -> None:
    """What `fgd download` would bring: a classifier of the backbone's kind, hashed, random."""
    torch.manual_seed(1)
    tensors = build("the student", model).state_dict()
    state = nn.Linear(8, 8).state_dict(prefix="fc.")
    for part in parts(model)[::-1]:  # last the backbone, whose own names count
        inside = {name: part.inside(name) for name in tensors}
        named = {own: tensors[name] for name, own in inside.items() if own}
        # A classifier has none: they follow from its weights when these are loaded.
        state |= part.as_saved({own: named[own] for own in named if not _MOMENTS.search(own)})
    made = Path(suite.results) / "made"
    file = write_hashed(state, made, key)
    fetch(file.as_uri(), suite.layout.backbone(key), zoo.hash_of(file.name))


def make_teacher(suite: Suite, name: str) -> None:
    """A teacher of random weights, published as a model zoo does and downloaded from there."""
    torch.manual_seed(2)
    detector = recipe.compose_teacher(suite, name).detector
    for part in parts(detector.model):
        part.start_from_scratch()
    teacher = build_detector(detector.model)
    get_logger("mmcv").setLevel(logging.ERROR)  # it announces every tensor
    teacher.init_weights()  # Sparse R-CNN's first boxes are whole images only then
    state = teacher.state_dict()
    plain = {name: tensor for name, tensor in state.items() if not _MOMENTS.search(name)}
    teacher.load_state_dict(plain, strict=False)
    state = teacher.state_dict()
    for tensor in state.values():
        if tensor.is_floating_point():
            tensor += _NOISE * torch.randn_like(tensor)
    made = Path(suite.results) / "made"
    trained = write_hashed({"state_dict": state, "meta": {}}, made, f"{name}-trained")
    publish(trained, name=name, index=made)
    model = zoo.find(name, made)
    fetch(model.address, suite.layout.teacher(name).checkpoint, model.hash8)
