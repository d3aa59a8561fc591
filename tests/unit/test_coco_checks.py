"""Every kind of damaged data set is refused with a message that names it; COCO's own flaws pass."""

import copy
import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from fgd.cli import main
from fgd.data.clean import clean
from fgd.data.coco import check, remarks
from fgd.errors import FGDError

CLASSES = ("cat", "dog")


def corners_of(box):
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


@pytest.fixture
def content():
    """Two images of 40 x 30 pixels, three objects."""

    def annotation(number, image, category, bbox):
        return {
            "id": number,
            "image_id": image,
            "category_id": category,
            "bbox": bbox,
            "area": bbox[2] * bbox[3],
            "iscrowd": 0,
            "segmentation": [corners_of(bbox)],
        }

    return {
        "images": [
            {"id": 10, "file_name": "a.png", "width": 40, "height": 30},
            {"id": 11, "file_name": "b.png", "width": 40, "height": 30},
        ],
        "annotations": [
            annotation(1, 10, 1, [0, 0, 40, 30]),
            annotation(2, 10, 2, [5.5, 5, 10, 10]),
            annotation(3, 10, 2, [1, 1, 4, 4]),
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }


@pytest.fixture
def run(tmp_path, content):
    """Write a data set, by default the sound one, and check it."""
    images = tmp_path / "images"
    images.mkdir()
    for image in content["images"]:
        Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(images / image["file_name"])

    def run(changed=content, **arguments):
        file = tmp_path / "instances.json"
        file.write_text(json.dumps(changed))
        return check(file, images, **({"classes": CLASSES, "strict": True} | arguments))

    return run


def many(content, bbox, copies=97):
    """`content` with one annotation of the box `bbox` among a hundred."""
    sound = content["annotations"]
    for number in range(4, 4 + copies):
        sound.append(dict(sound[2], id=number))
    sound[1]["bbox"] = bbox
    return content


def test_report_counts_what_is_there(run):
    report = run(open_images=True)
    assert (report["images"], report["images_without_objects"]) == (2, 1)
    assert report["annotations"] == 3
    assert report["per_class"] == {"cat": 1, "dog": 2}
    assert report["beyond_border"] == report["other_classes"] == report["crowds"] == 0
    assert set(report["dropped_by_mmdet"].values()) == {0}


def test_other_categories_are_counted_apart(run):
    report = run(classes=("dog",))
    assert report["per_class"] == {"dog": 2}
    assert report["other_classes"] == 1


@pytest.mark.parametrize(
    ("bbox", "reason"),
    [
        ([5, 5, 0, 10], "less than a pixel wide or high"),
        ([5, 5, -3, 10], "less than a pixel wide or high"),
        ([41, 5, 10, 10], "outside the image"),
        ([5, -12, 10, 10], "outside the image"),
        ([35, 5, 10, 10], "partly beyond the image's border"),
        ([-2, 5, 10, 10], "partly beyond the image's border"),
    ],
)
def test_wrong_box(run, content, bbox, reason):
    """Strict refuses one; otherwise one of a hundred is counted and one of three refused."""
    content["annotations"][1]["bbox"] = bbox
    for strict in (True, False):
        with pytest.raises(FGDError) as error:
            run(strict=strict)
        text = str(error.value)
        assert "annotation 2 in image a.png (40 x 30 pixels)" in text
        assert f"{bbox}, which is {reason} (1 of 3" in text
    report = run(many(content, bbox), strict=False)
    assert sum(report["dropped_by_mmdet"].values()) + report["beyond_border"] >= 1
    assert report["dropped_by_mmdet"].get(reason, report["beyond_border"]) == 1


def test_dropped_boxes_are_those_that_mmdet_drops(run, content, tmp_path):
    """The report's counts agree with what mmdet's data set hands to training."""
    from mmdet.datasets import CocoDataset

    many(content, [5, 5, 10, 0.5])
    content["annotations"][10]["bbox"] = [41, 1, 4, 4]
    content["annotations"][11]["area"] = 0
    content["annotations"][12]["bbox"] = [-2, 1, 4, 4]
    report = run(strict=False)
    data = CocoDataset(
        str(tmp_path / "instances.json"), pipeline=[], classes=CLASSES, test_mode=True
    )
    kept = len(data.get_ann_info(0)["bboxes"])
    assert report["annotations"] - kept == sum(report["dropped_by_mmdet"].values()) == 3


def test_rounding_at_the_border_is_no_fault(run, content):
    content["annotations"][1]["bbox"] = [30.005, 5, 10, 10]
    assert run()["beyond_border"] == 0


@pytest.mark.parametrize("bbox", [[1, 2, 3], [1, 2, 3, None], [1, 2, 3, float("nan")], "box"])
def test_box_that_is_none(run, content, bbox):
    content["annotations"][2]["bbox"] = bbox
    with pytest.raises(FGDError, match=r"annotation 3: bbox is .*expected four finite numbers"):
        run(strict=False)


def drop(kind, key):
    def change(content):
        del content[kind][1][key]

    return change


def put(kind, number, **values):
    def change(content):
        content[kind][number] |= values

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("annotations"), "no list 'annotations'"),
        (drop("images", "height"), "'images', id 11: 'height' is missing"),
        (drop("images", "id"), "'images', no. 1: 'id' is missing"),
        (drop("annotations", "iscrowd"), "'annotations', id 2: 'iscrowd' is missing"),
        (put("images", 1, id=10), "id 10 stands 2 times in 'images'"),
        (put("annotations", 2, id=1), "id 1 stands 2 times in 'annotations'"),
        (put("annotations", 2, image_id=99), "annotation 3 has image_id 99"),
        (put("annotations", 2, category_id=99), "annotation 3 has category_id 99"),
        (put("categories", 1, name="Dog"), "no category is named 'dog' .*cat, Dog"),
        (lambda c: c["categories"].reverse(), "in the order dog, cat.*in the order cat, dog"),
        (put("images", 0, file_name="c.png"), "images/c.png is missing.*1 of 2"),
    ],
)
def test_damaged_content(run, content, change, message):
    change(content)
    with pytest.raises(FGDError, match=message):
        run()


