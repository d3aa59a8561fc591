"""Where a command is asked to write, nothing of the user's is lost, and no work is done in vain."""

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds

from fgd.cli import main
from fgd.cli.paths import DRAWN, PICTURE, TRAINED
from fgd.cli.training import _FIGURES, _PROVENANCE
from fgd.report.figures import write_figure
from fgd.training.state import Meta, write_state
from fgd.visual.draw import save


def run(*arguments):
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """A folder with files of any kind, in which commands run."""
    monkeypatch.chdir(tmp_path)
    for name in ("train.json", "val.json", "student.py", "student.pth", "row.yaml"):
        Path(name).write_text("{}\n" + name)
    Path("images").mkdir()
    Path("folder").mkdir()
    return tmp_path


FILES = {
    "check": ("data", "check", "train.json", "images"),
    "clean": ("data", "clean", "train.json", "images"),
    "show": ("data", "show", "train.json", "images"),
    "evaluate": ("evaluate", "student.py", "student.pth"),
    "export": ("export", "student.py", "student.pth"),
    "transfer": ("transfer", "student.pth", "--name=s"),
    "backbone": ("mini-backbone", "resnet18x16"),
    "download": ("download", "student.pth"),
    "check-teacher": ("check-teacher", "t", "student.py", "student.pth"),
    "train": ("train", "student.py", "--work-dir=work"),
    "report": ("report", "row.yaml", "--results=folder"),
    "card": ("card", "row.yaml", "row", "--results=folder"),
    "study": ("study", "row.yaml", "--results=folder"),
    "compare": ("compare", "folder", "images"),
}
FOLDERS = {
    "mini": ("data", "mini"),
    "coco": ("data", "coco"),
    "import": ("data", "import", "images"),
    "plot": ("plot", "row.yaml", "--results=folder"),
    "compose": ("compose", "row.yaml", "row", "--arm=fgd"),
    "mmdet3": ("transfer", "student.pth", "--name=s", "--for=mmdet3", "--config=student.py"),
}


def there(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", FILES)
def test_a_folder_in_a_files_place_is_refused_before_the_work(inputs, command):
    before = there(inputs)
    code, said = run(*FILES[command], "--out=folder")
    assert (code, there(inputs)) == (2, before)
    assert "folder: is a folder, and a file is to be written there; name a file" in said


@pytest.mark.parametrize("command", FOLDERS)
def test_a_file_in_a_folders_place_is_refused_before_the_work(inputs, command):
    before = there(inputs)
    code, said = run(*FOLDERS[command], "--out=val.json")
    assert (code, there(inputs)) == (2, before)
    assert "val.json: is a file, and a folder is to be written there; name a folder" in said


@pytest.mark.parametrize("command", [*FILES, "provenance"])
def test_a_file_of_the_users_is_not_written_over(inputs, command):
    before = there(inputs)
    arguments = (*FILES["evaluate"], "--out=new.json", "--provenance=val.json")
    code, said = run(
        *(arguments if command == "provenance" else FILES[command] + ("--out=val.json",))
    )
    assert (code, there(inputs)) == (2, before)
    assert "val.json: is there already" in said


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (("table", "row.yaml", "--results=folder", "--out=t"), "t.csv"),
        (("plot", "row.yaml", "--results=folder", "--out=folder"), "folder/ap.svg"),
        (("study", "row.yaml", "--results=folder", "--out=t.md"), "t.svg"),
        (("visualize", "val.json", "--model", "m", "student.py", "student.pth", "--out=t"),
         "t_detections.png"),
        (("compose", "row.yaml", "row", "--arm=fgd", "--out=folder"), "folder/config.py"),
        (("compose", "row.yaml", "row", "--arm=fgd", "--out=folder"), "folder/student.py"),
        (("publish", "student.pth", "--name=t", "--index=folder"), "folder/t.yml"),
    ],
)  # fmt: skip
def test_nor_is_one_whose_name_the_command_makes_up(inputs, arguments, file):
    Path(file).write_text("the user's own")
    before = there(inputs)
    code, said = run(*arguments)
    assert (code, there(inputs)) == (2, before)
    assert f"{file}: is there already" in said


