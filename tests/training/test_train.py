"""Training: exact batches, exact resumption after a kill, nothing of another run mixed in."""

import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from detectors import training_config, write_config
from mmcv import Config
from mmdet.models import build_detector

from fgd.errors import FGDError
from fgd.training import train
from fgd.training.norms import other_images
from fgd.training.sampling import BatchPlan
from fgd.training.state import exclusive, find_state

FGD = Path(sys.executable).with_name("fgd")


def keys(plan, epoch, start=0):
    plan.begin(epoch, start)
    return list(plan)


# --- Which samples make which batch ---


def test_an_epoch_shows_every_sample_in_batches_of_one_orientation():
    flags = np.array([0] * 13 + [1] * 6)
    batches = keys(BatchPlan(flags, 4, rank=0, world_size=1, seed=3), epoch=0)
    assert {key.index for batch in batches for key in batch} == set(range(19))
    assert all(len({flags[key.index] for key in batch}) == 1 for batch in batches)
    assert [len(batch) for batch in batches] == [4] * 6


def test_norms_that_learn_from_other_images_than_the_suite_says_are_told(tiny_suite):
    cfg = training_config(tiny_suite, "retinanet_r50", "baseline")
    student, images = build_detector(cfg.model), cfg.data.samples_per_gpu
    assert list(other_images(student, cfg, 1, [])) == []
    (line,) = other_images(student, cfg, images, [])
    assert f"from the 1 images of a process; with the suite's gpus they would from {images}" in line
    resumed = [dict(iter=7, processes=images)]
    (line,) = other_images(student, cfg, 1, resumed)
    assert "until iteration 7 from 1 images of a process, from now on from" in line
    for module in student.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.train = lambda mode=True, module=module: module  # as frozen ones stay
            module.training = False
    assert list(other_images(student, cfg, images, resumed)) == []


def test_ranks_share_the_batches_of_one_process():
    flags = np.array([0, 1] * 10)
    whole = keys(BatchPlan(flags, 4, rank=0, world_size=1, seed=5), epoch=2)
    halves = [
        keys(BatchPlan(flags, 2, rank=rank, world_size=2, seed=5), epoch=2) for rank in (0, 1)
    ]
    assert [a + b for a, b in zip(*halves, strict=True)] == whole


def test_a_pass_from_the_middle_is_the_rest_of_the_whole():
    plan = BatchPlan(np.zeros(20, int), 3, rank=0, world_size=1, seed=1)
    assert keys(plan, epoch=4, start=2) == keys(plan, epoch=4)[2:]


