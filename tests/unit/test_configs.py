"""A config of another kind than a command takes is refused in a line."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from fgd import recipe
from fgd.checkout import root
from fgd.cli import main
from fgd.configs import read_config

ROW = root() / "configs/distillers/retinanet_r50.py"


@pytest.fixture
def composed(tiny_suite, tmp_path, monkeypatch):
    """The folder of a row's configs, and of a file that is no checkpoint."""
    monkeypatch.chdir(tmp_path)
    recipe.write_row(tiny_suite, "retinanet_r50", arm="fgd", out=tmp_path)
    (tmp_path / "x.pth").write_bytes(b"")
    (tmp_path / "empty.py").write_text("a = 1\n")
    (tmp_path / "broken.py").write_text("a = (\n")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "config", "message"),
    [
        ("train", ROW, "is a row's file, no mmdet config; `fgd compose` writes"),
        (
            "train",
            "student.py",
            "no config of a training, for it has no total_batch; `fgd compose`",
        ),
        ("train", "empty.py", "is no mmdet config, for it has no model"),
        ("train", "broken.py", "cannot be read as a config (SyntaxError"),
        ("fingerprint", ROW, "is a row's file"),
        ("fingerprint", "student.py", "no config of a training"),
        ("evaluate", ROW, "is a row's file"),
        (
            "evaluate",
            "config.py",
            "the config of a distillation, student and teacher; give",
        ),
        ("evaluate", "empty.py", "is no mmdet config"),
        ("check-teacher", "config.py", "the config of a distillation"),
    ],
)
def test_another_kind_of_config_is_refused(composed, command, config, message):
    arguments = {
        "train": [config, "--work-dir=run", "--out=out"],
        "fingerprint": [config],
        "evaluate": [config, "x.pth", "--out=out"],
        "check-teacher": ["mine", config, "x.pth", "--ap=40", "--out=out"],
    }[command]
    result = CliRunner().invoke(main, [command, *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert result.output.startswith(f"error: {config}: ")
    assert not (composed / "run").exists()


def test_settings_beside_the_model_are_the_models(tmp_path):
    """As older configs have them, which mmdet builds."""
    file = tmp_path / "old.py"
    file.write_text(
        "model = dict(type='RetinaNet', backbone=dict(type='ResNet'), test_cfg=dict(nms_pre=9))\n"
        "train_cfg = dict(allowed_border=-1)\ntest_cfg = dict(nms_pre=1)\n"
    )
    config = read_config(file)
    assert config.model.train_cfg.allowed_border == -1
    assert config.model.test_cfg.nms_pre == 9  # its own count


@pytest.mark.parametrize("text", ["x = (", "x = 1 / 0", "_base_ = 'broken_base.py'"])
def test_of_a_config_that_cannot_be_read_nothing_is_printed_after_its_error(tmp_path, text):
    """mmcv's copy of it would be collected when its folder is gone."""
    (tmp_path / "broken_base.py").write_text("x = y")
    file = tmp_path / "broken.py"
    file.write_text(text)
    code = (
        "from fgd.configs import read_config; from fgd.errors import FGDError\n"
        f"try: read_config({str(file)!r})\n"
        "except FGDError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{file}: cannot be read as a config (")
    assert "Exception ignored" not in done.stderr
