"""How much of a difference of AP the choice of the validation images explains.

The images are drawn anew with replacement, both detectors are scored on each draw, and the middle
95 % of the differences are their interval (the percentile bootstrap: Efron, Tibshirani, An
Introduction to the Bootstrap, chapter 13). It says nothing of another seed's training.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap
from tqdm import tqdm

from fgd.evaluation.scores import prepared
from fgd.evaluation.truth import Truth

CONFIDENCE = 0.95
_ANY_SIZE = [0, 1e10]  # pixels of area, as COCO's "all"


@dataclass(frozen=True)
class _Class:
    """The detections of a class, best first, and its objects.

    Attributes:
        images: (D,) the image of each detection, by its place.
        right: (T, D) whether it found an object, by overlap.
        wrong: (T, D) whether it found none; neither, where it found a crowd.
        objects: (images,) how many there are to find.
    """

    images: NDArray[np.int64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    objects: NDArray[np.int64]


class Matches:
    """Detections matched with the objects of their images once, to be counted again and again.

    An image that was drawn twice counts twice, so that AP of a draw needs nothing but weights.

    Attributes:
        images: how many there are.
    """

    def __init__(self, truth: Truth, found: list[dict], kind: str) -> None:
        """Match detections (`scores.scored`) of a kind, "box" or "mask", as pycocotools does."""
        evaluation = prepared(truth, found, kind, pycocotools=True)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [_ANY_SIZE], ["all"]
        evaluation.evaluate()
        self._recalls = evaluation.params.recThrs
        self.images = len(truth.images)
        self._overlaps = len(evaluation.params.iouThrs)
        count = len(truth.images)
        self._classes = [
            self._class(evaluation.evalImgs[number * count : (number + 1) * count])
            for number in range(len(truth.classes))
        ]

    def _class(self, images: list[dict[str, Any] | None]) -> _Class:
        there = [(place, image) for place, image in enumerate(images) if image is not None]
        objects = np.zeros(self.images, np.int64)
        for place, image in there:
            objects[place] = np.count_nonzero(np.asarray(image["gtIgnore"]) == 0)
        scores = np.concatenate([[], *(image["dtScores"] for _, image in there)])
        order = np.argsort(-scores, kind="mergesort")  # equal ones in the images' order
        places = [np.full(len(image["dtScores"]), place) for place, image in there]
        empty = np.zeros((self._overlaps, 0))
        matched = np.concatenate([empty, *(image["dtMatches"] for _, image in there)], axis=1) != 0
        ignored = np.concatenate([empty, *(image["dtIgnore"] for _, image in there)], axis=1) != 0
        return _Class(
            images=np.concatenate([np.zeros(0, np.int64), *places])[order],
            right=(matched & ~ignored)[:, order],
            wrong=(~matched & ~ignored)[:, order],
            objects=objects,
        )

    def ap(self, weights: NDArray[np.int64] | None = None) -> float:
        """AP, a fraction, where each image counts as often as `weights` (images,) says.

        -1 where there is nothing to find.
        """
        weights = np.ones(self.images, np.int64) if weights is None else weights
        values = [self._ap_of(each, weights) for each in self._classes if each.objects @ weights]
        return float(np.mean(values)) if values else -1.0

    def _ap_of(self, detections: _Class, weights: NDArray[np.int64]) -> float:
        counted = weights[detections.images]
        right = np.cumsum(detections.right * counted, axis=1)
        wrong = np.cumsum(detections.wrong * counted, axis=1)
        recall = right / (detections.objects @ weights)
        precision = right / np.maximum(right + wrong, 1)
        # The best precision at this recall or a higher one.
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        total = 0.0
        for overlap in range(self._overlaps):
            reached = np.searchsorted(recall[overlap], self._recalls, side="left")
            total += precision[overlap][reached[reached < recall.shape[1]]].sum()
        return total / (self._overlaps * len(self._recalls))


def interval(ours: Matches, others: Matches, *, draws: int, seed: int = 0) -> tuple[float, float]:
    """Where the difference of two detectors' AP on the same images lies (95 %), as fractions.

    Args:
        draws: of the images; 1000 settle an interval's ends to about a tenth of its width.
        seed: of the draws.
    """
    images = np.arange(ours.images)
    with tqdm(total=draws, unit="draw", disable=None) as bar:

        def difference(drawn: NDArray[np.int64]) -> float:
            bar.update()
            weights = np.bincount(drawn, minlength=len(images))
            return ours.ap(weights) - others.ap(weights)

        found = bootstrap(
            (images,),
            difference,
            n_resamples=draws,
            vectorized=False,
            confidence_level=CONFIDENCE,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(found.low), float(found.high)
