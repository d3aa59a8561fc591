"""Detectors by name, in a suite's size: of the model zoo, of configs/detectors, or a row's own."""

import hashlib
from collections.abc import Iterator

from mmcv import Config, ConfigDict

from fgd.configs import read_config
from fgd.errors import FGDError
from fgd.recipe import own
from fgd.recipe.data import data_classes, replaced
from fgd.recipe.narrow import narrow
from fgd.recipe.own import OwnDetector
from fgd.recipe.rows import load_row
from fgd.recipe.supported import check_supported, without_teacher
from fgd.suite import Suite
from fgd.suite.settings import MiniDetector
from fgd.zoo import detector_config


def known_config(name: str) -> Config:
    """The config of a detector by its name: of configs/detectors, or of mmdet's model zoo.

    Raises:
        FGDError: there is none of that name, or it needs what is not installed.
    """
    return read_config(detector_config(name))


def with_classes(model: ConfigDict, number: int) -> ConfigDict:
    """A model config whose heads tell `number` classes apart."""
    model = ConfigDict(replaced(model.to_dict(), {"num_classes": number}))
    panoptic = model.get("panoptic_head")
    if panoptic and panoptic.get("num_stuff_classes") == 0:  # a Mask2Former for instances
        model = ConfigDict(replaced(model.to_dict(), {"num_things_classes": number}))
        model.panoptic_head.loss_cls = _weighing(panoptic.loss_cls, number)
    return model


def _weighing(loss: ConfigDict, number: int) -> ConfigDict:
    """A loss with a weight for each of `number` classes, and behind them its own for no object."""
    *weights, last = loss.get("class_weight") or [None]
    if len(set(weights)) != 1:
        return loss  # weights of its own for each class: whoever chose them knows how many
    return ConfigDict(loss, class_weight=[weights[0]] * number + [last])


def own_detectors(suite: Suite) -> dict[str, OwnDetector]:
    """The detectors of a suite's rows that are the user's own files, by name.

    Raises:
        FGDError: two detectors of the rows have one name.
    """
    origin = f"suite {suite.name}"
    rows = [load_row(name, suite) for name in suite.rows]
    owned = own.merge([row.own for row in rows], origin)
    for row in rows:
        own.check_apart({row.student, row.teacher} - row.own.keys(), owned, origin)
    return owned


def load_teacher(suite: Suite, name: str, owned: dict[str, OwnDetector]) -> Config:
    """As `load_detector`; a teacher learns in suites that train it."""
    return load_detector(suite, name, owned=owned, learns=suite.trains(name))


def load_detector(
    suite: Suite, name: str, *, owned: dict[str, OwnDetector], learns: bool
) -> Config:
    """The detector's mmdet config, in the suite's size.

    Args:
        owned: where the name is looked up first.
        learns: whether the suite trains it; then its heads have the classes of the data.
    """
    config = own.load_config(owned[name], learns=learns) if name in owned else known_config(name)
    if learns:
        check_supported(name, config)
    else:
        config.model = without_teacher(config.model)
    if suite.mini is not None:
        mini = mini_detector(suite, name)
        if "dcn" in config.model.backbone and mini.depth < 50:
            raise FGDError(
                f"suite {suite.name}: mini.detectors.{name} has depth {mini.depth}, but its "
                "deformable convolutions need bottleneck blocks: depth 50 or more"
            )
        model = config.model.to_dict()
        config.model = narrow(model, suite.mini.size, mini.depth, mini.base_channels)
    elif learns and (classes := data_classes(suite)):
        config.model = with_classes(config.model, len(classes))
    return config


def mini_detector(suite: Suite, name: str) -> MiniDetector:
    """What a mini suite says of a detector: its size, and how long it is trained.

    Raises:
        FGDError: it says nothing.
    """
    sizes = {} if suite.mini is None else suite.mini.detectors
    if name not in sizes:
        raise FGDError(
            f"suite {suite.name}: mini.detectors has no entry for {name!r}; add its depth and "
            "base_channels"
        )
    return sizes[name]


def backbone_checkpoint(model: dict) -> str | None:
    """The weights that a backbone starts from, as its config names them."""
    init = model["backbone"].get("init_cfg") or {}
    if isinstance(init, list | tuple):  # one for each kind of layer (`check_supported`)
        return None
    return init["checkpoint"] if init.get("type") == "Pretrained" else None


def backbone_key(suite: Suite, checkpoint: str) -> str:
    """What a backbone's file is called: `open-mmlab://detectron2/resnet50_caffe`, resnet50_caffe.

    Where two of a suite have one name, the first in the order of its rows has it, and the other's
    goes on with a hash of its address.
    """
    key = _file_name(checkpoint)
    if checkpoint.removesuffix(".pth") in (key, f"torchvision://{key}", f"open-mmlab://{key}"):
        return key  # without a look at the suite: mmcv has one of the name
    first = next((other for other in _backbones(suite) if _file_name(other) == key), checkpoint)
    digest = hashlib.sha256(checkpoint.encode()).hexdigest()[:8]
    return key if first == checkpoint else f"{key}-{digest}"


def _file_name(checkpoint: str) -> str:
    return checkpoint.rsplit("/", 1)[-1].removesuffix(".pth")


def _backbones(suite: Suite) -> Iterator[str]:
    """What the detectors start from that a suite trains, in the order of its rows."""
    for row in (load_row(name, suite) for name in suite.rows):
        for name in (row.student, row.teacher):
            if name == row.student or suite.trains(name):
                owned = row.own.get(name)
                config = own.load_config(owned, learns=True) if owned else known_config(name)
                if (checkpoint := backbone_checkpoint(config.model)) is not None:
                    yield checkpoint
