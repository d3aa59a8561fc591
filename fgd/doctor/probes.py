"""What `fgd doctor` tries in a process of its own: `python -m fgd.doctor.probes operators cuda:0`.

Each function prints one line, or raises. The last line of the traceback is what the report shows.
"""

import os
import sys
from types import ModuleType
from typing import TYPE_CHECKING

from fgd import compat

if TYPE_CHECKING:
    from torch import Tensor


def torchvision() -> None:
    """torchvision's operators: compiled for another torch, they are not there."""
    import torch
    import torchvision

    kept = torchvision.ops.nms(_boxes(torch), torch.tensor([0.9, 0.8, 0.7]), 0.5)
    _expect("torchvision.ops.nms", kept.tolist(), [0, 2])
    print(f"{torchvision.__version__} fits torch {torch.__version__}")


def gpus() -> None:
    """The GPUs that torch can use, with their names."""
    import torch

    number = torch.cuda.device_count()
    names = sorted({torch.cuda.get_device_name(device) for device in range(number)})
    print(f"{number} {', '.join(names)}")


def memory(device: str) -> None:
    """A GPU's memory, and which rows fit into it."""
    import torch

    from fgd.doctor.memory import verdict

    gigabytes = torch.cuda.get_device_properties(device).total_memory / 1e9
    fitting, others = verdict(gigabytes)
    found = f"{gigabytes:.0f} GB; needed in GB with 2 images: {', '.join(fitting)}"
    if others:
        raise RuntimeError(f"{found}; too much: {', '.join(others)}")
    print(found)


def operators(device: str) -> None:
    """Those of mmcv's compiled operators that the rows use, run on a device."""
    import torch
    from mmcv.ops import DeformConv2dPack, nms, roi_align

    boxes = _boxes(torch).to(device)
    _, kept = nms(boxes, torch.tensor([0.9, 0.8, 0.7], device=device), 0.5)
    _expect("mmcv.ops.nms", kept.tolist(), [0, 2])
    image = torch.ones(1, 1, 8, 8, device=device)
    roi = torch.tensor([[0.0, 1, 1, 5, 5]], device=device)
    pooled = roi_align(image, roi, (2, 2))
    _expect("mmcv.ops.roi_align", pooled.flatten().tolist(), [1.0] * 4)
    tried = ["nms", "roi_align"]
    if device != "cpu":
        from mmcv.ops import sigmoid_focal_loss

        score = torch.zeros(2, 3, device=device)
        loss = sigmoid_focal_loss(score, torch.tensor([0, 3], device=device))
        if not 0 < float(loss) < 1:
            raise RuntimeError(f"mmcv.ops.sigmoid_focal_loss gives {float(loss)}")
        convolution = DeformConv2dPack(1, 1, 3, padding=1).to(device)
        convolution(image).sum().backward()
        tried += ["sigmoid_focal_loss", "deform_conv2d"]
        torch.cuda.synchronize(device)
    print(f"{', '.join(tried)} give what they should")


def nccl() -> None:
    """A process group of one GPU: NCCL is loaded and reduces."""
    import torch
    import torch.distributed as dist

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    store = dist.TCPStore("127.0.0.1", 0, 1, is_master=True)
    dist.init_process_group("nccl", store=store, rank=0, world_size=1)
    value = torch.ones(1, device="cuda:0")
    dist.all_reduce(value)
    _expect("all_reduce", value.tolist(), [1.0])
    dist.destroy_process_group()
    print(f"{'.'.join(map(str, torch.cuda.nccl.version()))} reduces on GPU 0")


def _boxes(torch: ModuleType) -> "Tensor":
    return torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])


def _expect(name: str, found: list, expected: list) -> None:
    if found != expected:
        raise RuntimeError(f"{name} gives {found}, expected {expected}")


if __name__ == "__main__":
    compat.prepare()
    {probe.__name__: probe for probe in (torchvision, gpus, memory, operators, nccl)}[sys.argv[1]](
        *sys.argv[2:]
    )
