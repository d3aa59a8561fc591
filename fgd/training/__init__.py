"""Training: a run is a pure function of its config, its seed and the weights it starts from."""

from fgd.training.run import train

__all__ = ["train"]
