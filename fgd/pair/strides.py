"""At which strides a detector gives features, read off its mmdet model config.

Only what a backbone or a neck is known to do is said; `make zoo-sweep` compares it with what the
zoo's models give.
"""

from itertools import accumulate
from operator import mul

# Backbones whose stages have a stride each: what comes before the first, and mmdet's defaults.
_RESNET: tuple[int, tuple[int, ...]] = (4, (1, 2, 2, 2))  # a stem of a convolution and a pooling
_STAGED = dict.fromkeys(
    ("ResNet", "ResNeXt", "Res2Net", "ResNeSt", "DetectoRS_ResNet", "DetectoRS_ResNeXt"), _RESNET
) | {
    "RegNet": (2, (2, 2, 2, 2)),
    "TridentResNet": _RESNET,
    "SwinTransformer": (1, (4, 2, 2, 2)),
    "PyramidVisionTransformer": (1, (4, 2, 2, 2)),
    "PyramidVisionTransformerV2": (1, (4, 2, 2, 2)),
}
# Others: the stride of each output that `out_indices` can name, and mmdet's default of that.
_FIXED: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "HRNet": ((4, 8, 16, 32), (0, 1, 2, 3)),
    "EfficientNet": ((2, 2, 4, 8, 16, 32, 32), (6,)),
    "MobileNetV2": ((2, 4, 8, 16, 16, 32, 32, 32), (1, 2, 4, 7)),
    "Darknet": ((1, 2, 4, 8, 16, 32), (3, 4, 5)),
    "CSPDarknet": ((2, 4, 8, 16, 32), (2, 3, 4)),
    "mmcls.ConvNeXt": ((4, 8, 16, 32), (3,)),
}
# Necks that start at one of the backbone's outputs and halve the last for every further level,
# with mmdet's default of `start_level`.
_PYRAMIDS = {
    "FPN": 0,
    "FPN_CARAFE": 0,
    "PAFPN": 0,
    "RFP": 0,
    "NASFPN": 0,
    "FPG": 0,
    "NASFCOS_FPN": 1,
    "ChannelMapper": 0,
}
_AS_THEY_CAME = ("YOLOXPAFPN", "BFP", "DyHead", "DilatedEncoder")


def level_strides(model: dict) -> list[int] | None:
    """Pixels of the image between two positions of each feature map that a neck puts out, in order.

    Those of the backbone for a detector without a neck. None for a backbone or a neck that this
    function does not know.
    """
    strides = _backbone_strides(model["backbone"])
    for neck in _necks(model):
        if strides is not None:
            strides = _neck_strides(neck, strides)
    return strides


def level_channels(model: dict, levels: int) -> list[int | None]:
    """The channels of each of these feature maps; None where the config does not say."""
    said = (neck["out_channels"] for neck in reversed(_necks(model)) if "out_channels" in neck)
    channels = next(said, None)
    return list(channels) if isinstance(channels, list | tuple) else [channels] * levels


def convolved_levels(model: dict) -> set[int]:
    """The levels of a neck that are the output of `neck.fpn_convs.<level>.conv`, as it is."""
    necks = _necks(model)
    neck = necks[-1] if len(necks) == 1 else {}
    if neck.get("norm_cfg") or neck.get("act_cfg"):
        return set()
    if neck.get("type") == "HRFPN":
        return set(range(neck.get("num_outs", 5)))
    if neck.get("type") != "FPN":
        return set()
    return set(range(neck["num_outs"])) - copied_levels(model)


def copied_levels(model: dict) -> set[int]:
    """The levels of an FPN that are every other pixel of the one before, as far as is known."""
    necks = _necks(model)
    neck = necks[-1] if necks else {}
    if neck.get("type") not in ("FPN", "PAFPN", "RFP") or neck.get("add_extra_convs"):
        return set()
    inputs = len(neck["in_channels"])
    first, last = neck.get("start_level", 0), neck.get("end_level", -1)
    levels = len(range(inputs)[first : last % inputs + 1])
    return set(range(levels, neck["num_outs"]))


def _necks(model: dict) -> list[dict]:
    """One after the other; none for a detector without."""
    neck = model.get("neck") or []
    return neck if isinstance(neck, list) else [neck]


def _backbone_strides(backbone: dict) -> list[int] | None:
    kind = backbone["type"]
    if kind in _STAGED:
        stem, default = _STAGED[kind]
        stages = list(backbone.get("strides") or default)[: backbone.get("num_stages", 4)]
        outputs = tuple(accumulate(stages, mul, initial=stem))[1:]
        indices = backbone.get("out_indices", (0, 1, 2, 3))
    elif kind in _FIXED:
        outputs, default = _FIXED[kind]
        indices = backbone.get("out_indices", default)
    else:
        return None
    return [outputs[index] for index in indices] if max(indices) < len(outputs) else None


def _neck_strides(neck: dict, inputs: list[int]) -> list[int] | None:
    kind = neck["type"]
    if kind in _AS_THEY_CAME:
        return inputs
    if kind == "YOLOV3Neck":
        return inputs[::-1]
    if kind == "HRFPN":  # from all inputs, in the size of the first, strided
        first = inputs[0] * neck.get("stride", 1)
        return [first * 2**level for level in range(neck.get("num_outs", 5))]
    if kind not in _PYRAMIDS:
        return None
    first, last = neck.get("start_level", _PYRAMIDS[kind]), neck.get("end_level", -1)
    strides = inputs[first : last % len(inputs) + 1]
    while strides and len(strides) < neck.get("num_outs", 0):
        strides = [*strides, 2 * strides[-1]]
    return strides or None
