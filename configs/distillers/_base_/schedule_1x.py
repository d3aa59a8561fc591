# schedule_2x's half as long.
_base_ = 'schedule_2x.py'

lr_config = dict(step=[8, 11])
runner = dict(max_epochs=12)
