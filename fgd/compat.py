"""What mmcv 1.7 and mmdet 2.28 need on a current torch: one function a patch, with its reason.

`apply()` is called once, when `fgd` first imports mmdet. What we simply do not use is not patched:
mmcv's data-parallel wrappers (they rely on internals that torch 2.0 and 2.1 removed) are replaced
by `fgd.train.step`, and its checkpoint loading by `fgd.weights`.
"""

import functools
import warnings


@functools.cache
def apply() -> None:
    """Import mmcv and mmdet quietly and patch them. Safe to call any number of times."""
    # mmcv 1.x announces version 2 at every import; nobody who runs a pinned version can act on it.
    warnings.filterwarnings("ignore", message="On January 1, 2023, MMCV will release")
    # torch.meshgrid without `indexing`, called by mmdet's anchor code: the default is what it wants.
    warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release")
    reppoints_valid_flags_on_the_features_device()


def reppoints_valid_flags_on_the_features_device() -> None:
    """RepPointsHead.get_points leaves `valid_flags` on its default device, 'cuda'.

    mmdet 2.28.2, models/dense_heads/reppoints_head.py: every other head passes the device of its
    features. Without the patch RepPoints cannot be trained on a CPU.
    """
    from mmdet.models.dense_heads import RepPointsHead

    def get_points(self, featmap_sizes, img_metas, device):
        points = self.prior_generator.grid_priors(featmap_sizes, device=device, with_stride=True)
        flags = [
            self.prior_generator.valid_flags(featmap_sizes, meta["pad_shape"], device=device)
            for meta in img_metas
        ]
        return [[level.clone() for level in points] for _ in img_metas], flags

    RepPointsHead.get_points = get_points