def test_epochs_and_seeds_differ():
    flags = np.zeros(20, int)
    orders = [
        [
            key.index
            for batch in keys(BatchPlan(flags, 20, rank=0, world_size=1, seed=seed), epoch)
            for key in batch
        ]
        for seed, epoch in [(0, 0), (0, 1), (1, 0)]
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_a_group_smaller_than_a_batch_is_filled_up():
    batches = keys(BatchPlan(np.zeros(3, int), 8, rank=0, world_size=1, seed=0), epoch=0)
    assert len(batches) == 1
    assert len(batches[0]) == 8


def test_an_orientation_with_fewer_images_than_a_step_is_told():
    flags = np.array([1] * 17 + [0] * 3)
    plan = BatchPlan(flags, 4, rank=1, world_size=2, seed=0)
    (line,) = plan.repeated()
    assert line.startswith("3 of 20 images are not wider than high, and the 8 of a step have one ")
    assert "an epoch shows each of these 2.7 times" in line
    assert list(BatchPlan(flags, 3, rank=0, world_size=1, seed=0).repeated()) == []


# --- Runs ---


@pytest.fixture
def run_of(tiny_suite, tmp_path):
    """Writes a row's training config and returns its path."""

    def write(row="retinanet_r50", arm="fgd", **changes) -> Path:
        torch.manual_seed(0)
        config = training_config(tiny_suite, row, arm)
        config.merge_from_dict(changes)
        path = tmp_path / f"{row}_{arm}.py"
        write_config(config, path)
        return path

    return write


def weights(path) -> dict[str, torch.Tensor]:
    return torch.load(path)["state_dict"]


def assert_same_weights(a, b):
    first, second = weights(a), weights(b)
    assert first.keys() == second.keys()
    different = [name for name in first if not torch.equal(first[name], second[name])]
    assert different == []


def test_a_distillation_trains_and_stores_no_teacher(run_of, tmp_path):
    config = run_of()
    train(config, tmp_path / "run", tmp_path / "out.pth")
    state = torch.load(tmp_path / "out.pth")
    assert {name.split(".")[0] for name in state["state_dict"]} == {"student", "distill_losses"}
    assert state["meta"]["iter"] == 10
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert [line["iter"] for line in lines] == list(range(1, 11))
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert {"lr", "eta_seconds", "images_per_second", "grad_norm"} <= lines[0].keys()


def test_a_killed_training_resumes_to_the_same_student_bit_for_bit(run_of, tmp_path):
    config = run_of()
    train(config, tmp_path / "whole", tmp_path / "whole.pth")

    command = [FGD, "train", config, "--work-dir", tmp_path / "killed"]
    command += ["--out", tmp_path / "killed.pth"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    wait_for(lambda: list((tmp_path / "killed").glob("iter_*4.pth")), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed.pth").exists()

    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "resuming from" in finished.stdout
    assert_same_weights(tmp_path / "whole.pth", tmp_path / "killed.pth")
    lines = (tmp_path / "killed/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["iter"] for line in lines] == list(range(1, 11))


def wait_for(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < end, f"nothing happened in {seconds} s"
        time.sleep(0.01)


def test_a_damaged_newest_state_is_passed_over(run_of, tmp_path, caplog):
    config = run_of(arm="baseline")
    train(config, tmp_path / "run", tmp_path / "out.pth")
    newest = max((tmp_path / "run").glob("iter_*.pth"))
    newest.unlink()  # not written to: it is the same file as out.pth
    newest.write_bytes(b"PK\x03\x04 cut short")
    logger = logging.getLogger("test")
    with caplog.at_level(logging.INFO, logger="test"):
        state = find_state(tmp_path / "run", logger)
    assert state["meta"]["iter"] == 8
    assert newest.name in caplog.text


def test_a_run_of_another_recipe_is_set_aside(run_of, tmp_path):
    train(run_of(arm="baseline"), tmp_path / "run", tmp_path / "out.pth")
    old = (tmp_path / "run/log.jsonl").read_text()
    train(run_of(arm="baseline", seed=1), tmp_path / "run", tmp_path / "out.pth")
    assert (tmp_path / "run.previous1/log.jsonl").read_text() == old
    assert torch.load(tmp_path / "out.pth")["meta"]["seed"] == 1


def test_a_finished_run_is_not_trained_again(run_of, tmp_path):
    config = run_of(arm="baseline")
    train(config, tmp_path / "run", tmp_path / "out.pth")
    before = os.stat(tmp_path / "out.pth").st_ino
    (tmp_path / "out.pth").unlink()
    train(config, tmp_path / "run", tmp_path / "out.pth")
    assert os.stat(tmp_path / "out.pth").st_ino == before


def test_a_missing_checkpoint_is_named_before_training(run_of, tmp_path):
    config = run_of()
    checkpoint = Config.fromfile(str(config)).model.teacher_checkpoint
    Path(checkpoint).unlink()
    with pytest.raises(FGDError, match=r"teacher\.pth, which does not exist"):
        train(config, tmp_path / "run", tmp_path / "out.pth")
    assert not (tmp_path / "run").exists()


def test_a_second_run_in_the_same_folder_is_refused(run_of, tmp_path, monkeypatch):
    config = run_of(arm="baseline")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    other = rf"another process is training there \(Slurm job 17, process {os.getpid()} on "
    with exclusive(tmp_path / "run", rank=0), pytest.raises(FGDError, match=other):
        train(config, tmp_path / "run", tmp_path / "out.pth")


def test_a_run_waits_for_what_is_left_of_the_one_before(tmp_path):
    command = ["flock", tmp_path / ".run.lock", "sh", "-c", "echo locked; sleep 1"]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE)
    holder.stdout.readline()
    with exclusive(tmp_path / "run", rank=0, patience_s=60):
        assert holder.wait() == 0


def test_two_processes_train_together(run_of, tmp_path):
    config = run_of(data=dict(samples_per_gpu=1))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [FGD, "train", config, "--work-dir", tmp_path / "run", "--out", tmp_path / "out.pth"]
    subprocess.run(command, check=True, timeout=300, env=dict(os.environ, OMP_NUM_THREADS="1"))
    state = torch.load(tmp_path / "out.pth")
    assert state["meta"]["iter"] == 10
    assert {name.split(".")[0] for name in state["state_dict"]} == {"student", "distill_losses"}


def test_processes_that_find_different_states_do_not_train_together(
    run_of, tmp_path, two_processes
):
    config = run_of(arm="baseline")
    train(config, tmp_path / "run", tmp_path / "out.pth")
    (tmp_path / "out.pth").unlink()
    shutil.copytree(tmp_path / "run", tmp_path / "run_as_it_was")
    max((tmp_path / "run_as_it_was").glob("iter_*.pth")).unlink()
    script = """if True:
        import os, sys
        from fgd.training import train
        config, folder, out = sys.argv[1:]
        train(config, folder if os.environ["RANK"] == "0" else f"{folder}_as_it_was", out)
    """
    done = two_processes(script, config, tmp_path / "run", tmp_path / "out.pth")
    assert done.returncode
    assert "FGDError" in done.stderr
    found = r"process 0: iteration 10, sha256 \w{8}; process 1: iteration 8, sha256 \w{8}"
    assert re.search(found, done.stderr)
    assert not (tmp_path / "out.pth").exists()
