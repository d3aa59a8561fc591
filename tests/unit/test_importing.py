"""`fgd data import`: what other formats say arrives as it was, or is refused by file and reason."""

import copy
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds
import label_formats

from fgd.cli import main
from fgd.data.coco import check
from fgd.importing.importing import RECORD
from fgd.importing.reading import Labelled, LabelledImage
from fgd.importing.splits import draw
from fgd.mini import digits

SPLITS = ("train", "val")
BOXES = (
    (0, 0, [8, 10, 20, 15]),
    (0, 1, [36, 30, 20, 12]),
    (1, 1, [4, 4, 40, 40]),
    (2, 0, [10, 10, 30, 20]),
    (3, 1, [10, 10, 30, 20]),
)


def plain(*contents):
    """Image, class, crowd and box of every object of COCO files, as far as figures are exact."""
    found = []
    for content in contents:
        files = {image["id"]: Path(image["file_name"]).name for image in content["images"]}
        names = {category["id"]: category["name"] for category in content["categories"]}
        for a in content["annotations"]:
            box = tuple(round(value, 1) for value in a["bbox"])
            found.append((files[a["image_id"]], names[a["category_id"]], a["iscrowd"], box))
    return sorted(found)


def run(*arguments):
    result = CliRunner().invoke(main, ["data", "import", *map(str, arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def imported(folder, out, *options):
    """The training images that an import wrote."""
    result = run(folder, "--out", out, *options)
    assert result.exit_code == 0, result.stderr
    return json.loads((out / "train.json").read_text())


def edit(file, old="", new="", count=-1, corners=None):
    """Replace words, or the corners of the first box, of a file."""
    text = file.read_text()
    if corners is not None:
        start, end = text.index("<bndbox>"), text.index("</bndbox>")
        keys = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
        old = text[start:end]
        new = "<bndbox>" + "".join(f"<{key}>{value}</{key}>" for key, value in keys)
    assert old in text
    file.write_text(text.replace(old, new, count))


def refusal(*arguments):
    """The one line in which an import is refused."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


@pytest.fixture(scope="module")
def mini(tmp_path_factory):
    """The mini set by split, each with an image that has no objects and a crowd."""
    folder = tmp_path_factory.mktemp("mini") / "mini"
    digits.write(folder, train=10, val=5, size=64, seed=0)
    splits = {}
    for split in ("train", "val"):
        content = json.loads((folder / f"annotations/instances_{split}.json").read_text())
        last = content["images"][-1]["id"]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != last]
        splits[split] = (content, folder / split)
    return label_formats.renamed(splits)


@pytest.fixture
def world(tmp_path):
    """A small world in a format; the folder."""

    def make(form):
        content = coco_worlds.world(boxes=BOXES, images=4)
        _, pictures = coco_worlds.write(tmp_path, content)
        train = content | {"images": content["images"][:3]}
        val = content | {"images": content["images"][3:]}
        splits = {"train": (train, pictures), "val": (val, pictures)}
        make.splits = splits
        return label_formats.WRITERS[form](tmp_path / form, splits)

    return make


@pytest.mark.parametrize("form", label_formats.WRITERS)
def test_the_mini_set_arrives_as_it_was(tmp_path, mini, form):
    if form == "voc":
        mini = copy.deepcopy(mini)
        for content, _ in mini.values():
            content["annotations"][1]["iscrowd"] = 1
    folder = label_formats.WRITERS[form](tmp_path / "source", mini)
    out = tmp_path / "out"
    result = run(folder, "--out", out)
    assert result.exit_code == 0, result.stderr
    record = json.loads((out / RECORD).read_text())
    assert record["left_out"] == []
    contents = [content for content, _ in mini.values()]
    made = [json.loads((out / f"{split}.json").read_text()) for split in mini]
    if form == "label-studio":  # which has no splits
        assert plain(*made) == plain(*contents)
    else:
        assert list(map(plain, made)) == list(map(plain, contents))
    assert sum(len(content["images"]) for content in made) == 15
    for split, content in zip(mini, made, strict=True):
        assert [c["name"] for c in content["categories"]] == label_formats.names_of(mini)
        check(out / f"{split}.json", record["images"], strict=True, open_images=True)


class TestVoc:
    @pytest.mark.parametrize(
        ("corners", "options", "box"),
        [
            ((9, 11, 29, 26), [], [8, 10, 20, 15]),  # mmdet: 1 less, and no pixel is added
            ((0, 11, 29, 26), [], [0, 11, 29, 15]),  # a 0: evidently counted from 0
            ((0, 11, 29, 26), ["--first=1"], [0, 10, 28, 15]),  # cut off at the border
            ((9, 11, 29, 26), ["--first=0"], [9, 11, 20, 15]),
            (("9.5", " 11 ", "29.25", "26.0"), [], [8.5, 10, 19.75, 15]),
        ],
    )
    def test_coordinates(self, world, tmp_path, corners, options, box):
        folder = world("voc")
        edit(folder / "Annotations/1.xml", corners=corners)
        made = imported(folder, tmp_path / "out", *options)
        assert made["annotations"][0]["bbox"] == box

    def test_difficult_is_a_crowd_and_truncated_is_as_any(self, world, tmp_path):
        folder = world("voc")
        file = folder / "Annotations/1.xml"
        edit(file, "<difficult>0", "<difficult>1", count=1)
        edit(file, "<truncated>0", "<truncated>1")
        made = imported(folder, tmp_path / "out")
        assert [a["iscrowd"] for a in made["annotations"]] == [1, 0, 0, 0]

    def test_image_sets(self, world, tmp_path):
        folder = world("voc")
        sets = folder / "ImageSets/Main"
        (sets / "train.txt").unlink()
        (sets / "trainval.txt").write_text("1\n2\n3.jpg\n")
        (sets / "test.txt").write_text("4\n")
        (sets / "cat_train.txt").write_text("1 -1\n")
        imported(folder, tmp_path / "out")
        parts = {f: json.loads((tmp_path / "out" / f"{f}.json").read_text())["images"]
                 for f in ("train", "val", "test")}  # fmt: skip
        assert len(parts["train"]) + len(parts["val"]) == 3
        assert [image["file_name"] for image in parts["test"]] == ["4.png"]
        (sets / "trainval.txt").write_text("1\n7\n")
        assert "names 7, of which there is no 7.xml" in refusal(folder, "--dry-run")

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("</annotation>", "", "1.xml: is no complete XML"),
            ("<annotation>", '<!DOCTYPE a [<!ENTITY b "c">]><annotation>', "has a document type"),
            ("<width>64", "<width>65", "is 64 x 48 pixels, and 65 x 48 are stated"),
            ("<xmin>9<", "<xmin>left<", "1.xml: object 1 (cat) a coordinate is 'left'"),
            ("<xmin>9<", "<xmin>29<", "1.xml: object 1 (cat) has the corners 28, 10, 28, 25"),
            ("<xmin>9<", "<xmin>900<", "less than a pixel wide or high"),
            ("<name>cat</name>", "", "object 1 has no name"),
            ("<bndbox>", "<box>", "is no complete XML"),
            ("annotation>", "annotations>", "its root is <annotations>"),
        ],
    )
    def test_what_is_wrong_is_named(self, world, tmp_path, old, new, words):
        folder = world("voc")
        edit(folder / "Annotations/1.xml", old, new)
        out = tmp_path / "out"
        assert words in refusal(folder, "--out", out, "--format=voc")
        assert not out.exists()
        made = imported(folder, out, "--format=voc", "--leave-out")
        record = json.loads((out / RECORD).read_text())
        assert len(record["left_out"]) == 1
        assert words in record["left_out"][0]
        assert made["annotations"]

    def test_the_folder_of_the_annotations_stands_for_the_whole(self, world, tmp_path):
        folder = world("voc")
        made = imported(folder / "Annotations", tmp_path / "out")
        assert made["images"] == imported(folder, tmp_path / "same")["images"]

    def test_folders_of_other_names(self, world, tmp_path):
        folder = world("voc")
        expected = imported(folder, tmp_path / "same")
        (folder / "Annotations").rename(folder / "annotations")
        (folder / "JPEGImages").rename(folder / "images")
        assert imported(folder, tmp_path / "out") == expected

    def test_an_image_may_have_another_name_or_be_missing(self, world, tmp_path):
        folder = world("voc")
        (folder / "JPEGImages/1.png").rename(folder / "JPEGImages/one.png")
        edit(folder / "Annotations/1.xml", "<filename>1.png", "<filename>C:\\x\\one.png")
        made = imported(folder, tmp_path / "out")
        assert "one.png" in [image["file_name"] for image in made["images"]]
        (folder / "JPEGImages/one.png").unlink()
        words = refusal(folder, "--dry-run")
        assert "its image C:\\x\\one.png is not in" in words and "--images" in words

    def test_without_image_sets_beside_the_images(self, world, tmp_path):
        source = world("voc")
        for part in ("Annotations", "JPEGImages"):
            for number, file in enumerate(sorted((source / part).iterdir())):
                place = tmp_path / "flat" / ("train" if number < 3 else "valid")
                place.mkdir(parents=True, exist_ok=True)
                file.rename(place / file.name)
        made = imported(tmp_path / "flat", tmp_path / "out")
        assert [i["file_name"] for i in made["images"]] == [f"train/{n}.png" for n in (1, 2, 3)]


class TestYolo:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("7 0.5 0.5 0.1 0.1", "line 1 is of class 7; there are 2: cat, dog"),
            ("-1 0.5 0.5 0.1 0.1", "line 1 is of class -1"),
            ("cat 0.5 0.5 0.1 0.1", "line 1 starts with 'cat'; expected the number of a class"),
            ("0 18 17.5 20 15", "line 1 has 18; expected fractions of the image, from 0 to 1"),
            ("0 0.5 0.5 nan 0.1", "a coordinate is 'nan'; expected a number"),
            ("0 0.5 0.5 0.1", "line 1 has 3 numbers behind the class"),
            ("0 0.5 0.5 0.1 0.1 0.9", "as detections with a score have"),
            ("0 0.5 0.5 0 0.1", "less than a pixel wide or high"),
        ],
    )
    def test_what_is_wrong_is_named(self, world, tmp_path, line, words):
        folder = world("yolo")
        (folder / "labels/train/1.txt").write_text(line + "\n")
        words_said = refusal(folder, "--out", tmp_path / "out")
        assert str(folder / "labels/train/1.txt") in words_said
        assert words in words_said

    def test_outlines(self, world, tmp_path):
        folder = world("yolo")
        points = "0.5 0.5 0.75 0.5 0.625 0.75"
        (folder / "labels/train/1.txt").write_text(f"1 {points}\n")
        made = imported(folder, tmp_path / "out")
        triangle = made["annotations"][0]
        assert triangle["bbox"] == [32, 24, 16, 12]
        assert triangle["segmentation"] == [[32, 24, 48, 24, 40, 36]]
        assert 80 < triangle["area"] < 110

    def test_key_points_are_no_outlines_though_no_file_says_so(self, world, tmp_path):
        folder = world("yolo")
        for unseen in ("0.55 0.5", "0 0"):
            for file in (folder / "labels").rglob("*.txt"):
                seen = "1 0.5 0.6 0.2 0.4 0.45 0.5 0.55 0.5 0.5 0.75\n"
                file.write_text(seen * 3 + seen.replace("0.55 0.5", unseen))
            told = refusal(folder, "--dry-run")
            assert "looks like key points: each of 16 lines has 10 numbers" in told

    @pytest.mark.parametrize("corners", [5, 6, 16])
    @pytest.mark.parametrize("size", [0.03, 0.1])
    def test_outlines_of_as_many_points_each_are_no_key_points(
        self, world, tmp_path, corners, size
    ):
        # As numbers they fit that description: all are near the centre that the first two make.
        folder = world("yolo")
        turns = np.linspace(0, 2 * np.pi, corners, endpoint=False)[:, None]
        points = 0.5 + size / 2 * np.hstack([np.cos(turns), np.sin(turns)])
        closed = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * size / 2 + 0.5
        for outline in (points, closed):
            line = " ".join(f"{value:.6f}" for value in outline.ravel())
            for file in (folder / "labels").rglob("*.txt"):
                file.write_text(f"1 {line}\n" * 3)
            result = run(folder, "--dry-run")
            assert result.exit_code == 0, result.stderr

    def test_an_image_that_training_does_not_turn_is_told(self, tmp_path):
        # No OpenCV looks for an orientation in XMP, where Pillow finds it.
        folder, tags = tmp_path / "yolo", Image.Exif()
        for part in ("images", "labels"):
            (folder / part).mkdir(parents=True)
        tags[0x0112] = 6
        (folder / "classes.txt").write_text("cat\n")
        for name, stated in (("exif", tags), ("xmp", b'<rdf tiff:Orientation="6"/>')):
            Image.new("RGB", (100, 60)).save(folder / f"images/{name}.jpg", **{name: stated})
            (folder / f"labels/{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        result = run(folder, "--out", tmp_path / "out")
        told = "1 image with an EXIF orientation that training does not apply, for example "
        assert f"{told}{folder / 'images/xmp.jpg'}: it has the EXIF orientation 6" in result.output
        made = [json.loads((tmp_path / f"out/{split}.json").read_text()) for split in SPLITS]
        images = [image for content in made for image in content["images"]]
        sizes = {image["file_name"]: (image["width"], image["height"]) for image in images}
        assert sizes == {"exif.jpg": (60, 100), "xmp.jpg": (100, 60)}

    def test_empty_labels_no_labels_and_labels_alone(self, world, tmp_path):
        folder = world("yolo")
        (folder / "labels/train/1.txt").write_text("")
        (folder / "labels/train/2.txt").unlink()
        result = run(folder, "--out", tmp_path / "out")
        assert "1 image without labels, taken for one without objects" in result.output
        made = json.loads((tmp_path / "out/train.json").read_text())
        assert (len(made["images"]), len(made["annotations"])) == (3, 1)
        (folder / "labels/train/9.txt").write_text("")
        assert "9.txt: has no image" in refusal(folder, "--dry-run")

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            ("train: images/train\nnames: {0: cat, 2: dog}", "expected 0, 1, 2 ..."),
            ("train: images/train\nnames: [cat, dog]\nnc: 3", "nc is 3, and names has 2"),
            ("train: images/train\nnames: cat", "expected names of classes"),
            ("train: images/learn\nnames: [cat, dog]", "train: images/learn: there is no"),
            ("val: images/train\nnames: [cat, dog]", "train is missing"),
            ("train: 3\nnames: [cat, dog]", "expected a folder or a text file"),
            ("train: images/train\nnames: [cat, dog]\nkpt_shape: [17, 3]", "has key points"),
            ("train: [", "is no YAML"),
            ("- a", "expected YOLO's keys"),
        ],
    )
    def test_a_wrong_config_is_refused(self, world, content, words):
        folder = world("yolo")
        (folder / "data.yaml").write_text(content)
        said = refusal(folder / "data.yaml", "--dry-run")
        assert str(folder / "data.yaml") in said
        assert words in said

    @pytest.mark.parametrize(
        "content",
        [
            "train: images\nnames: {{0: cat, 1: dog}}",
            "path: {root}\ntrain: images\nval: images\nnames: [cat, dog]",
            "train: ../images/train\nval: ../images/val\nnames: [cat, dog]\nroboflow: {{}}",
            "train: [images/train, images/val]\nnames: {{'0': cat, '1': dog}}",
            "train: list.txt\nnames: [cat, dog]",
        ],
    )
    def test_configs_as_people_have_them(self, world, tmp_path, content):
        folder = world("yolo")
        (folder / "data.yaml").write_text(content.format(root=folder))
        (folder / "list.txt").write_text(
            "".join(f"./{path.relative_to(folder)}\n" for path in sorted(folder.rglob("*.png")))
        )
        made = imported(folder, tmp_path / "out")
        assert len(made["images"]) == 3
        assert [c["name"] for c in made["categories"]] == ["cat", "dog"]

    def test_a_config_of_names_alone(self, world, tmp_path):
        folder = world("yolo")
        (folder / "data.yaml").write_text("names: [cat, dog]\nnc: 2\n")
        made = imported(folder, tmp_path / "out")  # splits by the folders in images/
        assert len(made["images"]) == 3

    def test_without_a_config(self, world, tmp_path):
        folder = world("yolo")
        (folder / "data.yaml").unlink()
        assert "no file names the classes" in refusal(folder, "--dry-run")
        made = imported(folder, tmp_path / "a", "--classes=dog,cat")
        assert [c["name"] for c in made["categories"]] == ["dog", "cat"]
        (folder / "classes.txt").write_text("cat\ndog\n")
        made = imported(folder, tmp_path / "b")
        assert [c["name"] for c in made["categories"]] == ["cat", "dog"]
        # The file says what the numbers are, the option in which order the names come out.
        other = imported(folder, tmp_path / "c", "--classes=dog,cat")
        assert [c["name"] for c in other["categories"]] == ["dog", "cat"]
        assert plain(other) == plain(made)

    def test_a_broken_config_is_told_of_in_its_folder_too(self, world, tmp_path):
        folder = world("yolo")
        (folder / "data.yaml").write_text("names: [cat, dog\n")
        said = refusal(folder, "--dry-run")
        assert f"{folder / 'data.yaml'}: is no YAML" in said
        assert "line 2" in said
        for name in ("images", "labels"):  # as Roboflow has them, below the splits
            (folder / name).rename(folder / f"other_{name}")
        assert f"{folder / 'data.yaml'}: is no YAML" in refusal(folder, "--dry-run")
        (folder / "data.yaml").rename(folder / "pipeline.yaml")  # anybody's
        assert "is in no format that is known here" in refusal(folder, "--dry-run")

    def test_images_that_would_not_count_are_refused(self, world, tmp_path):
        folder = world("yolo")
        config = folder / "data.yaml"
        images = ("--images", folder / "images")
        said = refusal(folder, "--dry-run", *images)
        assert f"{config}: says itself where the images lie (train, val), so --images would" in said
        config.write_text("names: [cat, dog]\n")
        assert len(imported(folder, tmp_path / "out", *images)["images"]) == 3

    def test_no_labels_at_all(self, world):
        folder = world("yolo")
        (folder / "labels").rename(folder / "label")
        assert "none of 4 images has labels" in refusal(folder, "--dry-run")


class TestFinding:
    def test_the_wrong_folder(self, world, tmp_path):
        folder = world("voc")
        assert f"did you mean {folder}?" in refusal(tmp_path, "--dry-run")
        assert f"did you mean {folder}?" in refusal(folder / "JPEGImages", "--dry-run")
        empty = tmp_path / "a/b"
        empty.mkdir(parents=True)
        assert "known here. Pascal VOC has Annotations/*.xml" in refusal(empty, "--dry-run")
        assert "no such file or folder" in refusal(tmp_path / "none", "--dry-run")
        assert "has no XML file" in refusal(folder / "JPEGImages", "--dry-run", "--format=voc")
        assert "--images" in refusal(folder, "--dry-run", "--images", tmp_path / "none")

    def test_coco_and_archives(self, tmp_path):
        file, _ = coco_worlds.write(tmp_path, coco_worlds.world())
        assert "COCO's format already: `fgd data check`" in refusal(file, "--dry-run")
        archive = tmp_path / "voc.zip"
        archive.write_bytes(b"PK")
        assert "unpack it" in refusal(archive, "--dry-run")


@pytest.mark.parametrize("command", ["check", "clean"])
@pytest.mark.parametrize(
    ("form", "file", "name"),
    [
        ("yolo", "", "YOLO"),
        ("yolo", "data.yaml", "YOLO"),
        ("voc", "", "Pascal VOC"),
        ("voc", "Annotations/1.xml", "Pascal VOC"),
        ("cvat", "annotations.xml", "CVAT"),
    ],
)
def test_what_reads_coco_tells_of_another_format(world, tmp_path, command, form, file, name):
    folder = world(form)
    given = [str(folder / file), str(tmp_path / "images")]
    result = CliRunner().invoke(main, ["data", command, *given, f"--out={tmp_path / 'out.json'}"])
    assert result.exit_code == 2
    source = (folder / file).parent if "Annotations" in file else folder / file
    assert f"{folder / file}: looks like {name}, and COCO's JSON is expected" in result.output
    assert "`fgd data import " in result.output
    assert source.name in result.output


class TestOut:
    def test_nothing_is_overwritten_without_being_asked(self, world, tmp_path):
        folder, out = world("voc"), tmp_path / "out"
        imported(folder, out)
        assert "give --overwrite" in refusal(folder, "--out", out)
        imported(folder, out, "--overwrite")
        (out / "mine.txt").write_text("")
        assert "holds mine.txt" in refusal(folder, "--out", out, "--overwrite")
        assert "is a file, and a folder is" in run(folder, "--out", out / "mine.txt").stderr

    def test_a_dry_run_writes_nothing(self, world, tmp_path):
        folder = world("voc")
        before = sorted(tmp_path.rglob("*"))
        assert run(folder, "--dry-run").exit_code == 0
        assert run(folder, "--dry-run", "--out", tmp_path / "out").exit_code == 0
        assert sorted(tmp_path.rglob("*")) == before

    def test_classes_are_those_that_are_given(self, world, tmp_path):
        folder = world("voc")
        made = imported(folder, tmp_path / "out", "--classes=dog,cat,bird")
        assert [c["name"] for c in made["categories"]] == ["dog", "cat", "bird"]
        words = refusal(folder, "--dry-run", "--classes=dogs,cat")
        assert "objects of 'dog'; did you mean 'dogs'?" in words


class TestDraw:
    @staticmethod
    def images(*classes):
        return [
            LabelledImage(Path(f"{n}"), Path(), [Labelled(c, (0, 0, 1, 1), "") for c in each])
            for n, each in enumerate(classes)
        ]

    def test_every_class_has_its_share(self):
        images = self.images(*["a"] * 50, *["ab"] * 40, *["abc"] * 10, *[""] * 20)
        train, val = draw(images, 0.2, seed=0)
        assert [*train, *val] != images and len(train) + len(val) == len(images)
        counts = {c: sum(any(i.name == c for i in image.objects) for image in val) for c in "abc"}
        assert counts == {"a": 20, "b": 10, "c": 2}
        assert sum(not image.objects for image in val) == 4

    def test_a_class_on_two_images_is_in_both_parts(self):
        train, val = draw(self.images("ab", "ab", "b", "b", "b", "b"), 0.1, seed=3)
        for part in (train, val):
            assert any(item.name == "a" for image in part for item in image.objects)

    def test_the_seed_alone_decides(self):
        images = self.images(*["a"] * 30)
        assert draw(images, 0.3, seed=1) == draw(images, 0.3, seed=1)
        assert draw(images, 0.3, seed=1) != draw(images, 0.3, seed=2)


class TestLabelMe:
    @pytest.mark.parametrize(
        ("kind", "points", "box", "outline"),
        [
            ("rectangle", [[30, 20], [10, 8]], [10, 8, 20, 12], []),
            ("rectangle", [[10, 8], [30, 8], [30, 20], [10, 20]], [10, 8, 20, 12], []),
            ("polygon", [[10, 8], [30, 8], [20, 20]], [10, 8, 20, 12], [[10, 8, 30, 8, 20, 20]]),
            ("circle", [[20, 20], [23, 24]], [15, 15, 10, 10], []),
            ("mask", [[10, 8], [29, 19]], [10, 8, 20, 12], []),
            (
                "oriented_rectangle",
                [[20, 5], [30, 15], [20, 25], [10, 15]],
                [10, 5, 20, 20],
                [[20, 5, 30, 15, 20, 25, 10, 15]],
            ),
            (None, [[10, 8], [30, 8], [20, 20]], [10, 8, 20, 12], [[10, 8, 30, 8, 20, 20]]),
        ],
    )
    def test_shapes(self, world, tmp_path, kind, points, box, outline):
        folder = world("labelme")
        shapes(folder, [{"label": "cat", "points": points, "shape_type": kind}])
        made = imported(folder, tmp_path / "out")
        assert made["annotations"][0]["bbox"] == box
        assert made["annotations"][0]["segmentation"] == outline

    def test_a_group_is_one_object(self, world, tmp_path):
        folder = world("labelme")
        parts = [[[4, 4], [12, 4], [8, 12]], [[20, 20], [30, 20], [25, 30]]]
        group = [
            {"label": "cat", "points": points, "shape_type": "polygon", "group_id": 3}
            for points in parts
        ]
        other = dict(group[0], label="dog")
        shapes(folder, [*group, other])
        made = [a for a in imported(folder, tmp_path / "out")["annotations"] if a["image_id"] == 1]
        assert [a["bbox"] for a in made] == [[4, 4, 26, 26], [4, 4, 8, 8]]
        assert len(made[0]["segmentation"]) == 2

    @pytest.mark.parametrize(
        ("shape", "words"),
        [
            (
                {"label": "cat", "points": [[1, 2]], "shape_type": "point"},
                "shape 1 (cat) is a point",
            ),
            ({"label": "cat", "points": [[1, 2]], "shape_type": "polygon"}, "three points or more"),
            ({"label": "cat", "points": [1, 2], "shape_type": "polygon"}, "no list of points"),
            (
                {"label": "cat", "points": [["a", 2]], "shape_type": "polygon"},
                "a coordinate is 'a'",
            ),
            ({"label": "cat", "points": [[1, 2]], "shape_type": "circle"}, "its centre and rim"),
            ({"points": [[1, 2]], "shape_type": "point"}, "shape 1 has no label"),
            (3, "shape 1 has no label"),
        ],
    )
    def test_what_is_wrong_is_named(self, world, shape, words):
        folder = world("labelme")
        shapes(folder, [shape])
        said = refusal(folder, "--dry-run")
        assert str(folder / "train/1.json") in said and words in said

    def test_a_folder_that_names_no_split_beside_one_that_does(self, world, tmp_path):
        folder = world("labelme")
        (folder / "val").rename(folder / "holdout")
        said = refusal(folder, "--dry-run")
        assert "is in the folder 'holdout', and others are in 'train': give each folder" in said
        (folder / "holdout").rename(folder / "eval2017")
        assert run(folder, "--dry-run").exit_code == 0
        (folder / "train").rename(folder / "monday")
        (folder / "eval2017").rename(folder / "tuesday")  # no split: validation images are drawn
        assert run(folder, "--out", tmp_path / "out").exit_code == 0

    def test_images_elsewhere_missing_or_inside(self, world, tmp_path):
        folder = world("labelme")
        images = tmp_path / "elsewhere"
        images.mkdir()
        for file in folder.rglob("*.png"):
            file.rename(images / file.name)
        file = folder / "train/1.json"
        edit(file, '"1.png"', r'"..\\images\\1.png"')
        assert r"its image ..\images\1.png is not in" in refusal(folder, "--dry-run")
        assert len(imported(folder, tmp_path / "out", "--images", images)["images"]) == 3
        edit(file, '"imageData": null', '"imageData": "iVBORw0KGgo="')
        assert "in this file alone (imageData)" in refusal(folder, "--dry-run")

    def test_an_image_that_is_labelled_twice_is_in_no_two_parts(self, world, tmp_path):
        folder = world("labelme")
        other = folder / "val/other.json"
        other.write_text((folder / "train/1.json").read_text())
        edit(other, '"1.png"', '"../train/1.png"')
        words = refusal(folder, "--dry-run")
        assert f"{other}: its image {folder}/train/1.png is labelled twice" in words
        assert len(imported(folder, tmp_path / "out", "--leave-out")["images"]) == 3

    def test_one_file_names_its_folder(self, world):
        folder = world("labelme")
        words = refusal(folder / "train/1.json", "--dry-run")
        assert f"it is of one image; did you mean its folder, {folder / 'train'}?" in words


def shapes(folder, values):
    """Give the first training image these shapes."""
    file = folder / "train/1.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"shapes": values}))


class TestLabelStudio:
    @staticmethod
    def change(folder, make):
        file = folder / "export.json"
        tasks = json.loads(file.read_text())
        make(tasks)
        file.write_text(json.dumps(tasks))

    @pytest.mark.parametrize(
        ("value", "box"),
        [
            # From 6.4, 4.8 on, 16 by 9.6 pixels: to the right, and then down.
            ({"x": 10, "y": 10, "width": 25, "height": 20, "rotation": 0}, [6.4, 4.8, 16, 9.6]),
            ({"x": 50, "y": 10, "width": 25, "height": 20, "rotation": 90}, [22.4, 4.8, 9.6, 16]),
            ({"points": [[10, 10], [50, 10], [25, 50]]}, [6.4, 4.8, 25.6, 19.2]),
            ({"x": 50, "y": 50, "radiusX": 10, "radiusY": 25}, [25.6, 12, 12.8, 24]),
        ],
    )
    def test_regions(self, world, tmp_path, value, box):
        folder = world("label-studio")

        def make(tasks):
            region = tasks[0]["annotations"][0]["result"][0]
            region["value"] = value | {"labels": ["cat"]}

        self.change(folder, make)
        run(folder, "--out", tmp_path / "out")
        found = [
            entry
            for split in ("train", "val")
            for entry in plain(json.loads((tmp_path / "out" / f"{split}.json").read_text()))
        ]
        assert ("1.png", "cat", 0, tuple(box)) in found

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda t: t[0]["annotations"].append(t[1]["annotations"][0]), "has 2 annotations"),
            (
                lambda t: t[0]["annotations"][0]["result"][0]["value"].update(
                    rectanglelabels=["a", "b"]
                ),
                "region 1 has the labels ['a', 'b']; expected one",
            ),
            (
                lambda t: t[0]["annotations"][0]["result"][0].update(type="brushlabels"),
                "region 1 is of brushlabels",
            ),
            (
                lambda t: t[0]["annotations"][0]["result"][0].update(original_width=None),
                "original_width or original_height is None",
            ),
            (
                lambda t: t[0]["data"].update(image="/data/upload/1/none.png"),
                "task 1 its image /data/upload/1/none.png is not in",
            ),
            (
                lambda t: t[0]["annotations"][0].update(result=True),
                "task 1 has True; expected a list",
            ),
            (lambda t: t[0].update(data={"text": "words"}), "task 1 names no image"),
            (
                lambda t: [
                    region.update(to_name=name)
                    for region, name in zip(
                        t[0]["annotations"][0]["result"], ("left", "right"), strict=True
                    )
                ],
                "task 1 has regions on 2 images (left, right)",
            ),
            (
                lambda t: t[0]["annotations"][0]["result"][1].update(item_index=1),
                "task 1 has regions on several pages (item_index)",
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, world, make, words):
        folder = world("label-studio")
        self.change(folder, make)
        said = refusal(folder, "--dry-run")
        assert str(folder / "export.json") in said and words in said

    def test_which_annotation_counts(self, world, tmp_path):
        folder = world("label-studio")

        def make(tasks):
            first, other = tasks[0], json.loads(json.dumps(tasks[1]["annotations"][0]))
            first["annotations"][0]["ground_truth"] = True
            first["annotations"] += [other, other | {"was_cancelled": True}]
            tasks.append({"id": 9, "data": {"image": "none.png"}, "annotations": []})
            tasks[1]["annotations"][0]["result"].append(
                {"id": "c", "type": "choices", "value": {"choices": ["sharp"]}}
            )

        before = label_formats.WRITERS["label-studio"](tmp_path / "same", world.splits)
        self.change(folder, make)
        result = run(folder, "--out", tmp_path / "out")
        assert "1 task that nobody has labelled, left out" in result.output
        assert "1 answer about a whole image, left out" in result.output
        run(before, "--out", tmp_path / "before")
        for split in ("train", "val"):
            made, same = (
                json.loads((tmp_path / out / f"{split}.json").read_text())
                for out in ("out", "before")
            )
            assert plain(made) == plain(same)

    def test_json_min_and_local_files(self, world, tmp_path):
        folder = world("label-studio")

        def make(tasks):
            for task in tasks:
                regions = [r | r.pop("value") for r in task.pop("annotations")[0]["result"]]
                image = Path(task.pop("data")["image"]).name.split("-")[1]
                task.pop("predictions")
                task["image"] = f"/data/local-files/?d=sets%2F{image}"
                task["label"] = [{k: v for k, v in r.items() if k != "type"} for r in regions]

        self.change(folder, make)
        result = run(folder / "export.json", "--out", tmp_path / "out")
        assert result.exit_code == 0, result.stderr
        assert "3 images" in result.output
        assert "left out" not in result.output

    def test_json_min_of_several_tools(self, world, tmp_path):
        folder = world("label-studio")

        def make(tasks):
            for task in tasks:
                regions = [r | r.pop("value") for r in task.pop("annotations")[0]["result"]]
                task.pop("predictions")
                task["image"] = task.pop("data")["image"]
                regions = [{k: v for k, v in r.items() if k not in ("id", "type")} for r in regions]
                task |= {"box": regions[:1], "outline": regions[1:], "other": []}

        before = label_formats.WRITERS["label-studio"](tmp_path / "same", world.splits)
        self.change(folder, make)
        made, same = (
            imported(place, tmp_path / out) for place, out in ((folder, "out"), (before, "before"))
        )
        assert plain(made) == plain(same)
        self.change(folder, lambda tasks: tasks[0].update(more=[{"x": 1}]))
        assert "has the labels None; expected one" in refusal(folder, "--dry-run")


class TestCvat:
    @pytest.mark.parametrize(
        ("shape", "box", "outlines"),
        [
            ('box label="cat" xtl="10" ytl="8" xbr="30" ybr="20.5"', [10, 8, 20, 12.5], 0),
            (
                'box label="cat" xtl="10" ytl="10" xbr="30" ybr="20" rotation="90"',
                [15, 5, 10, 20],
                1,
            ),
            ('polygon label="cat" points="10,8;30,8;20,20.00"', [10, 8, 20, 12], 1),
            ('ellipse label="cat" cx="20" cy="20" rx="5" ry="10"', [15, 10, 10, 20], 0),
            (
                'ellipse label="cat" cx="20" cy="20" rx="5" ry="10" rotation="90.0"',
                [10, 15, 20, 10],
                0,
            ),
            (
                'mask label="cat" rle="3, 5" left="10" top="8" width="20" height="12"',
                [10, 8, 20, 12],
                0,
            ),
        ],
    )
    def test_shapes(self, world, tmp_path, shape, box, outlines):
        folder = world("cvat")
        start = (folder / "annotations.xml").read_text().index("<box")
        self.put(folder, start, shape)
        made = imported(folder, tmp_path / "out")
        assert made["annotations"][0]["bbox"] == box
        assert len(made["annotations"][0]["segmentation"]) == outlines

    @staticmethod
    def put(folder, start, shape):
        file = folder / "annotations.xml"
        text = file.read_text()
        file.write_text(text[:start] + f"<{shape}/>" + text[start:])

    @pytest.mark.parametrize(
        ("shape", "words"),
        [
            ('points label="cat" points="1,2"', "image 1.png, points 1 (cat) has no box"),
            ('box xtl="1" ytl="1" xbr="9" ybr="9"', "box 1 has no label"),
            ('box label="cat" xtl="1" ytl="1" xbr="9"', "is None; expected a number"),
            ('polygon label="cat" points="1,2;3,4"', "three points or more"),
            ('polygon label="cat" points=""', "a coordinate is ''"),
        ],
    )
    def test_what_is_wrong_is_named(self, world, shape, words):
        folder = world("cvat")
        self.put(folder, (folder / "annotations.xml").read_text().index("<box"), shape)
        said = refusal(folder, "--dry-run")
        assert str(folder / "annotations.xml") in said and words in said

    def test_a_group_is_one_object(self, world, tmp_path):
        folder = world("cvat")
        start = (folder / "annotations.xml").read_text().index("<box")
        for corner in (4, 20):
            points = f"{corner},{corner};{corner + 8},{corner};{corner},{corner + 10}"
            self.put(folder, start, f'polygon label="cat" group_id="1" points="{points}"')
        self.put(folder, start, 'box label="dog" group_id="1" xtl="1" ytl="2" xbr="9" ybr="9"')
        result = run(folder, "--out", tmp_path / "out")
        assert "1 shape of a group, part of one object" in result.output
        made = json.loads((tmp_path / "out/train.json").read_text())["annotations"]
        assert [a["bbox"] for a in made[:2]] == [[1, 2, 8, 7], [4, 4, 24, 26]]
        assert len(made[1]["segmentation"]) == 2

    def test_labels_that_have_no_boxes_are_no_classes(self, world, tmp_path):
        folder = world("cvat")
        label = "<label><name>blurry</name><type>tag</type></label>"
        edit(folder / "annotations.xml", "<labels>", f"<labels>{label}", count=1)
        made = imported(folder, tmp_path / "out")
        assert [category["name"] for category in made["categories"]] == ["cat", "dog"]

    def test_a_subset_that_is_no_split_is_no_training_data(self, world, tmp_path):
        folder = world("cvat")
        edit(folder / "annotations.xml", 'subset="Validation"', 'subset="Holdout"')
        said = refusal(folder, "--dry-run")
        assert "is in the subset 'Holdout', and others are in 'Train': give each subset" in said
        assert run(folder, "--out", tmp_path / "out", "--leave-out").exit_code == 0
        kept = [json.loads((tmp_path / "out" / f"{split}.json").read_text()) for split in SPLITS]
        left = {image["file_name"] for content in kept for image in content["images"]}
        assert {Path(name).name for name in left} == {"1.png", "2.png", "3.png"}
        edit(folder / "annotations.xml", ' subset="Holdout"', "")
        assert "is in no subset, and others are in 'Train'" in refusal(folder, "--dry-run")

    def test_a_file_for_each_subset(self, world, tmp_path):
        folder = world("cvat")
        expected = imported(folder, tmp_path / "same")
        text = (folder / "annotations.xml").read_text()
        for split, kept in (("train", "Train"), ("val", "Validation")):
            images = re.findall(f'<image [^>]*subset="{kept}".*?</image>', text)
            start = text[: text.index("<image")].replace("<image", "")
            body = "".join(images).replace(f' subset="{kept}"', "")
            (folder / f"{split}.xml").write_text(f"{start}{body}</annotations>")
        (folder / "annotations.xml").unlink()
        assert imported(folder, tmp_path / "out") == expected

    @pytest.mark.parametrize(
        ("old", "new", "words"),
        [
            ("<image ", '<track id="0"/><image ', 'export it as "CVAT for images"'),
            ("</annotations>", "", "is no complete XML"),
            ('name="1.png"', 'name="none.png"', "image none.png its image none.png is not in"),
            ('width="64"', 'width="wide"', "width or height is 'wide'"),
        ],
    )
    def test_a_wrong_file_is_refused(self, world, old, new, words):
        folder = world("cvat")
        edit(folder / "annotations.xml", old, new, count=1)
        assert words in refusal(folder, "--dry-run")
        assert words in refusal(folder / "annotations.xml", "--dry-run")
