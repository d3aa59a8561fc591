"""How long and at which rate a detector is trained: as published, or a mini suite's own way."""

from mmcv import Config

from fgd.errors import FGDError
from fgd.recipe.buildable import check_buildable
from fgd.recipe.detectors import mini_detector
from fgd.recipe.rows import Row
from fgd.recipe.supported import repeats
from fgd.suite import Suite, rate

SCHEDULE = ("optimizer", "optimizer_config", "lr_config", "runner")
_COCO_IMAGES = 117_266  # of train2017 that have objects
# Policies whose curve is the same over more, shorter epochs, once its steps are counted in these.
_STRETCHED = ("step", "fixed", "poly", "cosineannealing", "flatcosineannealing", "onecycle")


def own_schedule(suite: Suite, name: str, role: str) -> dict | None:
    """The schedule of a suite that has one; None at full size."""
    if suite.mini is None:
        return None
    detector = mini_detector(suite, name)
    schedule = suite.mini.schedule
    optimizer = dict(schedule.optimizer.said())
    if detector.lr is not None:
        optimizer["lr"] = detector.lr
    origin = f"suite {suite.name}: mini.schedule"
    for key, decided in (
        ("policy", "OneCycle"),
        ("max_lr", f"the optimizer's lr, {optimizer['lr']}"),
    ):
        if key in schedule.one_cycle:
            raise FGDError(f"{origin}.one_cycle.{key}: it is {decided}; leave the key out")
    policy = dict(policy="OneCycle", max_lr=optimizer["lr"], **schedule.one_cycle)
    check_buildable(origin, dict(optimizer=optimizer, lr_config=policy))
    return dict(
        optimizer=optimizer,
        optimizer_config=dict(grad_clip=dict(max_norm=schedule.grad_clip, norm_type=2)),
        lr_config=policy,
        runner=dict(
            type="EpochBasedRunner",
            max_epochs=detector.epochs or getattr(suite.mini, role).epochs,
        ),
    )


def detectors_schedule(name: str, config: Config) -> dict:
    """The schedule of a detector's own config, in epochs that take every image once.

    mmdet's 3x schedules have 12 epochs of data that are repeated 3 times: here they have 36. Its
    schedules in iterations are of COCO: 90,000 of 16 images are 12 epochs.

    Args:
        name: of the detector, for an error.

    Raises:
        FGDError: data are repeated or iterations counted, and the learning rate does not follow
            from that.
    """
    schedule = {key: config.get(key) or {} for key in SCHEDULE}
    # OneCycle's: as many as the training has, whatever the config's own had.
    schedule["lr_config"] = {k: v for k, v in schedule["lr_config"].items() if k != "total_steps"}
    if counts_iterations(config):
        return _in_epochs(name, config, schedule)
    times = repeats(config.data.train)
    if times == 1:
        return schedule
    lr_config, runner = schedule["lr_config"], dict(config.runner)
    if str(lr_config.get("policy")).lower() not in _STRETCHED:
        raise FGDError(
            f"{name}: data.train is repeated {times} times, and the learning rate's policy "
            f"{lr_config.get('policy')} cannot be told in epochs that are not. Give a copy of the "
            "config without RepeatDataset, its schedule in epochs over the data"
        )
    runner["max_epochs"] *= times
    if "step" in lr_config and lr_config.get("by_epoch", True):
        step = lr_config["step"]
        lr_config["step"] = step * times if isinstance(step, int) else [s * times for s in step]
    if lr_config.get("warmup_by_epoch", False):
        lr_config["warmup_iters"] *= times
    return schedule | dict(lr_config=lr_config, runner=runner)


def counts_iterations(config: Config) -> bool:
    """Whether a config says how many iterations a training has, and not how many epochs."""
    return config.runner.type == "IterBasedRunner"


def base_batch(config: Config) -> int:
    """Images a step that the learning rate of a detector's config is for."""
    return (config.get("auto_scale_lr") or {}).get("base_batch_size", rate.BASE_BATCH)


