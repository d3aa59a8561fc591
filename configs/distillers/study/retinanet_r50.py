# A student half as wide as its teacher inherits all but what sees the backbone's channels.
_base_ = '../retinanet_r50.py'

distill = dict(
    inherit_except=[
        'neck.lateral_convs.*.conv.weight', 'neck.fpn_convs.3.conv.weight'
    ])
