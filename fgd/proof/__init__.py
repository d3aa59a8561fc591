"""A row rehearsed at its full size: one real training step, on a CPU, without downloads."""

from fgd.proof.memory import memory
from fgd.proof.report import summary, to_json, to_markdown
from fgd.proof.run import Proof, prove

__all__ = ["Proof", "memory", "prove", "summary", "to_json", "to_markdown"]
