"""What mmcv 1.7 and mmdet 2.28 need on a current torch.

`patches`, an operator in `deform`, and the memory `layout` of what operators read.
"""

from fgd.compat.patches import apply, checkpoints_are_data, quiet

__all__ = ["apply", "checkpoints_are_data", "quiet"]
