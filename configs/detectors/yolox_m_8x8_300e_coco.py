# mmdet has this config, but no entry in its model zoo for it: YOLOX-m, as YOLOX-s but for its size.
from fgd.zoo import zoo_config

_base_ = zoo_config('yolox_s_8x8_300e_coco')

model = dict(
    backbone=dict(deepen_factor=0.67, widen_factor=0.75),
    neck=dict(
        in_channels=[192, 384, 768], out_channels=192, num_csp_blocks=2),
    bbox_head=dict(in_channels=192, feat_channels=192))
