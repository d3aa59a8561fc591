"""Whether a student and a teacher go together, and if not, why: one wording wherever it is asked.

`pair` answers, of what is known: from two configs alone, of which `strides` reads the levels and
`meaning` what the weights stand for, or of built detectors, measured at their `taps`.
`normalisation`: what the two see in an image. Only `taps` needs torch.
"""

from fgd.pair.normalisation import Normalisation, alike, normalisation_of
from fgd.pair.pair import Level, Member, Pair, Shape
from fgd.pair.strides import level_strides

__all__ = [
    "Level",
    "Member",
    "Normalisation",
    "Pair",
    "Shape",
    "alike",
    "level_strides",
    "normalisation_of",
]
