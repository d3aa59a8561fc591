_base_ = ['_base_/anchor_free.py', '_base_/schedule_2x.py']

student = 'fcos_student'
teacher = 'fcos_r101_caffe_fpn_gn-head_mstrain_640-800_2x_coco'
# The student's head convolutions have biases and the teacher's have none.
distill = dict(
    levels=[0, 1, 2, 3, 4],
    inherit=True,
    inherit_except=[
        'bbox_head.cls_convs.*.conv.bias', 'bbox_head.reg_convs.*.conv.bias'
    ],
    temperature=0.8)
optimizer = dict(lr=0.01)
published = dict(baseline=38.5, fgd=42.7)
