"""An image that an annotation file lists several times, as tables with a line an object become."""

import copy
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds

from fgd.data.clean import clean
from fgd.data.coco import check
from fgd.data.mend import Report
from fgd.data.repeated import COPIES, JOINED, check_repeated, join_repeated
from fgd.errors import FGDError
from fgd.evaluation.scores import coco_metrics

CLASSES = ("cat", "dog")


def scattered(content, draw):
    """The same images and objects, each image in some entries with a part of its objects each."""
    images, annotations = [], copy.deepcopy(content["annotations"])
    for image in content["images"]:
        entries = []
        for number in range(draw.randint(1, 3)):
            name = draw.choice(["", "./"] if number else [""]) + image["file_name"]
            entries.append(image | {"id": 100 + len(images), "file_name": name})
            images.append(entries[-1])
        for annotation, before in zip(annotations, content["annotations"], strict=True):
            if before["image_id"] == image["id"]:
                annotation["image_id"] = draw.choice(entries)["id"]
    draw.shuffle(images)
    return content | {"images": images, "annotations": annotations}


def objects_of(content):
    files = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
    return sorted(
        (files[a["image_id"]], a["category_id"], *a["bbox"]) for a in content["annotations"]
    )


def refusal(call, *arguments, **options):
    with pytest.raises(FGDError) as error:
        call(*arguments, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("seed", range(8))
def test_scattered_objects_come_together(tmp_path, seed):
    draw = random.Random(seed)
    boxes = [(n % 3, n % 2, [1 + 9 * (n // 3), 1 + 2 * n, 8, 20]) for n in range(9)]
    whole = coco_worlds.world(boxes, images=3, classes=CLASSES)
    file, pictures = coco_worlds.write(tmp_path, scattered(whole, draw))
    assert "are one file" in refusal(check, file, pictures)
    out = tmp_path / "clean.json"
    report = clean(file, pictures, out=out)
    content = json.loads(out.read_text())
    assert objects_of(content) == objects_of(whole)
    assert len(content["images"]) == 3
    assert report.counts[JOINED] == sum(report.counts.values()) > 0
    check(out, pictures, strict=True)


def test_what_a_perfect_detector_is_worth(tmp_path):
    """Why it is refused."""
    content = coco_worlds.world()
    for image in content["images"]:
        image["file_name"] = "1.png"
    file, pictures = coco_worlds.write(tmp_path, content)

    def ap(file):
        data = coco_worlds.data_set(file, CLASSES)
        by_entry = coco_worlds.perfect(data)
        found = [np.concatenate(several) for several in zip(*by_entry, strict=True)]
        return coco_metrics(data, [found] * len(by_entry), pycocotools=True)["box"]["AP"]

    assert ap(file) < 0.9
    clean(file, pictures, out=tmp_path / "clean.json")
    assert ap(tmp_path / "clean.json") == pytest.approx(1)


def test_copies_of_an_entry_with_all_objects_stay_and_are_counted(tmp_path):
    content = coco_worlds.world()
    content["images"].append(content["images"][0] | {"id": 3})
    more = [a | {"id": a["id"] + 10, "image_id": 3} for a in content["annotations"][:2]]
    content["annotations"] += more[::-1]
    file, pictures = coco_worlds.write(tmp_path, content)
    assert check(file, pictures)["found"] == {COPIES: 1}
    assert clean(file, pictures, out=tmp_path / "clean.json").counts == {}
    content["annotations"].pop()
    file.write_text(json.dumps(content))
    message = refusal(check_repeated, file, content)
    assert "images 1 and 3 are one file, 1.png, with other objects each (1 such files)" in message
    report = clean(file, pictures, out=tmp_path / "clean.json")
    assert report.counts == {JOINED: 1, "annotation that stands in two entries": 1}
    assert report.left_out == [12]


def test_an_image_that_two_people_labelled_is_refused(tmp_path):
    content = coco_worlds.world()
    content["images"].append(content["images"][0] | {"id": 3})
    one = content["annotations"][0]
    content["annotations"].append(one | {"id": 10, "image_id": 3, "bbox": [9, 10, 20, 15]})
    file, pictures = coco_worlds.write(tmp_path, content)
    message = refusal(clean, file, pictures, out=tmp_path / "clean.json")
    assert "the annotations 1 and 10 of two of its entries may be of one object" in message


def a_line_an_object(objects, *, close):
    """What a table becomes: an entry for each object."""
    boxes = [[20 * n, 5, 10, 10] for n in range(objects)]
    if close:  # the last two overlap by 0.8
        boxes[-1] = [boxes[-2][0] + 1, 5, 10, 10]
    return {
        "images": [{"id": n, "file_name": "1.png"} for n in range(objects)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": box, "iscrowd": 0}
            for n, box in enumerate(boxes)
        ],
    }


def test_few_of_a_crowd_in_a_table_may_nearly_coincide():
    content = a_line_an_object(40, close=True)
    join_repeated(Path("file"), content, Report())
    assert (len(content["images"]), len(content["annotations"])) == (1, 40)
    join_repeated(Path("file"), a_line_an_object(5, close=False), Report())
    with pytest.raises(FGDError, match=r"labelled twice \(1 such pairs\)"):
        join_repeated(Path("file"), a_line_an_object(5, close=True), Report())


def test_one_box_in_whole_numbers_and_in_others_is_the_same():
    content = a_line_an_object(2, close=False)
    one, other = content["annotations"]
    other["bbox"] = [float(value) for value in one["bbox"]]
    assert check_repeated(Path("file"), content) == 1
