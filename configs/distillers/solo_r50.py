_base_ = ['_base_/anchor_one_stage.py', '_base_/schedule_1x.py']

student = 'solo_r50_fpn_1x_coco'
# Not in the zoo: a suite with this row trains it (train_teachers).
teacher = 'solo_r101_fpn_3x_coco'
distill = dict(levels=[0, 1, 2, 3], inherit=True)
optimizer = dict(lr=0.01)
published = dict(baseline_mask=33.1, fgd_mask=36.0)
