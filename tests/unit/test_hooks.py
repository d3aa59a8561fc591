"""What a detector's config asks of its training with custom_hooks."""

import pytest
from mmcv import Config

from fgd import recipe
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.recipe.hooks import moving_average, plain_epochs
from fgd.suite import load_suite


def test_yolox_is_averaged_as_its_config_says():
    suite = load_suite(root() / "configs/suites/yolox.yaml")
    composed = recipe.compose(suite, recipe.load_row("yolox_m"), "fgd")
    assert composed.training.ema == dict(momentum=0.0001)
    kinds = [hook["type"] for hook in composed.detector.custom_hooks]
    assert kinds == ["YOLOXModeSwitchHook", "SyncNormHook", "ExpMomentumEMAHook"]


def test_the_published_rows_have_none(tiny_suite):
    for name in tiny_suite.rows:
        assert "ema" not in recipe.compose(tiny_suite, recipe.load_row(name), "fgd").training


@pytest.mark.parametrize(
    ("hook", "refusal"),
    [
        (dict(type="MemoryProfilerHook"), "mine: custom_hooks has MemoryProfilerHook, which"),
        (dict(mode="fixed_multi_branch"), "mine: custom_hooks has a hook without a type, which"),
        (dict(type="ExpMomentumEMAHook", interval=4), "mine: .*unknown setting interval"),
    ],
)
def test_what_would_be_left_out_is_refused(hook, refusal):
    with pytest.raises(FGDError, match=refusal):
        moving_average("mine", Config(dict(custom_hooks=[dict(type="NumClassCheckHook"), hook])))


def test_an_unknown_hook_is_refused_before_anything_runs(tiny_suite, monkeypatch):
    known = recipe.known_config

    def with_hook(name):
        config = known(name)
        if name == "retinanet_r50_fpn_2x_coco":
            config.custom_hooks = [dict(type="MemoryProfilerHook")]
        return config

    monkeypatch.setattr("fgd.recipe.detectors.known_config", with_hook)
    with pytest.raises(FGDError, match="retinanet_r50_fpn_2x_coco: custom_hooks has MemoryP"):
        recipe.plan(tiny_suite)


@pytest.mark.parametrize(
    ("hooks", "own", "lr_config", "expected"),
    [
        ([], 15, {"num_last_epochs": 15}, None),
        ([{}], 15, {"num_last_epochs": 15}, 15),
        ([{}], 15, {"num_last_epochs": 2}, 2),  # of fewer epochs
        ([{"num_last_epochs": 8}], None, {}, 8),
        ([{"num_last_epochs": 8}], 15, {"num_last_epochs": 2}, 8),  # never the same
    ],
)
def test_when_images_are_plain(hooks, own, lr_config, expected):
    listed = [dict(type="YOLOXModeSwitchHook", priority=48, **hook) for hook in hooks]
    config = Config(dict(custom_hooks=listed, lr_config={"num_last_epochs": own}))
    schedule = dict(lr_config=lr_config, runner=dict(max_epochs=20))
    assert plain_epochs("mine", config, schedule) == expected


def test_a_training_without_mixed_images_is_refused():
    config = Config(dict(custom_hooks=[dict(type="YOLOXModeSwitchHook")], lr_config={}))
    with pytest.raises(FGDError, match=r"mine: .* mixed until the last 15 epochs, .* has 12"):
        plain_epochs("mine", config, dict(lr_config={}, runner=dict(max_epochs=12)))


def test_other_steps_than_mmdets_are_not_left_out():
    hook = dict(type="YOLOXModeSwitchHook", skip_type_keys=("Mosaic", "MixUp"))
    with pytest.raises(FGDError, match=r"mine: .* skip_type_keys is Mosaic, MixUp; a training"):
        plain_epochs("mine", Config(dict(custom_hooks=[hook])), dict(runner={}))
