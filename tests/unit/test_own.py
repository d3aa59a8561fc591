"""Detectors of one's own that rows name by their files: their names, and what they bring."""

from pathlib import Path

import pytest
import yaml

from fgd.checkout import root
from fgd.config_text import config_text
from fgd.errors import FGDError
from fgd.recipe import known_config, load_row
from fgd.recipe.detectors import own_detectors
from fgd.recipe.own import OwnDetector, find_in_row, load_config, merge
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


def a_teacher(folder, **said):
    return {"mine": OwnDetector("mine", folder / "mine.py", folder / "mine.pth", **said)}


def test_what_one_row_says_of_a_teacher_holds_in_the_others(folder):
    groups = [
        a_teacher(folder, sha256="0123abcd"),
        a_teacher(folder),
        a_teacher(folder, ap=41.2, sha256="0123abcd55"),
    ]
    for order in (groups, groups[::-1]):
        assert merge(order, "x") == a_teacher(folder, sha256="0123abcd55", ap=41.2)


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (dict(ap=41.2), dict(ap=41.3), "suite x: ap of the teacher 'mine' is 41.2 in one"),
        (dict(sha256="0123abcd"), dict(sha256="1123abcd"), "suite x: sha256 of the teacher 'mine'"),
    ],
)
def test_two_rows_that_say_two_things_of_a_teacher_are_refused(folder, one, other, message):
    with pytest.raises(FGDError, match=message):
        merge([a_teacher(folder, **one), a_teacher(folder, **other)], "suite x")


def write_config(path: Path, **backbone):
    """A complete config of a detector, its backbone with these keys."""
    config = known_config(ZOO)
    config.model.backbone.pop("init_cfg")
    config.model.backbone.update(backbone)
    path.write_text(config_text(config))
    return OwnDetector(path.stem, path)


def pretrained(checkpoint):
    return dict(type="Pretrained", checkpoint=checkpoint)


def test_weights_are_looked_up_beside_the_config_and_then_where_mmdet_does(folder):
    (folder / "configs").mkdir()
    mine = write_config(folder / "configs/a.py", init_cfg=pretrained("mine.pth"))
    found = load_config(mine, learns=True).model.backbone.init_cfg.checkpoint
    assert found == str(folder / "mine.pth")
    (folder / "configs/mine.pth").write_text("")
    found = load_config(mine, learns=True).model.backbone.init_cfg.checkpoint
    assert found == str(folder / "configs/mine.pth")


def test_a_backbones_older_key_for_its_weights_counts(folder):
    older = write_config(folder / "older.py", pretrained="mine.pth")
    backbone = load_config(older, learns=True).model.backbone
    assert backbone.init_cfg == pretrained(str(folder / "mine.pth"))
    assert "pretrained" not in backbone
    address = write_config(folder / "address.py", pretrained="torchvision://resnet50")
    backbone = load_config(address, learns=True).model.backbone
    assert backbone.init_cfg == pretrained("torchvision://resnet50")
    timm = write_config(folder / "timm.py", pretrained=True)
    assert load_config(timm, learns=True).model.backbone.pretrained is True


def test_a_teacher_that_brings_its_weights_needs_none_to_start_from(folder):
    gone = write_config(folder / "gone.py", init_cfg=pretrained("gone.pth"))
    assert load_config(gone, learns=False).model.backbone.init_cfg == pretrained(
        str(folder / "gone.pth")
    )
    with pytest.raises(FGDError, match=r"gone\.py: model\.backbone starts from 'gone\.pth': there"):
        load_config(gone, learns=True)


@pytest.mark.parametrize("init_cfg", [pretrained(None), dict(type="Pretrained")])
def test_weights_without_a_name_are_told(folder, init_cfg):
    none = write_config(folder / "none.py", init_cfg=init_cfg)
    assert load_config(none, learns=False).model.backbone.init_cfg is None
    message = r"none\.py: model\.backbone\.init_cfg is of type Pretrained, and .* is None; expected"
    with pytest.raises(FGDError, match=message):
        load_config(none, learns=True)
