"""A training's data: the same samples as mmdet's, an index where it can be, and told when not."""

import json
import re
from pathlib import Path

import pytest
import torch
from detectors import training_config, write_config
from mmdet.datasets import CocoDataset, build_dataset

from fgd.checkpoint import read_checkpoint
from fgd.data import index
from fgd.errors import FGDError
from fgd.files import cache_root, sha256
from fgd.training import train


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FGD_CACHE", str(tmp_path / "cache"))


def losses(folder):
    """Every term of every line of a training's log."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    found = [{k: v for k, v in json.loads(line).items() if "loss" in k} for line in lines]
    assert found and all(found)
    return found


@pytest.fixture
def config(tiny_suite, tmp_path):
    """Writes the config of a row's baseline."""

    def write(row="retinanet_r50"):
        torch.manual_seed(0)
        config = training_config(tiny_suite, row, "baseline")
        write_config(config, tmp_path / "config.py")
        return tmp_path / "config.py"

    return write


@pytest.mark.parametrize("row", ["retinanet_r50", "mask_rcnn_r50"])
def test_a_training_is_that_of_mmdets_data_set_bit_for_bit(config, tmp_path, monkeypatch, row):
    file = config(row)
    train(file, tmp_path / "ours", tmp_path / "ours.pth")
    built = []

    def plain(settings, logger):
        built.append(build_dataset(settings))
        built[0].annotation_file = None
        return built[0]

    monkeypatch.setattr("fgd.training.run.training_set", plain)
    train(file, tmp_path / "theirs", tmp_path / "theirs.pth")
    assert type(built[0]) is CocoDataset
    ours, theirs = (read_checkpoint(tmp_path / f"{name}.pth") for name in ("ours", "theirs"))
    for key, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][key], value), key
    assert losses(tmp_path / "ours") == losses(tmp_path / "theirs")


def test_a_training_writes_the_index_that_nobody_has_written(config, tiny_data, tmp_path):
    annotations = tiny_data / "annotations" / "instances_train.json"
    assert index.find(sha256(annotations)) is None
    train(config(), tmp_path / "run", tmp_path / "out.pth")
    assert index.find(sha256(annotations)) is not None


def test_a_training_goes_on_without_one_and_says_why(config, tmp_path, caplog):
    file = config()
    cache_root().write_text("no folder")
    train(file, tmp_path / "run", tmp_path / "out.pth")
    assert re.search("no index of the annotations in .*cache/annotations: .*Not a dir", caplog.text)
    assert (tmp_path / "out.pth").exists()


def test_annotations_that_change_under_a_training_are_named(config, tmp_path, monkeypatch):
    file = config()
    text = file.read_text()
    annotations = Path(re.search("'([^']*instances_train.json)'", text)[1])
    own = tmp_path / "instances_train.json"
    own.write_bytes(annotations.read_bytes())
    file.write_text(
        text.replace(str(annotations), str(own)).replace("max_epochs=1", "max_epochs=2")
    )

    def changed(*_):
        own.write_text(own.read_text().replace('"area": ', '"area":  '))

    monkeypatch.setattr("fgd.training.log.Log.stop_clock", changed)
    with pytest.raises(FGDError, match=r"instances_train.json has changed while it was trained on"):
        train(file, tmp_path / "run", tmp_path / "out.pth")
    assert list((tmp_path / "run").glob("iter_*.pth"))
