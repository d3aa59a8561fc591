"""Names of the model zoo: what they resolve to, and what a wrong one says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from fgd import zoo
from fgd.cli import main
from fgd.errors import FGDError

FACTS = yaml.safe_load((Path(__file__).parents[1] / "data" / "rows.yaml").read_text())


@pytest.mark.parametrize("name", FACTS["teachers"])
def test_published_teachers(name):
    facts = FACTS["teachers"][name]
    model = zoo.find(name)
    assert model.config.is_file()
    assert (model.hash8, model.box_ap, model.mask_ap) == (
        facts["hash8"],
        facts["box_ap"],
        facts.get("mask_ap"),
    )
    assert model.address.endswith(f"-{facts['hash8']}.pth")


@pytest.mark.parametrize("facts", FACTS["backbones"].values(), ids=FACTS["backbones"])
def test_backbones(facts):
    address, hash8 = zoo.backbone_address(facts["name"])
    assert address.startswith("https://")
    assert hash8 == facts["hash8"]


def test_every_entry_of_the_zoo_can_be_read():
    unreadable = []
    for name in zoo.search(""):
        try:
            zoo.find(name)
        except FGDError as error:
            unreadable.append(str(error))
    assert len(zoo.search("")) > 500
    assert all("no checkpoint" in text for text in unreadable)


def test_search_takes_words_in_any_order():
    assert "gfl_r101_fpn_mstrain_2x_coco" in zoo.search("R101 gfl")
    assert zoo.search("no such model") == []


def test_unknown_name_suggests_close_ones():
    with pytest.raises(FGDError, match=r"'retinanet_r50_fpn_3x_coco'.*'retinanet_r50_fpn_2x_coco'"):
        zoo.find("retinanet_r50_fpn_3x_coco")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision://resnet5", r"did you mean .*'resnet50'"),
        ("ftp://example.org/a.pth", "expected torchvision://"),
        ("http://example.org/a.pth", "does not end in -<8 hex digits"),
    ],
)
def test_unknown_backbone(name, message):
    with pytest.raises(FGDError, match=message):
        zoo.backbone_address(name)


def test_a_folder_of_metafiles_is_a_zoo_of_its_own(tmp_path):
    (tmp_path / "teacher.yml").write_text(
        "Models:\n"
        "  - Name: teacher\n"
        "    Config: results/mini/teachers/teacher/detector.py\n"
        "    Results:\n"
        "      - Task: Object Detection\n"
        "        Dataset: mini\n"
        "        Metrics: {box AP: 39.1}\n"
        "      - Task: Instance Segmentation\n"
        "        Dataset: mini\n"
        "        Metrics: {mask AP: 30.2}\n"
        "    Weights: file:///tmp/teacher-0123abcd.pth\n"
    )
    model = zoo.find("teacher", tmp_path)
    assert model.config == Path("results/mini/teachers/teacher/detector.py")
    assert (model.box_ap, model.mask_ap, model.hash8) == (39.1, 30.2, "0123abcd")
    with pytest.raises(FGDError, match=r"has no model 'teachers'; did you mean 'teacher'"):
        zoo.find("teachers", tmp_path)


def test_an_address_without_a_hash_is_refused(tmp_path):
    (tmp_path / "a.yml").write_text("Models:\n  - {Name: a, Weights: 'file:///tmp/a.pth'}\n")
    with pytest.raises(FGDError, match="does not end in"):
        zoo.find("a", tmp_path)


def test_a_cached_checkpoint_is_found_whatever_is_in_its_name(tmp_path, monkeypatch):
    name = "reppoints_moment_r50_fpn_gn-neck+head_2x_coco"  # its address has %2B for the +
    monkeypatch.setenv("FGD_CACHE", str(tmp_path))
    file = tmp_path / "checkpoints" / f"{name}_20200329-91babaa2.pth"
    file.parent.mkdir()
    file.touch()
    shown = json.loads(CliRunner().invoke(main, ["zoo", "show", name, "--json"]).output)
    assert "%2B" in shown["address"]
    assert shown["cached"] == str(file)


def test_looking_up_names_imports_no_models():
    code = (
        "import sys; from fgd import zoo; zoo.zoo_config('retinanet_r50_fpn_2x_coco');"
        "sys.exit(sorted({'torch', 'mmcv', 'mmdet'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("name", "millions", "strides"),
    [
        ("retinanet_r101_fpn_mstrain_640-800_3x_coco", 56.96, [8, 16, 32, 64, 128]),
        ("mask_rcnn_swin-t-p4-w7_fpn_1x_coco", 47.79, [4, 8, 16, 32, 64]),
        ("atss_r50_fpn_dyhead_1x_coco", 39.07, [8, 16, 32, 64, 128]),
        # Distilled with a teacher of its own, which is not counted, and not looked for.
        ("ld_r18_gflv1_r101_fpn_coco_1x", 19.42, [8, 16, 32, 64, 128]),
        ("lad_r50_paa_r101_fpn_coco_1x", 32.30, [8, 16, 32, 64, 128]),
    ],
)
def test_show_counts_whatever_the_detector_is_made_of(name, millions, strides):
    shown = json.loads(CliRunner().invoke(main, ["zoo", "show", name, "--json"]).output)
    assert shown["parameters"] / 1e6 == pytest.approx(millions, abs=0.01)
    assert shown["fpn_strides"] == strides


def test_show_alone_counts_a_synchronised_batch_norm():
    name = "mask_rcnn_r50_fpn_syncbn-all_rpn-2conv_ssj_32x2_90k_coco"  # MMSyncBN wants a group
    fgd = Path(sys.executable).with_name("fgd")  # alone: no other test patched mmcv before
    shown = subprocess.check_output([fgd, "zoo", "show", name, "--json"])
    assert json.loads(shown)["parameters"] / 1e6 == pytest.approx(46.30, abs=0.01)


def test_a_config_that_mmdet_cannot_build_is_refused():
    name = "retinanet_r50_fpn_syncbn_1350k_obj365v1"  # its config is half a Faster R-CNN's
    result = CliRunner().invoke(main, ["zoo", "show", name])
    assert result.exit_code == 2
    assert (
        f"error: {name}: mmdet cannot build what the config describes (TypeError" in result.output
    )
