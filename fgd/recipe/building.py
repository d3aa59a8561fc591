"""A detector built from its config alone: no weights are read, nothing is downloaded."""

from mmcv import ConfigDict
from mmdet.models import build_detector
from torch import nn

from fgd.errors import FGDError
from fgd.recipe.supported import without_teacher


def build(name: str, model: dict) -> nn.Module:
    """A detector that nothing has initialised.

    Args:
        name: of the detector, for an error.
        model: its mmdet model config.

    Raises:
        FGDError: mmdet cannot build it.
    """
    # A deep copy, of mmcv's kind: building changes a config, and reads it by attributes.
    config = ConfigDict(model).deepcopy()
    config.backbone.init_cfg = None
    try:
        return build_detector(without_teacher(config))
    except Exception as error:
        # mmcv repeats whatever a model's class raises, with the name of the class before it.
        raise FGDError(
            f"{name}: mmdet cannot build what the config describes ({type(error).__name__}: "
            f"{error}). Correct the config, or choose another detector"
        ) from error
