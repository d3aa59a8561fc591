"""`fgd data clean`: what tools write becomes usable, no usable box is lost, nothing is guessed."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from pycocotools import mask

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds
import export_forms

from fgd.cli import main
from fgd.data.clean import CUT, clean
from fgd.data.coco import check, remarks
from fgd.errors import FGDError
from fgd.evaluation.scores import coco_metrics
from fgd.visual.images import read_pictures

CLASSES = ("cat", "dog")


def boxes_of(content):
    """Name of the image, name of the class and box of every annotation."""
    images = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
    names = {category["id"]: category["name"] for category in content["categories"]}
    return sorted(
        (images[a["image_id"]], names[a["category_id"]], a["bbox"]) for a in content["annotations"]
    )


@pytest.fixture
def run(tmp_path):
    """Cleans a world that was changed; what was written, and the report."""

    def run(edit=None, pictures=None, **options):
        content = coco_worlds.world()
        file, folder = coco_worlds.write(tmp_path, content)
        if edit:
            edit(content)
        file.write_text(json.dumps(content))
        if pictures:
            pictures(folder)
        out = tmp_path / "clean.json"
        report = clean(file, folder, out=out, **options)
        return json.loads(out.read_text()), report

    return run


def edit(kind, number, **values):
    return lambda content: content[kind][number].update(values)


@pytest.mark.parametrize("form", export_forms.FORMS)
def test_every_form_is_mended_and_no_box_is_lost(tmp_path, form):
    file, pictures = export_forms.write(tmp_path, form)
    out = tmp_path / "clean.json"
    report = clean(file, pictures, out=out)
    content = json.loads(out.read_text())
    assert boxes_of(content) == boxes_of(coco_worlds.world())
    for annotation in content["annotations"]:
        assert annotation["id"] > 0
        assert annotation["area"] > 0
        assert annotation["iscrowd"] in (0, 1)
    checked = check(out, pictures, strict=True, open_images=True, training=True)
    assert checked["per_class"] == {"cat": 1, "dog": 2}
    assert content["info"]["cleaned"]["changes"] == dict(report.counts)
    if form == "as it should be":
        assert not report.counts
    # Cleaning what is clean changes nothing.
    assert not clean(out, pictures, out=None).counts


@pytest.mark.parametrize("form", export_forms.FORMS)
@pytest.mark.parametrize("slow", [False, True], ids=["faster", "pycocotools"])
def test_perfect_detections_of_every_form_score_1(tmp_path, form, slow):
    file, pictures = export_forms.write(tmp_path, form)
    if not export_forms.FORMS[form][1]:
        with pytest.raises(FGDError, match="`fgd data clean`"):
            check(file, pictures, strict=True)
        clean(file, pictures, out=tmp_path / "clean.json")
        file = tmp_path / "clean.json"
    classes = check(file, pictures, strict=True)["per_class"]
    assert tuple(classes) == CLASSES
    data = coco_worlds.data_set(file, classes)
    metrics = coco_metrics(data, coco_worlds.perfect(data), pycocotools=slow, per_class=True)["box"]
    assert metrics["per_class"] == pytest.approx({"cat": 1, "dog": 1})
    assert metrics["AP"] == pytest.approx(1)


@pytest.mark.parametrize("encoding", export_forms.ENCODINGS)
def test_other_encodings_are_refused_by_the_check_and_read(tmp_path, encoding):
    file, pictures = export_forms.write(tmp_path, "as it should be", encoding)
    with pytest.raises(FGDError, match=r"expects plain UTF-8: `fgd data clean` mends it"):
        check(file, pictures)
    out = tmp_path / "clean.json"
    assert clean(file, pictures, out=out).counts == {"encoding": 1}
    assert check(out, pictures, strict=True)["annotations"] == 3


def test_an_area_is_that_of_the_outline_where_there_is_one(run):
    def wrong(content):
        for annotation, area in zip(content["annotations"], (None, "200", -1), strict=True):
            annotation["area"] = area
        content["annotations"][2]["segmentation"] = [export_forms.TRIANGLE]

    content, report = run(wrong)
    areas = [annotation["area"] for annotation in content["annotations"]]
    assert areas[:2] == [20 * 15, 200]
    assert areas[2] == pytest.approx(120, abs=12)  # of pixels, not of points
    assert report.counts == {"area computed": 2, "area of text": 1}


def test_the_area_of_an_outline_is_that_of_its_pixels_in_the_image(run):
    def outlined(content):
        for annotation in content["annotations"]:
            del annotation["area"]
        far = [-1e12, -1e12, 1e12, -1e12, 1e12, 1e12, -1e12, 1e12]
        content["annotations"][0]["segmentation"] = [far]
        code = {"size": [48, 64], "counts": [100, 7, 48 * 64 - 107]}
        content["annotations"][1]["segmentation"] = code
        packed = mask.frPyObjects(code, 48, 64)
        packed["counts"] = packed["counts"].decode()
        content["annotations"][2]["segmentation"] = packed

    content, _ = run(outlined)
    assert [annotation["area"] for annotation in content["annotations"]] == [64 * 48, 7, 7]


def test_sound_polygons_stay_and_others_go(run):
    wrong = edit("annotations", 0, segmentation=[export_forms.TRIANGLE, [1, 1, 2, 2]])
    content, report = run(wrong)
    assert content["annotations"][0]["segmentation"] == [export_forms.TRIANGLE]
    assert report.counts == {"segmentation mended": 1}


def test_objects_without_an_outline_go_only_where_masks_are_asked_for(run):
    def outlined(content):
        content["annotations"][0]["segmentation"] = [[1, 1, 2, 2]]
        content["annotations"][1]["segmentation"] = [export_forms.TRIANGLE]

    assert run(outlined)[1].annotations == 3
    content, report = run(outlined, masks=True)
    assert [annotation["id"] for annotation in content["annotations"]] == [2]
    assert report.counts["without segmentation"] == 2


@pytest.mark.parametrize("box", [None, [1, 2, 3], [9, 9, -5, 5], [5, 5, 0, 9], [70, 5, 9, 9], "x"])
def test_an_object_goes_where_its_box_is_unusable_and_its_id_is_said(run, box):
    content, report = run(edit("annotations", 1, bbox=box))
    assert [annotation["id"] for annotation in content["annotations"]] == [1, 3]
    assert "annotation 2" in next(iter(report.examples.values()))
    assert content["info"]["cleaned"]["left_out"] == report.left_out == [2]


def test_ignored_objects_are_crowds_for_training_and_evaluation(run, tmp_path):
    ignored = edit("annotations", 0, ignore=1)
    with pytest.raises(FGDError, match=r"annotation 1 .*which is marked ignore \(1 of 3"):
        content = coco_worlds.world()
        ignored(content)
        check(*coco_worlds.write(tmp_path, content), strict=True)
    content, report = run(ignored)
    assert content["annotations"][0]["iscrowd"] == 1
    assert report.counts == {"marked ignore, now a crowd": 1}


@pytest.mark.parametrize("key", ["ignore", "iscrowd"])
def test_data_of_nothing_to_learn_are_refused(tmp_path, key):
    content = coco_worlds.world()
    for annotation in content["annotations"]:
        annotation[key] = 1
    file, pictures = coco_worlds.write(tmp_path, content)
    with pytest.raises(FGDError, match="has no object of its classes that is learned or measured"):
        check(file, pictures)


def test_images_too_small_for_training_are_counted_or_refused(run, tmp_path):
    def small(content):
        content["images"][0].update(width=40, height=31)
        content["annotations"][0]["bbox"] = [1, 1, 9, 9]
        content["annotations"].pop(1)

    def shrink(folder):
        Image.new("RGB", (40, 31)).save(folder / "1.png")

    content, _ = run(small, shrink)
    assert len(content["images"]) == 2
    file, folder = tmp_path / "clean.json", tmp_path / "pictures"
    report = check(file, folder, strict=True)
    assert report["small_images"] == 1
    assert "1 images are too small for mmdet's training" in remarks(report)
    for strict in (False, True):
        with pytest.raises(FGDError, match=r"image 1.png is 40 x 31 .*clean --training`"):
            check(file, folder, strict=strict, training=True)
    content, report = run(small, shrink, training=True)
    assert [image["file_name"] for image in content["images"]] == ["2.png"]
    assert report.counts == {"image too small to be trained on": 1}


def _to_corners(content):
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x, y, x + width, y + height]


def test_boxes_of_corners_are_asked_about(run):
    with pytest.raises(FGDError, match=r"look like x1, y1, x2, y2, for example \[8, 10, 28, 25\]"):
        run(_to_corners)
    content, report = run(_to_corners, corners=True)
    assert boxes_of(content) == boxes_of(coco_worlds.world())
    assert report.counts == {"box of corners": 3}
    assert run(_to_corners, corners=False)[1].counts[CUT] == 1


def test_an_area_of_a_box_is_that_of_the_box_as_it_is_mended(run):
    def of_the_numbers_as_they_stand(content):
        for annotation in content["annotations"]:
            annotation["area"] = round(annotation["bbox"][2] * annotation["bbox"][3], 1)

    def corners(content):
        _to_corners(content)
        of_the_numbers_as_they_stand(content)

    def beyond(content):
        content["annotations"][0]["bbox"] = [40, 20, 40.04, 40]
        content["annotations"][1]["bbox"] = [40, 20, 40, 40]
        of_the_numbers_as_they_stand(content)
        content["annotations"][1]["area"] = 500  # of an outline that the file does not have

    content, report = run(corners, corners=True)
    assert [a["area"] for a in content["annotations"]] == [20 * 15, 20 * 12, 40 * 40]
    assert report.counts == {"box of corners": 3, "area computed": 3}
    content, report = run(beyond)
    assert [a["bbox"][2:] for a in content["annotations"]] == [[24, 28], [24, 28], [40, 40]]
    assert [a["area"] for a in content["annotations"]] == [24 * 28, 500, 1600]
    assert report.counts == {CUT: 2, "area computed": 1}


def test_areas_of_before_the_images_were_resized_are_computed_anew(run):
    def resized(content):
        for annotation in content["annotations"]:
            annotation["area"] *= 4

    content, report = run(resized)
    assert [a["area"] for a in content["annotations"]] == [20 * 15, 20 * 12, 40 * 40]
    assert report.counts == {"area computed": 3}


def test_many_unusable_boxes_are_no_accident(run):
    def normalised(content):
        for annotation in content["annotations"][:2]:
            annotation["bbox"] = [0.1, 0.2, 0.3, 0.4]

    with pytest.raises(FGDError, match=r"2 of 3 boxes are no boxes in their images"):
        run(normalised)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("images", 1, id=1), r"id 1 stands 2 times in 'images', and not for the same"),
        (edit("images", 1, id="1"), r"id 1 stands 2 times in 'images'"),
        (edit("images", 1, id=None), r"'images': an id is None"),
        (edit("categories", 1, id=1), r"id 1 stands 2 times in 'categories'"),
        (edit("categories", 1, name="cat"), r"two categories are named 'cat'"),
        (edit("images", 1, file_name="../x.png"), r"leads out of the image folder"),
        (edit("images", 1, file_name="/etc/x.png"), r"leads out of the image folder"),
        (edit("images", 1, file_name="C:\\data\\x.png"), r"leads out of the image folder"),
        (edit("annotations", 1, image_id=9), r"has image_id 9, which the file does not define"),
        (edit("annotations", 1, image_id=[1]), r"image_id is \[1\]; .*: correct it by hand"),
        (edit("annotations", 1, category_id=None), r"category_id is None; .*correct it by hand"),
    ],
)
def test_what_is_ambiguous_is_refused(run, tmp_path, change, message):
    with pytest.raises(FGDError, match=message):
        run(change)
    assert not (tmp_path / "clean.json").exists()


# --- Categories ---


@pytest.mark.parametrize(
    ("change", "name"),
    [(export_forms._root("pets"), "pets"), (export_forms._background, "background")],
)
def test_what_is_no_class_is_left_out_and_said(tmp_path, change, name):
    content = coco_worlds.world()
    change(content, tmp_path)
    file, pictures = coco_worlds.write(tmp_path, content)
    report = check(file, pictures)
    assert tuple(report["per_class"]) == CLASSES
    assert report["no_classes"] == [name]
    assert remarks(report)[0].startswith(f"no class for {name}: ")
    every = check(file, pictures, all_categories=True)
    assert tuple(every["per_class"]) == (name, *CLASSES)
    assert remarks(every) == [f"no object of {name}: nothing to learn or to measure"]
    assert clean(file, pictures, out=None).counts == {"category that is no class": 1}
    assert not clean(file, pictures, out=None, all_categories=True).counts


def test_a_category_with_objects_is_a_class_whatever_its_name(tmp_path):
    content = coco_worlds.world(classes=("background", "dog"))
    content["categories"][1]["supercategory"] = "background"
    report = check(*coco_worlds.write(tmp_path, content))
    assert tuple(report["per_class"]) == ("background", "dog")


def test_categories_as_in_another_file(run, tmp_path):
    like = coco_worlds.world(classes=("bird", "dog", "cat"))
    coco_worlds.write(tmp_path, like, "train.json")
    content, report = run(like=tmp_path / "train.json")
    assert [category["name"] for category in content["categories"]] == ["bird", "dog", "cat"]
    assert boxes_of(content) == boxes_of(coco_worlds.world())
    assert report.counts == {"categories in another order": 1, "category of another file": 1}
    again = run(classes=["bird", "dog", "cat"])[0]
    assert again["categories"] == content["categories"]


def test_objects_of_a_category_that_the_other_file_lacks_are_refused(run, tmp_path):
    coco_worlds.write(tmp_path, coco_worlds.world(classes=("cat", "dogs")), "train.json")
    with pytest.raises(FGDError, match=r"has 2 objects of 'dog', and .*did you mean 'dogs'"):
        run(like=tmp_path / "train.json")


# --- The command ---


def test_a_dry_run_says_all_and_writes_nothing(tmp_path):
    file, pictures = export_forms.write(tmp_path, "no id, area and iscrowd")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(main, ["data", "clean", str(file), str(pictures), "--dry-run"])
    assert result.exit_code == 0, result.output
    for line in ("3 annotation numbered anew, for example id none is 1", "3 without iscrowd"):
        assert line in result.output
    assert "2 images and 3 annotations would be left" in result.output
    assert sorted(tmp_path.rglob("*")) == before
    arguments = ["data", "clean", str(file), str(pictures)]
    with_out = CliRunner().invoke(main, [*arguments, "--dry-run", f"--out={tmp_path / 'x.json'}"])
    assert (with_out.exit_code, with_out.output) == (0, result.output)
    assert sorted(tmp_path.rglob("*")) == before
    without = CliRunner().invoke(main, arguments)
    assert without.exit_code == 2
    assert "give --out, or --dry-run" in without.output


def test_a_file_that_clean_did_not_write_stays(tmp_path):
    file, pictures = export_forms.write(tmp_path, "no id, area and iscrowd")
    mine = tmp_path / "val.json"
    mine.write_text(file.read_text())
    arguments = ["data", "clean", str(file), str(pictures), "--out"]
    result = CliRunner().invoke(main, [*arguments, str(mine)])
    assert result.exit_code == 2
    assert "val.json: is there already, and this command did not write it" in result.output
    assert mine.read_text() == file.read_text()
    for _ in range(2):  # the second time it is its own
        result = CliRunner().invoke(main, [*arguments, str(tmp_path / "clean.json")])
        assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", ["check", "clean"])
def test_another_image_folder_is_asked_about(tmp_path, command):
    file, _ = coco_worlds.write(tmp_path, coco_worlds.world())
    other = tmp_path / "other"
    other.mkdir()
    (other / "another.png").touch()
    out = tmp_path / "out.json"
    arguments = ["data", command, str(file), str(other), f"--out={out}"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    count = len(json.loads(file.read_text())["images"])
    assert f"{other}: holds none of the {count} images that {file} lists" in result.output
    assert "is it the right folder? Give the one that they lie in" in result.output
    assert "fgd data clean" not in result.output
    assert not out.exists()


def test_names_with_a_folder_too_much_are_still_to_be_mended(tmp_path):
    content = coco_worlds.world()
    file, pictures = coco_worlds.write(tmp_path, content)
    for image in content["images"]:
        image["file_name"] = f"upload/{image['file_name']}"
    file.write_text(json.dumps(content))
    with pytest.raises(FGDError, match=r"is missing, .*`fgd data clean`"):
        check(file, pictures)


@pytest.mark.parametrize("form", ["an empty polygon", "a polygon in no list", "no segmentation"])
def test_pictures_are_drawn_of_boxes_whatever_their_outlines(tmp_path, form):
    file, pictures = export_forms.write(tmp_path, form)
    (picture,) = read_pictures([pictures / "1.png"], file)
    assert picture.truth.boxes.tolist() == [[8, 10, 28, 25], [36, 30, 56, 42]]
    assert picture.truth.masks is None


def test_an_image_of_more_pixels_than_pillow_likes_is_looked_at(tmp_path):
    content = coco_worlds.world()
    content["images"][0].update(width=13_800, height=13_800)
    file, pictures = coco_worlds.write(tmp_path, content)
    Image.new("1", (13_800, 13_800)).save(pictures / "1.png")
    assert check(file, pictures, strict=True, open_images=True)["images"] == 2


def test_an_area_of_an_outline_larger_than_its_box_stays(tmp_path):
    content = coco_worlds.world()
    for annotation in content["annotations"]:  # an outline of all, a box of what is seen
        x, y, width, height = annotation["bbox"]
        right, low = x + width, y + height
        annotation |= {
            "bbox": [x, y, width / 2, height / 2],
            "segmentation": [[x, y, right, y, right, low, x, low]],
            "area": width * height,
        }
    file, pictures = coco_worlds.write(tmp_path, content)
    assert clean(file, pictures, out=tmp_path / "clean.json").counts == {}
