# COCO 2017 as its archives unpack. The pipelines (scales, normalisation) are the student's own.
data_root = 'data/coco/'
# How many there are: fewer would be another data set.
images = dict(train=118287, val=5000)
data = dict(
    train=dict(
        type='CocoDataset',
        ann_file=data_root + 'annotations/instances_train2017.json',
        img_prefix=data_root + 'train2017/'),
    val=dict(
        type='CocoDataset',
        ann_file=data_root + 'annotations/instances_val2017.json',
        img_prefix=data_root + 'val2017/'),
    test=dict(
        type='CocoDataset',
        ann_file=data_root + 'annotations/instances_val2017.json',
        img_prefix=data_root + 'val2017/'))
