"""The processes of a training: which one this is, what they tell each other beside gradients."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist


@contextmanager
def process_group() -> Iterator[tuple[int, int, torch.device]]:
    """This process's rank, the world size and its device."""
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        # Some sites show each task its own device alone; it is number 0 then.
        device = torch.device("cuda", local_rank % torch.cuda.device_count())
    else:
        device = torch.device("cpu")
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


def rank() -> int:
    """This process among all."""
    return dist.get_rank() if dist.is_initialized() else 0


def count() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def from_first(value: Any) -> Any:
    """The first process's value, for all of them."""
    if not dist.is_initialized():
        return value
    shared = [value]
    dist.broadcast_object_list(shared)
    return shared[0]


def of_all(value: Any) -> list[Any]:
    """The values of all processes, by rank, for each of them."""
    if not dist.is_initialized():
        return [value]
    gathered: list[Any] = [None] * count()
    dist.all_gather_object(gathered, value)
    return gathered


def at_first(value: Any) -> list[Any] | None:
    """The values of all processes, by rank, for the first of them; None for the others."""
    if not dist.is_initialized():
        return [value]
    gathered = [None] * count() if rank() == 0 else None
    dist.gather_object(value, gathered)
    return gathered
