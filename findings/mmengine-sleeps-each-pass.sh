#!/usr/bin/env bash
# A training in iterations sleeps for two seconds whenever it has been through its data.
#
# Versions: mmengine 0.10.7, torch 2.13.0, numpy 1.26.4, Python 3.11; seen 2026-11-29.
# One would guess: IterBasedTrainLoop takes as long as its iterations, and a small data set is seen
#     more often in as many of them.
# What happens: before each further pass over the loader it calls time.sleep(2). 100 iterations of 4
#     batches a pass are 24 sleeps, 48 seconds in which nothing is computed; of 100 batches a pass
#     there is none. EpochBasedTrainLoop does not sleep. (mmcv 1's EpochBasedRunner does, before
#     every epoch, and its IterBasedRunner as here.)
# Seen, with time.sleep replaced by a list:
#     IterBasedTrainLoop, 100 iterations, 100 batches a pass: 0 seconds asleep
#     IterBasedTrainLoop, 100 iterations, 4 batches a pass: 48 seconds asleep
#     EpochBasedTrainLoop, 25 epochs, 4 batches a pass: 0 seconds asleep
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    mmengine==0.10.7 torch==2.13.0 numpy==1.26.4 "opencv-python-headless<4.12" "setuptools<81"

venv/bin/python -W ignore - <<'EOF'
import logging
import sys
import time

import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader


class Model(BaseModel):
    """One weight."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, inputs, mode="loss"):
        return {"loss": (self.weight * inputs).sum()}


def asleep(loop, batches):
    """Seconds that a training asks to sleep for, without sleeping."""
    slept = []
    really, time.sleep = time.sleep, slept.append
    try:
        Runner(
            Model(),
            work_dir="work",
            train_dataloader=DataLoader([{"inputs": torch.ones(1)}] * batches, batch_size=1),
            train_cfg=loop,
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
            default_hooks={"checkpoint": None, "logger": None},
            log_level="ERROR",
        ).train()
    finally:
        time.sleep = really
    return sum(slept)


logging.disable(logging.CRITICAL)
seen = []
for name, loop, batches in (
    ("IterBasedTrainLoop, 100 iterations", {"by_epoch": False, "max_iters": 100}, 100),
    ("IterBasedTrainLoop, 100 iterations", {"by_epoch": False, "max_iters": 100}, 4),
    ("EpochBasedTrainLoop, 25 epochs", {"by_epoch": True, "max_epochs": 25}, 4),
):
    seen.append(asleep(loop, batches))
    print(f"{name}, {batches} batches a pass: {seen[-1]} seconds asleep")

as_described = seen == [0, 48, 0]
print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
