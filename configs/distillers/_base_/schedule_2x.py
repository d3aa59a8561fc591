# Merged over the student's own schedule: warm-up and parameter-wise settings stay the student's.
# A row's learning rate is for a total batch of 16 images.
optimizer = dict(type='SGD', momentum=0.9, weight_decay=1e-4)
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(step=[16, 22])
runner = dict(type='EpochBasedRunner', max_epochs=24)
