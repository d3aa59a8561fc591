"""The moving average of the weights: mmdet's, saved with the training, and what is transferred."""

from types import SimpleNamespace

import pytest
import torch
from detectors import training_config, write_config
from mmdet.core.hook import ExpMomentumEMAHook
from torch import nn

from fgd import progress
from fgd.checkpoint import content_hash, read_checkpoint
from fgd.evaluation.evaluate import measure
from fgd.export import transfer
from fgd.recipe import compose, load_row
from fgd.training import train
from fgd.training.ema import MovingAverage

SETTINGS = dict(momentum=0.01, total_iter=5)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def steps_of(model, number):
    """Train a few steps; yields after each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(number):
        torch.manual_seed(step)
        loss = model(torch.randn(2, 3, 4, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield step


def test_it_is_mmdets():
    ours, theirs = network(), network()
    average = MovingAverage(ours, **SETTINGS)
    for step in steps_of(ours, 7):
        average.update(step)
    hook = ExpMomentumEMAHook(**SETTINGS)
    hook.before_run(SimpleNamespace(model=theirs))
    for step in steps_of(theirs, 7):
        hook.after_train_iter(SimpleNamespace(iter=step))
    expected = {name: hook.model_buffers[key] for name, key in hook.param_ema_buffer.items()}
    state = average.state_dict()
    assert state.keys() == {name for name in expected if "num_batches" not in name}
    for name, tensor in state.items():
        torch.testing.assert_close(tensor, expected[name])
        assert not torch.equal(tensor, ours.state_dict()[name])


def test_in_place_and_back_again():
    model = network()
    average = MovingAverage(model, **SETTINGS)
    for step in steps_of(model, 3):
        average.update(step)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    averages = {name: tensor.clone() for name, tensor in average.state_dict().items()}
    with pytest.raises(RuntimeError, match="stopped"), average.in_place():
        for name, tensor in averages.items():
            assert torch.equal(model.state_dict()[name], tensor)
        raise RuntimeError("stopped")
    for name, tensor in weights.items():
        assert torch.equal(model.state_dict()[name], tensor)


@pytest.mark.parametrize("arm", ["fgd", "baseline"])
def test_a_training_keeps_resumes_and_hands_on_its_average(tiny_suite, tmp_path, arm):
    torch.manual_seed(0)
    config = training_config(tiny_suite, "retinanet_r50", arm)
    config.ema = SETTINGS
    write_config(config, tmp_path / "config.py")
    train(tmp_path / "config.py", tmp_path / "run", tmp_path / "whole.pth")
    # As if it had been killed after the state before the last.
    max((tmp_path / "run").glob("iter_*.pth")).unlink()
    train(tmp_path / "config.py", tmp_path / "run", tmp_path / "resumed.pth")
    whole, resumed = (read_checkpoint(tmp_path / f"{n}.pth") for n in ("whole", "resumed"))
    del whole["meta"], resumed["meta"]  # the checkout's commit is there, and may have changed
    assert content_hash(whole) == content_hash(resumed)

    transfer(tmp_path / "whole.pth", tmp_path / "student.pth", "student")
    student = read_checkpoint(tmp_path / "student.pth")["state_dict"]
    prefix = "student." if arm == "fgd" else ""
    moved = 0
    for name, tensor in student.items():
        trained = whole["state_dict"][prefix + name]
        assert torch.equal(tensor, whole["moving_average"].get(name, trained))
        moved += not torch.equal(tensor, trained)
    assert moved > 20

    # It is what the training was evaluated with, too.
    row = compose(tiny_suite, load_row("retinanet_r50"), arm)
    write_config(row.detector, tmp_path / "student.py")
    report = measure(tmp_path / "student.py", tmp_path / "student.pth")
    last = progress.read(tmp_path / "run", progress.VALIDATION)[-1]
    assert last["box"]["AP"] == report["box"]["AP"]
