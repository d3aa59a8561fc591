# The mini set: handwritten digits on photographs, written by `fgd data mini`.
data_root = 'data/mini/'
# Replaces these settings in the detector's own pipelines, the rest of which stays. Digits have a
# handedness: a mirrored 2 is none.
pipeline = dict(img_scale=(128, 128), flip_ratio=0.0)
classes = ('0', '1', '2', '3', '4', '5', '6', '7', '8', '9')
data = dict(
    train=dict(
        type='CocoDataset',
        classes=classes,
        ann_file=data_root + 'annotations/instances_train.json',
        img_prefix=data_root + 'train/'),
    val=dict(
        type='CocoDataset',
        classes=classes,
        ann_file=data_root + 'annotations/instances_val.json',
        img_prefix=data_root + 'val/'),
    test=dict(
        type='CocoDataset',
        classes=classes,
        ann_file=data_root + 'annotations/instances_val.json',
        img_prefix=data_root + 'val/'))
