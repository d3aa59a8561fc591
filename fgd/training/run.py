"""A training run from its config to its final checkpoint; read it top to bottom."""

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from mmcv import Config
from mmcv.utils import get_logger
from mmdet.models import build_detector
from mmdet.models.detectors import BaseDetector

import fgd.distiller  # registers FGDDistiller with mmdet
from fgd import progress
from fgd.configs import read_training
from fgd.data.batches import Collate, WatchedLoader
from fgd.errors import FGDError
from fgd.files import link_or_copy, write_json
from fgd.fingerprint import fingerprint, starting_weights, training_annotations
from fgd.pair import an_image
from fgd.precision import AUTO, Precision, usual
from fgd.provenance import of_training
from fgd.starting_weights import check_start, own_values, summary
from fgd.suite import rate
from fgd.training import curves, ranks
from fgd.training.background import Background
from fgd.training.dataset import training_set
from fgd.training.ema import MovingAverage
from fgd.training.epochs import epoch_hooks
from fgd.training.log import Log
from fgd.training.loop import Loop
from fgd.training.norms import other_images
from fgd.training.optimizer import build_optimizer
from fgd.training.runner import Runner
from fgd.training.sampling import BatchPlan, SeededDataset, derive_seed, seed_everything
from fgd.training.space import check_space, explain_full_disk, state_bytes
from fgd.training.state import (
    KEPT,
    Meta,
    States,
    check_agreement,
    exclusive,
    find_state,
    saved_states,
    set_aside,
    tidy,
)
from fgd.training.step import Trainable
from fgd.training.validation import Collapse, Validation
from fgd.training.watch import GoBack, Incidents, Policy, Watch
from fgd.training.yolox import yolox_hooks


def train(config: str | Path, work_dir: str | Path, out: str | Path, patience_s: float = 0) -> None:
    """Train what `config` describes, resuming from `work_dir` where an earlier run was stopped.

    One process trains on one device. Under torchrun or submitit (`RANK`, `WORLD_SIZE`,
    `LOCAL_RANK`, `MASTER_ADDR`, `MASTER_PORT` in the environment) all ranks train together.

    Args:
        config: a composed training config (see `fgd compose`).
        work_dir: training states and the log; a folder that another recipe left is renamed, never
            mixed or deleted.
        out: the final training state, written when training is done.
        patience_s: how long to wait for another run in `work_dir` to end.

    Raises:
        FGDError: the config or a checkpoint that it names is wrong.
    """
    work_dir = Path(work_dir)
    with (
        ranks.process_group() as (rank, world_size, device),
        exclusive(work_dir, rank, patience_s),
    ):
        # In a function of its own, so that the gradient buckets are freed while their process group
        # exists: gloo's threads can wait for each other for ever if it goes first.
        going_on = True
        while going_on:
            going_on = _run_back(
                Path(config), work_dir, Path(out), rank=rank, world_size=world_size, device=device
            )
        if world_size > 1:
            dist.barrier()


def _run_back(
    config: Path, work_dir: Path, out: Path, *, rank: int, world_size: int, device: torch.device
) -> bool:
    """Whether something went wrong, and the run has to go back to its last state."""
    try:
        _run(config, work_dir, out, rank=rank, world_size=world_size, device=device)
    except GoBack:
        if dist.is_initialized():
            dist.barrier()  # the first one has written its last state
        return True
    return False


