"""Training and validation images: as the source has them, or drawn by a seed."""

import os
import random
from collections import Counter
from collections.abc import Sequence

from fgd.importing.reading import SPLITS, LabelledImage, Source, split_of

_WITHOUT = ""  # stands for the class of images without objects


def split(source: Source, share: float, seed: int) -> dict[str, list[LabelledImage]]:
    """The images by split; validation images are drawn where the source names none.

    Args:
        share: of the training images that become validation images, if they are drawn.
    """
    _once(source)
    _by_subset(source)
    if source.images and all({"train", "val"} <= set(image.splits) for image in source.images):
        for image in source.images:
            image.splits = ("train",)
        source.note("train and val are the same images: drawn anew", source.images[0].path)
    parts: dict[str, list[LabelledImage]] = {name: [] for name in SPLITS}
    for image in source.images:
        if len(image.splits) > 1:
            source.fault(image.path, f"is in {' and in '.join(image.splits)}; leave it in one")
        parts[image.splits[0]].append(image)
    if not parts["val"]:
        parts["train"], parts["val"] = draw(parts["train"], share, seed)
    return {name: images for name, images in parts.items() if images}


def _once(source: Source) -> None:
    """Keep one of the images that are labelled twice: in both parts they would measure nothing."""
    first: dict[str, LabelledImage] = {}
    for image in source.images:
        known = first.setdefault(os.path.realpath(image.path), image)
        if known is not image:
            source.fault(
                image.file, f"its image {image.path} is labelled twice, also by {known.file}"
            )
    source.images = list(first.values())


def _by_subset(source: Source) -> None:
    """Give images the splits that their folders or subsets are named after.

    Where none is, all are training images, of which some are drawn. Where one is, images of another
    name may have been set apart on purpose: they are left out, as what cannot be imported.
    """
    unknown = [image for image in source.images if not image.splits]
    named = {image.subset: split_of(image.subset) for image in unknown}
    first = next((name for name, name_of in named.items() if name_of), None)
    for image in unknown:
        if (part := named[image.subset] if first is not None else "train") is not None:
            image.splits = (part,)
            continue
        what = source.subsets
        there = f"the {what} {image.subset!r}" if image.subset else f"no {what}"
        source.fault(
            image.file,
            f"image {image.path.name} is in {there}, and others are in {first!r}: give each {what} "
            "the name of a split: train, val or test",
        )
    source.images = [image for image in source.images if image.splits]


def draw(
    images: Sequence[LabelledImage], share: float, seed: int
) -> tuple[list[LabelledImage], list[LabelledImage]]:
    """Divide images so that every class has its share of them in both parts.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011): of the rarest class first,
    every image goes where most images of that class are still wanted. A class with two images or
    more is in both parts.
    """
    order = list(images)
    random.Random(seed).shuffle(order)
    classes = {
        id(image): {item.name for item in image.objects if not item.crowd} or {_WITHOUT}
        for image in order
    }
    left = Counter(name for image in order for name in classes[id(image)])
    wanted = _wanted(left, len(order), share)
    chosen: set[int] = set()
    while order:
        rarest = min((name for name in left if left[name]), key=lambda name: (left[name], name))
        for image in [image for image in order if rarest in classes[id(image)]]:
            part = max(("train", "val"), key=lambda p: (wanted[p][rarest], wanted[p][None]))
            if part == "val":
                chosen.add(id(image))
            for name in (*classes[id(image)], None):
                wanted[part][name] -= 1
            left.subtract(classes[id(image)])
        order = [image for image in order if rarest not in classes[id(image)]]
    return (
        [image for image in images if id(image) not in chosen],
        [image for image in images if id(image) in chosen],
    )


def _wanted(counts: Counter, total: int, share: float) -> dict[str, Counter]:
    """How many images of each class, and of all (None), are wanted in both parts."""
    val: Counter = Counter()
    for name, count in (*counts.items(), (None, total)):
        least = 1 if count > 1 else 0
        val[name] = min(max(round(count * share), least), max(count - 1, 0))
    everything = Counter({None: total}) + counts
    return {"train": Counter({n: c - val[n] for n, c in everything.items()}), "val": val}
