"""Where in a training iteration the host waits for the device.

    python benchmarks/waits.py [ROW]

On a GPU torch's sync debug mode names every synchronising call; on a CPU, where nothing waits, the
calls that read a tensor's value are counted, which on a GPU would wait. Ours should be none.
"""

import collections
import sys
import traceback
import warnings
from collections.abc import Callable

import torch
from detectors import SIZES, batch_of, distiller, for_detector, suite_of
from torch.nn.utils import clip_grad_norm_
from torch.utils._python_dispatch import TorchDispatchMode

from fgd.checkout import root
from fgd.markdown import table
from fgd.training.step import Trainable


class _Reads(TorchDispatchMode):
    def __init__(self, found: collections.Counter) -> None:
        super().__init__()
        self._found = found

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten._local_scalar_dense.default:
            self._found[_caller()] += 1
        return function(*args, **(kwargs or {}))


def _caller() -> str:
    """The innermost line outside of torch and this file."""
    for frame in reversed(traceback.extract_stack()):
        if "/torch/" not in frame.filename and frame.filename != __file__:
            path = frame.filename.split("site-packages/")[-1].removeprefix(f"{root()}/")
            return f"{path}:{frame.lineno} {frame.line}"
    return "?"


def measure(device: str, row: str = "retinanet_r50") -> dict[str, int]:
    """How often each line makes the host wait, in one iteration after a first one."""
    torch_device = torch.device(device)
    name = "coco" if device == "cuda" else "mini"
    with suite_of(name) as suite:
        built = distiller(suite, row, torch_device)
    trainable = Trainable(built, torch_device, distributed=False)
    optimizer = torch.optim.SGD(built.parameters(), lr=1e-6, momentum=0.9)
    batch = for_detector(batch_of(2, SIZES[name], 10, torch_device), built)

    def iteration() -> None:
        optimizer.zero_grad()
        trainable.train_step(batch, optimizer)["loss"].backward()
        clip_grad_norm_(built.parameters(), 35)
        optimizer.step()

    iteration()
    return synchronising_calls(iteration, device)


def synchronising_calls(iteration: Callable[[], None], device: str) -> dict[str, int]:
    """How often each line makes the host wait, the most frequent first."""
    found: collections.Counter = collections.Counter()
    if device == "cuda":
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda *_, **__: found.update([_caller()])
            torch.cuda.set_sync_debug_mode("warn")
            iteration()
            torch.cuda.set_sync_debug_mode("default")
    else:
        with _Reads(found):
            iteration()
    return dict(found.most_common())


def report(result: dict[str, int]) -> str:
    """Markdown."""
    ours = sum(count for line, count in result.items() if line.startswith("fgd/"))
    lines = [[f"`{line}`", str(count)] for line, count in result.items()]
    return "\n\n".join(
        [
            "## Waits of the host in one iteration",
            table(["line", "times"], lines, left=1),
            f"Of these in our own code: {ours}.",
        ]
    )


if __name__ == "__main__":
    print(report(measure("cuda" if torch.cuda.is_available() else "cpu", *sys.argv[1:2])))
