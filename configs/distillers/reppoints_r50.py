_base_ = ['_base_/anchor_free.py', '_base_/schedule_2x.py']

student = 'reppoints_moment_r50_fpn_gn-neck+head_2x_coco'
teacher = 'reppoints_moment_x101_fpn_dconv_c3-c5_gn-neck+head_2x_coco'
# As published: before the neck's norms.
distill = dict(
    levels=[0, 1, 2, 3, 4],
    taps='neck.fpn_convs.{level}.conv',
    inherit=True)
optimizer = dict(lr=0.01)
published = dict(baseline=38.6, fgd=42.0)
