"""What a rank does before it trains: which GPUs it sees."""

import os
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest

import fgd.train
from cluster.task import TrainingTask

TASK = TrainingTask(Path("/fgd/config.py"), Path("/fgd/run"), Path("/fgd/run/final.pth"))


@pytest.fixture
def devices(monkeypatch):
    """What a training of a task would see as CUDA_VISIBLE_DEVICES."""
    seen = []

    def train(*_, **__):
        seen.append(os.environ.get("CUDA_VISIBLE_DEVICES"))

    monkeypatch.setattr(fgd.train, "train", train)
    monkeypatch.setattr("fgd.progress.log_to", lambda stream: None)

    def run(task, executor, given):
        job = {"SUBMITIT_LOCAL_JOB_ID": "17", "SLURM_JOB_ID": "17"}
        environment = {"SUBMITIT_EXECUTOR": executor, "CUDA_VISIBLE_DEVICES": given, **job}
        with mock.patch.dict(os.environ, environment):
            task()
        return seen.pop()

    return run


@pytest.mark.parametrize("launchers", [None, "2,3", ""])
def test_on_this_machine_a_rank_sees_the_launchers_gpus(devices, launchers):
    # submitit hides them all.
    assert devices(replace(TASK, visible_devices=launchers), "local", "") == launchers


def test_on_slurm_a_rank_sees_what_slurm_gives_it(devices):
    assert devices(TASK, "slurm", "0,1") == "0,1"
