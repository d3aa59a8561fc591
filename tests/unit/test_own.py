"""Detectors of one's own that rows name by their files: their names, and what they bring."""

from pathlib import Path

import pytest
import yaml

from fgd.checkout import root
from fgd.errors import FGDError
from fgd.recipe import load_row
from fgd.recipe.detectors import own_detectors
from fgd.recipe.own import find_in_row
from fgd.suite import load_suite

ZOO = "retinanet_r50_fpn_1x_coco"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where a config lies that is called as a model of the zoo, and weights."""
    monkeypatch.chdir(tmp_path)
    for name in (f"{ZOO}.py", "mine.py", "mine.pth"):
        (tmp_path / name).write_text("")
    return tmp_path


def write_suite(folder: Path, **rows: str):
    """A suite on COCO, each row of it with its own text beside a common one."""
    for name, text in rows.items():
        (folder / f"{name}.py").write_text(f"{text}\n{_COMMON}")
    content = dict(name="own", base=str(root() / "configs/suites/coco.yaml"), results="results/own")
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(content | {"rows": [f"{name}.py" for name in rows]}))
    return load_suite(path)


_BASES = ("anchor_one_stage", "schedule_2x")
_COMMON = f"""_base_ = {[str(root() / f"configs/distillers/_base_/{name}.py") for name in _BASES]}
distill = dict(levels=[0], inherit=False)
optimizer = dict(lr=0.01)
"""


@pytest.mark.parametrize("own", ["student", "teacher"])
def test_a_file_that_is_called_as_the_zoos_model_beside_it_is_refused(folder, own):
    other = "teacher" if own == "student" else "student"
    with pytest.raises(
        FGDError, match=rf"row\.py: two detectors are called '{ZOO}': the one of the "
    ):
        find_in_row({own: f"{ZOO}.py", other: ZOO}, folder / "row.py")
    assert list(find_in_row({own: f"{ZOO}.py", other: "another"}, folder / "row.py")) == [ZOO]


def test_so_it_is_in_two_rows_of_a_suite(folder):
    first = f"student = '{ZOO}.py'\nteacher = 'retinanet_r101_fpn_1x_coco'"
    suite = write_suite(folder, a=first)
    assert own_detectors(suite)[ZOO].config == folder / f"{ZOO}.py"
    assert load_row("a", suite).student == ZOO
    suite = write_suite(folder, a=first, b=f"student = 'mine.py'\nteacher = '{ZOO}'")
    message = f"suite own: two detectors are called '{ZOO}': .* and .*/{ZOO}.py.* rename the file"
    with pytest.raises(FGDError, match=message):
        own_detectors(suite)
