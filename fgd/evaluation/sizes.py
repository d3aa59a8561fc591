"""Whether images are as large as their annotation file says, found out while they are read."""

import logging
from typing import Any

logger = logging.getLogger("fgd")


class Sizes:
    """Compares the images of a test set with its file: the boxes of other images fit nothing.

    Args:
        dataset: an mmdet CocoDataset.
    """

    def __init__(self, dataset: Any) -> None:
        self._file = dataset.ann_file
        self._stated = {
            info["filename"]: (info["height"], info["width"]) for info in dataset.data_infos
        }
        self._others: list[str] = []

    def see(self, name: str | None, shape: tuple[int, ...] | None) -> None:
        """Compare an image, (height, width, ...); None where a pipeline hands on neither."""
        if name is None or shape is None:
            return
        height, width = self._stated.get(name, shape[:2])
        if (height, width) != tuple(shape[:2]):
            self._others.append(f"{name} is {shape[1]} x {shape[0]}, and not {width} x {height}")

    def tell(self) -> None:
        """Warn of those of another size."""
        if self._others:
            logger.warning(
                "%d of %d images are of another size than %s says, for example %s pixels: what is "
                "found on them cannot fit, and the figures are too low. `fgd data clean` mends it",
                len(self._others),
                len(self._stated),
                self._file,
                self._others[0],
            )