def test_areas_that_no_object_in_its_box_has_are_counted_and_told(content, run):
    content["annotations"][2]["area"] = 25  # of a mask that reaches beyond a box of whole pixels
    assert run()["found"] == {}
    content["annotations"][1]["area"] *= 4
    report = run()
    assert report["found"] == {"area larger than its box": 1}
    assert remarks(report)[0].startswith("1 of 3 areas are larger than their boxes, and AP by size")


def test_a_crowd_and_an_object_of_an_unused_class_need_no_segmentation(content, run):
    content["annotations"][2].update(iscrowd=1, segmentation=[])
    content["annotations"][0]["segmentation"] = []
    used = "dog" if content["annotations"][0]["category_id"] == 1 else "cat"
    assert run(masks=True, classes=[used])["without_segmentation"] == 2


@pytest.mark.parametrize("nothing", [{}, {"segmentation": []}, {"segmentation": None}])
def test_masks_are_wanted_where_they_are_learned(run, content, tmp_path, nothing):
    del content["annotations"][2]["segmentation"]
    content["annotations"][2] |= nothing
    assert run()["without_segmentation"] == 1
    with pytest.raises(FGDError, match=r"annotation 3: no segmentation, .* clean --masks`$"):
        run(masks=True)
    out = tmp_path / "clean.json"
    report = clean(tmp_path / "instances.json", tmp_path / "images", out=out, masks=True)
    assert report.counts == {"without segmentation": 1}
    assert [each["id"] for each in json.loads(out.read_text())["annotations"]] == [1, 2]


