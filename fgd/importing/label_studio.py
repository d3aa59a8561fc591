"""Label Studio's JSON and JSON-MIN: a list of tasks, an image each, in hundredths of its sides."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fgd.errors import FGDError
from fgd.importing.reading import (
    IMAGE_SUFFIXES,
    TURNED,
    Images,
    Labelled,
    LabelledImage,
    Source,
    Unreadable,
    box_of_ellipse,
    box_round,
    numbers,
    pairs,
    polygon,
    read_json,
    turned,
)

_UPLOADED = 8  # hex digits and a dash that Label Studio puts before the name of an upload
# What a region may be, by the key that holds its class; what else a task has is about the image.
_KINDS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")
_OTHER = ("brushlabels", "keypointlabels", "videorectangle", "bitmasklabels")
_ABOUT_THE_IMAGE = ("choices", "taxonomy", "rating", "textarea", "number", "datetime", "pairwise")


def is_label_studio(file: Path) -> bool:
    """Whether a file is an export of tasks with images."""
    try:
        content = read_json(file)
    except Unreadable:
        return False
    return isinstance(content, list) and bool(content) and _is_task(content[0])


def _is_task(task: Any) -> bool:
    if not isinstance(task, dict):
        return False
    return isinstance(task.get("data"), dict) or bool(_name_of(task))


def read(place: Path, images: Path | None = None) -> Source:
    """Read an export of Label Studio.

    Args:
        place: the file, or the folder that it lies in alone.
        images: where the images lie, if not beside the file.

    Raises:
        FGDError: there is no such file, or it is no list of tasks.
    """
    file = place
    if place.is_dir():
        files = [file for file in sorted(place.glob("*.json")) if is_label_studio(file)]
        if len(files) != 1:
            raise FGDError(f"{place}: has {len(files)} exports of Label Studio; name the file")
        file = files[0]
    try:
        tasks = read_json(file)
    except Unreadable as error:
        raise FGDError(f"{file}: {error}") from error
    if not isinstance(tasks, list):
        raise FGDError(f"{file}: is no list of tasks; export it from Label Studio as JSON")
    source = Source()
    where = Images(images or file.parent)
    for position, task in enumerate(tasks, start=1):
        number = task.get("id", position) if isinstance(task, dict) else position
        try:
            image = _image(task, f"task {number}", file, where, source)
        except Unreadable as error:
            source.fault(file, f"task {number} {error}")
            continue
        if image is not None:
            source.images.append(image)
    return source


def _image(
    task: Any, origin: str, file: Path, where: Images, source: Source
) -> LabelledImage | None:
    """An image with its regions; None for a task that nobody has labelled."""
    if not isinstance(task, dict):
        raise Unreadable("is no object")
    regions = _regions(task)
    if regions is None:
        source.note("task that nobody has labelled, left out", file, origin)
        return None
    data = task["data"] if isinstance(task.get("data"), dict) else task
    _check_one_image(regions)
    address = _name_of(data)
    if not address:
        raise Unreadable("names no image")
    image = LabelledImage(_find(address, where), file)
    named = {str(region["id"]) for region in regions if _labels(region) and "id" in region}
    for position, region in enumerate(regions, start=1):
        words = f"{origin}, region {position}"
        if not _labels(region) and str(region.get("id")) in named:
            continue  # another entry of the same region says what it is
        try:
            item = _object(region, words, image, file, source)
        except Unreadable as error:
            source.fault(file, f"{words} {error}")
            continue
        if item is not None:
            image.objects.append(item)
    return image


def _check_one_image(regions: list[dict[str, Any]]) -> None:
    """Whether all regions are of one image; a task may show several, side by side or in turn.

    Raises:
        Unreadable: they are of several.
    """
    shown = {(region.get("to_name"), region.get("item_index") or 0)
             for region in regions if _labels(region)}  # fmt: skip
    names = sorted({str(name) for name, _ in shown if name is not None})
    if len(names) > 1:
        raise Unreadable(
            f"has regions on {len(names)} images ({', '.join(names)}), and a task with one alone "
            "can be imported: export a task for each"
        )
    if any(number for _, number in shown):
        raise Unreadable(
            "has regions on several pages (item_index), and a task with one image alone can be "
            "imported: export a task for each"
        )


def _value(region: dict[str, Any]) -> dict[str, Any]:
    """What a region holds; in JSON-MIN it stands in the region itself."""
    value = region.get("value", region)
    return value if isinstance(value, dict) else {}


def _labels(region: dict[str, Any]) -> Any:
    return next((v for key in _KINDS if (v := _value(region).get(key))), None)


def _regions(task: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The regions of the one annotation that counts: the one that is marked as ground truth."""
    if "annotations" not in task and "completions" not in task:  # JSON-MIN: a list for each tool
        found = [v for v in task.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
        return [region for each in found for region in _objects(each)] or None
    annotations = _objects(task.get("annotations", task.get("completions")) or [])
    annotations = [a for a in annotations if not a.get("was_cancelled")]
    best = [a for a in annotations if a.get("ground_truth")] or annotations
    if len(best) > 1:
        raise Unreadable(
            f"has {len(best)} annotations, and which of them counts is not said: mark one as "
            "ground truth, or delete the others"
        )
    return _objects(best[0].get("result") or []) if best else None


def _objects(values: Any) -> list[dict[str, Any]]:
    """A list of JSON's objects."""
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise Unreadable(f"has {values!r:.40}; expected a list of objects")
    return values


def _name_of(data: dict[str, Any]) -> str | None:
    """The address of the image among a task's data."""
    named = [data.get(key) for key in ("image", "img", "photo", "url")]
    texts = [value for value in [*named, *data.values()] if isinstance(value, str)]
    return next((t for t in texts if _path_of(t).lower().endswith(IMAGE_SUFFIXES)), None)


def _path_of(address: str) -> str:
    """The path in an address: of an upload, of a local file (?d=), in the cloud."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    return local[0] if local else unquote(parts.path)


def _find(address: str, where: Images) -> Path:
    path = _path_of(address)
    try:
        return where.find(path)
    except Unreadable:
        folder, _, name = path.rpartition("/")
        start, dash, rest = name.partition("-")
        uploaded = dash and len(start) == _UPLOADED and set(start) <= set("0123456789abcdef")
        if not uploaded:
            raise
        try:
            return where.find(f"{folder}/{rest}")
        except Unreadable:
            pass
        raise


def _object(
    region: dict[str, Any], origin: str, image: LabelledImage, file: Path, source: Source
) -> Labelled | None:
    """A region; None for what is said of the image as a whole."""
    value = _value(region)
    kind = str(region.get("type") or next((key for key in (*_KINDS, *_OTHER) if key in value), ""))
    if kind in _ABOUT_THE_IMAGE or kind == "relation":
        source.note("answer about a whole image, left out", file, origin)
        return None
    if kind in _OTHER or "rle" in value:
        raise Unreadable(f"is of {kind}; expected a rectangle, a polygon or an ellipse")
    labels = _labels(region)
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
        raise Unreadable(f"has the labels {labels}; expected one")
    size = [region.get(key, value.get(key)) for key in ("original_width", "original_height")]
    width, height = numbers(size, "original_width or original_height")
    image.size = (int(width), int(height))
    item, is_turned = _shape(value, labels[0], origin, (width / 100, height / 100))
    if is_turned:
        source.note(TURNED, file, origin)
    return item


def _shape(
    value: dict[str, Any], name: str, origin: str, scale: tuple[float, float]
) -> tuple[Labelled, bool]:
    """A region's value in pixels, and whether it is a rotated box."""
    degrees = numbers([value.get("rotation") or 0], "rotation")[0]
    if "points" in value:
        points = pairs(value["points"], f"({name})")
        outline = polygon([v * scale[n % 2] for n, v in enumerate(points)])
        return Labelled(name, box_round(outline), origin, polygons=[outline]), False
    if "radiusX" in value:
        keys = ("x", "y", "radiusX", "radiusY")
        ellipse = numbers([value.get(key) for key in keys], f"({name}) a coordinate")
        x, y, rx, ry = (v * scale[n % 2] for n, v in enumerate(ellipse))
        return Labelled(name, box_of_ellipse(x, y, rx, ry, degrees), origin), False
    keys = ("x", "y", "width", "height")
    sides = numbers([value.get(key) for key in keys], f"({name}) a coordinate")
    x, y, width, height = (v * scale[n % 2] for n, v in enumerate(sides))
    box = (x, y, x + width, y + height)
    if not degrees:
        return Labelled(name, box, origin), False
    corners = turned(box, (x, y), degrees)  # about its upper left corner
    return Labelled(name, box_round(corners), origin, polygons=[corners]), True
