"""Which samples make which batch: a pure function of (seed, epoch), so that a run resumes exactly.

No random state is carried along. The order of an epoch follows from the seed and the epoch alone,
and every sample is augmented with a generator of its own (seed, epoch, index). Neither the number
of worker processes nor the point of interruption can change what the network sees.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from fgd.training import ranks


@dataclass(frozen=True, slots=True)
class SampleKey:
    """What the sampler hands to the dataset: an index and the seed of its augmentations."""

    index: int
    seed: int


class BatchPlan(Sampler[list[SampleKey]]):
    """The batches of one rank, epoch by epoch, from any iteration on.

    As mmdet's GroupSampler does, a batch holds images of one orientation (`flags`), so that little
    is padded. The batches are those of all ranks together, and each rank takes its slice: the
    samples of an iteration depend on the total batch, not on how many ranks share it. The last
    batch of an orientation is filled up from its beginning.

    Args:
        flags: (n,) group of each sample, mmdet's `dataset.flag`.
        batch_size: samples a rank and iteration.
        rank, world_size: this process among all.
        seed: of the run.
    """

    def __init__(
        self, flags: np.ndarray, batch_size: int, *, rank: int, world_size: int, seed: int
    ) -> None:
        self._groups = {int(flag): np.flatnonzero(flags == flag) for flag in np.unique(flags)}
        self.batch_size = batch_size
        self._rank = rank
        self._total = batch_size * world_size
        self._seed = seed
        self._epoch = 0
        self._start = 0

    def __len__(self) -> int:
        """Iterations an epoch."""
        return sum(-(-len(group) // self._total) for group in self._groups.values())

    def begin(self, epoch: int, iteration: int) -> None:
        """Let the next pass be `epoch`, from its `iteration` on."""
        self._epoch, self._start = epoch, iteration

    def __iter__(self) -> Iterator[list[SampleKey]]:
        mine = slice(self._rank * self.batch_size, (self._rank + 1) * self.batch_size)
        for batch in self._batches()[self._start :]:
            yield [
                SampleKey(int(index), derive_seed(self._seed, self._epoch, int(index)))
                for index in batch[mine]
            ]

    def repeated(self) -> Iterator[str]:
        """A line for each orientation with fewer images than a step, which count for more."""
        images = sum(map(len, self._groups.values()))
        for flag, group in self._groups.items():
            if len(group) < self._total:
                orientation = "wider than high" if flag else "not wider than high"
                times = f"{self._total / len(group):.1f}".removesuffix(".0")
                yield (
                    f"{len(group)} of {images} images are {orientation}, and the {self._total} of "
                    f"a step have one orientation: an epoch shows each of these {times} times, as "
                    "with mmdet's sampler. Fewer images a step make it less"
                )

    def _batches(self) -> np.ndarray:
        generator = np.random.default_rng([self._seed, self._epoch])
        batches = []
        for group in self._groups.values():
            order = generator.permutation(group)
            count = -(-len(order) // self._total)
            batches.append(np.resize(order, (count, self._total)))
        return generator.permutation(np.concatenate(batches))


class SeededDataset(Dataset):
    """A dataset whose augmentations depend on the key's seed alone."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> Any:
        seed_everything(key.seed)
        return self.dataset[key.index]


def derive_seed(*numbers: int) -> int:
    """A well mixed 32-bit seed from whole numbers that are not negative."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def seed_iteration(seed: int, iteration: int) -> None:
    """Seed what an iteration draws on this rank, as a run with this seed does.

    What a detector draws at random (RoI samplers) then needs no saved generator state to resume.
    """
    seed_everything(derive_seed(seed, iteration, ranks.rank()))


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, on all devices."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
