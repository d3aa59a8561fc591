"""`fgd evaluate` gives perfect detections an AP of 1, whatever form the annotations have."""

import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from mmcv import Config
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))
import coco_worlds
import export_forms

from fgd.cli import main
from fgd.data.clean import clean


@pytest.fixture
def evaluate(tmp_path, monkeypatch):
    """Runs the command with a detector that finds every object; its exit code and its metrics."""
    monkeypatch.setenv("FGD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("fgd.plain.build_detector", lambda model: nn.Linear(1, 1))
    monkeypatch.setattr(
        "fgd.evaluation.evaluate.detect_in",
        lambda precision, model, loader: coco_worlds.perfect(loader.dataset),
    )

    def run(file, pictures, *options):
        folder = file.parent
        test = dict(
            type="CocoDataset",
            ann_file=str(file),
            img_prefix=str(pictures),
            classes=("cat", "dog"),
            pipeline=[dict(type="LoadImageFromFile")],
        )
        model = dict(type="RetinaNet", bbox_head=dict(num_classes=2))
        data = dict(test=test, workers_per_gpu=0)
        Config(dict(model=model, data=data)).dump(str(folder / "c.py"))
        meta = {"CLASSES": ("cat", "dog")}
        torch.save({"state_dict": nn.Linear(1, 1).state_dict(), "meta": meta}, folder / "c.pth")
        files = [str(folder / name) for name in ("c.py", "c.pth")]
        command = ["evaluate", *files, f"--out={folder / 'e.json'}", "--per-class", *options]
        result = CliRunner().invoke(main, command, catch_exceptions=False)
        return result, json.loads((folder / "e.json").read_text()) if not result.exit_code else {}

    return run


@pytest.mark.parametrize("options", [(), ("--pycocotools",)], ids=["faster", "pycocotools"])
def test_of_every_form_that_is_accepted_or_mended(evaluate, tmp_path, options):
    for number, (form, (_, accepted)) in enumerate(export_forms.FORMS.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        file, pictures = export_forms.write(folder, form)
        if not accepted:
            result, _ = evaluate(file, pictures, *options)
            # What the check alone refuses is measured, too, where it has a meaning.
            assert result.exit_code in (0, 2), form
            if result.exit_code:
                assert "`fgd data clean`" in result.stderr, form
            clean(file, pictures, out=folder / "clean.json")
            file = folder / "clean.json"
        result, metrics = evaluate(file, pictures, *options)
        assert result.exit_code == 0, (form, result.output)
        assert metrics["box"]["AP"] == pytest.approx(1), form
        assert metrics["box"]["per_class"] == pytest.approx({"cat": 1, "dog": 1}), form
