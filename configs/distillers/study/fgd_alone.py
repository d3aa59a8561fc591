# FGD, and the student starts without the teacher's neck and head.
_base_ = 'retinanet_r50.py'

baseline_of = 'retinanet_r50'
distill = dict(inherit=False)
published = dict(_delete_=True)
