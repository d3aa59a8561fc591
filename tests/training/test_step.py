"""What a training step does beside computing: precision, layout, waiting, writing."""

import json
import time
import traceback
from pathlib import Path

import pytest
import torch
from detectors import training_config, write_config
from mmcv import Config
from mmcv.runner import DefaultOptimizerConstructor
from mmdet.core.optimizers import OPTIMIZER_BUILDERS
from mmdet.models import build_detector
from torch.utils._python_dispatch import TorchDispatchMode

from fgd.checkout import root
from fgd.errors import FGDError
from fgd.precision import Precision, usual
from fgd.training import state, train
from fgd.training.background import Background, Snapshot
from fgd.training.optimizer import build_optimizer
from fgd.training.step import Trainable, update


@pytest.fixture
def config_of(tiny_suite, tmp_path):
    """Writes the training config of a row with some settings changed, and returns its path."""

    def write(row="retinanet_r50", **changes):
        torch.manual_seed(0)
        config = training_config(tiny_suite, row, "fgd")
        config.merge_from_dict(changes)
        write_config(config, tmp_path / "config.py")
        return tmp_path / "config.py"

    return write


def final(path) -> dict:
    return torch.load(path)


@pytest.fixture
def smooth(monkeypatch):
    """ReLU without its kink, where the gradient is another for features that differ by rounding.

    One feature of 630,000 that was 2e-6 in one layout and -1e-6 in the other changed the norm of
    Mask R-CNN's gradients by 0.4 %.
    """
    monkeypatch.setattr(torch.nn.ReLU, "forward", lambda _, x: torch.nn.functional.softplus(x))


@pytest.mark.parametrize("row", ["reppoints_r50", "fcos_r50", "mask_rcnn_r50"])
def test_channels_last_changes_where_features_lie_and_not_what_is_computed(
    smooth, config_of, tmp_path, row
):
    config, first = config_of(row, log=dict(interval=1)), {}
    for last in (False, True):
        changed = Config.fromfile(config)
        changed.channels_last = last
        write_config(changed, tmp_path / f"{last}.py")
        train(tmp_path / f"{last}.py", tmp_path / f"run{last}", tmp_path / f"{last}.pth")
        first[last] = json.loads((tmp_path / f"run{last}/log.jsonl").read_text().splitlines()[0])
    terms = [name for name in first[True] if "loss" in name or name == "grad_norm"]
    assert len(terms) > 5
    for name in terms:
        assert first[True][name] == pytest.approx(first[False][name], rel=1e-4), name


@pytest.mark.parametrize(
    ("row", "precision"),
    [("retinanet_r50", "fp16"), ("reppoints_r50", "bf16"), ("mask_rcnn_r50", "bf16")],
)
def test_mixed_precision_trains_float32_weights_and_resumes_exactly(
    config_of, tmp_path, row, precision
):
    config = config_of(row, precision=precision)
    train(config, tmp_path / "run", tmp_path / "whole.pth")
    # As if it had been killed after the state before the last.
    max((tmp_path / "run").glob("iter_*.pth")).unlink()
    train(config, tmp_path / "run", tmp_path / "resumed.pth")
    whole, resumed = final(tmp_path / "whole.pth"), final(tmp_path / "resumed.pth")
    floating = [v for v in whole["state_dict"].values() if v.is_floating_point()]
    assert {value.dtype for value in floating} == {torch.float32}
    for name, value in whole["state_dict"].items():
        assert value.isfinite().all(), name
        assert torch.equal(value, resumed["state_dict"][name]), name
    assert whole["scaler"] == resumed["scaler"]
    assert bool(whole["scaler"]) == (precision == "fp16")