def _run(
    config: Path, work_dir: Path, out: Path, *, rank: int, world_size: int, device: torch.device
) -> None:
    cfg = read_training(config)
    logger = _logger(rank)
    identity = fingerprint(config)
    logger.info("%s", _batch(cfg, world_size))
    state = _earlier_state(work_dir, identity, rank, logger)
    meta = Meta(fingerprint=identity, seed=cfg.seed) if state is None else Meta.of(state)
    # The first one has just put an earlier recipe's folder aside: nobody else may look into it.
    incidents = ranks.from_first(Incidents.load(work_dir, identity) if rank == 0 else None)

    seed_everything(derive_seed(cfg.seed))
    dataset = training_set(cfg.data.train, logger)
    detector = _build(cfg, dataset.CLASSES)
    _check_levels(detector, cfg, logger)
    if state is None:
        detector.init_weights()
        _check_start(detector, cfg, work_dir, rank, logger)
    precision = Precision(_precision(cfg, meta.precision, device), device)
    detector = detector.to(device)
    if cfg.get("channels_last", False):
        detector = detector.to(memory_format=torch.channels_last)
    optimizer = build_optimizer(detector, cfg.optimizer, precision)
    trained = getattr(detector, "student", detector)
    average = MovingAverage(trained, **cfg.ema) if "ema" in cfg else None
    # One more than are kept: the next is written before the oldest goes.
    check_space(work_dir, state_bytes(detector, optimizer, average), KEPT + 1)
    batch_size = cfg.total_batch // world_size
    plan = BatchPlan(dataset.flag, batch_size, rank=rank, world_size=world_size, seed=cfg.seed)
    norms = other_images(detector, cfg, world_size, progress.read(work_dir))
    for line in (*plan.repeated(), *norms):
        logger.warning("%s", line)
    model = Trainable(
        detector,
        device,
        distributed=world_size > 1,
        precision=precision,
        unused=cfg.get("find_unused_parameters", False),
    )
    states = States(work_dir, model, optimizer, average, Background())
    if state is not None:
        states.restore(state)
    meta = replace(
        meta,
        CLASSES=list(dataset.CLASSES),
        fgd=_origin(cfg, config, identity, meta.fgd),
        precision=precision.name,
    )
    loader = _loader(cfg, dataset, plan)
    runner = Runner(
        model, optimizer, loader, max_epochs=cfg.runner.max_epochs, done=meta.iter, folder=work_dir
    )
    _add_hooks(runner, cfg, detector, identity, logger)
    started = time.monotonic()
    with states.background:
        Loop(
            runner=runner,
            model=model,
            optimizer=optimizer,
            grad_clip=cfg.optimizer_config.get("grad_clip"),
            average=average,
            watch=Watch(
                work_dir, Policy(**cfg.get("watch", {})), incidents, model, optimizer, meta
            ),
            log=Log(work_dir, cfg.total_batch, runner.max_epochs, runner.max_iters),
            validation=_validation(cfg, model, average, work_dir, len(loader)),
            states=states,
            meta=meta,
            log_interval=cfg.log.interval,
            state_interval=cfg.checkpoint.interval,
        ).run()
    if rank == 0:
        _finish(work_dir, out)
        logger.info("trained in %.0f s: %s", time.monotonic() - started, out)


def _add_hooks(
    runner: Runner, cfg: Config, detector: BaseDetector, identity: str, logger: logging.Logger
) -> None:
    """What mmcv's and mmdet's hooks do in the loop: rates, YOLOX's changes, curves."""
    folder = Path(runner.work_dir)
    lr_config = cfg.lr_config
    for fitting in (rate.fitting_warmup, rate.fitting_periods):
        lr_config, note = fitting(lr_config, len(runner.data_loader), runner.max_epochs)
        if note is not None:
            logger.warning("%s", note)
    runner.register_lr_hook(lr_config)
    for hook in (
        *epoch_hooks(detector),
        *yolox_hooks(detector, cfg.seed, cfg.get("last_epochs")),
        *curves.hooks(cfg.log.get("curves", []), folder, identity, _name(cfg)),
    ):
        runner.register_hook(hook)


def _validation(
    cfg: Config, model: Trainable, average: MovingAverage | None, work_dir: Path, epoch_length: int
) -> Validation | None:
    if "validation" not in cfg:
        return None
    policy = Collapse(**cfg.validation.get("collapse", {}))
    return Validation(cfg, model, average, work_dir, cfg.validation.interval, epoch_length, policy)


def _origin(cfg: Config, config: Path, fingerprint: str, begun: dict[str, Any]) -> dict:
    """The recipe and what it was trained from; a plain student keeps it.

    Args:
        begun: the same of the state that it goes on from; of other software, it is kept, too.
    """
    files, data = starting_weights(cfg), training_annotations(cfg)
    made = of_training(config, fingerprint, files, data)
    earlier = begun.get("made", {})
    software = {key: earlier[key] for key in ("versions", "commit") if key in earlier}
    before = earlier.get("before", [])
    if any(made[key] != value for key, value in software.items()):
        before = [*before, software]
    return {**cfg.get("recipe", {}), "made": made | ({"before": before} if before else {})}


