"""An experiment is found again without torch, and only as long as nothing of it has changed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset

from fgd.checkout import root
from fgd.errors import FGDError
from fgd.experiment import cache, load_experiment
from fgd.experiment.choice import chosen_suite, suite_files
from fgd.experiment.inputs import deciding, recorded
from fgd.suite import load_suite

STUDENT, TEACHER = "retinanet_r50_fpn_2x_coco", "retinanet_x101_64x4d_fpn_1x_coco"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A suite of a row whose every part stands on another file, and its experiment in a cache."""
    folder = tmp_path_factory.mktemp("kept")
    files = {
        "base.yaml": f"base: {root()}/configs/suites/coco.yaml\nseed: 5\n",
        "mine.yaml": "base: base.yaml\nname: mine\nresults: results/mine\nrows: [row.py]\n"
        "dataset: data.py\ncluster: {}\n",
        "row.py": f"_base_ = 'row_base.py'\nstudent = 'student.py'\n"
        f"teacher = dict(_delete_=True, config='{TEACHER}.py', checkpoint='teacher.pth')\n",
        "row_base.py": f"_base_ = '{root()}/configs/distillers/retinanet_r50.py'\n",
        "data.py": "_base_ = 'data_base.py'\n"
        "named = dict(classes='classes.txt')\ndata = dict(train=named, val=named, test=named)\n",
        "classes.txt": "\n".join(CocoDataset.CLASSES) + "\n",
        "data_base.py": f"_base_ = '{root()}/configs/datasets/coco.py'\n",
        "student.py": "_base_ = 'student_base.py'\n",
        "student_base.py": f"from fgd.zoo import zoo_config\n_base_ = zoo_config('{STUDENT}')\n"
        "model = dict(backbone=dict(init_cfg=dict(checkpoint='backbone.pth')))\n",
        f"{TEACHER}.py": f"from fgd.zoo import zoo_config\n_base_ = zoo_config('{TEACHER}')\n",
        "teacher.pth": "weights",
        "backbone.pth": "weights",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FGD_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        found = load_experiment("mine.yaml")
        yield folder, found


@pytest.fixture
def folder(kept):
    return kept[0]


@pytest.fixture
def entry(folder):
    """The file of the cache's only entry; put back afterwards."""
    (file,) = (folder / "cache" / "experiments").iterdir()
    content = file.read_bytes()
    yield file
    file.write_bytes(content)


def again():
    """What the cache has for the suite as its file is now."""
    return cache.read(load_suite("mine.yaml"))


def test_what_was_composed_is_found_as_it_was(kept):
    assert again() == kept[1]
    assert kept[1].splits["val"].classes == CocoDataset.CLASSES
    assert set(kept[1].digests) == {f"teachers/{TEACHER}", "row/fgd", "row/baseline"}


def test_another_spelling_of_the_suites_path_finds_it_too(folder, kept):
    """A plan names its file from where it runs, a command by where it lies."""
    found = cache.read(load_suite(folder / "mine.yaml"))
    assert (found.plan, found.splits) == (kept[1].plan, kept[1].splits)
    assert found.digests == kept[1].digests


def test_a_second_plan_imports_neither_torch_nor_mmcv(folder):
    script = (
        "import sys; from fgd.experiment import load_experiment; load_experiment('mine.yaml');"
        "print(sorted({'torch', 'mmcv', 'mmdet', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mine.yaml", "gpus: 4\n"),
        ("base.yaml", "samples_per_gpu: 4\n"),
        *((name, "# A comment is a change, too.\n") for name in (
            "row.py", "row_base.py", "data.py", "data_base.py", "student.py", "student_base.py",
            f"{TEACHER}.py",
        )),
        ("classes.txt", "one more\n"),
    ],
)  # fmt: skip
def test_a_change_of_any_file_is_a_miss(folder, name, change):
    file = folder / name
    before = file.read_text()
    file.write_text(before + change)
    assert again() is None
    file.write_text(before)
    assert again() is not None


@pytest.mark.parametrize("name", ["teacher.pth", "backbone.pth"])
def test_weights_that_are_gone_are_a_miss(folder, name):
    (folder / name).rename(folder / "elsewhere")
    assert again() is None
    (folder / "elsewhere").rename(folder / name)
    assert again() is not None


