"""A day's worth of iterations in miniature: the real runner and hooks around a tiny model."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class _Images(Dataset):
    """Twenty samples of four numbers."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"x": torch.randn(4)}


class _Detector(nn.Module):
    """Losses of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> dict[str, Any]:
        out = self.layer(x)
        return {"loss_a": out.square().mean(), "loss_b": [out.abs().mean(), out.mean().square()]}


def count(folder: Path, steps: int) -> dict[str, float]:
    """Train `steps` iterations; memory in MB and open files after a tenth and at the end."""
    from fgd.training.background import Background
    from fgd.training.log import LogHook
    from fgd.training.runner import ExactRunner, IterationSeedHook, StepHook
    from fgd.training.sampling import BatchPlan, SeededDataset
    from fgd.training.state import StateHook
    from fgd.training.step import Trainable
    from fgd.training.watch import Incidents, Policy, Watch

    torch.set_num_threads(1)
    folder.mkdir(parents=True)
    logger = logging.getLogger("reliability")
    detector = _Detector()
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-3, momentum=0.9)
    plan = BatchPlan(np.zeros(20, int), 2, 0, 1, seed=0)
    loader = DataLoader(SeededDataset(_Images()), batch_sampler=plan)
    runner = ExactRunner(
        Trainable(detector, torch.device("cpu"), distributed=False),
        optimizer=optimizer,
        work_dir=str(folder),
        logger=logger,
        max_epochs=-(-steps // len(loader)),
    )
    meta: dict[str, Any] = {}
    intervals = (50, 500)
    runner.watch = Watch(folder, Policy(), Incidents(), intervals, meta, 0, logger)
    used: dict[str, float] = {}
    runner.register_hook(IterationSeedHook(0))
    runner.register_hook(StepHook(dict(max_norm=35, norm_type=2)))
    runner.register_hook(runner.watch)
    runner.register_hook(LogHook(folder, logger, intervals[0], 2))
    with Background() as background:
        runner.register_hook(StateHook(folder, intervals[1], meta, background))
        runner.register_hook(_Usage(used, steps // 10))
        runner.run(loader)
    return {"steps": runner.iter, **used}


def _Usage(used: dict[str, float], early: int):
    from mmcv.runner.hooks import Hook

    class Usage(Hook):
        def after_train_iter(self, runner: Any) -> None:
            if runner.iter + 1 == early:
                used.update(_now("early"))
            elif self.is_last_iter(runner):
                used.update(_now("late"))

    return Usage()


def _now(when: str) -> dict[str, float]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        f"{when} MB": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        f"{when} files": len(os.listdir("/proc/self/fd")),
    }
