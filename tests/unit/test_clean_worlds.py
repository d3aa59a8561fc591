"""Random data sets: cleaning passes the check or says why, and our metrics are pycocotools'."""

import copy
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds

from fgd.data.clean import clean
from fgd.data.coco import check
from fgd.errors import FGDError
from fgd.evaluation.scores import METRICS, coco_metrics

WIDTH, HEIGHT = coco_worlds.SIZE
CLASSES = ("cat", "dog", "bird")
ALWAYS = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
# Ids of all kinds that JSON knows, and one for each entry.
IDS = st.one_of(
    st.integers(-3, 20),
    st.integers((1 << 53) - 2, (1 << 53) + 9),
    st.integers(1 << 62, 1 << 65),
    st.floats(-2, 20).map(lambda x: round(x, 1)),
    st.text("abc019", min_size=1, max_size=3),
)


@st.composite
def worlds(draw, ids=IDS):
    """Sound boxes in three images; ids, their order and that of the lists as they come."""
    number = st.tuples(
        st.integers(0, 2),
        st.integers(0, 2),
        st.tuples(st.integers(0, 40), st.integers(0, 30), st.integers(1, 24), st.integers(1, 18)),
    )
    boxes = [(image, label, list(box)) for image, label, box in draw(st.lists(number, min_size=1))]
    content = coco_worlds.world(boxes, images=3, classes=CLASSES)
    for kind, key in (("images", "image_id"), ("categories", "category_id"), ("annotations", "")):
        entries = content[kind]
        new = draw(st.lists(ids, min_size=len(entries), max_size=len(entries), unique_by=_as_id))
        names = {entry["id"]: identity for entry, identity in zip(entries, new, strict=True)}
        for entry in entries:
            entry["id"] = names[entry["id"]]
        for annotation in content["annotations"] if key else ():
            annotation[key] = names[annotation[key]]
        content[kind] = draw(st.permutations(entries))
    return content


def _as_id(value):
    """Ids that a reader could take for one another are the same."""
    try:
        return float(value)
    except ValueError:
        return value


@st.composite
def damaged(draw):
    """A world of which single values are what tools leave there."""
    content = draw(worlds(st.integers(0, 50)))
    values = {
        "area": st.sampled_from([None, 0, "300", -1, float("nan"), "big"]),
        "iscrowd": st.sampled_from([None, "0", 0.0, False, 7, "no"]),
        "segmentation": st.sampled_from([None, [[]], [[1, 1, 2, 2]], [1, 1, 9, 1, 9, 9], "x", {}]),
        "id": st.sampled_from([None, 0, -1, "7", 7, 7.5, 1]),
        "ignore": st.sampled_from([0, 1, None]),
        "bbox": st.sampled_from(
            [[60, 40, 9, 9], [0, 0, 64, 48], [1, 2, 3], None, ["1", "2", "9", "8"], [-4, 2, 9, 9]]
        ),
    }
    for annotation in content["annotations"]:
        for key in draw(st.sets(st.sampled_from(sorted(values)), max_size=2)):
            annotation[key] = draw(values[key])
            if draw(st.booleans()) and key != "bbox":
                del annotation[key]
    for image in content["images"]:
        size = draw(st.sampled_from([None, "as it is", "text", 0]))
        if size == "text":
            image.update(width=str(WIDTH), height=f"{HEIGHT}.0")
        elif size != "as it is":
            image["width"] = size
    return content


def usable(annotation):
    """Whether training would take the box: four numbers, a pixel of it in the image."""
    try:
        x, y, width, height = map(float, annotation["bbox"])
    except (TypeError, ValueError):
        return False
    inside = min(x + width, WIDTH) - max(x, 0), min(y + height, HEIGHT) - max(y, 0)
    return min(width, height) >= 1 and min(inside) >= 1


@pytest.mark.filterwarnings("ignore")
@ALWAYS
@given(damaged())
def test_what_is_cleaned_is_sound_and_no_usable_box_is_lost(content):
    with tempfile.TemporaryDirectory() as folder:
        file, pictures = coco_worlds.write(Path(folder), content)
        out = Path(folder) / "clean.json"
        try:
            clean(file, pictures, out=out, corners=False)
        except FGDError as error:
            assert "\n" not in str(error)
            nothing = ("nothing is left", "no boxes in their images", "has no object")
            assert any(reason in str(error) for reason in nothing)
            return
        check(out, pictures, strict=True, open_images=True)
        left = json.loads(out.read_text())["annotations"]
        same = {
            json.dumps({k: v for k, v in a.items() if k != "id"}, sort_keys=True, default=str)
            for a in content["annotations"]
            if usable(a)
        }
        # Objects that stand twice in everything count once.
        assert len(same) - _alike(content) <= len(left)
        assert len(left) <= sum(map(usable, content["annotations"]))


def _alike(content):
    """Usable objects that are the same once text is read as numbers."""
    texts = []
    for annotation in filter(usable, content["annotations"]):
        plain = {k: v for k, v in annotation.items() if k != "id"}
        plain["bbox"] = [float(n) for n in annotation["bbox"]]
        if isinstance(plain.get("iscrowd"), str | float):
            plain["iscrowd"] = 0 if plain["iscrowd"] != "no" else "no"
        texts.append(json.dumps(plain, sort_keys=True, default=str))
    return len(texts) - len(set(texts))


def _rough(data, seed):
    """Detections near the objects, some of another class, many of equal scores."""
    rng = np.random.default_rng(seed)
    results = coco_worlds.perfect(data)
    for found in results:
        for label, boxes in enumerate(found):
            boxes[:, :4] += rng.integers(-2, 3, (len(boxes), 4))
            boxes[:, 4] = rng.integers(1, 4, len(boxes)) / 4
            if len(boxes) and rng.random() < 0.3:
                other = (label + 1) % len(found)
                found[other] = np.vstack([found[other], boxes[:1]])
    return results


@ALWAYS
@given(worlds(), st.integers(0, 99))
def test_figures_are_pycocotools_on_the_renumbered_file(content, seed):
    with tempfile.TemporaryDirectory() as folder:
        file, _ = coco_worlds.write(Path(folder), content)
        data = coco_worlds.data_set(file, [c["name"] for c in content["categories"]])
        ours = coco_metrics(data, _rough(data, seed), pycocotools=False, per_class=True)["box"]
        numbered = _numbered(content)
        file, _ = coco_worlds.write(Path(folder), numbered, "numbered.json")
        data = coco_worlds.data_set(file, [c["name"] for c in numbered["categories"]])
        theirs = _pycocotools(file, data, _rough(data, seed))
    assert [ours[name] for name in METRICS] == pytest.approx(theirs, abs=1e-9)


def _numbered(content):
    """The world with ids from 1 in the order that they had."""
    content = copy.deepcopy(content)
    for kind, key in (("images", "image_id"), ("categories", "category_id"), ("annotations", "")):
        ids = [entry["id"] for entry in content[kind]]
        try:
            ordered = sorted(ids)
        except TypeError:
            ordered = sorted(ids, key=str)
        new = {identity: number for number, identity in enumerate(ordered, start=1)}
        for entry in content[kind]:
            entry["id"] = new[entry["id"]]
        for annotation in content["annotations"] if key else ():
            annotation[key] = new[annotation[key]]
    return content


def _pycocotools(file, data, results):
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        evaluation = COCOeval(truth, truth.loadRes(data._det2json(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats)
