"""Damaged data are found and named before training, or counted where they are harmless."""

import re

import pytest
from reliability import damage

from fgd.coco import check
from fgd.errors import FGDError


def report(folder, what=None, **options):
    file, images = damage.write(folder, what)
    return check(file, images, damage.CLASSES, strict=True, open_images=True, **options)


def test_the_sound_set_has_nothing(tmp_path):
    assert report(tmp_path)["found"] == {}


@pytest.mark.parametrize("what", damage.DAMAGES, ids=lambda what: what.name)
def test_damage(tmp_path, what):
    if what.told is None:
        assert report(tmp_path, what)["found"][what.counted] == 1
        return
    with pytest.raises(FGDError) as error:
        report(tmp_path, what)
    assert re.search(what.told, str(error.value))
    assert "\n" not in str(error.value)


def test_what_is_accepted_is_counted(tmp_path):
    truncated = next(what for what in damage.DAMAGES if what.name == "JPEG truncated")
    assert report(tmp_path, truncated, accept=["unreadable"])["found"] == {"unreadable": 1}


def test_compressed_masks_are_read_as_pycocotools_reads_them():
    import numpy as np
    from pycocotools import mask

    from fgd.masks import fault

    for seed in range(20):
        pixels = np.random.default_rng(seed).random((30, 40)) < seed / 20
        code = mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
        code = {"size": [30, 40], "counts": code["counts"].decode()}
        assert fault(code, 30, 40) is None
        assert fault({**code, "counts": code["counts"] + "1"}, 30, 40)
