"""A training run from its config to its final checkpoint; read it top to bottom."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmcv import Config
from mmcv.parallel import collate
from mmcv.runner import build_optimizer
from mmcv.utils import get_logger
from mmdet.datasets import build_dataset
from mmdet.models import build_detector
from torch import nn
from torch.utils.data import DataLoader

import fgd.distiller  # registers FGDDistiller with mmdet
from fgd.errors import FGDError
from fgd.files import atomic_path, sha256
from fgd.train.log import LogHook
from fgd.train.runner import ExactRunner, IterationSeedHook, StepHook
from fgd.train.sampling import BatchPlan, SeededDataset, derive_seed, seed_everything
from fgd.train.state import StateHook, exclusive, find_state, restore, set_aside
from fgd.train.step import Trainable


def train(config: str | Path, work_dir: str | Path, out: str | Path) -> None:
    """Train what `config` describes, resuming from `work_dir` where an earlier run was stopped.

    One process trains on one device. Under torchrun or submitit (`RANK`, `WORLD_SIZE`,
    `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT` in the environment) all ranks train together.

    Args:
        config: a composed training config (see `fgd compose`).
        work_dir: training states and the log; a folder that another recipe left is renamed, never
            mixed or deleted.
        out: the final training state, written when training is done.

    Raises:
        FGDError: the config or a checkpoint that it names is wrong.
    """
    work_dir = Path(work_dir)
    with _process_group() as (rank, world_size, device), exclusive(work_dir, rank):
        # In a function of its own, so that the gradient buckets are freed while their process group
        # exists: gloo's threads can wait for each other for ever if it goes first.
        _run(Path(config), work_dir, Path(out), rank, world_size, device)
        if world_size > 1:
            dist.barrier()


def _run(
    config: Path, work_dir: Path, out: Path, rank: int, world_size: int, device: torch.device
) -> None:
    cfg = Config.fromfile(str(config))
    logger = _logger(rank)
    meta = {"fingerprint": fingerprint(config, cfg), "seed": cfg.seed}
    state = _earlier_state(work_dir, meta, rank, logger)

    seed_everything(derive_seed(cfg.seed))
    dataset = build_dataset(cfg.data.train)
    detector = _build(cfg, dataset.CLASSES, initialise=state is None).to(device)
    optimizer = build_optimizer(detector, cfg.optimizer)
    loader = _loader(cfg, dataset, rank, world_size)

    runner = ExactRunner(
        Trainable(detector, device, distributed=world_size > 1),
        optimizer=optimizer,
        work_dir=str(work_dir),
        logger=logger,
        max_epochs=cfg.runner.max_epochs,
    )
    if state is not None:
        runner.start_at(restore(state, detector, optimizer, str(work_dir)), len(loader))
    total = cfg.data.samples_per_gpu * world_size
    saved = {**meta, "CLASSES": list(dataset.CLASSES), "fgd": dict(cfg.get("recipe", {}))}
    runner.register_lr_hook(dict(cfg.lr_config))
    runner.register_hook(IterationSeedHook(cfg.seed))
    runner.register_hook(StepHook(cfg.optimizer_config.get("grad_clip")))
    # The log before the state: a resumed log has every line up to its state, and none after.
    runner.register_hook(LogHook(work_dir, logger, cfg.log.interval, total))
    runner.register_hook(StateHook(work_dir, cfg.checkpoint.interval, saved))

    started = time.monotonic()
    runner.run(loader)
    if rank == 0:
        _finish(work_dir, out)
        logger.info("trained in %.0f s: %s", time.monotonic() - started, out)


def fingerprint(config: str | Path, cfg: Config) -> str:
    """A hash of everything that decides a run's result: settings and the weights it starts from."""
    settings = cfg._cfg_dict.to_dict()
    # How often a line or a state is written, and by how many workers samples are read, does not.
    del settings["log"], settings["checkpoint"], settings["data"]["workers_per_gpu"]
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for checkpoint in sorted(set(_checkpoints(cfg.model))):
        if not Path(checkpoint).is_file():
            raise FGDError(f"{config}: names the checkpoint {checkpoint}, which does not exist")
        digest.update(sha256(checkpoint).encode())
    return digest.hexdigest()


def _checkpoints(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("checkpoint", "teacher_checkpoint") and isinstance(item, str):
                yield item
            else:
                yield from _checkpoints(item)
    elif isinstance(value, list):
        for item in value:
            yield from _checkpoints(item)


def _earlier_state(work_dir: Path, meta: dict, rank: int, logger: logging.Logger) -> dict | None:
    state = find_state(work_dir, logger)
    matches = state is None or state["meta"]["fingerprint"] == meta["fingerprint"]
    if dist.is_initialized():
        dist.barrier()  # all ranks have read the folder before one renames it
    if not matches and rank == 0:
        logger.info("%s belongs to another recipe; kept as %s", work_dir, set_aside(work_dir))
    work_dir.mkdir(parents=True, exist_ok=True)
    return state if matches else None


def _build(cfg: Config, classes: tuple[str, ...], initialise: bool) -> nn.Module:
    detector = build_detector(cfg.model)
    detector.CLASSES = classes
    if isinstance(detector, fgd.distiller.FGDDistiller):
        detector.check_levels()
    if initialise:
        detector.init_weights()
    return detector


def _loader(cfg: Config, dataset: Any, rank: int, world_size: int) -> DataLoader:
    batch_size = cfg.data.samples_per_gpu
    plan = BatchPlan(dataset.flag, batch_size, rank, world_size, cfg.seed)
    workers = cfg.data.workers_per_gpu
    return DataLoader(
        SeededDataset(dataset),
        batch_sampler=plan,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_Collate(batch_size),
        pin_memory=torch.cuda.is_available(),
    )


class _Collate:
    """mmcv's collate with its second argument bound, in a form that worker processes can take."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size

    def __call__(self, batch: list) -> Any:
        return collate(batch, self._batch_size)


def _finish(work_dir: Path, out: Path) -> None:
    # A hard link: the final state is hundreds of megabytes, and it is already safely on disk.
    newest = max(work_dir.glob("iter_*.pth"))
    with atomic_path(out) as temporary:
        temporary.unlink()
        os.link(newest, temporary)
        os.utime(temporary)  # newer than what it was made from, also if it was made before


@contextmanager
def _process_group() -> Iterator[tuple[int, int, torch.device]]:
    """This process's rank, the world size and its device."""
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda", local_rank) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        yield 0, 1, device
        return
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield dist.get_rank(), dist.get_world_size(), device
    finally:
        dist.destroy_process_group()


def _logger(rank: int) -> logging.Logger:
    # mmdet announces the initialisation of every tensor; the audit of weights tells it better.
    get_logger("mmcv").setLevel(logging.WARNING)
    logger = logging.getLogger("fgd")
    logger.setLevel(logging.INFO if rank == 0 else logging.ERROR)
    return logger
