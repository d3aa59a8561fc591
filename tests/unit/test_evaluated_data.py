"""`fgd evaluate` measures what its config, its checkpoint and its annotations agree on."""

import sys
from pathlib import Path

import pytest
from mmcv import Config
from mmdet.datasets import DATASETS, CocoDataset

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds

from fgd.classes import checkpoint_classes, compare, config_classes
from fgd.errors import FGDError
from fgd.evaluation.test_set import check_test_set


@DATASETS.register_module()
class NamelessDataset(CocoDataset):
    """mmdet then takes the categories of the file, whatever they are."""

    CLASSES = None


@pytest.fixture
def check(tmp_path):
    """Checks a test set of which settings, or the annotation file, were changed."""

    def run(change=None, edit=None):
        content = coco_worlds.world()
        if edit:
            edit(content)
        file, pictures = coco_worlds.write(tmp_path, content)
        test = dict(
            type="CocoDataset",
            ann_file=str(file),
            img_prefix=str(pictures) + "/",
            classes=("cat", "dog"),
            pipeline=[dict(type="LoadImageFromFile")],
        )
        cfg = Config(dict(model=dict(bbox_head=dict(num_classes=2)), data=dict(test=test)))
        if change:
            change(cfg.data.test, cfg)
        return check_test_set(cfg, "mine.py")

    return run


def put(**values):
    return lambda test, cfg: test.update(values)


def masks(test, cfg):
    cfg.model.mask_head = dict(num_classes=2)


def test_images_at_a_time_go_where_mmdet_has_them(check):
    seen = []
    check(lambda test, cfg: (test.update(samples_per_gpu=3), seen.append(cfg)))
    assert "samples_per_gpu" not in seen[0].data.test
    assert seen[0].data.test_dataloader.samples_per_gpu == 3

    def both(test, cfg):
        test.samples_per_gpu = 3
        cfg.data.test_dataloader = dict(samples_per_gpu=2)

    with pytest.raises(FGDError, match=r"data\.test\.samples_per_gpu is 3, and data\.test_datal"):
        check(both)


def each(**values):
    return lambda content: [entry.update(values) for entry in content["annotations"]]


def outlined(content):
    """Give every object an outline."""
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        corners = [x, y, x + width, y, x + width, y + height]
        annotation["segmentation"] = [corners]


@pytest.mark.parametrize("value", ["missing", None, []])
def test_masks_are_measured_where_every_object_has_one(check, value):
    def without(content):
        outlined(content)
        annotation = content["annotations"][1]
        annotation.pop("segmentation") if value == "missing" else annotation.update(
            segmentation=value
        )

    assert check(masks, outlined) == ("cat", "dog")
    assert check(None, without) == ("cat", "dog")
    words = (
        r"annotation 2: segmentation is .*, and figures of masks need .*`fgd data clean --masks`"
    )
    with pytest.raises(FGDError, match=words) as error:
        check(masks, without)
    assert "\n" not in str(error.value)


def test_masks_in_fractions_of_the_image_are_refused(check):
    def fractions(content):
        outlined(content)
        for annotation in content["annotations"]:
            (outline,) = annotation["segmentation"]
            annotation["segmentation"] = [[value / 100 for value in outline]]

    assert check(None, fractions) == ("cat", "dog")
    with pytest.raises(FGDError, match=r"\(3 of 3 outlines lie elsewhere than their boxes\)"):
        check(masks, fractions)


@pytest.mark.parametrize(
    ("outline", "reason"),
    [
        ([[1, 1, 9, 9]], "a polygon has no three points"),
        ([1, 1, 9, 1, 9, 9], "a polygon has no three points"),
        ([["1", "1", "9", "1", "9", "9"]], "coordinates that are not finite numbers"),
        ({"size": [64, 48], "counts": [64 * 48]}, "64"),
    ],
)
def test_masks_that_would_match_nothing_are_refused(check, outline, reason):
    def changed(content):
        outlined(content)
        content["annotations"][1].update(segmentation=outline)

    with pytest.raises(FGDError, match=f"annotation 2: .*{reason}.*`fgd data clean --masks`"):
        check(masks, changed)


