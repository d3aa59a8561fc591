"""mmcv's synchronised batch norm in one process, where it is a batch norm.

mmcv 1.7.2, ops/sync_bn.py: MMSyncBN asks for the number of processes when it is built, and has no
operator for a CPU. Nothing could be built or planned that has one (mmdet's strong baselines).
"""

import functools
import types
from typing import Any

import torch.nn.functional as F
from mmcv.ops import SyncBatchNorm, sync_bn
from torch import Tensor, distributed


class _Alone(types.ModuleType):
    """torch.distributed, for which a process without a group is one of one."""

    def get_world_size(self, group: Any = None) -> int:
        return distributed.get_world_size(group) if distributed.is_initialized() else 1

    def __getattr__(self, name: str) -> Any:
        return getattr(distributed, name)


def work_in_one_process() -> None:
    """Let MMSyncBN be built without a process group, and run where there is no other process."""
    vars(sync_bn)["dist"] = _Alone("torch.distributed")
    together = SyncBatchNorm.forward

    @functools.wraps(together)
    def forward(self: Any, input: Tensor) -> Tensor:
        if self.group_size > 1 or not self.training:
            return together(self, input)
        counted = len(input) > 0  # a head without proposals has nothing to count
        self.num_batches_tracked += int(counted)
        statistics, affine = (self.running_mean, self.running_var), (self.weight, self.bias)
        return F.batch_norm(input, *statistics, *affine, counted, self.momentum, self.eps)

    SyncBatchNorm.forward = forward
