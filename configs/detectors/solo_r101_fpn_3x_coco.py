# The teacher of the published SOLO row: the zoo's 3x SOLO on ResNet-101. The zoo has no such model.
from fgd.zoo import zoo_config

_base_ = zoo_config('solo_r50_fpn_3x_coco')

model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(
            type='Pretrained', checkpoint='torchvision://resnet101')))
