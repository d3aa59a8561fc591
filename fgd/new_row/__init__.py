"""A row for one's own data: its files, written only if everything in them fits together.

The checks build both detectors and run them on a small image, so that what `fgd new-row` accepts is
what a training will accept.
"""

from fgd.new_row.fit import other_pixels
from fgd.new_row.request import RowRequest, Split
from fgd.new_row.writing import Written, write

__all__ = ["RowRequest", "Split", "Written", "other_pixels", "write"]
