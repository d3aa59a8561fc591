"""Draws one picture of the mini set: handwritten digits pasted on a crop of a photograph.

The digits and the photographs are the ones that scikit-learn carries. Each half of the set has its
own: the digits are split by their position in the data set, the photographs by columns, so that no
digit and no pixel of background that `val` shows was ever seen in `train`.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from sklearn.datasets import load_digits, load_sample_image

CLASSES = tuple("0123456789")
PHOTOGRAPHS = ("china.jpg", "flower.jpg")

# Half-open ranges: digits by index (of 1797), photographs by column (of 640). scikit-learn keeps
# the digits in the order of collection, so the last fifth is also by other hands than the rest.
DIGITS = {"train": (0, 1438), "val": (1438, 1797)}
COLUMNS = {"train": (224, 640), "val": (0, 224)}

HEIGHTS = (22 / 128, 80 / 128)  # of a digit, in parts of the picture's side
CROP_HEIGHTS = (0.5, 0.95)  # the same in a classifier's crop
MOST_OBJECTS = 5
CROPS = (96, 193)  # half-open range of the side of a photograph's crop, in its pixels
LEAST_VISIBLE = 0.6  # part of a digit's own pixels that others and the border must leave
LEAST_SIDE = 4  # pixels of a visible digit's box
# Ink is light and paper dark, in many colours: with either polarity a detector of a few hundred
# training steps tells where a digit is, but not which.
LIGHT = (0.3, 0.8)  # factor on the photograph
INK_SATURATION = 0.7  # at most; an ink's brightest channel is 255
LEAST_CONTRAST = 60  # of an ink's mean channel above that of what lies under it
OUTSIDE = 0.15  # part of a digit's height or width that may lie beyond the border
ATTEMPTS = 20  # to place one digit before it is left out

_PADDING = 2  # cells of empty paper around the 8 x 8 cells of a digit
_UPSAMPLING = 4  # before the affine warp, whose fixed-point grid is too coarse for 8 x 8 cells
_INK = 0.35  # of full ink: where a stroke's edge runs


@dataclass(frozen=True)
class Source:
    """What one half of the set is made of.

    Attributes:
        digits: (n, 48, 48) float32 ink in 0..1, each smoothly upsampled with its paper around it.
        labels: (n,) class of each digit, 0..9.
        indices: (n,) each digit's index in scikit-learn's data set.
        backgrounds: RGB photograph regions (h, w, 3) uint8, in the order of `PHOTOGRAPHS`.
        left: column of the photographs at which the regions start.
    """

    digits: np.ndarray
    labels: np.ndarray
    indices: np.ndarray
    backgrounds: tuple[np.ndarray, ...]
    left: int


@dataclass(frozen=True)
class Object:
    """One digit in a picture.

    Attributes:
        label: its class, 0..9.
        digit: its index in scikit-learn's data set.
        mask: (h, w) bool, the pixels where it can be seen.
        whole: how many pixels it has where nothing hides it and no border cuts it.
    """

    label: int
    digit: int
    mask: np.ndarray
    whole: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        """The tight box around the mask as x, y, width, height in pixels."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        x, y = int(columns[0]), int(rows[0])
        return x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y

    @property
    def area(self) -> int:
        """The number of pixels where the digit can be seen."""
        return int(self.mask.sum())


@dataclass(frozen=True)
class Scene:
    """A picture (size, size, 3) uint8 RGB, its digits from back to front, and its background.

    `crop` is x, y, width, height in the photograph named `photograph`.
    """

    image: np.ndarray
    objects: tuple[Object, ...]
    photograph: str
    crop: tuple[int, int, int, int]


def load_source(split: str) -> Source:
    """Load the digits and photograph regions of `split`, "train" or "val"."""
    data = load_digits()
    first, last = DIGITS[split]
    left, right = COLUMNS[split]
    ink = np.pad(
        data.images[first:last].astype(np.float32) / 16,
        ((0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING)),
    )
    return Source(
        digits=np.stack([_upsample(digit) for digit in ink]),
        labels=data.target[first:last],
        indices=np.arange(first, last),
        backgrounds=tuple(load_sample_image(name)[:, left:right] for name in PHOTOGRAPHS),
        left=left,
    )


def draw_scene(source: Source, rng: np.random.Generator, size: int) -> Scene:
    """Draw a picture of 1 to 5 digits, size x size pixels. A function of its arguments alone."""
    image, photograph, crop = draw_background(source, rng, size)
    objects: list[Object] = []
    wanted = rng.integers(1, MOST_OBJECTS + 1)
    for _ in range(wanted):
        image, objects = _add_digit(source, rng, image, objects)
    return Scene(to_pixels(image, rng), tuple(objects), photograph, crop)


def draw_crop(source: Source, rng: np.random.Generator, side: int) -> tuple[np.ndarray, int]:
    """Draw one digit that nearly fills the picture, (side, side, 3) uint8 RGB, and its class."""
    image, _, _ = draw_background(source, rng, side)
    number = int(rng.integers(len(source.digits)))
    digit = draw_digit(source.digits[number], rng, rng.uniform(*CROP_HEIGHTS) * side)
    height, width = digit.shape
    x, y = (int(rng.uniform(min(0, side - n), max(0, side - n))) for n in (width, height))
    image = paint(image, place(digit, (side, side), x, y), rng)
    return to_pixels(image, rng), int(source.labels[number])


