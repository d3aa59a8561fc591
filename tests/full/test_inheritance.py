"""Every COCO row that inherits finds each tensor of its neck and head in its full-size teacher."""

from fnmatch import fnmatchcase

import pytest
import torch
from mmdet.models import build_detector

from fgd import recipe
from fgd.checkout import root
from fgd.suite import load_suite

SUITE = load_suite(root() / "configs" / "suites" / "coco.yaml")
INHERITING = [row for row in map(recipe.load_row, SUITE.rows) if row.distill["inherit"]]


@pytest.mark.parametrize("row", INHERITING, ids=lambda row: row.name)
def test_neck_and_head_agree(row):
    models = recipe.compose(SUITE, row, "fgd").training.model
    student, teacher = _shapes(models.student), _shapes(models.teacher)
    exceptions = row.distill.get("inherit_except", ())
    own = {key for key in student if any(fnmatchcase(key, pattern) for pattern in exceptions)}
    assert {key: shape for key, shape in student.items() if key not in own} == teacher
    # The eight biases of FCOS's head convolutions are the only published exception.
    assert len(own) == (8 if row.name == "fcos_r50" else 0)


def _shapes(model: dict) -> dict[str, torch.Size]:
    model.backbone.init_cfg = None
    return {
        key: tensor.shape
        for key, tensor in build_detector(model).state_dict().items()
        if not key.startswith("backbone.")
    }
