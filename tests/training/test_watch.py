"""A run that goes wrong: found, named, looked at, and what the policy makes of it."""

import json

import pytest
import torch
from detectors import training_config, write_config
from mmcv import Config

from fgd import progress
from fgd.distiller import FGDDistiller
from fgd.errors import FGDError
from fgd.loss import PyramidLoss
from fgd.training import train
from fgd.training.sampling import derive_seed


@pytest.fixture
def config(tiny_suite, tmp_path):
    def write(row="retinanet_r50", **changes):
        """A row's training config; called again, with more changes to it."""
        path = tmp_path / "config.py"
        torch.manual_seed(0)
        config = (
            Config.fromfile(str(path)) if path.exists() else training_config(tiny_suite, row, "fgd")
        )
        config.merge_from_dict(changes)
        write_config(config, path)
        return path

    return write


@pytest.fixture
def break_at(monkeypatch):
    """Let one iteration's loss of FPN level 2 be multiplied; the iteration is told by its seed."""

    def break_at(iteration, factor, times=100):
        seed = derive_seed(0, iteration, 0)
        left = iter(range(times))
        forward, losses = PyramidLoss.forward, FGDDistiller.forward_train

        def forward_train(self, *args, **kwargs):
            now = torch.initial_seed() == seed
            self.distill_losses.broken = now and next(left, None) is not None
            return losses(self, *args, **kwargs)

        def broken(self, *args, **kwargs):
            values = forward(self, *args, **kwargs)
            if self.broken:
                values["loss_fgd_fpn_2"] = values["loss_fgd_fpn_2"] * factor
            return values

        monkeypatch.setattr(FGDDistiller, "forward_train", forward_train)
        monkeypatch.setattr(PyramidLoss, "forward", broken)

    return break_at


def state(path):
    return torch.load(path, weights_only=True)


def test_a_term_that_comes_later_is_looked_at_and_logged_from_then_on(
    config, tmp_path, monkeypatch
):
    """YOLOX's last epochs have an L1 loss."""
    later = {derive_seed(0, iteration, 0) for iteration in range(5, 10)}
    losses = FGDDistiller.forward_train

    def forward_train(self, *args, **kwargs):
        terms = losses(self, *args, **kwargs)
        return terms | (dict(loss_l1=torch.ones(1)) if torch.initial_seed() in later else {})

    monkeypatch.setattr(FGDDistiller, "forward_train", forward_train)
    path = config(**{"log.interval": 4, "checkpoint.interval": 4})
    train(path, tmp_path / "run", tmp_path / "out.pth")
    first, *others = progress.read(tmp_path / "run")
    assert "loss_l1" not in first
    assert [(line["iter"], line["loss_l1"]) for line in others] == [(8, 1), (10, 1)]
    assert len(state(tmp_path / "out.pth")["meta"]["recent_losses"]) == 10


def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(config, break_at, tmp_path):
    break_at(2, float("nan"))
    with pytest.raises(FGDError) as error:
        train(config(), tmp_path / "run", tmp_path / "out.pth")
    text = str(error.value)
    assert "iteration 3: loss_fgd_fpn_2 is nan" in text
    assert "watch" in text
    file = tmp_path / "run/diagnosis/iter_0000003.json"
    (report,) = json.loads(file.read_text())["ranks"]
    assert report["terms_not_finite"] == ["loss_fgd_fpn_2"]
    assert all(name.startswith("student.") for name in report["gradients_not_finite"])
    assert report["gradients_not_finite"]
    assert report["weights_not_finite"] == []
    assert len(report["images"]) == 2
    assert all(name.endswith(".jpg") or name.endswith(".png") for name in report["images"])
    assert state(file.with_suffix(".from.pth"))["meta"]["iter"] == 2
    assert not (tmp_path / "out.pth").exists()
    assert not (tmp_path / "run/iter_0000004.pth").exists()


@pytest.mark.parametrize(("policy", "left_out"), [("skip", [3]), ("fall_back", [2, 3])])
def test_batches_are_left_out_and_counted(config, break_at, tmp_path, policy, left_out):
    break_at(3, float("inf"))
    path = config(watch=dict(nonfinite=policy))
    train(path, tmp_path / "run", tmp_path / "out.pth")
    end = state(tmp_path / "out.pth")
    assert end["meta"]["iter"] == 10
    assert end["meta"]["left_out"] == left_out
    assert all(t.isfinite().all() for t in end["state_dict"].values() if t.is_floating_point())
    incidents = json.loads((tmp_path / "run/incidents.json").read_text())
    assert incidents["left_out"] == left_out
    assert incidents["examine"] is None


def test_batches_are_left_out_only_so_often(config, break_at, tmp_path):
    break_at(2, float("nan"))
    with pytest.raises(FGDError, match=r"0 times already: .* suite.s watch\.most"):
        train(config(watch=dict(nonfinite="skip", most=0)), tmp_path / "run", tmp_path / "out.pth")


