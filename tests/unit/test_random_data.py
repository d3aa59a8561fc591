"""Random images, annotations and pipelines: what a detector sees is what mmdet's own code gives.

Images as files of every kind hold them (16 bits, palettes, CMYK, EXIF orientations, ...), with
names that repeat in other folders; boxes beyond the border and of no width, crowds, outlines of all
forms.
"""

import copy
import json
import random
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import build_dataset
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import test_index
import test_pixels as steps

from fgd.data import index
from fgd.data.batches import Collate, on_device
from fgd.data.dataset import build
from fgd.data.pixels import finish_on_device
from fgd.training.sampling import SampleKey, SeededDataset

SIZES = [(64, 48), (33, 91), (40, 40), (31, 60), (128, 32), (5, 64)]
IDS = [0, 3, 2, 10**12, -4, 7, 1 << 62]
COLOUR_MODES = ["RGB", "L", "P", "RGBA", "LA", "1"]
FORMS = [*COLOUR_MODES, "16 bits", "CMYK", "turned JPEG", "turned PNG", "webp", "bmp", "tif"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FGD_CACHE", str(tmp_path / "cache"))


def save(draw, path, size, form):
    """Write an image; its file."""
    pixels = np.random.default_rng(draw.randrange(1 << 30))
    image = Image.fromarray(pixels.integers(0, 256, (*size[::-1], 3), np.uint8))
    turn = Image.Exif()
    turn[0x0112] = draw.randint(1, 8)
    if form in COLOUR_MODES:
        image.convert(form).save(file := path.with_suffix(".png"))
    elif form == "16 bits":
        deep = Image.fromarray(pixels.integers(0, 1 << 16, size[::-1], np.uint16))
        deep.save(file := path.with_suffix(".png"))
    elif form == "CMYK":
        image.convert("CMYK").save(file := path.with_suffix(".jpg"))
    elif form.startswith("turned"):
        file = path.with_suffix(".jpg" if form.endswith("JPEG") else ".png")
        image.save(file, exif=turn)
    else:
        image.save(file := path.with_suffix(f".{form}"))
    return file


def outline(draw, width, height, *, crowd):
    area, third = width * height, width * height // 3
    polygons = [[draw.uniform(-3, width) for _ in range(8)] for _ in range(draw.randint(1, 2))]
    whole_numbers = [[draw.randint(0, height) for _ in range(6)]]
    runs = [{"size": [height, width], "counts": c} for c in ([0, area], [third, area - third])]
    shapes = [polygons, whole_numbers, *runs]
    return draw.choice([*shapes, [], None] if crowd else shapes)


def annotation(draw, width, height):
    value = draw.choice([draw.randint, draw.uniform])
    x, y, across, down = (value(-6, width + 3), value(-6, height + 3),
                          value(0, width), value(0, height))  # fmt: skip
    crowd = draw.random() < 0.2
    found = {
        "bbox": [x, y, across, down],
        "area": draw.choice([across * down, 1, 0.5, 0]),
        "iscrowd": draw.choice([crowd, int(crowd)]),
        "segmentation": outline(draw, width, height, crowd=crowd),
    }
    return found | ({"ignore": draw.randint(0, 1)} if draw.random() < 0.1 else {})


def world(draw, folder):
    """Images of every form, and what is on them."""
    content = {"images": [], "annotations": []}
    categories = draw.sample([0, 1, 17, 90, -2, 1 << 40], 3)
    for number, identity in enumerate(draw.sample(IDS, 6)):
        place = folder / draw.choice(["", f"d{number}", f"a/{number}"])
        place.mkdir(parents=True, exist_ok=True)
        name = "same" if place != folder else f"i{number}"
        file = save(draw, place / name, draw.choice(SIZES), draw.choice(FORMS))
        height, width = cv2.imread(str(file)).shape[:2]
        entry = {"id": identity, "file_name": str(file.relative_to(folder))}
        content["images"].append(entry | {"width": width, "height": height})
        for _ in range(draw.choice([0, 1, 2, 6])):
            owner = {"image_id": identity, "category_id": draw.choice(categories)}
            where = {"id": 5 + len(content["annotations"])} | owner
            content["annotations"].append(where | annotation(draw, width, height))
    draw.shuffle(content["annotations"])
    names = zip(categories, ("dog", "cat", "bird"), strict=True)
    return content | {"categories": [{"id": number, "name": name} for number, name in names]}


def pipeline(draw):
    load = draw.choice([steps.LOAD, steps.AS_RGB, dict(steps.LOAD, to_float32=True)])
    scale = draw.choice([(97, 60), [(97, 60), (70, 75)], (33, 33)])
    resize = dict(type="Resize", img_scale=scale, keep_ratio=draw.random() < 0.5)
    crops = [steps.CROP, dict(type="RandomCrop", crop_size=(0.5, 0.7), crop_type="relative_range")]
    crop = dict(draw.choice(crops), allow_negative_crop=True)
    pads = [
        steps.PAD,
        steps.SQUARE,
        dict(type="Pad", size=(130, 130)),
        dict(type="Pad", size=(9, 9)),
    ]
    normalize = draw.choice([steps.NORMALIZE, dict(type="Normalize", **steps.CAFFE)])
    optional = [(0.4, crop), (0.8, normalize), (0.7, draw.choice(pads))]
    masks = draw.random() < 0.5
    return [
        load,
        steps.MASKS if masks else steps.BOXES,
        resize,
        draw.choice([steps.FLIP, steps.EVERY_WAY]),
        *(step for chance, step in optional if draw.random() < chance),
        steps.BUNDLE,
        steps.WITH_MASKS if masks else steps.COLLECT,
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(12))
def test_a_detector_sees_what_mmdet_gives(tmp_path, seed):
    draw = random.Random(seed)
    file = tmp_path / "data.json"
    file.write_text(json.dumps(world(draw, tmp_path)))
    index.write_of(file)
    for _ in range(3):
        settings = test_index.settings(
            file, pipeline=pipeline(draw), filter_empty_gt=draw.random() < 0.5
        )
        test_index.assert_same_data(copy.deepcopy(settings))
        ours, theirs = build(copy.deepcopy(settings)), build_dataset(copy.deepcopy(settings))
        finish_on_device(ours)
        seen = []
        for dataset in (ours, theirs):
            seeded = SeededDataset(dataset)
            samples = [seeded[SampleKey(i, 7 * i + seed)] for i in range(min(3, len(dataset)))]
            batch = [Collate(len(samples))(samples)] if samples else []
            seen.append(list(on_device(batch, torch.device("cpu"))))
        steps.assert_same(*seen)
