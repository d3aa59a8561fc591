"""Pictures: FGD's view of an image is what the loss computes, from where a run started."""

import json

import numpy as np
import pytest
import torch
from detectors import training_config
from mmcv import Config

from fgd.cli import main
from fgd.errors import FGDError
from fgd.starting_weights import check_start
from fgd.training import run, train
from fgd.visual.attention import distiller_at_start, fgd_views
from fgd.visual.detect import _objects
from fgd.visual.images import choose_images, read_pictures
from fgd.visual.make import draw

ROW = "retinanet_r50"


@pytest.fixture
def annotations(tiny_data):
    return tiny_data / "annotations/instances_val.json"


@pytest.fixture
def pictures(tiny_data, annotations):
    return read_pictures(choose_images(annotations, tiny_data / "val", 2), annotations)


@pytest.fixture
def trained(tiny_suite, tmp_path, monkeypatch):
    """Config and final state of a distillation of ten steps, and what it started from."""
    start = {}

    def recorded(detector, *others, **options):
        start.update({name: tensor.clone() for name, tensor in detector.state_dict().items()})
        return check_start(detector, *others, **options)

    monkeypatch.setattr(run, "check_start", recorded)
    config = tmp_path / "config.py"
    config.write_text(training_config(tiny_suite, ROW, "fgd").pretty_text)
    train(config, tmp_path / "run", tmp_path / "trained.pth")
    return config, tmp_path / "trained.pth", start


def test_pictures_of_a_distillation(trained, pictures, tiny_data, annotations, tmp_path):
    config, state, start = trained
    views = fgd_views(config, state, pictures)
    assert [len(view) for view in views] == [5, 5]
    first = views[0][0]
    assert first.foreground.shape == first.before.spatial.shape == first.teacher.spatial.shape
    # Ten steps have moved the student and not the teacher.
    assert np.abs(first.before.spatial - first.after.spatial).max() > 0
    assert np.abs(first.before.channel - first.teacher.channel).max() > 0
    # The first box covers the cells that the mask says it covers.
    x1, y1, x2, y2 = pictures[0].truth.boxes[0]
    height, width = first.foreground.shape
    x, y = (x1 + x2) / 2 * width / first.extent[0], (y1 + y2) / 2 * height / first.extent[1]
    assert first.foreground[int(y), int(x)] > 0 == first.background[int(y), int(x)]

    student = tmp_path / "student.py"
    cfg = Config.fromfile(str(config))
    cfg.model = cfg.model.student
    student.write_text(cfg.pretty_text)
    # A distillation's own state draws, too: the student is taken out of it.
    written = list(
        draw(
            [],
            models=[("it", student, state)],
            distillation=(config, state),
            annotations=annotations,
            folder=tiny_data / "val",
            number=2,
            score=0.0,
            data=True,
            out=tmp_path / "x",
        )
    )
    assert [path.name for path in written] == ["x_detections.png", "x_attention.png", "x_data.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)

    # Before is where the run started, to the last bit.
    again = distiller_at_start(Config.fromfile(str(config))).state_dict()
    assert again.keys() == start.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in start.items())


def test_a_baselines_config_is_refused(tiny_suite, pictures, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(training_config(tiny_suite, ROW, "baseline").pretty_text)
    with pytest.raises(FGDError, match="not the training config of a distillation"):
        fgd_views(config, tmp_path / "none.pth", pictures)


def test_images_are_chosen_by_their_objects(tmp_path):
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (3, 1, 2)],
        "annotations": [{"image_id": i} for i in (3, 1, 1, 2, 2, 2)],
        "categories": [],
    }
    path = tmp_path / "a.json"
    path.write_text(json.dumps(content))
    assert [p.name for p in choose_images(path, tmp_path, 3)] == ["1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize("wrong", [{"image_id": 99}, {"category_id": 99}, {"bbox": None}])
def test_annotations_that_cannot_be_drawn_are_named(tiny_data, annotations, tmp_path, wrong):
    content = json.loads(annotations.read_text())
    ((key, value),) = wrong.items()
    content["annotations"][0] |= wrong
    if value is None:
        del content["annotations"][0][key]
    (tmp_path / "wrong.json").write_text(json.dumps(content))
    picture = tiny_data / "val" / content["images"][0]["file_name"]
    with pytest.raises(FGDError, match=f"annotation 1: {key} is missing or names none that is"):
        read_pictures([picture], tmp_path / "wrong.json")


def test_an_image_without_annotations_is_named(tiny_data, annotations, tmp_path):
    image = next((tiny_data / "val").glob("*.jpg"))
    other = tmp_path / "other.jpg"
    other.write_bytes(image.read_bytes())
    with pytest.raises(FGDError, match=r"other\.jpg: .* has no image of that name"):
        read_pictures([other], annotations)
    assert read_pictures([other], None)[0].truth is None


def test_what_is_no_image_is_named(tmp_path):
    (tmp_path / "x.jpg").write_text("no image")
    with pytest.raises(FGDError, match=r"x\.jpg: there is no such image"):
        read_pictures([tmp_path / "x.jpg"], None)


def test_results_without_boxes_get_those_of_their_masks():
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:9] = True
    objects = _objects([np.array([[0, 0, 0, 0, 0.9]])], [[mask]], ["a $class"], 0.5)
    assert objects.boxes.tolist() == [[3, 2, 9, 5]]
    assert objects.names == ["a $class"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "x"], "nothing to draw"),
        (["--out", "x", "--model", "a", "a.py", "a.pth"], "give IMAGES"),
    ],
)
def test_what_is_missing_on_the_command_line_is_said(tmp_path, monkeypatch, arguments, words):
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    for name in ("a.py", "a.pth"):
        (tmp_path / name).touch()
    result = CliRunner().invoke(main, ["visualize", *arguments])
    assert result.exit_code == 2
    assert words in result.output
