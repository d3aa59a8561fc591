#!/usr/bin/env bash
# Eight tools write one object as COCO in six ways.
#
# Versions: boxlab 0.1.4, coco-lib 0.3.0, globox 2.9.0, labelformat 0.1.17, labelme2coco 0.2.6,
#     pylabel 0.1.55, sahi 0.12.8, supervision 0.31.2, Python 3.11; seen 2026-11-28.
# One would guess: "COCO JSON" is one format. An object has a whole-numbered id from 1, an area and
#     an iscrowd; an image is named as it is called in its folder, with objects or without.
# What happens: ids begin at 0 or are missing, and so are area and iscrowd; a name is an absolute
#     path; pylabel leaves the image without objects out; supervision takes the corners of a Pascal
#     VOC box for pixels counted from 1, both inside the box, the others for distances. pycocotools
#     does not bear them all (coco-annotation-id-zero.sh). datumaro: datumaro-voc-to-coco.sh.
# Seen:
#     boxlab       id 0, area 300.0, iscrowd 0, bbox [8, 10, 20, 15], a.jpg of 1
#     coco-lib     id 1, no area, no iscrowd, bbox [8, 10, 20, 15], a.jpg of 1
#     globox       id 0, area 300.0, iscrowd 0, bbox [8, 10, 20, 15], a.jpg of 2
#     labelformat  no id, no area, no iscrowd, bbox [8, 10, 20, 15], a.jpg of 2
#     labelme2coco id 1, area 300, iscrowd 0, bbox [8, 10, 20, 15], /folder/labelme/a.jpg of 1
#     pylabel      id 0, area 300.0, iscrowd 0, bbox [8, 10, 20, 15], a.jpg of 1
#     sahi         id 1, area 300, iscrowd 0, bbox [8, 10, 20, 15], a.jpg of 1
#     supervision  id 1, area 336.0, iscrowd 0, bbox [7, 9, 21, 16], a.jpg of 2
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
unset PYTHONPATH
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check \
    coco-lib==0.3.0 globox==2.9.0 labelformat==0.1.17 labelme2coco==0.2.6 pylabel==0.1.55 \
    sahi==0.12.8 supervision==0.31.2
python3 -m venv older # boxlab wants another numpy than sahi
older/bin/pip install --quiet --disable-pip-version-check boxlab==0.1.4

venv/bin/python -W ignore - <<'EOF'
import contextlib
import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import labelme2coco
import supervision
from coco_lib.common import Image as CocoLibImage
from coco_lib.objectdetection import (
    ObjectDetectionAnnotation,
    ObjectDetectionCategory,
    ObjectDetectionDataset,
)
from globox import AnnotationSet
from labelformat.formats import COCOObjectDetectionOutput, PascalVOCObjectDetectionInput
from PIL import Image
from pylabel import importer
from sahi.utils.coco import Coco, CocoAnnotation, CocoImage

logging.disable()
# One image with one cat, at (8, 10), 20 wide and 15 high, as Pascal VOC, YOLO and LabelMe have it;
# and, for Pascal VOC, one with nothing.
images, voc, labelme = Path("images"), Path("voc"), Path("labelme")
for place in (images, voc, labelme, Path("yolo/images/train"), Path("yolo/labels/train")):
    place.mkdir(parents=True)
for place in (images, labelme, Path("yolo/images/train")):
    Image.new("RGB", (64, 48)).save(place / "a.jpg")
Image.new("RGB", (64, 48)).save(images / "b.jpg")
cat = (
    "<object><name>cat</name><pose>Unspecified</pose><truncated>0</truncated>"
    "<difficult>0</difficult><bndbox><xmin>8</xmin><ymin>10</ymin><xmax>28</xmax>"
    "<ymax>25</ymax></bndbox></object>"
)
for name, objects in (("a", cat), ("b", "")):
    (voc / f"{name}.xml").write_text(
        f"<annotation><folder>images</folder><filename>{name}.jpg</filename>"
        f"<path>{name}.jpg</path><source><database>x</database></source><size><width>64</width>"
        "<height>48</height><depth>3</depth></size><segmented>0</segmented>"
        f"{objects}</annotation>"
    )