def test_nothing_is_written_below_a_file(inputs):
    code, said = run(*FILES["evaluate"], "--out=val.json/figures.json")
    assert code == 2
    assert "val.json is a file, so nothing can be written below it" in said


def test_what_is_no_ordinary_file_stays(inputs):
    code, said = run(*FILES["evaluate"], "--out=/dev/null")
    assert code == 2
    assert "/dev/null: is no ordinary file; name another" in said


def test_a_command_replaces_what_it_wrote_itself(tmp_path):
    state = tmp_path / "trained.pth"
    meta = vars(Meta(fingerprint="1", seed=0))
    write_state({"state_dict": {}, "optimizer": {}, "scaler": {}, "meta": meta}, state)
    figures = tmp_path / "eval.json"
    figures.write_text(json.dumps({"checkpoint": "x.pth", "seconds": 1}))
    origin = tmp_path / "provenance.json"
    origin.write_text(json.dumps({"files": {}, "trained": None, "evaluated": {}}))
    (tmp_path / "empty").touch()
    for kind, file in (
        (TRAINED, state),
        (_FIGURES, figures),
        (_PROVENANCE, origin),
        (_FIGURES, tmp_path / "empty"),
        (_FIGURES, tmp_path / "new/eval.json"),
    ):
        assert kind.convert(str(file), None, None) == file


def test_a_picture_tells_who_drew_it(tmp_path):
    save(Figure(), tmp_path / "picture.png")
    assert PICTURE.encode() in (tmp_path / "picture.png").read_bytes()
    for name in ("picture.png", "figure.pdf", "figure.svg"):
        if name != "picture.png":
            write_figure(Figure(), tmp_path / name)
        assert DRAWN.encode() in (tmp_path / name).read_bytes()


def test_a_download_that_is_there_is_not_brought_again(inputs):
    code, said = run("download", "student.pth", "--out=mine.pth")
    assert code == 0, said
    written = Path("mine.pth").stat().st_mtime_ns
    code, said = run("download", "student.pth", "--out=mine.pth")
    assert (code, said) == (0, "mine.pth: is there already, and is the file that is asked for")
    assert Path("mine.pth").stat().st_mtime_ns == written


SUITE = ("mini", "--results=folder")


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (("data", "check", "data.json", "pictures", "--out=report.json"), "report.json"),
        (("data", "clean", "data.json", "pictures", "--out=clean.json"), "clean.json"),
        (("data", "show", "data.json", "pictures", "--out=show.png"), "show.png"),
        (("mini-backbone", "resnet18x4", "--iterations=1", "--out=b.pth"), "b.pth"),
        (("compose", "mini", "retinanet_r50", "--arm=fgd", "--out=run"), "run/config.py"),
        (("compose", "mini", "--teacher=retinanet_x101_64x4d_fpn_1x_coco", "--out=run"),
         "run/detector.py"),
        (("table", *SUITE, "--out=table"), "table.tex"),
        (("report", *SUITE, "--out=page.html"), "page.html"),
    ],
)  # fmt: skip
def test_a_command_can_be_repeated(tmp_path, monkeypatch, arguments, file):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fgd.mini.backbone.TRAIN_CROPS", 64)
    monkeypatch.setattr("fgd.mini.backbone.TEST_CROPS", 64)
    coco_worlds.write(tmp_path, coco_worlds.world())
    Path("folder").mkdir()
    for _ in range(2):
        code, said = run(*arguments)
        assert code == 0, said
        assert Path(file).is_file()


@pytest.mark.parametrize(
    ("command", "option", "file"),
    [
        ("study", "--out", "docs/results-mini.md"),
        ("prove", "--markdown", "docs/full-size.md"),
        ("memory", "--json", "configs/memory.json"),
    ],
)
def test_the_pages_of_the_repository_are_known(command, option, file):
    (parameter,) = [each for each in main.commands[command].params if option in each.opts]
    path = Path(__file__).parents[2] / file
    assert parameter.type.convert(str(path), None, None) == path
