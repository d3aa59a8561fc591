"""Every row of every full-size suite is rehearsed; it takes ten minutes, so not in `make test`."""

import pytest

from fgd import proof, recipe
from fgd.checkout import root
from fgd.proof.complexity import complexity
from fgd.suite import load_suite

SUITES = [load_suite(root() / f"configs/suites/{name}.yaml") for name in ("coco", "more", "yolox")]
ROWS = [(suite, row) for suite in SUITES for row in suite.rows]
# Stem and first stage of a ResNet, 3 + 3 * 9 + 3 tensors; the caffe ResNet's batch norms, too.
FROZEN = {"fcos_r50": 117, "yolox_m": 0}


@pytest.mark.parametrize(("suite", "row"), ROWS, ids=[row for _, row in ROWS])
def test_a_row_trains_at_full_size(suite, row):
    shown = proof.prove(suite, row)
    loaded = recipe.load_row(row)
    assert [level.level for level in shown.levels] == loaded.distill["levels"]
    assert len(shown.frozen) == FROZEN.get(row, 33)
    assert (shown.sources["teacher"] > 0) == loaded.distill["inherit"]
    assert (
        shown.sources["own initialisation"] == (8 if row == "fcos_r50" else 0)
        or not (loaded.distill["inherit"])
    )


def test_arithmetic_and_parameters_are_those_of_mmdets_documentation():
    suite = SUITES[0]
    model = recipe.compose(suite, recipe.load_row("retinanet_r50"), "baseline").detector.model
    size = complexity(model, (800, 1280))
    # docs/en/useful_tools.md: 239.32 GFLOPs, norms and activations included, and 37.74 M.
    assert size.gflops == pytest.approx(239.32, rel=0.01)
    assert size.parameters == pytest.approx(37.74, rel=0.01)