def test_a_config_without_classes_means_cocos(run, tmp_path):
    run()
    command = ["data", "check", "--out", str(tmp_path / "report.json")]
    files = [str(tmp_path / "instances.json"), str(tmp_path / "images")]
    assert CliRunner().invoke(main, [*command, *files]).exit_code == 0
    refused = CliRunner().invoke(main, [*command, "--coco-classes", *files])
    assert "no category is named 'person'" in refused.output
    assert "config names no classes, which stands for COCO's 80" in refused.output
    named = CliRunner().invoke(main, [*command, "--coco-classes", "--classes=cat,dog", *files])
    assert named.exit_code == 0


def test_class_names_are_unique_whoever_asks(run, content):
    content["categories"][1]["name"] = "cat"
    with pytest.raises(FGDError, match="two categories are named 'cat'"):
        run(classes=None)


def test_truncated_json(run, content, tmp_path):
    run()
    file = tmp_path / "instances.json"
    file.write_text(file.read_text()[:-100])
    with pytest.raises(FGDError, match=r"instances\.json is no complete JSON file"):
        check(file, tmp_path / "images")


def test_missing_data_says_what_belongs_there(tmp_path):
    with pytest.raises(FGDError, match=r"instances_train2017\.json is missing.*annotations_train"):
        check(tmp_path / "annotations/instances_train2017.json", tmp_path / "train2017")
    file = tmp_path / "instances.json"
    file.write_text("{}")
    with pytest.raises(FGDError, match=r"image folder .*val2017 is missing.*cocodataset\.org"):
        check(file, tmp_path / "val2017")
    with pytest.raises(
        FGDError, match=r"image folder .*mine is missing; correct the path, here or in"
    ):
        check(file, tmp_path / "mine")


def test_a_file_and_a_folder_in_each_others_place(run, tmp_path):
    run()
    images, file = tmp_path / "images", tmp_path / "instances.json"
    for read in (check, lambda *paths: clean(*paths, out=None)):
        with pytest.raises(FGDError, match=r"images is a folder, and .*json a file: they stand in"):
            read(images, file)
        with pytest.raises(FGDError, match=r"annotation file .*images is a folder; .*data import"):
            read(images, images)
        with pytest.raises(FGDError, match=r"image folder .*json is a file; expected the folder"):
            read(file, file)


def test_what_is_no_json_may_be_another_format(tmp_path):
    for name, content in (("labels.txt", "0 1 2"), ("data.json", "{}")):
        (tmp_path / name).write_text(content)
        with pytest.raises(FGDError, match="`fgd data import` makes COCO's JSON of other formats"):
            check(tmp_path / name, tmp_path)


def test_images_of_another_size(run, content):
    changed = copy.deepcopy(content)
    changed["images"][1]["width"] = 41
    run(changed)
    with pytest.raises(FGDError, match=r"b\.png is 40 x 30 pixels, and 41 x 30 are stated"):
        run(changed, open_images=True)


def test_unreadable_image(run, tmp_path):
    (tmp_path / "images" / "b.png").write_bytes(b"no image")
    with pytest.raises(FGDError, match=r"b\.png cannot be read"):
        run(open_images=True)


# --- What a copy or a download most often leaves behind ---


def test_another_number_of_images_than_expected(run, content):
    run(number=2)
    with pytest.raises(FGDError, match=r"lists 2 images, expected 118287"):
        run(number=118_287)


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_an_image_that_is_cut_short_is_named_without_decoding_all(run, content, tmp_path, ending):
    name = f"c.{ending}"
    file = tmp_path / "images" / name
    Image.effect_noise((40, 30), 50).save(file)
    content["images"][0]["file_name"] = name
    run()
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    with pytest.raises(FGDError, match=rf"{name} is cut short, .* reads \(1 of 2 images are\)"):
        run()
    file.write_bytes(b"")
    with pytest.raises(FGDError, match=rf"{name} is cut short"):
        run()
    if ending == "jpg":
        file.write_bytes(whole + b"some bytes more")
        run()
