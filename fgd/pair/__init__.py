"""Whether a student and a teacher go together, and if not, why: one wording wherever it is asked.

`pair` answers, of what is known: from two configs alone, of which `strides` reads the levels and
`meaning` what the weights stand for, or of built detectors, measured at their `taps`.
`normalisation` and `padding`: what the two see of an image. Only `taps` needs torch.
"""

from fgd.pair.normalisation import Normalisation, alike, normalisation_of
from fgd.pair.padding import an_image
from fgd.pair.pair import Level, Member, Pair, Shape, of_loss
from fgd.pair.strides import convolved_levels, level_strides

__all__ = [
    "Level",
    "Member",
    "Normalisation",
    "Pair",
    "Shape",
    "alike",
    "an_image",
    "convolved_levels",
    "level_strides",
    "normalisation_of",
    "of_loss",
]
