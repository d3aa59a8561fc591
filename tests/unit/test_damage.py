"""Damaged data are found and named before training, or counted where they are harmless."""

import json
import re

import pytest
from reliability import damage

from fgd.data.clean import clean
from fgd.data.coco import check
from fgd.errors import FGDError


def report(folder, what=None, **options):
    file, images = damage.write(folder, what)
    masks = dict(masks=True) | options
    return check(file, images, classes=damage.CLASSES, strict=True, open_images=True, **masks)


def test_the_sound_set_has_nothing(tmp_path):
    assert report(tmp_path)["found"] == {}


@pytest.mark.parametrize("what", damage.DAMAGES, ids=lambda what: what.name)
def test_damage(tmp_path, what):
    if what.refusal is None:
        assert report(tmp_path, what)["found"][what.counted] == 1
        return
    with pytest.raises(FGDError) as error:
        report(tmp_path, what)
    assert re.search(what.refusal, str(error.value))
    assert "\n" not in str(error.value)


def test_what_is_accepted_is_counted(tmp_path):
    what = next(what for what in damage.DAMAGES if what.name == "image of another size")
    assert report(tmp_path, what, accept=["of another size"])["found"] == {"of another size": 1}


# What is wrong with the file as a whole, which nothing can be left out of.
WHOLE = (
    "annotation file", "annotation JSON", "not UTF-8", "a list in place", "no list of",
    "images empty", "annotations empty", "images without file_name", "categories without",
    "image id", "category id", "id is a list", "unknown", "file name", "JSON", "a number of",
    "category name",
)  # fmt: skip


# What is wrong only beside the class names of a row.
CLASSES = ("category missing", "categories in another order")


@pytest.mark.parametrize(
    "what", [w for w in damage.DAMAGES if w.name not in CLASSES], ids=lambda what: what.name
)
def test_what_is_left_after_cleaning_is_sound(tmp_path, what):
    file, images = damage.write(tmp_path, what)
    before = file.read_bytes() if file.is_file() else None
    cleaned = tmp_path / "clean.json"
    if what.refusal is not None and what.name.startswith(WHOLE):
        with pytest.raises(FGDError):
            clean(file, images, out=cleaned)
        assert not cleaned.exists()
        return
    report = clean(file, images, out=cleaned)
    found = check(cleaned, images, classes=damage.CLASSES, strict=True, open_images=True)
    assert (found["images"], found["annotations"]) == (report.images, report.annotations)
    assert sum(report.counts.values()) == (
        what.refusal is not None or what.name == "annotated twice"
    )
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["./b.jpg", "a.jpg"])  # the second is listed twice
def test_an_image_of_another_size_goes_under_whatever_name(tmp_path, name):
    changes = {"file_name": name, "width": 41}
    what = damage.Damage("", lambda folder, content: content["images"][1].update(changes), "")
    file, images = damage.write(tmp_path, what)
    report = clean(file, images, out=tmp_path / "clean.json")
    assert report.counts == {"image of another size": 1}
    left = json.loads((tmp_path / "clean.json").read_text())["images"]
    assert [image["id"] for image in left] == [10]


def test_the_file_itself_is_not_written_over(tmp_path):
    file, images = damage.write(tmp_path)
    with pytest.raises(FGDError, match="is the annotation file itself"):
        clean(file, images, out=file)


def test_compressed_masks_are_read_as_pycocotools_reads_them():
    import numpy as np
    from pycocotools import mask

    from fgd.data.segmentation import fault

    for seed in range(20):
        pixels = np.random.default_rng(seed).random((30, 40)) < seed / 20
        code = mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
        code = {"size": [30, 40], "counts": code["counts"].decode()}
        assert fault(code, 30, 40) is None
        assert fault({**code, "counts": code["counts"] + "1"}, 30, 40)
