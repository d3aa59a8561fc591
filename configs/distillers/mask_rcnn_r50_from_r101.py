_base_ = ['_base_/two_stage.py', '_base_/schedule_2x.py']

student = 'mask_rcnn_r50_fpn_2x_coco'
teacher = 'mask_rcnn_r101_fpn_2x_coco'
distill = dict(levels=[0, 1, 2, 3], inherit=True)
optimizer = dict(lr=0.02)
