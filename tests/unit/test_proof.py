"""The rehearsal of a row at full size, shown on narrow ones."""

import json
import re

import pytest
import torch
from click.testing import CliRunner
from detectors import training_config
from mmdet.models import build_detector

from fgd import proof
from fgd.checkout import root
from fgd.cli import main
from fgd.errors import FGDError
from fgd.proof.run import check_gradients, check_levels
from fgd.suite import load_suite

SUITES = root() / "configs" / "suites"


@pytest.fixture(scope="module")
def mini():
    return load_suite(SUITES / "mini.yaml")


@pytest.mark.parametrize(("row", "levels"), [("retinanet_r50", 5), ("solo_r50", 4)])
def test_a_row_is_rehearsed(mini, row, levels):
    shown = proof.prove(mini, row, size=128, measured=(128, 128))
    assert [level.level for level in shown.levels] == list(range(levels))
    assert all(level.student == level.teacher for level in shown.levels)
    assert shown.sources["teacher"] > 0
    assert shown.sources["backbone checkpoint"] > 0
    assert shown.with_gradient > 0
    assert shown.frozen == []
    assert {f"loss_fgd_fpn_{level}" for level in range(levels)} <= set(shown.losses)
    page = proof.to_markdown({"mini": [shown]})
    assert f"| {row} | {shown.sizes['student'].parameters:.1f} |" in re.sub(" +", " ", page)
    assert json.loads(proof.to_json({"mini": [shown]}))["suites"]["mini"][0]["row"] == row


@pytest.fixture
def distiller_and_config(tiny_suite):
    config = training_config(tiny_suite, "retinanet_r50", "fgd")
    return build_detector(config.model), config


def test_a_parameter_without_a_gradient_is_named(distiller_and_config):
    distiller, config = distiller_and_config
    count = len(list(distiller.parameters()))
    # The state of AdamW after a step; torch counts parameters in the optimizer's order.
    state = {number: {"exp_avg": torch.zeros(1)} for number in range(count)}
    assert check_gradients(distiller, config, {"state": state})[1] == []

    first = next(name for name, _ in distiller.student.named_parameters())
    with pytest.raises(FGDError, match=rf"1 of \d+ .* got no gradient .*: {first}$"):
        check_gradients(distiller, config, {"state": {n: s for n, s in state.items() if n > 0}})
    state[0] = {"exp_avg": torch.tensor([float("nan")])}
    with pytest.raises(FGDError, match=rf"a gradient that is not finite: {first}$"):
        check_gradients(distiller, config, {"state": state})
    distiller.student.get_parameter(first).requires_grad_(False)
    assert check_gradients(distiller, config, {"state": dict(list(state.items())[1:])})[1] == [
        first
    ]


def test_a_level_of_another_shape_is_named(distiller_and_config):
    distiller, config = distiller_and_config
    config.model.student.neck.out_channels = 48
    with pytest.raises(FGDError, match=r"level 0 of the student: expected .* 48x16x16 .* 32x16x16"):
        check_levels(distiller, config.model, 128)


def test_the_documented_page_has_every_row():
    page = (root() / "docs" / "full-size.md").read_text()
    for name in ("coco", "more", "yolox"):
        for row in load_suite(SUITES / f"{name}.yaml").rows:
            assert len(re.findall(rf"^\| {row} +\|", page, re.MULTILINE)) == 2


def test_a_row_of_no_suite_is_refused():
    result = CliRunner().invoke(main, ["prove", str(SUITES / "coco.yaml"), "--row", "gfl_r50"])
    assert result.exit_code == 2
    assert "no row 'gfl_r50': these suites have faster_rcnn_r101" in result.output


def test_a_size_that_levels_do_not_divide_is_refused(mini):
    with pytest.raises(FGDError, match=r"64 pixels: expected a multiple of 128"):
        proof.prove(mini, "retinanet_r50", size=64)