def _earlier_state(
    work_dir: Path, fingerprint: str, rank: int, logger: logging.Logger
) -> dict | None:
    state = find_state(work_dir, logger)
    check_agreement(work_dir, state)  # all have read the folder before one renames it
    matches = state is None or state["meta"]["fingerprint"] == fingerprint
    if not matches and rank == 0:
        logger.info("%s belongs to another recipe; kept as %s", work_dir, set_aside(work_dir))
    elif rank == 0:
        tidy(work_dir, state)
    work_dir.mkdir(parents=True, exist_ok=True)
    return state if matches else None


def _build(cfg: Config, classes: tuple[str, ...]) -> BaseDetector:
    # Seeded here, so that the check can build the same detector again.
    seed_everything(derive_seed(cfg.seed))
    detector = build_detector(cfg.model)
    detector.CLASSES = classes
    return detector


def _check_levels(detector: BaseDetector, cfg: Config, logger: logging.Logger) -> None:
    """Whether a distiller's features fit the images, and which levels of the teacher it takes."""
    if not isinstance(detector, fgd.distiller.FGDDistiller):
        return
    detector.check_sizes(an_image(cfg.data.train))
    ours = detector.pair.student.levels or {}
    for level, other in detector.teachers_level.items():
        if level != other:
            stride = ours[level].stride
            logger.info(
                "level %d learns from the teacher's level %d, of stride %g", level, other, stride
            )


def _check_start(
    detector: BaseDetector, cfg: Config, work_dir: Path, rank: int, logger: logging.Logger
) -> None:
    # Every rank checks what it starts from, so that all of them stop and tell the reason.
    own = own_values(_build(cfg, detector.CLASSES))
    start = check_start(detector, own, cfg.model, from_scratch=cfg.get("from_scratch", False))
    if rank == 0:
        write_json(work_dir / "weights.json", start)
    logger.info("%s", summary(start))


def _name(cfg: Config) -> str:
    """Suite, row and arm, or suite and teacher."""
    recipe = cfg.get("recipe", {})
    keys = ("suite", "row", "arm") if "row" in recipe else ("suite", "teacher")
    return ".".join(recipe[key] for key in keys if key in recipe) or "fgd"


def _batch(cfg: Config, world_size: int) -> str:
    """How processes share the images of a step, and the arithmetic of the learning rate.

    The total batch belongs to the recipe, and so does the learning rate that follows it; the
    processes of a run share it, however many they are.

    Raises:
        FGDError: they cannot, or the learning rate is for another batch.
    """
    images = cfg.total_batch / world_size
    if not images.is_integer():
        raise FGDError(
            f"{world_size} processes cannot share the {cfg.total_batch} images of a step evenly: "
            "start a number of processes that divides it, or change the suite's gpus and "
            "samples_per_gpu"
        )
    return (
        f"{cfg.total_batch} images a step = {world_size} processes x {images:.0f}; "
        f"{rate.of_config(cfg)}"
    )


def _loader(cfg: Config, dataset: Any, plan: BatchPlan) -> WatchedLoader:
    workers = cfg.data.workers_per_gpu
    return WatchedLoader(
        annotation_file=dataset.annotation_file,
        dataset=SeededDataset(dataset),
        batch_sampler=plan,
        num_workers=workers,
        # New workers for every epoch where the pipeline changes in the last ones.
        persistent_workers=workers > 0 and "last_epochs" not in cfg,
        collate_fn=Collate(plan.batch_size),
        pin_memory=torch.cuda.is_available(),
    )


def _precision(cfg: Config, begun: str | None, device: torch.device) -> str:
    """The name of what the run computes in; a resumed one goes on in what it began with."""
    name = cfg.get("precision", "fp32")
    if name != AUTO:
        return name
    return ranks.from_first(begun or usual(device))  # all as the first, whatever devices they have


def _finish(work_dir: Path, out: Path) -> None:
    newest = saved_states(work_dir)[-1]
    with explain_full_disk(out, newest.stat().st_size, f"{newest} is intact"):
        link_or_copy(newest, out)


def _logger(rank: int) -> logging.Logger:
    # mmcv announces the initialisation of every tensor and warns of a checkpoint's classifier; the
    # check of weights tells it better.
    get_logger("mmcv").setLevel(logging.ERROR)
    logger = logging.getLogger("fgd")
    logger.setLevel(logging.INFO if rank == 0 else logging.ERROR)
    return logger
