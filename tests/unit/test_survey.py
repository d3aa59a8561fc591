"""`fgd data show`: the figures behind the picture, and the picture."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from mmcv import Config
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds

from fgd.cli import main
from fgd.errors import FGDError
from fgd.visual.survey import View, described, survey, view_of
from fgd.zoo import zoo_config


def write(folder, boxes, **options):
    return coco_worlds.write(folder, coco_worlds.world(boxes=boxes, **options))


def test_figures(tmp_path):
    boxes = [(0, 0, [0, 0, 20, 10]), (0, 1, [2, 2, 40, 30]), (1, 0, [5, 5, 4, 30])]
    file, folder = write(tmp_path, boxes, images=3)
    content = json.loads(file.read_text())
    content["annotations"].append(dict(content["annotations"][0], id=9, iscrowd=1))
    file.write_text(json.dumps(content))
    found = survey(file, folder, View(scale=(128, 96)))
    assert found.seen.tolist() == [[40, 20], [80, 60], [8, 60]]  # 64 x 48 pixels, twice
    assert found.crowds == 1
    assert found.by_size() == {"cat": [2, 0, 0], "dog": [0, 1, 0]}
    assert found.images_of() == {"cat": 2, "dog": 1}
    assert found.smallest(2) == [2, 0]
    assert found.smallest(3) == [2, 0, 1]
    view = View(scale=(128, 96), strides=[16, 32], anchors=[[100.0], [200.0]], name="it")
    words = described(found, view)
    assert words[1].split() == ["cat", "2", "2", "2", "0", "0"]
    assert "the smallest of 3 objects (2.png) has 8 x 60 pixels, 4 x 30 in its image" in words[3]
    assert words[4] == "1 object is narrower than 16 pixels, the finest stride of it"
    assert words[5].startswith("2 objects are less than half as wide and high as the smallest")


def test_images_are_drawn_by_a_seed_and_those_with_objects_first(tmp_path):
    file, folder = write(tmp_path, [(n, 0, [0, 0, 9, 9]) for n in (1, 4, 6)], images=8)
    found = survey(file, folder, View())
    names = [path.name for path in found.chosen(3, seed=0)]
    assert names == ["2.png", "5.png", "7.png"]
    several = {tuple(found.chosen(5, seed)) for seed in range(9)}
    assert len(several) > 1
    assert found.chosen(5, 3) == found.chosen(5, 3)
    assert len(found.chosen(99, 0)) == 8


@pytest.mark.parametrize(
    ("name", "scale", "strides", "smallest", "largest"),
    [
        ("retinanet_r50_fpn_1x_coco", (1333, 800), [8, 16, 32, 64, 128], 32, 812.7),
        ("faster_rcnn_r50_fpn_1x_coco", (1333, 800), [4, 8, 16, 32, 64], 32, 512),
        ("fcos_r50_caffe_fpn_gn-head_1x_coco", (1333, 800), [8, 16, 32, 64, 128], None, None),
        ("yolox_s_8x8_300e_coco", (640, 640), [8, 16, 32], None, None),
    ],
)
def test_how_detectors_look(name, scale, strides, smallest, largest):
    view = view_of(Config.fromfile(zoo_config(name)), name)
    assert view.scale == scale
    assert view.strides == strides
    assert ([view.anchors[0][0], view.anchors[-1][-1]] if view.anchors else [None] * 2) == [
        smallest,
        largest,
    ]


def test_resizing_without_the_ratio():
    assert View(scale=(100, 200), keep_ratio=False).factors(50, 50) == (2, 4)
    assert View(scale=(1333, 800)).factors(640, 480) == pytest.approx((1067 / 640, 800 / 480))


def test_the_picture(tmp_path):
    names = ["$cat_{", "dog" * 20, *map(str, range(30))]
    boxes = [(n % 5, n % 32, [n, n, 8 + n, 6 + n]) for n in range(20)]
    file, folder = write(tmp_path, boxes, images=6, classes=names)
    out = tmp_path / "new" / "sheet.png"
    options = ["--student", "retinanet_r50_fpn_1x_coco", "--img-scale=320,240", "--number=7"]
    result = CliRunner().invoke(
        main, ["data", "show", str(file), str(folder), "--out", str(out), *options]
    )
    assert result.exit_code == 0, result.output
    with Image.open(out) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[1] == 1800
    assert (pixels != 255).any(2).mean() > 0.2
    assert "resized into 320 x 240" in result.output


def test_what_cannot_be_shown_is_named(tmp_path):
    file, folder = write(tmp_path, [(0, 0, [0, 0, 9, 9])])
    (folder / "1.png").write_text("no image")
    result = CliRunner().invoke(
        main, ["data", "show", str(file), str(folder), "--out", str(tmp_path / "x.png")]
    )
    assert result.exit_code == 2
    assert "1.png: there is no such image" in result.stderr
    assert not (tmp_path / "x.png").exists()
    content = json.loads(file.read_text())
    content["annotations"][0]["iscrowd"] = 1
    file.write_text(json.dumps(content))
    with pytest.raises(FGDError, match="no object that is no crowd"):
        survey(file, folder, View())
