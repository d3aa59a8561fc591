_base_ = ['_base_/anchor_one_stage.py', '_base_/schedule_1x.py']

student = 'gfl_r50_fpn_1x_coco'
teacher = 'gfl_r101_fpn_mstrain_2x_coco'
distill = dict(levels=[0, 1, 2, 3, 4], inherit=True)
optimizer = dict(lr=0.01)
published = dict(baseline=40.2, fgd=43.5)
