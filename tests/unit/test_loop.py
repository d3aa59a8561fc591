"""The order of a training's parts, and what mmcv's hooks see of it."""

import itertools
import json

import pytest
import torch
from mmcv.runner.hooks import Hook
from reliability.steps import tiny_loop

from fgd.checkpoint import read_checkpoint
from fgd.training.state import Meta, saved_states
from fgd.training.watch import GoBack


@pytest.fixture
def loop(tmp_path):
    """Two epochs of ten iterations; a line every second, a state every fifth."""
    return tiny_loop(tmp_path / "run", 20, log_interval=2, state_interval=5)


def train(loop):
    with loop.states.background:
        loop.run()


class Seen(Hook):
    """Notes what mmcv's hooks ask of their runner, and the events of the loop."""

    def __init__(self):
        self.events = []
        self.iterations = []

    def before_run(self, runner):
        self.events.append("hooks begin")

    def before_train_iter(self, runner):
        self.events.append("learning rate")

    def after_train_iter(self, runner):
        self.events.append("curves")
        asked = (self.every_n_inner_iters(runner, 4), self.end_of_epoch(runner))
        asked += (self.is_last_epoch(runner), self.is_last_iter(runner))
        self.iterations.append((runner.iter, runner.epoch, runner.inner_iter, *asked))

    def after_train_epoch(self, runner):
        self.events.append("epoch")


def noted(events, name, method):
    def call(*args, **kwargs):
        events.append(name)
        return method(*args, **kwargs)

    return call


def test_the_order_of_a_step(loop, monkeypatch):
    seen = Seen()
    loop.runner.register_hook(seen)
    for part, method in [
        ("log", "begin"), ("watch", "leaves_out"), ("model", "train_step"), ("watch", "look"),
        ("log", "write"), ("states", "save"),
    ]:  # fmt: skip
        target = type(getattr(loop, part))
        original = getattr(target, method)
        monkeypatch.setattr(target, method, noted(seen.events, f"{part} {method}", original))
    train(loop)
    assert seen.events[:2] == ["log begin", "hooks begin"]
    step = ["learning rate", "watch leaves_out", "model train_step"]
    line = ["watch look", "log write", "curves"]
    assert seen.events[2:12] == [*step, "curves", *step, *line]
    assert seen.events[-8:] == [*step, *line, "states save", "epoch"]


def test_hooks_find_what_they_ask_for(loop):
    seen = Seen()
    loop.runner.register_hook(seen)
    train(loop)
    assert seen.iterations == [
        (i, i // 10, i % 10, (i % 10 + 1) % 4 == 0, i % 10 == 9, i >= 10, i == 19)
        for i in range(20)
    ]
    assert loop.runner.mode == "train"
    assert seen.events.count("epoch") == 2


def test_neither_line_nor_state_comes_after_a_bad_iteration(loop, monkeypatch):
    """The ninth: the line and the state of the tenth are due after it."""
    step = loop.model.train_step
    calls = iter(range(20))

    def broken(*args, **kwargs):
        outputs = step(*args, **kwargs)
        if next(calls) == 8:
            outputs["terms"]["loss_a"] = outputs["terms"]["loss_a"] * float("nan")
        return outputs

    monkeypatch.setattr(loop.model, "train_step", broken)
    with pytest.raises(GoBack):
        train(loop)
    folder = loop.states.folder
    lines = (folder / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["iter"] for line in lines] == [2, 4, 6, 8]
    assert [path.name for path in saved_states(folder)] == ["iter_0000005.pth"]
    assert json.loads((folder / "incidents.json").read_text())["examine"]["iter"] == 8


def _break_gradients(loop, steps, factor=float("nan")):
    """Gradients of the steps, counted from 0, are multiplied behind finite losses."""
    counted = itertools.count()
    parameter = next(loop.model.parameters())
    parameter.register_hook(lambda g: g * factor if next(counted) in steps else g)


@pytest.mark.parametrize("grad_clip", [None, dict(max_norm=35, norm_type=2)])
def test_no_weights_of_a_bad_gradient_are_saved(loop, grad_clip):
    loop.grad_clip = grad_clip
    _break_gradients(loop, {19})
    with pytest.raises(GoBack):
        train(loop)
    assert saved_states(loop.states.folder)[-1].name == "iter_0000015.pth"
    incidents = json.loads((loop.states.folder / "incidents.json").read_text())
    assert incidents["examine"]["reason"] == "grad_norm is nan"


@pytest.mark.parametrize(("broken", "is_bad"), [(range(19), False), (range(20), True)])
def test_gradients_that_never_stop_overflowing_are_bad(loop, broken, is_bad):
    loop.model.precision.scaler = torch.amp.GradScaler("cpu", init_scale=1)
    _break_gradients(loop, broken, float("inf"))
    if not is_bad:
        train(loop)
        return
    with pytest.raises(GoBack):
        train(loop)
    incidents = json.loads((loop.states.folder / "incidents.json").read_text())
    assert incidents["examine"]["iter"] == 19


def test_a_state_says_of_its_run_what_it_always_did(loop):
    train(loop)
    state = read_checkpoint(saved_states(loop.states.folder)[-1])
    assert list(state["meta"]) == [
        "fingerprint", "seed", "CLASSES", "fgd", "precision", "left_out", "recent_losses", "iter",
        "epoch", "content_sha256",
    ]  # fmt: skip
    assert (state["meta"]["iter"], state["meta"]["epoch"]) == (20, 2)
    assert len(state["meta"]["recent_losses"]) == 20
    meta = Meta.of(state)
    assert list(vars(meta).items()) == list(state["meta"].items())[:-1]
    old = {key: state["meta"][key] for key in ("fingerprint", "seed", "CLASSES", "fgd", "iter")}
    assert Meta.of({"meta": old}).recent_losses == []


def test_a_state_is_restored(loop, tmp_path):
    train(loop)
    other = tiny_loop(tmp_path / "other", 20, log_interval=2, state_interval=5)
    other.states.restore(read_checkpoint(saved_states(loop.states.folder)[-1]))
    for ours, theirs in zip(other.model.parameters(), loop.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
