"""Curves while a training runs: TensorBoard's own reader sees what log.jsonl has."""

import dataclasses
import json
import sys
import types

import pytest
import torch
from detectors import training_config, write_config
from mmcv.runner.log_buffer import LogBuffer
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fgd import progress, recipe
from fgd.errors import FGDError
from fgd.training import curves, train
from fgd.training.curves import TensorBoardHook


def read(work_dir, tag) -> dict[int, float]:
    events = EventAccumulator(str(work_dir / "tensorboard"), {"scalars": 0})
    events.Reload()
    scalars = events.Scalars(tag)
    assert len({event.step for event in scalars}) == len(scalars)
    return {event.step: event.value for event in scalars}


class Run:
    """What TensorBoardHook sees of a training."""

    rank = 0

    def __init__(self, work_dir, done):
        self.iter = done
        self.log_buffer = LogBuffer()
        self._hook = TensorBoardHook(work_dir)
        self._hook.before_run(self)

    def log_until(self, last, loss):
        while self.iter < last:
            self.log_buffer.output.update(loss=loss, lr=0.1, images_per_second=1.0, time=1.0)
            self.log_buffer.ready = True
            self._hook.after_train_iter(self)
            self.iter += 1


def test_what_a_killed_run_wrote_after_its_state_is_purged(tmp_path):
    Run(tmp_path, done=0).log_until(6, loss=1.0)  # and is killed: nothing is closed
    Run(tmp_path, done=4).log_until(9, loss=2.0)
    assert read(tmp_path, "train/loss") == dict.fromkeys(range(1, 5), 1.0) | dict.fromkeys(
        range(5, 10), 2.0
    )


def test_a_run_that_was_killed_before_its_first_state_begins_anew(tmp_path):
    Run(tmp_path, done=0).log_until(6, loss=1.0)
    Run(tmp_path, done=0).log_until(2, loss=2.0)
    assert read(tmp_path, "train/loss") == {1: 2.0, 2: 2.0}


def test_a_training_that_logged_before_is_shown_from_its_beginning(tmp_path):
    for number in (1, 2):
        entry = {"iter": number, "loss": 0.5 * number, "lr": 0.1, "images_per_second": 1.0}
        progress.append(tmp_path, entry)
    Run(tmp_path, done=2).log_until(3, loss=3.0)
    assert read(tmp_path, "train/loss") == {1: 0.5, 2: 1.0, 3: 3.0}


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package that keeps what it is told."""
    fake = types.ModuleType("wandb")
    fake.started, fake.logged = [], []
    fake.init = lambda **settings: fake.started.append(settings)
    fake.log = lambda tags, step, commit: fake.logged.append((step, tags))
    fake.join = lambda: None
    monkeypatch.setitem(sys.modules, "wandb", fake)
    return fake


def test_a_training_writes_the_same_lines_everywhere(tiny_suite, tmp_path, wandb):
    suite = dataclasses.replace(tiny_suite, curves=("tensorboard", "wandb"), log_interval=2)
    torch.manual_seed(0)
    config = training_config(suite, "retinanet_r50", "fgd")
    write_config(config, tmp_path / "config.py")
    train(tmp_path / "config.py", tmp_path / "run", tmp_path / "out.pth")
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    for tag, key in [("train/loss", "loss"), ("train/loss_fgd_fpn_0",) * 2, ("lr", "lr")]:
        shown = read(tmp_path / "run", tag)
        expected = {line["iter"]: line[key.removeprefix("train/")] for line in lines}
        assert shown == pytest.approx(expected)
    logged = {step: tags["train/loss"] for step, tags in wandb.logged if "train/loss" in tags}
    assert logged == {line["iter"]: line["loss"] for line in lines}
    metrics = progress.read(tmp_path / "run", progress.VALIDATION)
    aps = {entry["iter"]: 100 * entry["box"]["AP"] for entry in metrics}
    assert list(aps) == [5, 10]
    assert read(tmp_path / "run", "val/box_AP") == pytest.approx(aps)
    # mmcv has already counted the last iteration of the epoch, and counts one more.
    logged = {step - 1: tags["val/box_AP"] for step, tags in wandb.logged if "val/box_AP" in tags}
    assert logged == aps
    assert wandb.started[0]["name"] == "mini.retinanet_r50.fgd"
    assert wandb.started[0]["resume"] == "allow"


def test_off_is_off(tiny_suite):
    row = recipe.load_row("retinanet_r50")
    assert recipe.compose(tiny_suite, row, "fgd").training.log == {"interval": 1}
    assert curves.hooks([], None, "", "") == []


def test_a_program_that_is_not_there_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(FGDError, match="curves have wandb, which cannot be imported"):
        curves.hooks(["wandb"], tmp_path, "0" * 64, "name")
