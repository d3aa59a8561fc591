"""Suites: which rows are run, on which data, with how many GPUs. Without mmcv and torch.

`suite` reads the file, `schema` refuses what it must not say, `rate` is what a learning rate has to
be for its total batch, `layout` where its files lie, `plan` what it needs.
"""

from fgd.suite.layout import Run
from fgd.suite.suite import (
    ARMS,
    Suite,
    check_row_name,
    find_suite,
    load_suite,
    row_file,
    suite_file,
)

__all__ = [
    "ARMS",
    "Run",
    "Suite",
    "check_row_name",
    "find_suite",
    "load_suite",
    "row_file",
    "suite_file",
]
