"""Learning rates: what is scaled, and what a training refuses."""

from types import SimpleNamespace

import numpy as np
import pytest
from mmcv.runner.hooks import HOOKS

from fgd.errors import FGDError
from fgd.suite import rate
from fgd.training.sampling import BatchPlan

SCHEDULE = {
    "optimizer": {"type": "SGD", "lr": 0.02},
    "lr_config": {"policy": "step", "warmup_iters": 500, "step": [16, 22]},
    "runner": {"max_epochs": 24},
}


def lr_config(**settings):
    schedule = SCHEDULE | {"lr_config": SCHEDULE["lr_config"] | settings}
    return rate.scaled(schedule, total_batch=64)["lr_config"]


def config(total_batch=64, **changes):
    base = {"recipe": {"learning_rate": rate.recorded(SCHEDULE)}, "total_batch": total_batch}
    return rate.scaled(SCHEDULE, total_batch) | base | changes


def test_rate_and_warm_up_follow_and_epochs_stay():
    assert rate.scaled(SCHEDULE, 64) == {
        "optimizer": {"type": "SGD", "lr": 0.08},
        "lr_config": {"policy": "step", "warmup_iters": 125, "step": [16, 22]},
        "runner": {"max_epochs": 24},
    }
    assert SCHEDULE["optimizer"]["lr"] == 0.02


def test_steps_in_iterations_follow():
    assert lr_config(by_epoch=False, step=[60000, 80000])["step"] == [15000, 20000]
    assert lr_config(by_epoch=False, step=60000)["step"] == 15000


def curve(schedule, iterations):
    """The learning rate before each iteration, as mmcv's own hook has it."""
    settings = dict(schedule["lr_config"])
    hook = HOOKS.get(f"{settings.pop('policy')}LrUpdaterHook")(**settings)
    return [
        hook.get_lr(SimpleNamespace(iter=i, max_iters=iterations), schedule["optimizer"]["lr"])
        for i in range(iterations)
    ]


@pytest.mark.parametrize(
    "policy",
    [
        dict(policy="Step", step=[20, 60], gamma=0.1),
        dict(policy="Exp", gamma=0.97),
        dict(policy="Inv", gamma=0.2, power=2.0),
        dict(policy="CosineRestart", periods=[20, 60], restart_weights=[1, 0.5], min_lr=1e-4),
        dict(policy="CosineAnnealing", min_lr=1e-4),
        dict(policy="Poly", power=0.9, min_lr=1e-4),
        dict(policy="LinearAnnealing", min_lr_ratio=0.01),
    ],
    ids=lambda policy: policy["policy"],
)
def test_a_policy_in_iterations_has_after_as_many_images_a_rate_as_many_times_as_high(policy):
    schedule = SCHEDULE | {"lr_config": dict(policy, by_epoch=False)}
    four = rate.scaled(schedule, total_batch=4 * rate.BASE_BATCH)
    expected = [4 * lr for lr in curve(schedule, 80)[::4]]
    assert curve(four, 20) == pytest.approx(expected)


def test_a_policy_in_epochs_stays():
    policy = dict(policy="Exp", gamma=0.9, periods=[1, 2], step=[3])
    assert lr_config(**policy).items() >= policy.items()


def test_periods_in_iterations_reach_the_end():
    for fits in (dict(periods=[10, 20], by_epoch=False), dict(periods=[1, 2])):
        assert rate.fitting_periods(fits, 10, 3) == (fits, None)
    with pytest.raises(FGDError, match=r"periods has \[10, 20\], 30 iterations, and .* has 39"):
        rate.fitting_periods(dict(periods=[10, 20], by_epoch=False), 13, 3)


@pytest.mark.parametrize("batch", [8, 24, 32, 64])
def test_periods_that_fit_one_batch_fit_others(batch):
    flags = np.repeat([0, 1], [333, 840])

    def length(total):
        return len(BatchPlan(flags, total, rank=0, world_size=1, seed=0))

    policy = dict(policy="CosineRestart", by_epoch=False, periods=[100, 12 * length(16) - 100])
    made = rate.scaled(SCHEDULE | {"lr_config": policy}, total_batch=batch)["lr_config"]
    fitted, note = rate.fitting_periods(made, length(batch), 12)
    assert sum(fitted["periods"]) >= 12 * length(batch)
    assert (note is None) == (fitted == made)
    assert fitted["periods"][0] == made["periods"][0]


def test_a_warm_up_in_epochs_stays():
    assert lr_config(warmup_by_epoch=True, warmup_iters=5)["warmup_iters"] == 5


def test_the_arithmetic_in_words():
    assert rate.of_config(config()) == (
        "learning rate 0.02 x 64 images / 16 images = 0.08; warm-up 500 iterations x 16 / 64 = 125"
    )
    assert rate.of_config(config(16)) == "learning rate 0.02 x 16 images / 16 images = 0.02"
    assert rate.of_config({"optimizer": {"lr": 0.003}}) == "learning rate 0.003, the suite's own"


@pytest.mark.parametrize(
    ("named", "right"), [(0.1, 0.4), ([0.1, 0.2], [0.4, 0.8]), ({"a": 0.1}, {"a": 0.4})]
)
def test_rates_that_the_policy_names_follow(named, right):
    schedule = SCHEDULE | {"lr_config": {"policy": "OneCycle", "max_lr": named, "min_lr": 0}}
    made = rate.scaled(schedule, total_batch=64)
    assert made["lr_config"] == {"policy": "OneCycle", "max_lr": right, "min_lr": 0}
    made |= {"recipe": {"learning_rate": rate.recorded(schedule)}, "total_batch": 64}
    said = "learning rate 0.02 x 64 images / 16 images = 0.08; max_lr "
    assert rate.of_config(made).startswith(said)
    made["lr_config"]["max_lr"] = named
    with pytest.raises(FGDError, match=r"lr_config\.max_lr is .*, but it has to be .*0\.4"):
        rate.of_config(made)


@pytest.mark.parametrize(
    ("settings", "shorter"),
    [
        (dict(warmup="linear", warmup_iters=500), None),
        (dict(warmup="linear", warmup_iters=501), 100),
        (dict(warmup="exp", warmup_iters=5, warmup_by_epoch=True), None),
        (dict(warmup="exp", warmup_iters=6, warmup_by_epoch=True), 100),
        (dict(warmup_iters=9999), None),  # there is none
    ],
)
def test_a_warm_up_is_over_before_the_training_is(settings, shorter):
    fitted, note = rate.fitting_warmup(settings, epoch_length=100, epochs=10)
    if shorter is None:
        assert (fitted, note) == (settings, None)
    else:
        assert fitted == settings | {"warmup_by_epoch": False, "warmup_iters": shorter}
        assert "is too long for a training of 1000: shortened to 100" in note


@pytest.mark.parametrize("changes", [{"optimizer": {"lr": 0.02}}, {"optimizer": {"lr": 0.16}}])
def test_a_config_that_was_edited_by_hand_is_refused(changes):
    with pytest.raises(FGDError, match=r"learning rate is 0\.\d+, but it has to be 0\.02 x"):
        rate.of_config(config(**changes))


def test_a_detectors_file_notes_what_its_rate_is_for():
    text = rate.note(2) + "optimizer = dict(lr=0.00125)\n"
    assert (rate.noted(text), rate.noted("optimizer = dict(lr=0.01)\n")) == (2, None)
    exec(text, {})
