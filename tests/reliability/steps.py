"""A day's worth of iterations in miniature: the real loop around a tiny model."""

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


def tiny_loop(folder: Path, steps: int, log_interval: int, state_interval: int):
    """A loop of at least `steps` iterations, in epochs of ten."""
    from fgd.training.background import Background
    from fgd.training.log import Log
    from fgd.training.loop import Loop
    from fgd.training.runner import Runner
    from fgd.training.sampling import BatchPlan, SeededDataset
    from fgd.training.state import Meta, States
    from fgd.training.step import Trainable
    from fgd.training.watch import Incidents, Policy, Watch

    folder.mkdir(parents=True)
    detector = _Detector()
    model = Trainable(detector, torch.device("cpu"), distributed=False)
    optimizer = torch.optim.SGD(detector.parameters(), lr=1e-3, momentum=0.9)
    plan = BatchPlan(np.zeros(20, int), 2, rank=0, world_size=1, seed=0)
    loader = DataLoader(SeededDataset(_Images()), batch_sampler=plan)
    runner = Runner(
        model, optimizer, loader, max_epochs=-(-steps // len(loader)), done=0, folder=folder
    )
    meta = Meta(fingerprint="", seed=0)
    return Loop(
        runner=runner,
        model=model,
        optimizer=optimizer,
        grad_clip=dict(max_norm=35, norm_type=2),
        average=None,
        watch=Watch(folder, Policy(), Incidents(), model, optimizer, meta),
        log=Log(folder, 2, runner.max_epochs, runner.max_iters),
        validation=None,
        states=States(folder, model, optimizer, None, Background()),
        meta=meta,
        log_interval=log_interval,
        state_interval=state_interval,
    )


def count(folder: Path, steps: int) -> dict[str, float]:
    """Train `steps` iterations; memory in MB and open files after a tenth and at the end."""
    torch.set_num_threads(1)
    loop = tiny_loop(folder, steps, log_interval=50, state_interval=500)
    used: dict[str, float] = {}
    loop.runner.register_hook(_Usage(used, steps // 10))
    with loop.states.background:
        loop.run()
        used.update(_now("late"))
    return {"steps": loop.runner.iter, **used}


def _Usage(used: dict[str, float], early: int):
    from mmcv.runner.hooks import Hook

    class Usage(Hook):
        def after_train_iter(self, runner: Any) -> None:
            if runner.iter + 1 == early:
                used.update(_now("early"))

    return Usage()


def _now(when: str) -> dict[str, float]:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        f"{when} MB": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        f"{when} files": len(os.listdir("/proc/self/fd")),
    }
