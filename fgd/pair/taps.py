"""Where features are taken from a built detector, and what they are like there."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fgd.errors import FGDError
from fgd.pair.pair import Level, Member, Shape
from fgd.pair.strides import copied_levels

if TYPE_CHECKING:
    from mmdet.models.detectors import BaseDetector  # takes seconds, and is a type alone here

NECK = "neck"  # its output, which is what the head gets
FPN_TAPS = "neck.fpn_convs.{level}.conv"  # where the published code takes features of an FPN

# Height and width of an image that every stride divides; of a smaller one SSD has no last level.
IMAGE = (384, 512)
_NO_OPERATOR = "implementation for device cpu not found"  # what mmcv says


class Recorder:
    """Keeps the features of a detector's latest pass, from where they are tapped.

    Args:
        detector: gets hooks that stay.
        taps: "neck" for what its neck puts out, or the backbone where there is no neck; or the name
            of modules whose outputs are a level each, `{level}` in place of the level.
        role: what an error calls the detector.

    Raises:
        FGDError: the detector has no module of such a name.
    """

    def __init__(self, detector: nn.Module, taps: str, role: str) -> None:
        self.taps = taps
        self._outputs: dict[int, Any] = {}
        if "{level}" not in taps:
            _tapped_module(detector, taps, role).register_forward_hook(self._keep_all)
        else:
            for level, module in _tapped_modules(detector, taps, role).items():
                module.register_forward_hook(self._keeper(level))

    def take(self) -> dict[int, Any]:
        """The features by level, each (N, C, H, W); they are not kept any longer."""
        taken = dict(self._outputs)
        self._outputs.clear()
        return taken

    def _keep_all(self, module: nn.Module, inputs: tuple, output: Any) -> None:
        self._outputs.update(enumerate([output] if isinstance(output, Tensor) else output))

    def _keeper(self, level: int) -> Callable[[nn.Module, tuple, Any], None]:
        def keep(module: nn.Module, inputs: tuple, output: Any) -> None:
            self._outputs[level] = output

        return keep


def _tapped_module(detector: nn.Module, taps: str, role: str) -> nn.Module:
    modules = dict(detector.named_modules())
    name = "backbone" if taps == NECK and NECK not in modules else taps
    if name not in modules:
        raise FGDError(
            f"the {role} has no module {name}, which distill.taps names; leave distill.taps out "
            "for its neck's output"
        )
    return modules[name]


def _tapped_modules(detector: nn.Module, taps: str, role: str) -> dict[int, nn.Module]:
    modules = dict(detector.named_modules())
    names = {level: taps.format(level=level) for level in range(len(modules))}
    found = {level: modules[name] for level, name in names.items() if name in modules}
    if not found:
        raise FGDError(
            f"the {role} has no module {taps.format(level=0)}, where distill.taps has its features "
            "come from; leave distill.taps out for its neck's output"
        )
    return found


@torch.no_grad()
def measured(
    detector: "BaseDetector", recorder: Recorder, role: str, image: tuple[int, int] = IMAGE
) -> dict[int, Level]:
    """What a detector's features are like, by level: its backbone and neck are run on an image.

    Args:
        detector: left in the mode that it is in.
        recorder: of the detector.
        role: what an error calls the detector.
        image: height and width in pixels. Necks differ in how they round where a stride divides
            neither.

    Raises:
        FGDError: what is tapped is not run, or gives no feature maps; backbone and neck cannot be
            run on such an image, or only on a GPU.
    """
    mode = detector.training
    detector.eval()
    features = _features(detector, recorder, role, image)
    detector.train(mode)
    if not features:
        raise FGDError(
            f"the {role}'s {recorder.taps.format(level=0)} takes no part in its backbone and neck: "
            "check distill.taps"
        )
    return {
        level: Level(
            _stride(image, feature),
            feature.shape[1],
            tuple(feature.shape[2:]),
            _is_copy(feature, features.get(level - 1)),
        )
        for level, feature in sorted(features.items())
    }


def _features(
    detector: "BaseDetector", recorder: Recorder, role: str, image: tuple[int, int]
) -> dict[int, Tensor]:
    pixels = sample_image(image, next(detector.parameters()))
    try:
        _run(detector, pixels)
    except Exception as error:  # a neck raises what its tensors make of an image that does not suit
        recorder.take()
        reason = str(error).strip()
        if _NO_OPERATOR in reason:
            raise FGDError(
                f"the {role} cannot be run on a CPU, for mmcv has an operator of it for GPUs alone "
                f"({reason}). Do it on a machine with a GPU, or choose another detector"
            ) from error
        raise FGDError(
            f"the {role}: backbone and neck cannot be run on an image of {image[1]}x{image[0]} "
            f"pixels ({type(error).__name__}: {reason}). Choose another detector, or pad images to "
            "what it wants (Pad in data.train.pipeline)"
        ) from error
    features = recorder.take()
    for feature in features.values():
        if not isinstance(feature, Tensor) or feature.dim() != 4:
            kind = type(feature).__name__
            what = _shape(feature) if isinstance(feature, Tensor) else f"a {kind}"
            raise FGDError(
                f"the {role}'s {recorder.taps} gives {what}: expected feature maps, (images, "
                "channels, height, width); check distill.taps"
            )
    return features


def sample_image(size: tuple[int, int], like: Tensor) -> Tensor:
    """A batch of one normalised image, (1, 3, height, width), no two pixels of it alike.

    No random numbers are drawn: training begins as if nothing had been run.

    Args:
        size: height and width in pixels.
        like: a tensor of the wanted type and device.
    """
    pixels = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    return (4 * pixels - 2).to(like)


def _run(detector: "BaseDetector", pixels: Tensor) -> None:
    try:
        detector.extract_feat(pixels)
    except RuntimeError as error:
        if _NO_OPERATOR not in str(error) or not torch.cuda.is_available():
            raise
        device = pixels.device
        detector.cuda().extract_feat(pixels.cuda())
        detector.to(device)


def _stride(image: tuple[int, int], feature: Tensor) -> int:
    """The power of 2 by which a feature map is smaller than an image."""
    return 2 ** round(math.log2(image[0] * image[1] / (feature.shape[2] * feature.shape[3])) / 2)


def _is_copy(feature: Tensor, finer: Tensor | None) -> bool:
    """Whether a level is every other pixel of the one before, as a two-stage FPN's last one is."""
    if finer is None or feature.std() == 0:
        return False
    return torch.equal(feature, finer[..., ::2, ::2])