def _in_epochs(name: str, config: Config, schedule: dict) -> dict:
    lr_config = dict(schedule["lr_config"])
    if lr_config.get("policy") not in ("step", "fixed"):
        raise FGDError(
            f"{name}: its runner counts iterations, and the learning rate's policy "
            f"{lr_config.get('policy')} cannot be told in epochs. Give a copy of the config with "
            "runner = dict(type='EpochBasedRunner', max_epochs=...)"
        )
    batch = base_batch(config)
    epoch = _COCO_IMAGES / batch
    if "step" in lr_config:
        step = lr_config["step"]
        steps = [step] if isinstance(step, int) else step
        lr_config["step"] = [max(1, round(each / epoch)) for each in steps]
    lr_config.pop("by_epoch", None)
    epochs = max(1, round(config.runner.max_iters / epoch))
    runner = dict(type="EpochBasedRunner", max_epochs=epochs)
    return schedule | dict(lr_config=lr_config, runner=runner)


def published_schedule(row: Row, student: Config) -> dict:
    """The row's schedule over the student's own, for steps of `row.base_batch` images.

    Raises:
        FGDError: the student's own steps come after the row's end, or as `detectors_schedule`.
    """
    own = detectors_schedule(row.student, student)
    optimizer = _merged(own["optimizer"], row.optimizer, "type")
    # Rates that the student's policy names follow the row's learning rate, as they do the batch.
    factor = optimizer["lr"] / own["optimizer"]["lr"]
    lr_config = _merged(rate.times(own["lr_config"], factor), row.lr_config, "policy")
    _check_length(row, own["lr_config"], lr_config)
    schedule = dict(
        optimizer=optimizer,
        optimizer_config=row.optimizer_config,
        lr_config=lr_config,
        runner=row.runner,
    )
    check_buildable(f"row {row.name}", schedule)
    return schedule


def _merged(own: dict, row: dict, kind: str) -> dict:
    """A row's settings over the student's; of another kind the student's mean nothing."""
    same = str(row.get(kind, own.get(kind))).lower() == str(own.get(kind)).lower()
    return own | row if same else row


def _check_length(row: Row, own: dict, lr_config: dict) -> None:
    """Whether the learning rate's policy fits the row's epochs.

    Args:
        own: the student's.
        lr_config: the row's, over that.
    """
    epochs = row.runner["max_epochs"]
    wrong, key = "", ""
    # Steps of the row's own are meant as they are, for a trial of one epoch, too.
    if "step" in own and "step" in lr_config and "step" not in row.lr_config:
        step = lr_config["step"]
        first = step if isinstance(step, int) else min(step)
        if lr_config.get("by_epoch", True) and first >= epochs:
            wrong, key = f"drops first after epoch {first}", "step"
    elif "num_last_epochs" in lr_config:
        fitted, _ = rate.fitting_warmup(lr_config, 1, epochs)
        begin = fitted.get("warmup_iters", 0) if lr_config.get("warmup_by_epoch") else 0
        last = lr_config["num_last_epochs"]
        if begin + last >= epochs:
            wrong, key = f"is low in the last {last} epochs", "num_last_epochs"
    elif (end := _end_of_periods(lr_config)) is not None and end < epochs:
        wrong, key = f"has periods for {end} epochs", "periods"
    if wrong:
        raise FGDError(
            f"row {row.name}: its learning rate {wrong}, and it has {epochs}: give "
            f"lr_config = dict({key}=...)"
        )


def _end_of_periods(lr_config: dict) -> int | None:
    """The epoch after which a policy of periods (CosineRestart) has no rate; None for any other."""
    if "periods" not in lr_config or not lr_config.get("by_epoch", True):
        return None
    return sum(lr_config["periods"])


def follow_batch(suite: Suite, schedule: dict, recipe: dict, base_batch: int) -> dict:
    """The schedule at the suite's total batch; `recipe` records what it was for."""
    recipe["learning_rate"] = rate.recorded(schedule, base_batch)
    return rate.scaled(schedule, suite.total_batch, base_batch)