def test_boxes_that_reach_beyond_the_border_are_told(check, caplog):
    assert check(edit=each(bbox=[-20, 10, 60, 20])) == ("cat", "dog")
    assert "partly beyond the image's border (3 of 3 annotations are)" in caplog.text


def test_areas_of_before_the_images_were_resized_are_told(check, caplog):
    assert check(None, each(area=9999)) == ("cat", "dog")
    assert "3 of 3 areas are larger than their boxes" in caplog.text


def test_a_model_without_classes_is_refused_and_one_for_instances_is_not(check):
    def rpn(test, cfg):
        cfg.model = dict(type="RPN", rpn_head=dict(type="RPNHead"))

    with pytest.raises(FGDError, match=r"mine\.py: its model, a RPN, predicts neither boxes nor"):
        check(rpn)

    def mask2former(test, cfg):
        cfg.model = dict(
            type="Mask2Former", panoptic_head=dict(num_things_classes=3, num_stuff_classes=0)
        )

    with pytest.raises(FGDError, match="the model tells 3 classes apart"):
        check(mask2former)


def test_the_mask_of_a_crowd_may_be_empty(check):
    def a_crowd(content):
        outlined(content)
        content["annotations"][1].update(iscrowd=1, segmentation=[])

    assert check(masks, a_crowd) == ("cat", "dog")


def test_a_category_that_is_no_class_needs_no_mask(check):
    def another(content):
        outlined(content)
        content["categories"].append(dict(id=9, name="bird", supercategory="animal"))
        content["annotations"][1].update(category_id=9)
        del content["annotations"][1]["segmentation"]

    assert check(masks, another) == ("cat", "dog")


def test_a_sound_one_has_its_classes(check, tmp_path):
    assert check() == ("cat", "dog")
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert check(put(classes=str(tmp_path / "names.txt"))) == ("cat", "dog")

    def in_a_root(test, cfg):
        test.update(data_root=str(tmp_path), ann_file="data.json", img_prefix="pictures")

    assert check(in_a_root) == ("cat", "dog")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(classes=None), r"has 80 names .* the model tells 2 classes apart"),
        (put(classes=None, type="NamelessDataset"), r"names no classes, .* give `classes`"),
        (put(classes=("cat", "Dog")), r"no category is named 'Dog'.*its categories are cat, dog"),
        (put(classes=("cat",)), r"data\.test\.classes has 1 names \(cat\), and the model tells 2"),
        (put(classes="cat"), r"is the text 'cat', .* tuple with a comma: \('cat',\)"),
        (put(classes=3), r"data\.test\.classes is 3; expected the names"),
        (put(classes=("cat", "cat")), r"has 'cat' 2 times"),
        (put(classes=("dog", "cat")), r"in the order cat, dog, the class names in the order dog"),
        (put(ann_file=["a", "b"]), r"ann_file is \['a', 'b'\]; evaluate takes one annotation file"),
        (put(type="VOCDataset"), r"is a VOCDataset, whose figures are not COCO's"),
        (put(type="CityscapesDataset"), r"is a CityscapesDataset, whose figures"),
        (put(type="LVISV1Dataset"), r"is a LVISV1Dataset, whose figures"),
        (put(type="CocoDatset"), r"'CocoDatset', which mmdet does not know; did you mean"),
        (put(img_prefix="nowhere/"), r"image folder nowhere is missing"),
        (put(img_prefix="/"), r"/: holds none of the \d+ images that .* lists, for example 1\.png"),
        (put(ann_file="nowhere.json"), r"annotation file nowhere\.json is missing"),
        (lambda test, cfg: test.pop("type"), r"data\.test has no type"),
        (lambda test, cfg: test.pop("pipeline"), r"data\.test has no pipeline"),
        (lambda test, cfg: cfg.data.update(test=[test]), r"data\.test is a list; .* one test set"),
        (
            lambda test, cfg: cfg.data.update(test=dict(type="ConcatDataset", datasets=[test])),
            r"data\.test is a ConcatDataset of other data sets",
        ),
    ],
)
def test_a_config_that_cannot_be_measured(check, change, message):
    with pytest.raises(FGDError, match=message) as error:
        check(change)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c["annotations"].clear(), "has no annotations; there is nothing to measure"),
        (lambda c: c["annotations"][0].pop("area"), "'area' is missing"),
        (lambda c: c["annotations"][0].update(image_id=9), "has image_id 9"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "annotation 1: bbox is"),
        (lambda c: c["images"][0].update(id="1"), "'images': id is '1'"),
        (lambda c: c["images"][1].update(file_name="1.png"), "images 1 and 2 are one file, 1.png"),
        (lambda c: c["categories"].reverse(), "in the order dog, cat, the class names"),
        (each(iscrowd=1), r"has no object to find: of 3 annotations 3 are of the classes, 3 of"),
        (each(bbox=[0.1, 0.2, 0.3, 0.4]), "which is less than a pixel wide or high"),
        (each(bbox=[500, 10, 20, 20]), "which is outside the image"),
        (each(bbox=[40, 30, 60, 44]), "its boxes are x1, y1, x2, y2, as annotation 1's"),
    ],
)
def test_annotations_that_cannot_be_measured(check, edit, message):
    with pytest.raises(FGDError, match=message):
        check(edit=edit)


