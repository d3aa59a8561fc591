"""Detectors of the zoo's families, a sixteenth as wide: their own configs otherwise."""

from typing import Any

from mmcv import ConfigDict

from fgd.recipe import known_config

# One of each kind of neck, and of each way to do without.
FAMILIES = {
    "FPN": "retinanet_r50_fpn_1x_coco",
    "two-stage FPN": "faster_rcnn_r50_fpn_1x_coco",
    "FPN with GN": "reppoints_moment_r50_fpn_gn-neck+head_1x_coco",
    "FPN with GN and WS": "faster_rcnn_r50_fpn_gn_ws-all_1x_coco",
    "PAFPN": "faster_rcnn_r50_pafpn_1x_coco",
    "RFP": "cascade_rcnn_r50_rfp_1x_coco",
    "BFP": "libra_retinanet_r50_fpn_1x_coco",
    "NAS-FPN": "retinanet_r50_nasfpn_crop640_50e_coco",
    "FPG": "retinanet_r50_fpg_crop640_50e_coco",
    "NAS-FCOS": "nas_fcos_nashead_r50_caffe_fpn_gn-head_4x4_1x_coco",
    "DyHead": "atss_r50_fpn_dyhead_1x_coco",
    "SOLOv2": "solov2_light_r50_fpn_3x_coco",
    "TOOD": "tood_r50_fpn_1x_coco",
    "YOLOv3": "yolov3_d53_320_273e_coco",
    "SSD": "ssd300_coco",
    "YOLOX": "yolox_tiny_8x8_300e_coco",
    "YOLOF": "yolof_r50_c5_8x8_1x_coco",
    "CenterNet": "centernet_resnet18_140e_coco",
    "C4": "faster_rcnn_r50_caffe_c4_1x_coco",
    "DC5": "faster_rcnn_r50_caffe_dc5_1x_coco",
    "DETR": "deformable_detr_r50_16x2_50e_coco",
}
_PART = 16
_WIDTHS = (
    "in_channels", "out_channels", "feat_channels", "point_feat_channels", "conv_out_channels",
    "fc_out_channels", "inner_channels", "inter_channels", "in_channel", "num_deconv_filters",
    "block_mid_channels", "mid_channels", "num_groups", "aspp_out_channels",
)  # fmt: skip


def small(family: str, depth: int = 50) -> ConfigDict:
    """The model config of a family's detector, mostly of a ResNet with 4 channels at first."""
    model = known_config(FAMILIES[family]).model.to_dict()
    for part in (model, model.get("bbox_head"), model.get("mask_head")):
        if part and part.get("type") in ("SOLOV2LightHead", "SOLOV2Head", "TOODHead"):
            part["norm_cfg"] = dict(type="GN", num_groups=32)  # their class's default
    model = _shrunk(model)
    backbone = model["backbone"]
    if family in ("YOLOv3", "SSD"):  # of backbones that have one width
        stages = (1, 2, 3) if family == "YOLOv3" else (1, 2)
        backbone = dict(type="ResNet", depth=18, base_channels=4, out_indices=stages)
        channels = [4 * 2**stage for stage in stages]
        if family == "YOLOv3":
            model["neck"]["in_channels"] = channels[::-1]
        else:
            backbone["strides"] = (1, 2, 2, 1)
            for part in ("neck", "bbox_head"):
                for key in {"in_channels", "out_channels"} & model[part].keys():
                    model[part][key] = (*channels, *model[part][key][2:])
            model["neck"]["in_channels"] = tuple(channels)
    elif family == "YOLOX":
        backbone["widen_factor"] = 0.0625
        model["neck"]["in_channels"] = [16, 32, 64]
        model["neck"]["out_channels"] = model["bbox_head"]["in_channels"] = 16
        model["bbox_head"]["feat_channels"] = 16
    elif family == "RFP":
        model["neck"]["in_channels"] = [32, 64, 128, 256]
        # Those that standardise their weights overflow without ImageNet's statistics.
        narrow = dict(base_channels=8, conv_cfg=None)
        backbone |= narrow
        model["neck"]["rfp_backbone"] |= narrow
    else:
        backbone |= dict(base_channels=4, norm_cfg=dict(type="BN"))
    backbone.pop("init_cfg", None)
    model["backbone"] = backbone
    return ConfigDict(model)


def _shrunk(node: Any, width: bool = False) -> Any:
    if isinstance(node, dict):
        found = {key: _shrunk(value, key in _WIDTHS) for key, value in node.items()}
        return found | (dict(rfp_inplanes=16, pretrained=None) if "rfp_inplanes" in found else {})
    if isinstance(node, list | tuple):
        return type(node)(_shrunk(item, width) for item in node)
    if width and isinstance(node, int) and not isinstance(node, bool):
        return max(1, node // _PART)
    return node
