"""What the processes of a training tell each other beside gradients."""

from typing import Any

import torch.distributed as dist


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
