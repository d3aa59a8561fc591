# Trained as YOLOX is, from scratch: 8 GPUs x 8 images, 300 epochs, mosaics, changing input sizes.
# What differs from the published training: there is no moving average of the weights
# (ExpMomentumEMAHook), so the published AP is not to be expected. See docs/architecture.md.
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
