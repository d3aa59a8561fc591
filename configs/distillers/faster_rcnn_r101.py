_base_ = ['_base_/two_stage.py', '_base_/schedule_2x.py']

student = 'faster_rcnn_r101_fpn_2x_coco'
teacher = 'cascade_mask_rcnn_x101_32x4d_fpn_dconv_c3-c5_1x_coco'
distill = dict(levels=[0, 1, 2, 3], inherit=False)
optimizer = dict(lr=0.02)
published = dict(baseline=39.8, fgd=44.1)
