"""Data sets in other formats than COCO's, as annotation tools write them, of COCO content.

Every writer takes the folder to fill and, by split, COCO content with the folder of its images.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Splits = dict[str, tuple[dict[str, Any], Path]]


def objects_of(content: dict[str, Any], image: dict[str, Any]) -> Iterator[tuple[str, list, bool]]:
    """Class, box (x, y, width, height) and crowd of the objects on an image."""
    names = {category["id"]: category["name"] for category in content["categories"]}
    for entry in content["annotations"]:
        if entry["image_id"] == image["id"]:
            yield names[entry["category_id"]], entry["bbox"], bool(entry["iscrowd"])


def images_of(splits: Splits) -> Iterator[tuple[str, dict, list[tuple[str, list, bool]], Path]]:
    """Split, COCO's entry, objects and file of every image."""
    for split, (content, folder) in splits.items():
        for image in content["images"]:
            objects = list(objects_of(content, image))
            yield split, image, objects, folder / image["file_name"]


def renamed(splits: Splits) -> Splits:
    """The same with names that no two images share, also on the disk."""
    for split, (content, folder) in splits.items():
        for image in content["images"]:
            name = f"{split}_{image['file_name']}"
            (folder / image["file_name"]).rename(folder / name)
            image["file_name"] = name
    return splits


def names_of(splits: Splits) -> list[str]:
    content, _ = next(iter(splits.values()))
    return [category["name"] for category in content["categories"]]


def copy(source: Path, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / source.name)
    return folder / source.name


def voc(folder: Path, splits: Splits) -> Path:
    """Coordinates as mmdet's VOC reads them: 1 more than COCO's."""
    for part in ("Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for split, image, objects, file in images_of(splits):
        copy(file, folder / "JPEGImages")
        items = "".join(
            f"<object><name>{name}</name><pose>Unspecified</pose><truncated>0</truncated>"
            f"<difficult>{int(crowd)}</difficult><bndbox><xmin>{x + 1}</xmin><ymin>{y + 1}</ymin>"
            f"<xmax>{x + w + 1}</xmax><ymax>{y + h + 1}</ymax></bndbox></object>"
            for name, (x, y, w, h), crowd in objects
        )
        size = f"<width>{image['width']}</width><height>{image['height']}</height><depth>3</depth>"
        (folder / "Annotations" / f"{file.stem}.xml").write_text(
            f"<annotation><folder>JPEGImages</folder><filename>{file.name}</filename>"
            f"<size>{size}</size><segmented>0</segmented>{items}</annotation>"
        )
        with (folder / "ImageSets/Main" / f"{split}.txt").open("a") as names:
            names.write(f"{file.stem}\n")
    return folder


def yolo(folder: Path, splits: Splits) -> Path:
    names = names_of(splits)
    for split, image, objects, file in images_of(splits):
        copy(file, folder / "images" / split)
        width, height = image["width"], image["height"]
        lines = [
            f"{names.index(name)} {(x + w / 2) / width:.6f} {(y + h / 2) / height:.6f} "
            f"{w / width:.6f} {h / height:.6f}\n"
            for name, (x, y, w, h), _ in objects
        ]
        (folder / "labels" / split).mkdir(parents=True, exist_ok=True)
        (folder / "labels" / split / f"{file.stem}.txt").write_text("".join(lines))
    numbered = {number: name for number, name in enumerate(names)}
    places = "".join(f"{split}: images/{split}\n" for split in splits)
    (folder / "data.yaml").write_text(f"path: .\n{places}names: {numbered}\nnc: {len(names)}\n")
    return folder


def label_studio(folder: Path, splits: Splits) -> Path:
    """One file without splits; images are named as uploads."""
    tasks = []
    for number, (_, image, objects, file) in enumerate(images_of(splits), start=1):
        copy(file, folder)
        size = {"original_width": image["width"], "original_height": image["height"]}
        regions = [
            {
                "id": f"region{position}",
                "type": "rectanglelabels",
                "image_rotation": 0,
                **size,
                "value": {
                    "x": 100 * x / image["width"],
                    "y": 100 * y / image["height"],
                    "width": 100 * w / image["width"],
                    "height": 100 * h / image["height"],
                    "rotation": 0,
                    "rectanglelabels": [name],
                },
            }
            for position, (name, (x, y, w, h), _) in enumerate(objects)
        ]
        annotation = {"id": number, "result": regions, "was_cancelled": False}
        data = {"image": f"/data/upload/1/0123abcd-{file.name}"}
        tasks.append({"id": number, "data": data, "annotations": [annotation], "predictions": []})
    (folder / "export.json").write_text(json.dumps(tasks))
    return folder


def labelme(folder: Path, splits: Splits) -> Path:
    """A folder for each split; boxes by any two corners."""
    for split, image, objects, file in images_of(splits):
        copy(file, folder / split)
        shapes = [
            {
                "label": name,
                "points": [[x + w, y], [x, y + h]],
                "group_id": None,
                "shape_type": "rectangle",
                "flags": {},
            }
            for name, (x, y, w, h), _ in objects
        ]
        size = {"imageWidth": image["width"], "imageHeight": image["height"]}
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imageData": None, **size}
        content["imagePath"] = file.name
        (folder / split / f"{file.stem}.json").write_text(json.dumps(content))
    return folder


def cvat(folder: Path, splits: Splits) -> Path:
    subsets = {"train": "Train", "val": "Validation"}
    images = []
    for number, (split, image, objects, file) in enumerate(images_of(splits)):
        copy(file, folder / "images" / subsets[split])
        items = "".join(
            f'<box label="{name}" source="manual" occluded="0" xtl="{x:.2f}" ytl="{y:.2f}" '
            f'xbr="{x + w:.2f}" ybr="{y + h:.2f}" z_order="0"></box>'
            for name, (x, y, w, h), _ in objects
        )
        images.append(
            f'<image id="{number}" name="{file.name}" subset="{subsets[split]}" '
            f'width="{image["width"]}" height="{image["height"]}">{items}</image>'
        )
    labels = "".join(f"<label><name>{name}</name></label>" for name in names_of(splits))
    (folder / "annotations.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>'
        f"<meta><task><labels>{labels}</labels></task></meta>{''.join(images)}</annotations>"
    )
    return folder


WRITERS: dict[str, Callable[[Path, Splits], Path]] = {
    "voc": voc,
    "yolo": yolo,
    "label-studio": label_studio,
    "labelme": labelme,
    "cvat": cvat,
}
