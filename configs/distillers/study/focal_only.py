# FGD without its global term.
_base_ = 'retinanet_r50.py'

baseline_of = 'retinanet_r50'
distill = dict(lambda_=0.0)
published = dict(_delete_=True)