@pytest.fixture
def visible_garbage():
    """Memory that torch leaves uninitialised is NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("visible_garbage")
@pytest.mark.parametrize(
    "optimizer",
    [
        dict(type="SGD", lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        dict(type="SGD", lr=0.1),
        dict(type="AdamW", lr=0.1),
    ],
)
def test_a_first_step_that_overflows_leaves_no_trace(optimizer):
    class Detector(torch.nn.Linear):
        def forward(self, images, factor):
            with torch.autocast("cpu", enabled=False):
                return {"loss": super().forward(images).square().mean() * factor}

    def trained(precision, factors):
        torch.manual_seed(0)
        detector = Detector(4, 4)
        precision = Precision(precision, torch.device("cpu"))
        model = Trainable(detector, torch.device("cpu"), distributed=False, precision=precision)
        stepped = build_optimizer(detector, optimizer, precision)
        images = torch.randn(2, 4)
        for factor in factors:
            update(model, stepped, dict(images=images, factor=factor), dict(max_norm=35))
        return detector.weight

    usual, overflowing = trained("fp32", [1, 2, 3]), trained("fp16", [1e38, 1, 2, 3])
    torch.testing.assert_close(overflowing, usual)


def test_a_run_goes_on_in_the_precision_that_it_began_with(config_of, tmp_path, monkeypatch):
    """On another kind of GPU than before."""
    config = config_of(precision="auto")
    monkeypatch.setattr("fgd.training.run.usual", lambda device: "bf16")
    train(config, tmp_path / "run", tmp_path / "whole.pth")
    max((tmp_path / "run").glob("iter_*.pth")).unlink()
    monkeypatch.setattr("fgd.training.run.usual", lambda device: "fp32")
    train(config, tmp_path / "run", tmp_path / "resumed.pth")
    whole, resumed = final(tmp_path / "whole.pth"), final(tmp_path / "resumed.pth")
    assert whole["meta"]["precision"] == resumed["meta"]["precision"] == "bf16"
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), name


def test_the_usual_precision_of_a_cpu_is_float32():
    assert usual(torch.device("cpu")) == "fp32"


def test_a_constructor_of_the_students_own_sees_what_it_sees_without_a_teacher(tiny_suite):
    seen = {}

    @OPTIMIZER_BUILDERS.register_module(force=True)
    class OfLayers(DefaultOptimizerConstructor):
        def __call__(self, model):
            seen[type(model).__name__] = [name for name, _ in model.named_parameters()]
            return super().__call__(model)

    config = training_config(tiny_suite, "retinanet_r50", "fgd")
    config.optimizer.constructor = "OfLayers"
    detector = build_detector(config.model)
    optimizer = build_optimizer(detector, config.optimizer)
    alone = build_detector(config.model.student)
    build_optimizer(alone, config.optimizer)
    assert seen == {"RetinaNet": [name for name, _ in alone.named_parameters()]}
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in detector.parameters() if p.requires_grad} <= stepped
    assert len({group["lr"] for group in optimizer.param_groups}) == 1


class Unused(torch.nn.Module):
    """A detector of which one layer never takes part."""

    def __init__(self):
        super().__init__()
        self.used, self.unused = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)

    def forward(self, images):
        return {"loss": self.used(images).sum()}


@pytest.mark.parametrize("unused", [False, True])
def test_parameters_without_a_gradient_are_waited_for_unless_they_may_be(tmp_path, unused):
    """As with several processes: they wait for each other's gradients."""
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        model = Trainable(Unused(), torch.device("cpu"), distributed=True, unused=unused)

        def steps():
            for _ in range(3):
                model.train_step({"images": torch.ones(1, 2)}, None)["loss"].backward()

        if unused:
            steps()
        else:
            with pytest.raises(RuntimeError, match="finished reduction in the prior iteration"):
                steps()
    finally:
        torch.distributed.destroy_process_group()


def test_an_unknown_precision_is_refused():
    with pytest.raises(FGDError, match="precision 'fp8': expected fp32, bf16, fp16"):
        Precision("fp8", torch.device("cpu"))


def test_our_code_reads_no_value_from_the_device_but_for_a_log_line(config_of, tmp_path):
    """Reading one value makes the host wait for the device; mmdet does it, we do not."""
    reads = set()

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function is torch.ops.aten._local_scalar_dense.default:
                frame = next(f for f in reversed(traceback.extract_stack()) if is_a_caller(f))
                reads.add((frame.filename, frame.name))
            return function(*args, **(kwargs or {}))

    def is_a_caller(frame):
        # torch's optimizers and loaders read counters of the host's.
        return "torch/_" not in frame.filename and frame.name != "__torch_dispatch__"

    config = config_of("faster_rcnn_r50", **{"log.interval": 100, "checkpoint.interval": 100})
    with Watch():
        train(config, tmp_path / "run", tmp_path / "out.pth")
    assert reads, "mmdet's own are seen"
    ours = {Path(file).name for file, _ in reads if file.startswith(str(root() / "fgd"))}
    # At the last iteration a line is logged, and the watch looks at what it says. Before the first
    # one, on the host, taps are measured, and the teacher's weights and features are looked at.
    assert ours <= {"log.py", "watch.py", "taps.py", "weights.py", "folding.py"}


def test_a_state_that_cannot_be_written_stops_training(config_of, tmp_path, monkeypatch):
    def fail(content, path):
        raise FGDError(f"{path.name}: the disk is full")

    monkeypatch.setattr(state, "write_state", fail)
    with pytest.raises(FGDError, match=r"iter_0000002\.pth: the disk is full"):
        train(config_of(), tmp_path / "run", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


def test_the_writer_does_one_thing_at_a_time_and_ends_when_all_is_done():
    done = []

    def slowly(number):
        time.sleep(0.05)
        done.append(number)

    with Background() as background:
        for number in range(3):
            background.start(slowly, number)
            assert done == list(range(number))
    assert done == [0, 1, 2]


def test_a_snapshot_is_not_changed_by_the_next_step():
    weight = torch.zeros(3)
    taken = Snapshot({"a": [weight, {"b": weight}], "iter": 7})
    weight += 1
    content = taken.content()
    assert content["iter"] == 7
    assert not content["a"][0].any() and not content["a"][1]["b"].any()