def _shape(tensor: Tensor) -> str:
    return f"a tensor of {'x'.join(map(str, tensor.shape))}"


def shapes(detector: nn.Module) -> dict[str, Shape]:
    """The shape of every tensor of a detector's state, by name."""
    return {name: tuple(tensor.shape) for name, tensor in detector.state_dict().items()}


def built(
    role: str,
    name: str,
    *,
    model: dict,
    detector: "BaseDetector",
    taps: str = NECK,
    image: tuple[int, int] = IMAGE,
) -> Member:
    """A built detector as a member of a pair; its backbone and neck are run on a small image.

    Args:
        role, name, model: as `Member` has them.
        detector: not used for anything else after.
        taps: as `Recorder` has them.
        image: height and width in pixels, as `measured` has it.

    Raises:
        FGDError: as `Recorder` and `measured`.
    """
    member = Member(role, model, name, tensors=shapes(detector))
    called = str(member).removeprefix("the ")
    recorder = Recorder(detector, taps, called)
    found = measured(detector, recorder, called, image)
    # With weights that nothing has initialised a copy may be no number, which equals nothing.
    known = copied_levels(model) if taps == NECK else set()
    levels = {
        number: replace(level, copied=level.copied or number in known)
        for number, level in found.items()
    }
    return replace(member, measured=levels)
