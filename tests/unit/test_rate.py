"""Learning rates: what is scaled, and what a training refuses."""

import pytest

from fgd.errors import FGDError
from fgd.suite import rate

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


def test_a_warm_up_in_epochs_stays():
    assert lr_config(warmup_by_epoch=True, warmup_iters=5)["warmup_iters"] == 5


def test_the_arithmetic_in_words():
    assert rate.of_config(config()) == (
        "learning rate 0.02 x 64 images / 16 images = 0.08; warm-up 500 iterations x 16 / 64 = 125"
    )
    assert rate.of_config(config(16)) == "learning rate 0.02 x 16 images / 16 images = 0.02"
    assert rate.of_config({"optimizer": {"lr": 0.003}}) == "learning rate 0.003, the suite's own"


@pytest.mark.parametrize("changes", [{"optimizer": {"lr": 0.02}}, {"optimizer": {"lr": 0.16}}])
def test_a_config_that_was_edited_by_hand_is_refused(changes):
    with pytest.raises(FGDError, match=r"learning rate is 0\.\d+, but it has to be 0\.02 x"):
        rate.of_config(config(**changes))
