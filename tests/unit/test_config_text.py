"""A config's file reads back as the config, whatever its names hold."""

import pytest
from mmcv import Config

from fgd import recipe
from fgd.config_text import config_text
from fgd.errors import FGDError

NAMES = [
    "' + __import__('os').system('touch ran') + '",
    "\" + __import__('os').system('touch ran') + \"",
    "a\nb",
    "c\\",
    "{{ fileDirname }}",
    "{{ _base_.data }}",
    "{x}",
    "$(touch ran)",
    "'''",
    "é 猫 \u202e",
]


def read(text, folder):
    (folder / "config.py").write_text(text, encoding="utf-8")
    return Config.fromfile(str(folder / "config.py"))._cfg_dict.to_dict()


def test_names_are_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = dict(
        classes=tuple(NAMES), nested=[dict(a={name: name}) for name in NAMES], many=NAMES * 20
    )
    assert read(config_text(Config(content)), tmp_path) == content
    assert [path.name for path in tmp_path.iterdir()] == ["config.py"]


@pytest.mark.parametrize("arm", ["fgd", "baseline"])
def test_a_row_reads_back(tiny_suite, tmp_path, arm):
    for composed in recipe.compose(tiny_suite, recipe.load_row("mask_rcnn_r50"), arm):
        assert read(config_text(composed), tmp_path) == composed._cfg_dict.to_dict()


@pytest.mark.parametrize("value", [object(), float("nan"), dict])
def test_what_is_no_plain_data_is_refused(value):
    with pytest.raises(FGDError, match="the config's 'model' holds something else"):
        config_text(Config(dict(model=dict(a=value))))
