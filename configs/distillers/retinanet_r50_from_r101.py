_base_ = ['_base_/anchor_one_stage.py', '_base_/schedule_2x.py']

student = 'retinanet_r50_fpn_2x_coco'
teacher = 'retinanet_r101_fpn_2x_coco'
distill = dict(levels=[0, 1, 2, 3, 4], inherit=True)
optimizer = dict(lr=0.01)
