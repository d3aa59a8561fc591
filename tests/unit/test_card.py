"""A student's model card: its head is what hubs read, and it says what the results say."""

import json
from dataclasses import replace

import pytest
import yaml
from click.testing import CliRunner

from fgd.checkout import root
from fgd.cli import main
from fgd.errors import FGDError
from fgd.report.card import write_card
from fgd.suite import load_suite

ROW = "retinanet_r50"
NAME = "a | <b>\nclass"


@pytest.fixture(scope="module")
def suite():
    return load_suite(root() / "configs/suites/mini.yaml")


@pytest.fixture
def results(tmp_path):
    """Of a finished row, as the workflow leaves them."""
    annotations = tmp_path / "val.json"
    licences = [{"id": 1, "name": "CC BY 4.0", "url": "https://example.org/by"}]
    images = [{"id": 1, "license": 1}, {"id": 2, "license": 1}, {"id": 3}]
    annotations.write_text(json.dumps({"licenses": licences, "images": images}))
    for folder, ap in (
        ("teachers/retinanet_x101_64x4d_fpn_1x_coco", 0.45),
        (f"{ROW}/baseline", 0.401),
        (f"{ROW}/fgd", 0.4233),
    ):
        metrics = {"AP": ap, "AP50": 0.6, "AP75": 0.4, "APs": -1, "APm": 0.3, "APl": 0.5}
        write(
            tmp_path / folder / "eval.json",
            checkpoint="retinanet_r50_fgd-01234567.pth",
            sha256="0123456789abcdef",
            images=3,
            box=metrics | {"per_class": {NAME: ap, "cat": -1}},
        )
    write(
        tmp_path / ROW / "fgd/provenance.json",
        trained={"made": {"config_sha256": "c0ffee"}},
        evaluated={"data": {"annotations": str(annotations)}, "versions": {"torch": "2.11.0"}},
    )
    write(
        tmp_path / ROW / "fgd/run/weights.json",
        summary={"tensors": {"teacher": 36, "own initialisation": 0}, "parameters": {}},
        files={"teacher": {"path": "teacher.pth", "sha256": "01"}},
    )
    write(
        tmp_path / "data/train.json",
        annotation_file="train.json",
        sha256="feed",
        images=12,
        annotations=39,
        crowds=1,
        per_class={NAME: 30, "cat": 9},
    )
    return tmp_path


def write(path, **content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_what_a_card_says(suite, results, tmp_path):
    command = ["card", "mini", ROW, f"--results={results}", f"--out={tmp_path}/README.md"]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    head, text = (tmp_path / "README.md").read_text().split("---\n")[1:]
    head = yaml.safe_load(head)
    assert head["pipeline_tag"] == "object-detection"
    (model,) = head["model-index"]
    assert model["name"] == "retinanet_r50_fgd-01234567"
    (result,) = model["results"]
    assert {each["name"]: each["value"] for each in result["metrics"]} == {
        "box AP": 42.33, "box AP50": 60, "box AP75": 40, "box APm": 30, "box APl": 50
    }  # fmt: skip
    for line in (
        "| FGD      | 42.3 |  60.0 |  40.0 |  none |   30.0 |  50.0 |",
        r"| a \| &lt;b&gt; class | 42.3 |                  30 |",
        "- CC BY 4.0 (https://example.org/by), 2 images",
        "| teacher | teacher.pth |      36 |",
        "12 images, 39 objects",
        "- torch 2.11.0",
    ):
        assert line in text, text


def test_a_student_that_was_not_measured_has_no_card(suite, results, tmp_path):
    (results / ROW / "fgd/eval.json").unlink()
    with pytest.raises(FGDError, match=r"retinanet_r50/fgd/eval.json is missing"):
        write_card(suite, ROW, results=results, out=tmp_path / "README.md")
    assert not (tmp_path / "README.md").exists()


def test_a_row_of_another_suite_is_refused(suite, results, tmp_path):
    with pytest.raises(FGDError, match="has no row 'fcos_r51'"):
        write_card(suite, "fcos_r51", results=results, out=tmp_path / "README.md")


def test_of_further_seeds_the_first_has_the_card(suite, results, tmp_path):
    write_card(replace(suite, seeds=(0, 1)), ROW, results=results, out=tmp_path / "README.md")
    assert "retinanet_r50_fgd-01234567.pth" in (tmp_path / "README.md").read_text()