def draw_background(
    source: Source, rng: np.random.Generator, size: int
) -> tuple[np.ndarray, str, tuple[int, int, int, int]]:
    """A random crop of a photograph as (size, size, 3) float32, its photograph and its box."""
    number = int(rng.integers(len(source.backgrounds)))
    region = source.backgrounds[number]
    height, width = region.shape[:2]
    side = int(rng.integers(*CROPS))
    x = int(rng.integers(width - side + 1))
    y = int(rng.integers(height - side + 1))
    crop = region[y : y + side, x : x + side]
    crop = cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    light = rng.uniform(*LIGHT)
    box = (source.left + x, y, side, side)
    return crop.astype(np.float32) * np.float32(light), PHOTOGRAPHS[number], box


def draw_digit(ink: np.ndarray, rng: np.random.Generator, height: float) -> np.ndarray:
    """The digit about `height` pixels tall, slightly turned, sheared and stretched.

    Returns:
        Opacity in 0..1 as float32 (h, w), without empty border; the digit's mask is where the
        opacity is above one half.
    """
    cells = height / 8
    angle = np.deg2rad(rng.uniform(-10, 10))
    shear = rng.uniform(-0.1, 0.1)
    stretch = rng.uniform(0.8, 1.25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = np.array([[stretch, shear], [0, 1]])
    linear = turn @ shape * cells / _UPSAMPLING
    side = int(np.ceil(1.6 * height)) + 2
    middle = (np.array(ink.shape[::-1]) - 1) / 2
    offset = (side - 1) / 2 - linear @ middle
    matrix = np.column_stack([linear, offset])
    warped = cv2.warpAffine(ink, matrix, (side, side), flags=cv2.INTER_LINEAR)
    # Ink grows over about a cell: this slope makes the edge about two pixels wide at any height.
    opacity = np.clip(0.5 + (warped - _INK) * max(1.0, 0.6 * cells), 0, 1)
    rows, columns = np.flatnonzero(opacity.any(1)), np.flatnonzero(opacity.any(0))
    return opacity[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def to_pixels(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The float32 picture as uint8, with a camera's noise over everything."""
    noise = rng.normal(0, rng.uniform(1, 5), image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def paint(image: np.ndarray, opacity: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blend the (h, w) opacity over the (h, w, 3) picture in a colour that can be told from it."""
    under = image[opacity > 0.5].mean()
    ink = _draw_ink(rng)
    while ink.mean() < min(under + LEAST_CONTRAST, 250):
        # On other ink, or on a bright sky, only a lighter colour can be told.
        ink = ink + (255 - ink) * 0.25
    weight = (opacity * rng.uniform(0.85, 1))[..., None].astype(np.float32)
    return image * (1 - weight) + ink.astype(np.float32) * weight


def _draw_ink(rng: np.random.Generator) -> np.ndarray:
    """A light colour, RGB in 0..255."""
    colour = rng.uniform(0, 1, 3)
    colour = (colour - colour.min()) / (colour.max() - colour.min())
    return 255 * (1 - rng.uniform(0, INK_SATURATION) * (1 - colour))


def place(digit: np.ndarray, canvas: tuple[int, int], x: int, y: int) -> np.ndarray:
    """The opacity (h, w) on an empty canvas, its corner at x, y; what lies outside is cut off."""
    whole = np.zeros(canvas, np.float32)
    top, left = max(y, 0), max(x, 0)
    part = digit[top - y : canvas[0] - y, left - x : canvas[1] - x]
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    return whole


def _add_digit(
    source: Source, rng: np.random.Generator, image: np.ndarray, objects: list[Object]
) -> tuple[np.ndarray, list[Object]]:
    """Put one more digit in front of the others, or leave all as it is if it finds no place."""
    size = image.shape[0]
    number = int(rng.integers(len(source.digits)))
    # A square root that is uniform: more small digits than large ones.
    low, high = np.sqrt(HEIGHTS)
    digit = draw_digit(source.digits[number], rng, rng.uniform(low, high) ** 2 * size)
    height, width = digit.shape
    for _ in range(ATTEMPTS):
        x = int(rng.uniform(-OUTSIDE * width, size - (1 - OUTSIDE) * width))
        y = int(rng.uniform(-OUTSIDE * height, size - (1 - OUTSIDE) * height))
        opacity = place(digit, (size, size), x, y)
        mask = opacity > 0.5
        behind = [replace(other, mask=other.mask & ~mask) for other in objects]
        front = Object(
            label=int(source.labels[number]),
            digit=int(source.indices[number]),
            mask=mask,
            whole=int((digit > 0.5).sum()),
        )
        if all(_recognisable(each) for each in [*behind, front]):
            return paint(image, opacity, rng), [*behind, front]
    return image, objects


def _recognisable(item: Object) -> bool:
    if item.area < LEAST_VISIBLE * item.whole:
        return False
    return min(item.box[2:]) >= LEAST_SIDE


def _upsample(cells: np.ndarray) -> np.ndarray:
    smooth = cv2.resize(cells, None, fx=_UPSAMPLING, fy=_UPSAMPLING, interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth, 0, 1)
