"""What a detector's own config asks of its training: what is done here, and what is refused.

Left out in silence, it would make another training than the one that was asked for.
"""

from typing import Any

from mmcv import Config, ConfigDict

from fgd.errors import FGDError
from fgd.recipe.hooks import moving_average, plain_epochs

# Settings beside the model, the data and the schedule that change a training, and what to do. Not
# `fp16`: what is computed in, the suite's `precision` decides for all detectors.
_REFUSED = {
    "load_from": "a student starts from its backbone's weights (backbone.init_cfg) and from its "
    "teacher (distill.inherit)",
    "momentum_config": "the optimizer's momentum stays as it is",
}
# Of the innermost data set: a suite's data have none of it.
_REFUSED_DATA = {
    "proposal_file": "it learns from another detector's proposals",
    "seg_prefix": "it learns from a class for every pixel (its semantic or panoptic head)",
}
_MIX = "MultiImageMixDataset"
_REPEAT = "RepeatDataset"
# mmdet's detectors that learn from a teacher of their own, and what they call its parts.
_DISTILLERS = ("KnowledgeDistillationSingleStageDetector", "LAD")
_OF_ITS_TEACHER = ("teacher_", "eval_teacher")
_NOT_TRAINED = (
    "So it is not trained here, neither as a student nor as a teacher (train_teachers): choose "
    "another; with its checkpoint it can be a teacher"
)
_COPY = "Take it out of the config, or of a copy of it, and name that"


def check_supported(name: str, config: Config) -> None:
    """Whether a training here can be the one that a detector's config describes.

    Args:
        name: of the detector, for an error.
        config: its mmdet config.

    Raises:
        FGDError: it asks for what is not done here.
    """
    if config.model.type in _DISTILLERS:
        raise FGDError(
            f"{name}: its model is a {config.model.type}, which learns from a teacher of its own, "
            "and a student here learns from its row's teacher. Choose the detector without it"
        )
    moving_average(name, config)
    plain_epochs(name, config, config)
    if config.model.backbone.type == "TridentResNet":
        raise FGDError(
            f"{name}: its backbone is a TridentResNet, which has three feature maps of every image "
            f"in training, and its teacher one. {_NOT_TRAINED}"
        )
    if config.runner.type not in ("EpochBasedRunner", "IterBasedRunner"):
        raise FGDError(
            f"{name}: its runner is {config.runner.type}, and trainings here have epochs; "
            "give epochs: runner = dict(type='EpochBasedRunner', max_epochs=...) and an lr_config "
            "with steps in epochs, in the config or a copy of it"
        )
    several = config.model.backbone.get("init_cfg")
    if isinstance(several, list | tuple) and "Pretrained" in [each.get("type") for each in several]:
        raise FGDError(
            f"{name}: its backbone.init_cfg lists several initialisations, one of type Pretrained; "
            "name that alone (backbone.init_cfg = dict(type='Pretrained', checkpoint=...)) in a "
            "copy of the config: what the checkpoint lacks is told when the training starts"
        )
    if (config.model.get("init_cfg") or {}).get("type") == "Pretrained":
        raise FGDError(
            f"{name}: the config's model.init_cfg names weights of the whole detector "
            f"({config.model.init_cfg.get('checkpoint')}), and a student starts from its "
            f"backbone's (backbone.init_cfg) and from its teacher. {_COPY}"
        )
    for key, reason in _REFUSED.items():
        if config.get(key):
            raise FGDError(
                f"{name}: the config has {key}, which is not used here: {reason}. {_COPY}"
            )
    kind = (config.get("optimizer_config") or {}).get("type")
    if kind not in (None, "OptimizerHook"):
        raise FGDError(
            f"{name}: optimizer_config has the type {kind}, which a training here does not run; "
            f"its grad_clip alone is used. {_COPY}"
        )
    if (config.data.get("train_dataloader") or {}).get("class_aware_sampler"):
        raise FGDError(
            f"{name}: data.train_dataloader has a class_aware_sampler; a training here takes every "
            f"image once an epoch. {_COPY}"
        )
    _check_data(name, config.data.train)


def without_teacher(model: ConfigDict) -> ConfigDict:
    """The model config of a detector as it detects, without a teacher that it once learned from.

    mmdet builds that teacher, too, and LAD's would be downloaded for it.
    """
    if model["type"] not in _DISTILLERS:
        return model
    kept = {key: value for key, value in model.items() if not key.startswith(_OF_ITS_TEACHER)}
    return ConfigDict(kept, type="SingleStageDetector")


def repeats(train: Any) -> int:
    """How often an epoch of a config's `data.train` takes every image: RepeatDataset's `times`."""
    times = 1
    while isinstance(train, dict) and "dataset" in train:
        times *= train.get("times", 1) if train["type"] == _REPEAT else 1
        train = train["dataset"]
    return times


def _check_data(name: str, train: Any) -> None:
    while isinstance(train, dict) and train.get("type") in (_REPEAT, _MIX):
        train = train["dataset"]
    if isinstance(train, list | tuple):
        wrapper = "a list of data sets"
    elif "dataset" in train or "datasets" in train:
        wrapper = train["type"]
    else:
        wrapper = None
    if wrapper is not None:
        raise FGDError(
            f"{name}: data.train is {wrapper}, and a suite trains on its own data set. Give a copy "
            "of the config whose data.train is the inner data set alone, if the detector can do "
            f"with that; of mmdet's wrappers {_REPEAT} and {_MIX} are known"
        )
    for key, reason in _REFUSED_DATA.items():
        if train.get(key):
            raise FGDError(
                f"{name}: data.train has a {key}: {reason}, which a suite's data do not have. "
                f"{_NOT_TRAINED}"
            )
