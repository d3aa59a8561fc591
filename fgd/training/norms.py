"""Batch norms that learn: each process's see its own images alone.

So with another number of processes they learn something else, though a step's images are the same.
The published students' do not learn.
"""

from collections.abc import Iterator
from typing import Any

from mmcv import Config
from mmdet.models.detectors import BaseDetector
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def other_images(
    detector: BaseDetector, cfg: Config, world_size: int, log: list[dict[str, Any]]
) -> Iterator[str]:
    """From how many images its batch norms learn, where these are not the suite's; a line each.

    Args:
        detector: to be trained; in training mode after it, which says which of them learn.
        cfg: its training config.
        world_size: processes that share a step's images.
        log: entries of the run so far.
    """
    trained = getattr(detector, "student", detector).train()
    learning = any(
        isinstance(module, _BatchNorm)
        and module.training
        and not (isinstance(module, nn.SyncBatchNorm) and world_size > 1)
        for module in trained.modules()
    )
    if not learning:
        return
    images, wanted = cfg.total_batch // world_size, cfg.data.samples_per_gpu
    if images != wanted:
        yield (
            f"its batch norms learn, from the {images} images of a process; with the suite's gpus "
            f"they would from {wanted} (samples_per_gpu), and learn something else"
        )
    before = log[-1].get("processes", world_size) if log else world_size
    if before != world_size:
        yield (
            f"its batch norms learn, until iteration {log[-1]['iter']} from "
            f"{cfg.total_batch // before} images of a process, from now on from {images}"
        )
