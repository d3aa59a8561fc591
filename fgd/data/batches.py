"""Batches on their way from the data set to the device."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from mmcv.parallel import DataContainer, collate
from torch import Tensor
from torch.utils.data import DataLoader

from fgd.data.dataset import AnnotationFile
from fgd.data.pixels import PixelBatch, Pixels


class WatchedLoader(DataLoader):
    """torch's loader, which looks before every pass whether the annotations are still the same.

    Args:
        annotation_file: of the data set; None where it is not known.
        settings: torch's.
    """

    def __init__(self, *, annotation_file: AnnotationFile | None, **settings: Any) -> None:
        self._annotation_file = annotation_file
        super().__init__(**settings)

    def __iter__(self) -> Any:
        """The batches of a pass, by torch's own iterator.

        Raises:
            FGDError: the annotation file has changed.
        """
        if self._annotation_file is not None:
            self._annotation_file.check()
        return super().__iter__()


class Collate:
    """mmcv's collate for one process, without its containers; images of bytes become a PixelBatch.

    A class, so that worker processes can take it. torch pins the memory of tensors in dictionaries
    and lists, and only from pinned memory can be copied beside computation; mmcv's containers would
    hide them.
    """

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size

    def __call__(self, samples: list) -> Any:
        batch = unpack(collate(samples, self._batch_size))
        images = batch.get("img")
        if isinstance(images, list) and isinstance(images[0], Pixels):
            batch["img"] = PixelBatch(images)
        return batch


def unpack(value: Any) -> Any:
    """The content of mmcv's DataContainers of one process's batch."""
    if isinstance(value, DataContainer):
        # One entry a GPU of the process; a process has one.
        return value.data[0] if isinstance(value.data, list) else value.data
    if isinstance(value, dict):
        return {key: unpack(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unpack(item) for item in value]
    return value


def on_device(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Batches with their tensors on `device`.

    To a GPU they are copied in a stream of their own, while it still works on the step before.
    """
    if device.type != "cuda":
        yield from (to_device(batch, device) for batch in batches)
        return
    copies, work = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    for batch in batches:
        with torch.cuda.stream(copies):
            moved = to_device(batch, device)
        work.wait_stream(copies)
        for tensor in _tensors(moved):
            tensor.record_stream(work)  # its memory is not for other copies before work is done
        yield moved


def to_device(value: Any, device: torch.device) -> Any:
    """Move all tensors nested in dictionaries and lists; images of bytes are finished there."""
    if isinstance(value, PixelBatch):
        return value.on(device)
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: to_device(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [to_device(item, device) for item in value]
    return value


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
