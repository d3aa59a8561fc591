"""How long a training state holds up training: copied, or written."""

import tempfile
import time
from pathlib import Path

import torch

from fgd.training.background import Snapshot
from fgd.training.space import content_bytes
from fgd.training.state import write_state

PARAMETERS = 38_407_678  # trained by retinanet_r50, its losses included; SGD keeps as many


def measure(device: str, rounds: int) -> dict:
    """Seconds of both, for a state as large as that of a full-size RetinaNet-R50."""
    tensors = [torch.ones(PARAMETERS // 16, device=device) for _ in range(16)]
    state = {
        "state_dict": {f"weight{i}": tensor for i, tensor in enumerate(tensors)},
        "optimizer": {"state": dict(enumerate(tensor.clone() for tensor in tensors))},
        "meta": {},
    }
    copied, written = [], []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(min(rounds, 3)):
            started = time.perf_counter()
            snapshot = Snapshot(state)
            copied.append(time.perf_counter() - started)
            content = snapshot.content()
            started = time.perf_counter()
            write_state(content, Path(folder) / f"iter_{index:07d}.pth")
            written.append(time.perf_counter() - started)
    return {"bytes": content_bytes(state), "copied": min(copied), "written": min(written)}


def report(result: dict) -> str:
    """Markdown."""
    return "\n".join(
        [
            f"## A training state of {result['bytes'] / 1e6:.0f} MB",
            "",
            f"Training waits {1e3 * result['copied']:.0f} ms for its copy. Hashing, writing and "
            f"reading it back take {1e3 * result['written']:.0f} ms beside training.",
        ]
    )
