"""A teacher's own view of the images that its student gets."""

from typing import Any

import torch
from torch import Tensor, nn

from fgd.pair.normalisation import RAW, Normalisation


class Renormalise(nn.Module):
    """Turns images of one normalisation into those of another: the same pixels, in float32.

    Args:
        student, teacher: what images have, and what they get; None for pixels as they are read.
    """

    def __init__(self, student: Normalisation | None, teacher: Normalisation | None) -> None:
        super().__init__()
        ours, theirs = student or RAW, teacher or RAW
        self._reverses = ours.to_rgb != theirs.to_rgb
        self._pads = student is not None and teacher is not None
        mean, std = (torch.tensor(each, dtype=torch.float64) for each in (ours.mean, ours.std))
        if self._reverses:
            mean, std = mean.flip(0), std.flip(0)
        their_std = torch.tensor(theirs.std, dtype=torch.float64)
        shift = (mean - torch.tensor(theirs.mean, dtype=torch.float64)) / their_std
        for name, value in (("scale", std / their_std), ("shift", shift)):
            # In no checkpoint: it follows from the config.
            self.register_buffer(name, value.float().view(1, 3, 1, 1), persistent=False)

    def forward(self, img: Tensor, img_shapes: list[tuple[int, int]]) -> Tensor:
        """The images as the teacher's own pipeline would have them.

        Args:
            img: (N, 3, H, W) as the student gets them.
            img_shapes: height and width of each without its padding, which is 0 in both; empty for
                images without padding.
        """
        pixels = img.flip(1) if self._reverses else img
        scale: Any = self.scale  # torch declares any attribute a tensor or a module
        turned = pixels * scale + self.shift
        if self._pads:
            for image, (height, width) in zip(turned, img_shapes, strict=False):
                image[:, height:] = 0
                image[:, :, width:] = 0
        return turned
