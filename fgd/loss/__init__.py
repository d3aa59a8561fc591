"""The loss of focal and global knowledge distillation (FGD, arXiv 2111.11837).

Imports torch alone, so that it can be used from any detection framework.
"""

from fgd.loss.masks import scale_masks
from fgd.loss.terms import FGDLoss, FGDParts, PyramidLoss

__all__ = ["FGDLoss", "FGDParts", "PyramidLoss", "scale_masks"]
