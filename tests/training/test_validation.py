"""Metrics while a detector is trained: right, harmless, and told when they collapse."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from detectors import training_config, write_config
from mmcv import Config

from fgd import progress
from fgd.checkpoint import content_hash, read_checkpoint
from fgd.errors import FGDError
from fgd.evaluation.evaluate import measure
from fgd.evaluation.scores import METRICS
from fgd.export import transfer
from fgd.recipe import compose, load_row
from fgd.suite import settings
from fgd.suite.settings import Collapse
from fgd.training import train
from fgd.training import validation as validation_module
from fgd.training.validation import Validation

FGD = Path(sys.executable).with_name("fgd")


@pytest.fixture
def config(tiny_suite, tmp_path):
    def write(row="retinanet_r50", arm="fgd", **section):
        torch.manual_seed(0)
        suite = dataclasses.replace(
            tiny_suite, validation=settings.Validation(**section) if section else None
        )
        write_config(training_config(suite, row, arm), tmp_path / "config.py")
        return tmp_path / "config.py"

    return write


def entries(run):
    return progress.read(run, progress.VALIDATION)


def trained(path):
    state = read_checkpoint(path)
    return content_hash([state["state_dict"], state["optimizer"]])


def figures_of(folder, suite, row="retinanet_r50"):
    """What `fgd evaluate` finds for the student of a training."""
    write_config(compose(suite, load_row(row), "fgd").detector, folder / "student.py")
    transfer(folder / "out.pth", folder / "student.pth", "student")
    report = measure(folder / "student.py", folder / "student.pth")
    kinds = report.keys() & {"box", "mask"}
    return {k: {name: report[k][name] for name in METRICS} for k in kinds}


def test_the_training_is_the_same_with_and_without_it(config, tmp_path):
    path = config(interval=1)
    train(path, tmp_path / "with", tmp_path / "with.pth")
    without = Config.fromfile(str(path))
    without.pop("validation")
    write_config(without, path)
    train(path, tmp_path / "without", tmp_path / "without.pth")
    assert trained(tmp_path / "with.pth") == trained(tmp_path / "without.pth")
    assert [entry["epoch"] for entry in entries(tmp_path / "with")] == [1, 2]
    assert not (tmp_path / "without" / progress.VALIDATION).exists()


@pytest.mark.parametrize("row", ["retinanet_r50", "mask_rcnn_r50"])
def test_the_last_figures_are_those_of_the_transferred_student(config, tiny_suite, tmp_path, row):
    train(config(row, interval=2), tmp_path / "run", tmp_path / "out.pth")
    (entry,) = entries(tmp_path / "run")
    kinds = ("box", "mask") if row == "mask_rcnn_r50" else ("box",)
    assert {kind: entry[kind] for kind in kinds} == figures_of(tmp_path, tiny_suite, row)


def test_a_resumed_run_has_every_line_once(config, tmp_path):
    path = config(interval=1)
    train(path, tmp_path / "whole", tmp_path / "whole.pth")
    lines = [{**entry, "seconds": 0} for entry in entries(tmp_path / "whole")]
    # Killed after its state of the end, before its last metrics; and after both.
    for kept in (0, 1, 2):
        text = "".join(json.dumps(line) + "\n" for line in lines[:kept])
        (tmp_path / "whole" / progress.VALIDATION).write_text(text)
        train(path, tmp_path / "whole", tmp_path / "whole.pth")
        last = entries(tmp_path / "whole")
        assert [{**entry, "seconds": 0} for entry in last[-1:]] == lines[-1:]
        assert len(last) == max(kept, 1) + (kept == 1)


def test_two_processes_share_the_images(config, tiny_suite, tmp_path):
    path = config(interval=2)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [FGD, "train", path, "--work-dir", tmp_path / "run", "--out", tmp_path / "out.pth"]
    subprocess.run(command, check=True, timeout=300, env=dict(os.environ, OMP_NUM_THREADS="1"))
    (entry,) = entries(tmp_path / "run")
    assert (entry["iter"], entry["epoch"]) == (10, 2)
    assert entry["box"] == figures_of(tmp_path, tiny_suite)["box"]


@pytest.mark.parametrize("average", [None, dict(momentum=0.01, total_iter=5)])
def test_two_processes_evaluate_the_same_detector(config, tmp_path, two_processes, average):
    path = config(interval=2)
    cfg = Config.fromfile(str(path))
    if average:
        cfg.ema = average
    write_config(cfg, path)
    script = """if True:
        import os, sys
        from pathlib import Path
        from fgd.checkpoint import content_hash
        from fgd.training import train, validation
        detect = validation.detect
        def noted(model, *rest):
            tensors = dict(model.student.state_dict())
            Path(sys.argv[2], os.environ["RANK"]).write_text(content_hash(tensors))
            return detect(model, *rest)
        validation.detect = noted
        train(*sys.argv[1:])
    """
    done = two_processes(script, path, tmp_path / "run", tmp_path / "out.pth")
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / "run" / rank).read_text() for rank in "01")
    assert first == second
    # It is the first process's, and what will be transferred.
    transfer(tmp_path / "out.pth", tmp_path / "student.pth", "student")
    assert first == content_hash(read_checkpoint(tmp_path / "student.pth")["state_dict"])


@pytest.fixture
def metrics(monkeypatch):
    """Let the AP after each epoch be told."""

    def tell(*aps):
        told = iter(aps)
        monkeypatch.setattr(
            validation_module, "coco_metrics", lambda *_, **__: {"box": {"AP": next(told)}}
        )

    return tell


def test_a_collapse_is_told_and_training_goes_on(config, metrics, tmp_path, caplog):
    metrics(0.3, 0.1)
    with caplog.at_level("WARNING", logger="fgd"):
        train(config(interval=1), tmp_path / "run", tmp_path / "out.pth")
    assert "epoch 2: box AP has collapsed to 10.0, after 30.0 in epoch 1" in caplog.text
    assert (tmp_path / "out.pth").exists()


def test_a_collapse_stops_the_run_and_stops_it_again(config, metrics, tmp_path):
    path = config(interval=1, collapse=dict(action="stop"))
    metrics(0.3, 0.1)
    for _ in range(2):
        with pytest.raises(FGDError, match=r"collapsed to 10\.0.*last states are kept in"):
            train(path, tmp_path / "run", tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize(
    ("aps", "below", "collapsed"),
    [
        ([0.3, 0.2, 0.149], 0.5, True),
        ([0.3, 0.2, 0.151], 0.5, False),
        ([0.3, 0.2, 0.1], 0.3, False),
        ([0.009, 0.0], 0.5, False),
        ([0.3], 0.5, False),
        ([], 0.5, False),
    ],
)
def test_what_a_collapse_is(tmp_path, aps, below, collapsed):
    for number, ap in enumerate(aps, 1):
        entry = {"iter": number, "epoch": number, "box": {"AP": ap}}
        progress.append(tmp_path, entry, progress.VALIDATION)
    validation = Validation(None, None, None, tmp_path, 1, 1, Collapse(action="stop", below=below))
    assert (validation._collapse() is not None) == collapsed


def test_an_old_collapse_is_not_told_again(tmp_path):
    """After epochs without metrics, and where a run goes on in the middle of one."""
    for epoch, ap in [(2, 0.3), (4, 0.1)]:
        entry = {"iter": 10 * epoch, "epoch": epoch, "box": {"AP": ap}}
        progress.append(tmp_path, entry, progress.VALIDATION)
    cfg = Config(dict(runner=dict(max_epochs=8)))
    validation = Validation(cfg, None, None, tmp_path, 2, 10, Collapse(action="stop"))
    assert validation.after_epoch(5) == {}
    assert validation.catch_up(45) == {}
    with pytest.raises(FGDError, match="epoch 4: box AP has collapsed"):
        validation.catch_up(40)
