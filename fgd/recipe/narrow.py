"""A detector of the model zoo, made small enough to train on a CPU in a minute.

Everything that makes the detector what it is stays as its config says: its class, heads, losses,
number of FPN levels, strides, stacked convolutions, cascade stages, masks, deformable convolutions.
What shrinks is width (channels), the number of candidates, and every length in pixels of the input.
"""

from typing import Any

from fgd.suite.settings import Size

# Where a zoo config leaves to its class's default what depends on size, that default (mmdet 2.28.2:
# RetinaHead, FCOSHead, GFLHead, SingleRoIExtractor): it has to be written down to be changed.
_DEFAULTS: dict[str, dict[str, Any]] = {
    # Its convolutions have no norm. Drawn with 0.01, as for 256 channels, a narrow head passes a
    # ten-thousandth of its input on, and learns where objects are but not which; so they are drawn
    # for ReLU (arXiv 1502.01852).
    "RetinaHead": {
        "init_cfg": {
            "type": "Kaiming",
            "layer": "Conv2d",
            "distribution": "normal",
            "override": [
                {"type": "Normal", "name": "retina_cls", "std": 0.01, "bias_prob": 0.01},
                {"type": "Normal", "name": "retina_reg", "std": 0.01},
            ],
        }
    },
    # Without it every place inside a box has to know the class, which takes thousands of steps to
    # learn: after 1,200 the classes were still at chance.
    "FCOSHead": {
        "center_sampling": True,
        "regress_ranges": ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 100_000_000)),
        "norm_cfg": {"type": "GN", "num_groups": 32, "requires_grad": True},
    },
    "GFLHead": {"norm_cfg": {"type": "GN", "num_groups": 32, "requires_grad": True}},
    "SingleRoIExtractor": {"finest_scale": 56},
}
_FULL_WIDTH = 256
# Keys that hold the width of feature maps, all of them _FULL_WIDTH in the zoo.
_WIDTHS = {
    "in_channels",
    "out_channels",
    "feat_channels",
    "point_feat_channels",
}
# Keys that hold a length: in pixels, or in units of a level's stride, which stays.
_LENGTHS = {
    "octave_base_scale",
    "scales",
    "point_base_scale",
    "scale",
    "regress_ranges",
    "finest_scale",
}
# Keys of the backbone that are kept: the rest (ResNeXt's groups, frozen stages) would not fit.
_BACKBONE_KEPT = {"num_stages", "out_indices", "style", "dcn", "stage_with_dcn"}


def narrow(model: dict, size: Size, depth: int, base_channels: int) -> dict:
    """The mini version of an mmdet model config.

    Args:
        model: config of a detector with a ResNet or ResNeXt, an FPN and heads of 256 channels.
        depth: of the ResNet that becomes the backbone (18, 34: without deformable convolutions).
        base_channels: its first stage's channels, 64 at full size.

    Returns:
        A new config; `backbone.init_cfg.checkpoint` is the key of the backbone's weights, for
        example `resnet18x16`.
    """
    small = _shrink(model, size)
    small["backbone"] = narrow_backbone(model["backbone"], depth, base_channels)
    expansion = 4 if depth >= 50 else 1
    small["neck"]["in_channels"] = [base_channels * 2**stage * expansion for stage in range(4)]
    return small


def narrow_backbone(backbone: dict, depth: int, base_channels: int) -> dict:
    """A plain ResNet with the style and the deformable stages of `backbone`.

    Nothing is frozen and batch norm learns: the weights it starts from were trained for seconds,
    not on ImageNet, and a batch is 16 images, not 2.
    """
    kept = {key: value for key, value in backbone.items() if key in _BACKBONE_KEPT}
    return dict(
        kept,
        type="ResNet",
        depth=depth,
        base_channels=base_channels,
        frozen_stages=-1,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=False,
        init_cfg=dict(type="Pretrained", checkpoint=f"resnet{depth}x{base_channels}"),
    )


def _shrink(node: Any, size: Size) -> Any:
    """Apply the rules to every key of a config, however deep."""
    if isinstance(node, dict):
        node = _DEFAULTS.get(str(node.get("type")), {}) | node
        return {key: _shrink_value(key, value, size) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_shrink(item, size) for item in node)
    return node


def _shrink_value(key: str, value: Any, size: Size) -> Any:
    if key in _WIDTHS:
        return size.channels
    if key == "conv_out_channels":
        # The mask head's: its maps of every RoI cost more than the rest of the detector.
        return size.channels // 2
    if key == "fc_out_channels":
        return size.fc_channels
    if key == "num_classes":
        return size.classes
    if key == "num_groups":
        return value * size.channels // _FULL_WIDTH  # as many channels a group
    if key in _LENGTHS:
        return _scale(value, size.length)
    if key in {"num", "nms_pre"}:
        return round(value * size.candidates)
    # `max_per_img` counts proposals where a proposal stage is set up, and detections elsewhere:
    # the number of detections belongs to COCO's way of measuring.
    if key in {"rpn", "rpn_proposal"}:
        value = _fewer_proposals(value, size)
    return _shrink(value, size)


def _fewer_proposals(stage: dict, size: Size) -> dict:
    if "max_per_img" not in stage:
        return stage
    return dict(stage, max_per_img=round(stage["max_per_img"] * size.candidates))


def _scale(value: Any, factor: float) -> Any:
    """Multiply every positive number: a negative one (FCOS: -1) stands for no bound."""
    if isinstance(value, list | tuple):
        return type(value)(_scale(item, factor) for item in value)
    return value * factor if value > 0 else value