@pytest.mark.parametrize(
    ("meta", "classes"),
    [
        ({}, None),
        ({"CLASSES": None}, None),
        ({"CLASSES": ["a", "b"]}, ("a", "b")),
        ({"CLASSES": "dog"}, ("dog",)),
        ({"dataset_meta": {"classes": ("a", "b"), "palette": []}}, ("a", "b")),
        ({"dataset_meta": {"CLASSES": ("a", "b")}}, ("a", "b")),
        ({"dataset_meta": None}, None),
    ],
)
def test_the_classes_of_a_checkpoint(meta, classes):
    assert checkpoint_classes(meta, "t.pth") == classes


@pytest.mark.parametrize("value", [3, [1, 2], {"a": 1}, [], ["a", "a"], ["a", ""]])
def test_what_are_no_names_is_refused(value):
    with pytest.raises(FGDError, match=r"t\.pth: meta\.CLASSES .*expected the names"):
        checkpoint_classes({"CLASSES": value}, "t.pth")
    with pytest.raises(FGDError, match="expected the names"):
        config_classes(value, "classes")


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (("dog", "cat", "bird"), "in the order dog, cat, bird; the data have cat, dog, bird"),
        (("dog", "fish", "bird"), "in the order dog, fish, bird"),
        (("Dog", "Cat", "Bird"), "in the order Dog"),
        (("eins", "zwei", "drei"), "No name is the same"),
        (("cat", "dog"), "These are 2 and 3 classes, and it does not know bird"),
        (("{}", "{x}", "%s"), r"the classes \{\}, \{x\}, %s; the data have"),
        (("cat", "dog", "bird", "fish"), "These are 4 and 3 classes: take"),
    ],
)
def test_a_checkpoint_of_other_classes(known, message):
    with pytest.raises(FGDError, match=message):
        compare(known, ("cat", "dog", "bird"), "t.pth")


def test_names_that_can_mean_the_same_are_told():
    for known in (("cat", "hot dog"), ("Cat", "HOT_DOG")):
        assert compare(known, ["cat", "hot dog"], "t.pth") is None
    assert "cat, hound" in compare(("cat", "hound"), ("cat", "hot dog"), "t.pth")