Path("yolo/labels/train/a.txt").write_text(f"0 {18 / 64} {17.5 / 48} {20 / 64} {15 / 48}\n")
Path("yolo/data.yaml").write_text(
    f"path: {Path.cwd()}/yolo\ntrain: images/train\nval: images/train\nnames: [cat]\nnc: 1\n"
)
shape = {"label": "cat", "points": [[8, 10], [28, 25]], "shape_type": "rectangle", "flags": {}}
content = {"version": "5.5.0", "flags": {}, "shapes": [shape | {"group_id": None}]}
content |= {"imagePath": "a.jpg", "imageData": None, "imageHeight": 48, "imageWidth": 64}
(labelme / "a.json").write_text(json.dumps(content))


def boxlab(out):
    code = """
import boxlab.dataset.plugins.coco, boxlab.dataset.plugins.yolo  # it knows these formats then
from boxlab.dataset.io import export_dataset, load_dataset
export_dataset(load_dataset("yolo/data.yaml", format="yolo"), "boxlab", "coco")
"""
    subprocess.run(["older/bin/python", "-c", code], check=True, capture_output=True)
    next(path for path in Path("boxlab").rglob("*.json")).rename(out)


def coco_lib(out):
    ObjectDetectionDataset(
        images=[CocoLibImage(id=1, width=64, height=48, file_name="a.jpg")],
        annotations=[
            ObjectDetectionAnnotation(id=1, image_id=1, category_id=1, bbox=(8, 10, 20, 15))
        ],
        categories=[ObjectDetectionCategory(id=1, name="cat")],
    ).save(out)


def globox(out):
    AnnotationSet.from_pascal_voc(folder=voc).save_coco(out, auto_ids=True)


def labelformat(out):
    COCOObjectDetectionOutput(out).save(PascalVOCObjectDetectionInput(voc, "cat"))


def from_labelme(out):
    labelme2coco.convert(str(labelme.absolute()), "labelme2coco", category_id_start=1)
    Path("labelme2coco/dataset.json").rename(out)


def pylabel(out):
    importer.ImportVOC(path=str(voc), path_to_images="../images").export.ExportToCoco(
        output_path=str(out), cat_id_index=1
    )


def sahi(out):
    image = CocoImage(file_name="a.jpg", height=48, width=64)
    image.add_annotation(CocoAnnotation(bbox=[8, 10, 20, 15], category_id=1, category_name="cat"))
    coco = Coco()
    coco.add_categories_from_coco_category_list([{"id": 1, "name": "cat"}])
    coco.add_image(image)
    out.write_text(json.dumps(coco.json))


def from_supervision(out):
    supervision.DetectionDataset.from_pascal_voc(str(images), str(voc)).as_coco(
        annotations_path=str(out)
    )


found = {}
for name, export in {
    "boxlab": boxlab,
    "coco-lib": coco_lib,
    "globox": globox,
    "labelformat": labelformat,
    "labelme2coco": from_labelme,
    "pylabel": pylabel,
    "sahi": sahi,
    "supervision": from_supervision,
}.items():
    file = Path(f"{name}.json")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        export(file)
    written = json.loads(file.read_text())
    (entry,) = written["annotations"]
    image = next(each for each in written["images"] if each["id"] == entry["image_id"])
    keys = ("id", "area", "iscrowd")
    parts = [f"{key} {entry[key]}" if key in entry else f"no {key}" for key in keys]
    file_name = image["file_name"].replace(str(Path.cwd()), "/folder")
    named = f"{file_name} of {len(written['images'])}"
    box = [round(number) for number in entry["bbox"]]
    found[name] = ", ".join([*parts, f"bbox {box}", named])
    print(f"{name:13}{found[name]}")

as_described = found == {
    "boxlab": "id 0, area 300.0, iscrowd 0, bbox [8, 10, 20, 15], a.jpg of 1",
    "coco-lib": "id 1, no area, no iscrowd, bbox [8, 10, 20, 15], a.jpg of 1",
    "globox": "id 0, area 300.0, iscrowd 0, bbox [8, 10, 20, 15], a.jpg of 2",
    "labelformat": "no id, no area, no iscrowd, bbox [8, 10, 20, 15], a.jpg of 2",
    "labelme2coco": "id 1, area 300, iscrowd 0, bbox [8, 10, 20, 15], /folder/labelme/a.jpg of 1",
    "pylabel": "id 0, area 300.0, iscrowd 0, bbox [8, 10, 20, 15], a.jpg of 1",
    "sahi": "id 1, area 300, iscrowd 0, bbox [8, 10, 20, 15], a.jpg of 1",
    "supervision": "id 1, area 336.0, iscrowd 0, bbox [7, 9, 21, 16], a.jpg of 2",
}
print("AS DESCRIBED" if as_described else "CHANGED")
sys.exit(not as_described)
EOF
