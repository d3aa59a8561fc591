"""From a suite and a row to the configs that training and evaluation take.

A row says who learns from whom and how; the student's own config in the model zoo says the rest; a
suite says on which data and devices, and may make every detector small.
"""

from fgd.recipe.composing import Composed, compose, compose_teacher, write_row, write_teacher
from fgd.recipe.data import data_classes, drawn_scales, image_scale, images_of, known_classes
from fgd.recipe.detectors import backbone_key, known_config, with_classes
from fgd.recipe.planning import digests, plan, split_files, splits_with_masks
from fgd.recipe.rows import Row, load_row

__all__ = [
    "Composed",
    "Row",
    "backbone_key",
    "compose",
    "compose_teacher",
    "data_classes",
    "digests",
    "drawn_scales",
    "image_scale",
    "images_of",
    "known_classes",
    "known_config",
    "load_row",
    "plan",
    "split_files",
    "splits_with_masks",
    "with_classes",
    "write_row",
    "write_teacher",
]
