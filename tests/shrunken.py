"""The mini suite with trainings of a few steps, as the dictionary that its file holds."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]


def shrunken(epochs: int = 1, **changes: Any) -> dict[str, Any]:
    """Every detector is trained for as many epochs, a line of the log and a state each step.

    Args:
        changes: other keys of the suite.
    """
    suite = yaml.safe_load((ROOT / "configs/suites/mini.yaml").read_text())
    suite |= dict(checkpoint_interval=1, log_interval=1) | changes
    mini = suite["mini"]
    mini["backbone"]["iterations"] = 1
    mini["student"]["epochs"] = epochs
    mini["teacher"] = {"epochs": epochs}  # in which none gets far
    for detector in mini["detectors"].values():
        detector.pop("epochs", None)
    return suite
