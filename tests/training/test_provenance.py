"""From what a result was made, and whether it still is."""

import json

import pytest
from detectors import training_config, write_config

from fgd import provenance
from fgd.configs import read_training
from fgd.errors import FGDError
from fgd.evaluation.evaluate import evaluate
from fgd.export import transfer
from fgd.fingerprint import fingerprint
from fgd.method import method_id
from fgd.training import train
from fgd.training.run import _origin


@pytest.fixture
def configs(tiny_suite, tmp_path):
    """A training config, and the plain one of its student."""
    from fgd import recipe

    write_config(training_config(tiny_suite, "retinanet_r50", "fgd"), tmp_path / "config.py")
    row = recipe.load_row("retinanet_r50")
    write_config(recipe.compose(tiny_suite, row, "fgd").detector, tmp_path / "student.py")
    return tmp_path / "config.py", tmp_path / "student.py"


def test_the_fingerprint_follows_data_and_method(configs, monkeypatch, tiny_data):
    first = fingerprint(configs[0])
    with monkeypatch.context() as changed:
        changed.setattr("fgd.fingerprint.method_id", lambda: "another")
        assert fingerprint(configs[0]) != first
    (annotations,) = tiny_data.rglob("*train*.json")
    text = annotations.read_text()
    annotations.write_text(text + " ")
    assert fingerprint(configs[0]) != first
    annotations.write_text(text)
    assert fingerprint(configs[0]) == first


def test_a_result_is_verified(configs, tmp_path):
    config, student = configs
    train(config, tmp_path / "run", tmp_path / "trained.pth")
    transfer(tmp_path / "trained.pth", tmp_path / "student.pth", "x")
    written = tmp_path / provenance.FILE
    evaluate(student, tmp_path / "student.pth", out=tmp_path / "eval.json", provenance=written)
    assert provenance.verify(tmp_path) == [(".", [])]
    made = json.loads(written.read_text())["trained"]["made"]
    assert made["fingerprint"] == fingerprint(config)
    assert made["method"] == method_id()
    assert len(made["weights"]) == 2
    assert made["versions"]["torch"]

    config.write_text(config.read_text() + "\n")
    (tmp_path / "eval.json").unlink()
    ((_, differences),) = provenance.verify(tmp_path)
    assert differences == [
        f"{tmp_path}/eval.json is missing",
        f"{tmp_path}/config.py has changed since",
    ]


def test_the_software_that_a_run_began_with_is_kept(configs):
    config = configs[0]
    first = _origin(read_training(config), config, "f", {})
    assert "before" not in first["made"]
    older = first["made"] | {"commit": "a" * 40}
    again = _origin(read_training(config), config, "f", first | {"made": older})
    kept = {"versions": older["versions"], "commit": "a" * 40}
    assert again["made"] == first["made"] | {"before": [kept]}
    assert _origin(read_training(config), config, "f", again) == again


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(FGDError, match=r"no provenance\.json in it"):
        provenance.verify(tmp_path)
    (tmp_path / provenance.FILE).write_text("{}")
    with pytest.raises(FGDError, match="not a provenance"):
        provenance.verify(tmp_path)