def test_configs_of_the_repository_and_the_zoo_are_watched(entry, monkeypatch):
    files = json.loads(entry.read_text())["entry"]["files"]
    parts = ("configs/distillers/_base_/schedule_2x.py", "configs/datasets/coco.py")
    zoo = (
        "retinanet/metafile.yml",
        f"retinanet/{STUDENT}.py",
        "_base_/models/retinanet_r50_fpn.py",
    )
    hashed = cache.sha256
    for part in (*parts, *zoo):
        (changed,) = (path for path in files if path.endswith(part))
        others = {path: hashed(path) for path in files if path != changed}
        monkeypatch.setattr(cache, "sha256", lambda path, known=others: known.get(path))
        assert again() is None, part


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("_version", lambda package: "3.0" if package == "mmdet" else None),
        ("_version", lambda package: "2.0" if package == "mmcv-full" else None),
        ("_source", lambda: "another commit"),
    ],
)
def test_other_packages_and_another_source_are_a_miss(monkeypatch, what, change):
    monkeypatch.setattr(cache, what, change)
    assert again() is None


def test_a_detector_that_takes_the_place_of_the_zoos_is_a_miss(monkeypatch, tmp_path):
    (tmp_path / "configs").mkdir()
    for name in ("detectors", "distillers", "suites", "datasets"):
        (tmp_path / "configs" / name).symlink_to(root() / "configs" / name)
    suite = load_suite("mine.yaml")
    before = cache._made_from(suite)
    monkeypatch.setattr(cache, "root", lambda: tmp_path)
    assert cache._made_from(suite)["detectors"] == before["detectors"]
    (tmp_path / "configs/detectors").unlink()
    (tmp_path / "configs/detectors").mkdir()
    (tmp_path / f"configs/detectors/{STUDENT}.py").touch()
    assert cache._made_from(suite)["detectors"] == [f"{STUDENT}.py"]


def test_another_working_folder_is_a_miss(monkeypatch, tmp_path, folder):
    suite = load_suite("mine.yaml")
    monkeypatch.chdir(tmp_path)
    assert cache.read(suite) is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-40],
        lambda content: content.replace(b'"row/fgd": "', b'"row/fgd": "0'),
        lambda content: content.replace(b'"mine"', b'"mini"'),
        lambda content: b"\xff\x00",
        lambda content: b"[]",
        lambda content: b'{"sha256": 1, "entry": null}',
        lambda content: b"",
    ],
)
def test_a_damaged_entry_is_a_miss_and_no_error(entry, damage):
    entry.write_bytes(damage(entry.read_bytes()))
    assert again() is None


def test_an_entry_of_another_form_is_a_miss(entry):
    content = json.loads(entry.read_text())["entry"]
    content["found"][0]["rows"]["row"].pop("teacher")
    entry.write_text(json.dumps({"sha256": cache._digest(content), "entry": content}))
    assert again() is None


def test_where_nothing_can_be_written_nothing_is_kept(kept, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FGD_CACHE", str(tmp_path / "file"))
    cache.write(kept[1], set())
    assert again() is None


def test_only_what_is_read_is_recorded_and_only_meanwhile(tmp_path):
    read, other = tmp_path / "read.json", tmp_path / "other.json"
    other.write_text("{}")
    with recorded() as seen:
        read.write_text("{}")
        assert seen == set()
        read.read_text()
    other.read_text()
    assert seen == {str(read)}
    assert deciding(seen | {os.devnull, os.__file__, str(tmp_path / "gone")}) == {read}


@pytest.mark.parametrize(
    ("config", "kept"),
    [
        ("from fgd.zoo import zoo_config\nx = zoo_config('a')\n", True),
        ("import os\nx = os.environ['X']\n", False),
        ("from elsewhere import x\n", False),
        ("x = __import__('time').time()\n", False),
    ],
)
def test_a_config_that_can_look_anywhere_is_composed_each_time(tmp_path, config, kept):
    (tmp_path / "row.py").write_text(config)
    assert (deciding({str(tmp_path / "row.py")}) is not None) == kept


# --- Which suite is meant ---


def test_a_suite_is_named_or_its_file_is(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert chosen_suite({}) == "coco"
    assert chosen_suite({"suite": 2024}) == "2024"
    assert chosen_suite({"suite": tmp_path / "birds" / "birds.yaml"}) == "birds/birds.yaml"


@pytest.mark.parametrize(
    ("config", "words"),
    [({"suit": "mini"}, "suit=...: the workflow has no"), ({"suite": ""}, "suite=: name")],
)
def test_no_suite_and_other_keys_are_refused(config, words):
    with pytest.raises(FGDError, match=f"--config {words}"):
        chosen_suite(config)


def test_a_file_of_ones_own_stands_beside_those_of_the_folder(tmp_path):
    for name in ("coco", "mini"):
        (tmp_path / f"{name}.yaml").touch()
    known = {"coco": tmp_path / "coco.yaml", "mini": tmp_path / "mini.yaml"}
    assert suite_files("mini", tmp_path) == known
    assert suite_files("birds/mini.yaml", tmp_path) == known | {"mini": Path("birds/mini.yaml")}
