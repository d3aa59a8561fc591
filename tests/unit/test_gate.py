"""The gate that a teacher passes before anybody learns from it."""

from pathlib import Path

import pytest

from fgd.errors import FGDError
from fgd.gate import check_teacher
from fgd.zoo import ZooModel

TEACHER = ZooModel("cascade", Path("c.py"), "file:///c.pth", "12345678", box_ap=46.0, mask_ap=39.5)


def figures(box: float, mask: float | None = None) -> dict:
    kinds = {"box": box} | ({} if mask is None else {"mask": mask})
    return {"sha256": "12345678"} | {kind: {"AP": ap / 100} for kind, ap in kinds.items()}


def test_a_teacher_within_the_tolerance_passes():
    report = check_teacher(figures(45.85, 39.6), TEACHER)
    assert report["box"] == {"measured": 45.85, "published": 46.0}
    assert report["mask"] == {"measured": 39.6, "published": 39.5}


def test_a_better_teacher_passes():
    assert check_teacher(figures(50.0), TEACHER)["box"]["measured"] == 50.0


@pytest.mark.parametrize(
    ("measured", "words"),
    [((45.5, 39.5), "box AP 45.50, 0.50 below"), ((46.0, 30.0), "mask AP 30.00, 9.50 below")],
)
def test_a_worse_teacher_is_refused_with_the_difference(measured, words):
    with pytest.raises(FGDError, match=words):
        check_teacher(figures(*measured), TEACHER)


def test_the_tolerance_can_be_widened():
    assert check_teacher(figures(45.0), TEACHER, tolerance=1.5)["tolerance"] == 1.5
