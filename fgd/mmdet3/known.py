"""Classes of mmdet 2.28 that have the same name, keys and meaning in mmdet 3.

Each with the keys of its `type`'s constructor, those of its bases among them. Whatever is not here
is refused: a key that mmdet 3 does not have would end in its traceback, one that it understands
otherwise in other detections.
"""

# Weights come from the checkpoint, and a training needs more than a model's part of its settings.
LEFT_OUT = frozenset({"init_cfg", "pretrained", "train_cfg"})


def _keys(names: str, *bases: frozenset[str]) -> frozenset[str]:
    return frozenset(names.split()).union(*bases)


_SINGLE_STAGE = _keys("backbone neck bbox_head test_cfg")
_TWO_STAGE = _keys("backbone neck rpn_head roi_head test_cfg")

_RESNET = _keys(
    "depth in_channels stem_channels base_channels num_stages strides dilations out_indices style "
    "deep_stem avg_down frozen_stages conv_cfg norm_cfg norm_eval with_cp zero_init_residual"
)

_ANCHOR_HEAD = _keys(
    "num_classes in_channels feat_channels anchor_generator bbox_coder reg_decoded_bbox loss_cls "
    "loss_bbox"
)
_ANCHOR_FREE_HEAD = _keys(
    "num_classes in_channels feat_channels stacked_convs strides dcn_on_last_conv conv_bias "
    "loss_cls loss_bbox bbox_coder conv_cfg norm_cfg"
)
_BBOX_HEAD = _keys(
    "with_avg_pool with_cls with_reg roi_feat_size in_channels num_classes bbox_coder "
    "reg_class_agnostic reg_decoded_bbox loss_cls loss_bbox"
)
_LOSS = _keys("reduction loss_weight")

KEYS = {
    # detectors
    "RetinaNet": _SINGLE_STAGE,
    "FCOS": _SINGLE_STAGE,
    "RepPointsDetector": _SINGLE_STAGE,
    "FasterRCNN": _TWO_STAGE,
    "MaskRCNN": _TWO_STAGE,
    # backbones and necks
    "ResNet": _RESNET,
    "ResNeXt": _keys("groups base_width", _RESNET),
    "FPN": _keys(
        "in_channels out_channels num_outs start_level end_level add_extra_convs "
        "relu_before_extra_convs no_norm_on_lateral conv_cfg norm_cfg act_cfg upsample_cfg"
    ),
    # heads
    "RetinaHead": _keys("stacked_convs conv_cfg norm_cfg", _ANCHOR_HEAD),
    "RPNHead": _keys("num_convs", _ANCHOR_HEAD - {"num_classes"}),
    "FCOSHead": _keys(
        "regress_ranges center_sampling center_sample_radius norm_on_bbox centerness_on_reg "
        "loss_centerness",
        _ANCHOR_FREE_HEAD,
    ),
    "RepPointsHead": _keys(
        "point_feat_channels num_points gradient_mul point_strides point_base_scale "
        "loss_bbox_init loss_bbox_refine use_grid_points center_init transform_method moment_mul",
        _ANCHOR_FREE_HEAD,
    ),
    "StandardRoIHead": _keys("bbox_roi_extractor bbox_head mask_roi_extractor mask_head"),
    "SingleRoIExtractor": _keys("roi_layer out_channels featmap_strides finest_scale"),
    "RoIAlign": _keys("output_size spatial_scale sampling_ratio pool_mode aligned use_torchvision"),
    "Shared2FCBBoxHead": _keys("fc_out_channels", _BBOX_HEAD),
    "FCNMaskHead": _keys(
        "num_convs roi_feat_size in_channels conv_kernel_size conv_out_channels num_classes "
        "class_agnostic upsample_cfg conv_cfg norm_cfg loss_mask"
    ),
    # what heads are made of
    "AnchorGenerator": _keys(
        "strides ratios scales base_sizes scale_major octave_base_scale scales_per_octave centers "
        "center_offset"
    ),
    "DeltaXYWHBBoxCoder": _keys("target_means target_stds clip_border add_ctr_clamp ctr_clamp"),
    "DistancePointBBoxCoder": _keys("clip_border"),
    "FocalLoss": _keys("use_sigmoid gamma alpha activated", _LOSS),
    "CrossEntropyLoss": _keys(
        "use_sigmoid use_mask class_weight ignore_index avg_non_ignore", _LOSS
    ),
    "L1Loss": _LOSS,
    "SmoothL1Loss": _keys("beta", _LOSS),
    "IoULoss": _keys("linear eps mode", _LOSS),
    "GIoULoss": _keys("eps", _LOSS),
    # layers
    "BN": _keys("requires_grad eps momentum"),
    "SyncBN": _keys("requires_grad eps momentum"),
    "GN": _keys("num_groups requires_grad eps"),
    "ReLU": _keys("inplace"),
    "deconv": _keys("scale_factor"),
    # non-maximum suppression
    "nms": _keys("iou_threshold class_agnostic split_thr max_num score_threshold offset"),
    "soft_nms": _keys("iou_threshold sigma min_score method class_agnostic split_thr offset"),
}

# Of settings that have no type.
UPSAMPLE_CFG = _keys("mode scale_factor")
_RCNN = _keys("score_thr nms max_per_img mask_thr_binary")
_DENSE = _keys("nms_pre min_bbox_size score_thr nms max_per_img")
TEST_CFG = {"": _DENSE, "rpn": _DENSE - {"score_thr"}, "rcnn": _RCNN}
