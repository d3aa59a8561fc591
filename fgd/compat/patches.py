"""What mmcv 1.7 and mmdet 2.28 need on a current torch: one function a patch, with its reason.

What we simply do not use is not patched: mmcv's data-parallel wrappers (they rely on internals
that torch 2.0 and 2.1 removed) are replaced by `fgd.training.step`. Operators have modules of their
own: `fgd.compat.deform` and `fgd.compat.sync_norm` replace one each, `fgd.compat.layout` mends what
all of them get.
"""

import functools
import logging
import os
import types
import warnings
from typing import Any, NoReturn

from fgd.compat import deferred


@functools.cache
def apply() -> None:
    """Patch mmcv and mmdet; modules that build detectors call this when they are imported."""
    from fgd.compat import deform, layout, sync_norm

    reppoints_valid_flags_on_the_features_device()
    checkpoints_are_data()
    pycocotools_is_quiet()
    numpy_has_its_old_names()
    batch_norms_may_add_nothing()
    deform.use_on_cpu()
    sync_norm.work_in_one_process()
    layout.read_any()


def prepare() -> None:
    """What comes before the import of torch, mmcv and mmdet.

    Commands start fast, do not spin, and are quiet: nobody who runs pinned versions can act on the
    lines that these print at every start.
    """
    deferred.defer()
    # torch's threads on a CPU wait for each other in a loop that keeps the processor. Where another
    # process wants it, too, they are many times slower for it.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # mmcv 1.x announces mmcv 2.
    warnings.filterwarnings("ignore", message="On January 1, 2023, MMCV will release")
    # mmdet's anchor code wants the default of torch.meshgrid's `indexing`.
    warnings.filterwarnings("ignore", message="torch.meshgrid: in an upcoming release")
    # What other detectors of the zoo say of their own code and defaults.
    warnings.filterwarnings("ignore", message="Default ``avg_non_ignore`` is False")
    warnings.filterwarnings("ignore", message="In MMCV v1.4.4, we modified the default value")
    warnings.filterwarnings("ignore", message="DeprecationWarning: `num_anchors` is deprecated")
    # Its pipelines are the published ones, and it replaces their last step itself.
    warnings.filterwarnings("ignore", message='"ImageToTensor" pipeline is replaced')
    # A CUDA compiler without a GPU; mmcv imports torch's extension builder for its version alone.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)


def reppoints_valid_flags_on_the_features_device() -> None:
    """RepPointsHead.get_points leaves `valid_flags` on its default device, 'cuda'.

    mmdet 2.28.2, models/dense_heads/reppoints_head.py: every other head passes the device of its
    features. Without the patch RepPoints cannot be trained on a CPU.
    """
    from mmdet.models.dense_heads import RepPointsHead

    @functools.wraps(RepPointsHead.get_points)
    def get_points(self: Any, featmap_sizes: list, img_metas: list[dict], device: Any) -> tuple:
        points = self.prior_generator.grid_priors(featmap_sizes, device=device, with_stride=True)
        flags = [
            self.prior_generator.valid_flags(featmap_sizes, meta["pad_shape"], device=device)
            for meta in img_metas
        ]
        return [[level.clone() for level in points] for _ in img_metas], flags

    RepPointsHead.get_points = get_points


def batch_norms_may_add_nothing() -> None:
    """NAS-FCOS's batch norms have `eps=0`, which torch 2.10 and 2.11 refuse (2.14.1 does not).

    The smallest float32 in its place changes no sum with a variance, and so no feature.
    """
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    initialise = _BatchNorm.__init__
    smallest = torch.finfo(torch.float32).tiny

    @functools.wraps(initialise)
    def with_some(
        self: Any, num_features: int, eps: float = 1e-5, *more: Any, **named: Any
    ) -> None:
        initialise(self, num_features, eps or smallest, *more, **named)

    setattr(_BatchNorm, "__init__", with_some)  # noqa: B010 (mypy knows no patches)


def numpy_has_its_old_names() -> None:
    """Libra R-CNN's sampler says np.int, which numpy 1.24 removed: it was Python's int.

    mmdet 2.28.2, core/bbox/samplers/iou_balanced_neg_sampler.py. Only that module gets it back:
    others ask numpy for it to learn its version. Where mmdet and mmcv say it elsewhere (data sets
    that are not COCO's, text detection), no training here comes by.
    """
    from mmdet.core.bbox.samplers import iou_balanced_neg_sampler as module

    vars(module)["np"] = _OldNumpy(vars(module)["np"])


class _OldNumpy(types.ModuleType):
    """numpy, with the names of Python's types that it had before 1.24."""

    int, float, bool, object = int, float, bool, object

    def __init__(self, numpy: types.ModuleType) -> None:
        super().__init__("numpy")
        self._numpy = numpy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._numpy, name)


def pycocotools_is_quiet() -> None:
    """pycocotools prints how far it is, to where a command's result goes.

    pycocotools 2.0, coco.py and cocoeval.py, without an option; nothing else of them that we use
    prints.
    """
    from pycocotools import coco, cocoeval

    for module in (coco, cocoeval):
        vars(module)["print"] = _print_nothing


def _print_nothing(*parts: Any, **options: Any) -> None:
    pass


def checkpoints_are_data() -> None:
    """mmcv loads what an `init_cfg` names with torch.load's default, which the environment decides.

    mmcv 1.7.2, runner/checkpoint.py: `torch.load(filename)`, from before `weights_only`; with
    TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD=1 code in a backbone's file would run. Its other loaders fetch
    from addresses, unverified: whatever is trained here comes through `fgd download`.
    """
    from mmcv.runner import CheckpointLoader

    from fgd.checkpoint import read_checkpoint
    from fgd.errors import FGDError

    def load_from_file(filename: str, map_location: Any = None) -> dict[str, Any]:
        return read_checkpoint(filename, as_saved=True)  # mmcv has its own way with prefixes

    def load_from_nowhere(filename: str, map_location: Any = None) -> NoReturn:
        raise FGDError(
            f"{filename}: an address is not loaded unverified; fetch it with `fgd download` and "
            "name the file in the config"
        )

    for scheme in list(CheckpointLoader._schemes):
        loader = load_from_nowhere if scheme else load_from_file
        CheckpointLoader.register_scheme(scheme, loader, force=True)
