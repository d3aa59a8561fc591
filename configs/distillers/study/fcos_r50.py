# A student half as wide as its teacher inherits all but what sees the backbone's channels. The
# student's head convolutions have biases and the teacher's have none, as in the published row.
_base_ = '../fcos_r50.py'

distill = dict(
    inherit_except=[
        'neck.lateral_convs.*.conv.weight',
        'bbox_head.cls_convs.*.conv.bias', 'bbox_head.reg_convs.*.conv.bias'
    ])
