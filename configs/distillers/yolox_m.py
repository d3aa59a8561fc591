# Trained as YOLOX is, from scratch: 8 GPUs x 8 images, 300 epochs, mosaics, changing input sizes.
# How far that is mmdet's recipe: docs/architecture.md.
student = 'yolox_m_8x8_300e_coco'
teacher = 'yolox_l_8x8_300e_coco'
distill = dict(
    levels=[0, 1, 2],
    taps='neck.out_convs.{level}',
    inherit=False,
    temperature=0.5,
    alpha=2e-3,
    beta=1e-3,
    gamma=1e-3,
    lambda_=1e-5)
from_scratch = True
base_batch = 64
optimizer = dict(lr=0.01)
optimizer_config = dict(grad_clip=None)
lr_config = dict()
runner = dict(type='EpochBasedRunner', max_epochs=300)
published = dict(baseline=45.9, fgd=46.6)
