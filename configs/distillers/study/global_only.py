# FGD's global term alone.
_base_ = 'retinanet_r50.py'

baseline_of = 'retinanet_r50'
distill = dict(alpha=0.0, beta=0.0, gamma=0.0)
published = dict(_delete_=True)
