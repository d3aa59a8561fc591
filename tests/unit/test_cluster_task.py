"""What a rank does around its training: which GPUs it sees, what it refuses, how it ends."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock
from uuid import uuid4

import pytest
import torch

import fgd.fingerprint
import fgd.training
from cluster.devices import Gpu
from cluster.executors import task_paths
from cluster.task import TrainingTask
from fgd.errors import FGDError

TASK = TrainingTask(Path("/fgd/config.py"), Path("/fgd/run"), Path("/fgd/run/final.pth"), "abc")


@pytest.fixture
def seen_gpus(monkeypatch, tmp_path):
    """What a training of a task would see as CUDA_VISIBLE_DEVICES."""
    seen = []

    def train(*_, **__):
        seen.append(os.environ.get("CUDA_VISIBLE_DEVICES"))

    monkeypatch.setattr(fgd.training, "train", train)
    monkeypatch.setattr(fgd.fingerprint, "fingerprint", lambda config: "abc")
    monkeypatch.setattr("fgd.progress.log_to", lambda stream: None)

    def run(task, executor, given):
        job = {"SUBMITIT_LOCAL_JOB_ID": "17", "SLURM_JOB_ID": "17"}
        environment = {"SUBMITIT_EXECUTOR": executor, "CUDA_VISIBLE_DEVICES": given, **job}
        environment["SUBMITIT_FOLDER"] = str(tmp_path)
        before = signal.getsignal(signal.SIGUSR2)
        with mock.patch.dict(os.environ, environment):
            task()
        signal.signal(signal.SIGUSR2, before)
        return seen.pop()

    return run


@pytest.mark.parametrize(("gpus", "seen"), [((), ""), (("2", "3"), "2,3")])
def test_on_this_machine_a_rank_sees_the_gpus_of_its_job(seen_gpus, gpus, seen):
    # submitit hides them all.
    reserved = tuple(Gpu(name, uuid4().hex) for name in gpus)
    assert seen_gpus(replace(TASK, gpus=reserved), "local", "") == seen


def test_on_slurm_a_rank_sees_what_slurm_gives_it(seen_gpus):
    assert seen_gpus(TASK, "slurm", "0,1") == "0,1"


def test_nobody_trains_for_days_on_a_cpu_who_asked_for_gpus(seen_gpus, monkeypatch):
    # In torch's place, so that both are tested on every machine.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert seen_gpus(replace(TASK, wants_gpu=True), "slurm", "0,1") == "0,1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(FGDError, match=r"finds no GPU on .*, where Slurm gave the job 0,1: `fgd"):
        seen_gpus(replace(TASK, wants_gpu=True), "slurm", "0,1")


def test_the_error_of_an_earlier_start_is_removed(seen_gpus, tmp_path):
    result = task_paths(tmp_path, "17", 0).result_pickle
    result.touch()
    seen_gpus(TASK, "slurm", "")
    assert not result.exists()


def test_a_training_that_is_no_longer_the_one_that_was_submitted_is_refused(seen_gpus):
    with pytest.raises(FGDError, match=r"/fgd/config\.py: .* have changed since"):
        seen_gpus(replace(TASK, fingerprint="old"), "slurm", "")


# A rank as submitit runs it: with its own handler of the signal, which Python forgets at the end.
RANK = """
import os, signal
import fgd.fingerprint
import fgd.training
from cluster.task import TrainingTask

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGUSR2)

signal.signal(signal.SIGUSR2, lambda *_: None)
fgd.training.train = lambda *_, **__: print("trained")
fgd.fingerprint.fingerprint = lambda config: "abc"
late = Late()
TrainingTask("config.py", "run", "final.pth", "abc")()
"""


def test_the_signal_of_a_time_limit_does_not_kill_a_rank_that_is_done(tmp_path):
    job = {"SUBMITIT_EXECUTOR": "slurm", "SUBMITIT_LOCAL_JOB_ID": "17", "SLURM_JOB_ID": "17"}
    job["SUBMITIT_FOLDER"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", RANK], env=os.environ | job, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr
