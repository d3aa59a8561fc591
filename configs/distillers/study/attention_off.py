# FGD without its attention term; foreground and background are still weighted by attention.
_base_ = 'retinanet_r50.py'

baseline_of = 'retinanet_r50'
distill = dict(gamma=0.0)
published = dict(_delete_=True)
