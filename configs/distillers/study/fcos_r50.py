# A student half as wide as its teacher inherits all but what sees the backbone's channels. As in the
# published row, the student's head convolutions have biases and the teacher's have none.
_base_ = '../fcos_r50.py'

distill = dict(
    inherit_except=[
        'neck.lateral_convs.*.conv.weight',
        'bbox_head.cls_convs.*.conv.bias', 'bbox_head.reg_convs.*.conv.bias'
    ])