def test_a_spike_is_told_and_training_goes_on(config, break_at, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("fgd.training.watch._FEWEST", 3)
    break_at(6, 1e7)
    with caplog.at_level("INFO", logger="fgd"):
        train(config(), tmp_path / "run", tmp_path / "out.pth")
    assert "iteration 7: loss is " in caplog.text
    assert "times its recent median" in caplog.text
    assert state(tmp_path / "out.pth")["meta"]["left_out"] == []
    assert len(state(tmp_path / "out.pth")["meta"]["recent_losses"]) == 10


def test_a_run_that_was_stopped_goes_on_with_another_policy(config, break_at, tmp_path):
    break_at(2, float("nan"))
    for _ in range(2):
        with pytest.raises(FGDError, match="iteration 3: loss_fgd_fpn_2 is nan"):
            train(config(), tmp_path / "run", tmp_path / "out.pth")
    train(config(watch=dict(nonfinite="skip")), tmp_path / "run", tmp_path / "out.pth")
    assert state(tmp_path / "out.pth")["meta"]["left_out"] == [2]


def test_a_spike_that_stopped_a_run_may_be_reported_alone(config, break_at, tmp_path, monkeypatch):
    monkeypatch.setattr("fgd.training.watch._FEWEST", 3)
    break_at(6, 1e7)
    with pytest.raises(FGDError, match=r"iteration 7: loss is .* times its recent median"):
        train(config(watch=dict(spike="stop")), tmp_path / "run", tmp_path / "out.pth")
    train(config(watch=dict(spike="report")), tmp_path / "run", tmp_path / "out.pth")
    assert state(tmp_path / "out.pth")["meta"]["left_out"] == []


@pytest.mark.parametrize("iteration", [1, 3])
def test_another_recipe_inherits_no_incidents(config, break_at, tmp_path, caplog, iteration):
    """Whether the old run had come to its first state or not."""
    break_at(iteration, float("nan"))
    with pytest.raises(FGDError, match=r"watch\.most"):
        path = config(watch=dict(nonfinite="skip", most=0))
        train(path, tmp_path / "run", tmp_path / "out.pth")
    incidents = json.loads((tmp_path / "run/incidents.json").read_text())
    (tmp_path / "run/incidents.json").write_text(json.dumps(incidents | dict(left_out=[iteration])))
    train(config(seed=1), tmp_path / "run", tmp_path / "out.pth")
    assert state(tmp_path / "out.pth")["meta"]["left_out"] == []
    assert "did not happen again" not in caplog.text


def test_a_look_leaves_no_trace(config, break_at, tmp_path, caplog):
    """Neither in batch norm's statistics nor in what the RoI sampler draws."""
    path = config("faster_rcnn_r50")
    train(path, tmp_path / "undisturbed", tmp_path / "undisturbed.pth")
    break_at(3, float("nan"), times=1)
    train(path, tmp_path / "run", tmp_path / "out.pth")
    assert "did not happen again" in caplog.text
    undisturbed, looked_at = state(tmp_path / "undisturbed.pth"), state(tmp_path / "out.pth")
    assert any("running_mean" in name for name in undisturbed["state_dict"])
    for name, tensor in undisturbed["state_dict"].items():
        assert torch.equal(tensor, looked_at["state_dict"][name]), name


def test_images_that_are_not_finite_do_not_reach_the_statistics(config, tmp_path, monkeypatch):
    seed = derive_seed(0, 3, 0)
    losses = FGDDistiller.forward_train

    def forward_train(self, img, *args, **kwargs):
        factor = float("nan") if torch.initial_seed() == seed else 1
        return losses(self, img * factor, *args, **kwargs)

    monkeypatch.setattr(FGDDistiller, "forward_train", forward_train)
    train(config(watch=dict(nonfinite="skip")), tmp_path / "run", tmp_path / "out.pth")
    for name, tensor in state(tmp_path / "out.pth")["state_dict"].items():
        assert tensor.isfinite().all(), name
    (report,) = json.loads((tmp_path / "run/diagnosis/iter_0000004.json").read_text())["ranks"]
    assert any("running_mean" in name for name in report["buffers_not_finite"])


def test_a_run_goes_back_in_vain_only_so_often(config, break_at, tmp_path):
    """Finite gradients whose norm is too large for float32: no look finds one that is not."""
    break_at(3, 1e25)
    with pytest.raises(FGDError, match=r"grad_norm is inf; .* not happen again.* 2 times already"):
        train(config(watch=dict(most=2)), tmp_path / "run", tmp_path / "out.pth")


def test_a_run_that_stopped_for_nothing_goes_on(config, break_at, tmp_path):
    break_at(3, float("nan"), times=1)
    arguments = config(watch=dict(most=0)), tmp_path / "run", tmp_path / "out.pth"
    with pytest.raises(FGDError, match=r"did not happen again.* 0 times already"):
        train(*arguments)
    train(*arguments)
    assert (tmp_path / "out.pth").exists()
