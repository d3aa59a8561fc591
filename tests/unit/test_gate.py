"""The gate that a teacher passes before anybody learns from it."""

from pathlib import Path

import pytest

from fgd.errors import FGDError
from fgd.zoo import ZooModel
from fgd.zoo.gate import check_own, check_teacher

TEACHER = ZooModel("cascade", Path("c.py"), "file:///c.pth", "12345678", box_ap=46.0, mask_ap=39.5)


def metrics(box: float, mask: float | None = None) -> dict:
    kinds = {"box": box} | ({} if mask is None else {"mask": mask})
    return {"sha256": "12345678"} | {kind: {"AP": ap / 100} for kind, ap in kinds.items()}


def masks(ap: float) -> dict:
    """Of a detector without boxes, as SOLO."""
    return {"sha256": "12345678", "mask": {"AP": ap / 100}}


def test_a_teacher_within_the_tolerance_passes():
    report = check_teacher(metrics(45.85, 39.6), TEACHER)
    assert report["box"] == {"measured": 45.85, "published": 46.0}
    assert report["mask"] == {"measured": 39.6, "published": 39.5}


def test_a_better_teacher_passes():
    assert check_teacher(metrics(50.0), TEACHER)["box"]["measured"] == 50.0


@pytest.mark.parametrize(
    ("measured", "words"),
    [((45.5, 39.5), "box AP 45.50, 0.50 below"), ((46.0, 30.0), "mask AP 30.00, 9.50 below")],
)
def test_a_worse_teacher_is_refused_with_the_difference(measured, words):
    with pytest.raises(FGDError, match=words):
        check_teacher(metrics(*measured), TEACHER)


def test_the_tolerance_can_be_widened():
    assert check_teacher(metrics(45.0), TEACHER, tolerance=1.5)["tolerance"] == 1.5


def test_a_teacher_with_nothing_to_compare_does_not_pass():
    boxes_alone = ZooModel("fcos", Path("c.py"), "file:///c.pth", "12345678", 39.1, None)
    with pytest.raises(FGDError, match="measured by its mask AP, and the zoo publishes none"):
        check_teacher(masks(39.0), boxes_alone)


def test_ones_own_teacher_is_compared_by_what_it_predicts():
    assert check_own(masks(33.0), "solo", 33.1)["mask"] == {"measured": 33.0, "published": 33.1}
    with pytest.raises(FGDError, match=r"teacher solo has mask AP 30.00, 3.10 below the 33.1"):
        check_own(masks(30.0), "solo", 33.1)
    assert check_own(metrics(40.0, 20.0), "mine", 40.0)["box"]["measured"] == 40.0
