"""Outlines that lie elsewhere than their boxes, as they do where tools disagree on units."""

import random
import sys
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds

from fgd.data.coco import check
from fgd.data.outlines import ELSEWHERE, check_outlines
from fgd.errors import FGDError

WIDTH, HEIGHT = coco_worlds.SIZE
CLASSES = {1, 2}


def outlined(seed, number=20):
    """Random boxes with an outline, as polygons or in either form of run lengths, in each."""
    draw = random.Random(seed)
    boxes = []
    for n in range(number):
        x, y = draw.uniform(0, WIDTH - 8), draw.uniform(0, HEIGHT - 8)
        box = [x, y, draw.uniform(4, WIDTH - x), draw.uniform(4, HEIGHT - y)]
        boxes.append((n % 2, n % 2, [round(value, 1) for value in box]))
    content = coco_worlds.world(boxes)
    for annotation in content["annotations"]:
        annotation["segmentation"] = _outline(draw, *annotation["bbox"])
    return content


def _outline(draw, x, y, width, height):
    rhombus = [x, y + height / 2, x + width / 2, y, x + width, y + height / 2, x + width / 2]
    parts = [[*rhombus, y + height], [x, y, x + width, y, x + width, y + height]]
    form = draw.choice(["polygon", "polygons", "run lengths", "text"])
    if form.startswith("polygon"):
        return parts if form == "polygons" else parts[:1]
    code = mask.frPyObjects(parts[:1], HEIGHT, WIDTH)[0]
    if form == "text":
        return code | {"counts": code["counts"].decode()}
    pixels = mask.decode(code).ravel(order="F")
    changes = np.flatnonzero(np.diff(pixels, prepend=0)).tolist()
    ends = [0, *changes, len(pixels)]
    return {"size": [HEIGHT, WIDTH], "counts": np.diff(ends).tolist()}


def changed(content, change):
    """The polygons alone, each of their points another one."""
    annotations = [a for a in content["annotations"] if isinstance(a["segmentation"], list)]
    for annotation in annotations:
        annotation["segmentation"] = [
            [value for pair in zip(p[::2], p[1::2], strict=True) for value in change(*pair)]
            for p in annotation["segmentation"]
        ]
    return content | {"annotations": annotations}


@pytest.mark.parametrize("seed", range(5))
def test_sound_ones_lie_in_their_boxes(seed):
    content = outlined(seed)
    for annotation in content["annotations"]:  # as a tool writes them that keeps whole pixels
        annotation["bbox"] = [float(int(value)) for value in annotation["bbox"]]
    assert check_outlines(Path("a.json"), content, CLASSES) == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda x, y: (x / WIDTH, y / HEIGHT),
        lambda x, y: (y, x),
        lambda x, y: (2.5 * x, 2.5 * y),
        lambda x, y: (x / 4, y / 4),
    ],
    ids=["fractions", "y before x", "of a larger image", "of a smaller image"],
)
def test_those_in_other_units_do_not(tmp_path, change):
    content = changed(outlined(0, 40), change)
    file, pictures = coco_worlds.write(tmp_path, content)
    with pytest.raises(FGDError, match="outlines lie elsewhere than their boxes") as error:
        check(file, pictures, masks=True)
    assert "\n" not in str(error.value)
    assert check(file, pictures)["annotations"] == len(content["annotations"])  # of boxes alone
    check(file, pictures, masks=True, accept=["wrong segmentation"])


def test_those_drawn_beyond_the_border_lie_in_boxes_that_are_cut_off_there():
    content = coco_worlds.world()
    for annotation in content["annotations"]:
        annotation["bbox"] = [WIDTH - 5, HEIGHT - 4, 5, 4]
        far_x, far_y = WIDTH + 20, HEIGHT + 20
        outline = [WIDTH - 5, HEIGHT - 4, far_x, HEIGHT - 4, far_x, far_y, WIDTH - 5, far_y]
        annotation["segmentation"] = [outline]
    assert check_outlines(Path("a.json"), content, CLASSES) == 0


def test_few_are_counted(tmp_path):
    content = outlined(1)
    content["annotations"][3]["bbox"] = [0, 0, 2, 2]
    content["annotations"][3]["segmentation"] = [[30, 30, 40, 30, 40, 40]]
    file, pictures = coco_worlds.write(tmp_path, content)
    assert check(file, pictures, masks=True)["found"][ELSEWHERE] == 1


def test_what_is_seen_of_an_object_may_be_small_in_its_box():
    content = coco_worlds.world()
    for annotation in content["annotations"]:
        x, y, *_ = annotation["bbox"]
        annotation["segmentation"] = [[x, y, x + 3, y, x + 3, y + 3], [x, y, x, y, x, y]]
    assert check_outlines(Path("a.json"), content, CLASSES) == 0
