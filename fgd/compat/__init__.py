"""What mmcv 1.7 and mmdet 2.28 need on a current torch.

`patches`, an operator in `deform`, the memory `layout` of what operators read, and imports that are
`deferred` until they are needed.
"""

from fgd.compat.patches import apply, checkpoints_are_data, prepare, pycocotools_is_quiet

__all__ = ["apply", "checkpoints_are_data", "prepare", "pycocotools_is_quiet"]
