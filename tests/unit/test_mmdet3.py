"""A student's config and checkpoint in the words of mmdet 3; `make test-mmdet3` runs them there."""

import copy
import inspect
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from mmcv import Config
from mmcv.cnn.bricks.registry import ACTIVATION_LAYERS, NORM_LAYERS, UPSAMPLE_LAYERS
from mmcv.ops import RoIAlign
from mmdet.core.anchor.builder import PRIOR_GENERATORS
from mmdet.core.bbox.builder import BBOX_CODERS
from mmdet.models import build_detector
from mmdet.models.builder import MODELS

from fgd import recipe
from fgd.checkout import root
from fgd.cli import main
from fgd.errors import FGDError
from fgd.mmdet3.known import KEYS
from fgd.mmdet3.write import transfer_to_mmdet3, translated
from fgd.suite import load_suite

GOLDEN = root() / "tests/data/mmdet3.json"
ROWS = ("retinanet_r50", "fcos_r50", "reppoints_r50", "faster_rcnn_r50", "mask_rcnn_r50")
CLASSES = ("cat", "dog")


def detector(row):
    """A row's plain config at full size."""
    suite = load_suite(root() / "configs/suites/coco.yaml")
    return recipe.compose(suite, recipe.load_row(row), "baseline").detector


def plain(value):
    """As JSON has it."""
    return json.loads(json.dumps(value))


@pytest.mark.parametrize("row", ROWS)
def test_every_kind_of_the_table_is_translated(row):
    found = plain(translated(detector(row), CLASSES))
    assert found == json.loads(GOLDEN.read_text())[row]


def test_a_key_that_is_known_is_one_of_mmdet_2():
    others = {
        "RoIAlign": RoIAlign, "BN": NORM_LAYERS.get("BN"), "SyncBN": NORM_LAYERS.get("SyncBN"),
        "GN": NORM_LAYERS.get("GN"), "ReLU": ACTIVATION_LAYERS.get("ReLU"),
    }  # fmt: skip
    for kind in KEYS.keys() - {"nms", "soft_nms", "deconv"}:
        built = MODELS.get(kind) or BBOX_CODERS.get(kind) or PRIOR_GENERATORS.get(kind)
        classes = (built or others[kind]).__mro__
        names = {n for each in classes for n in inspect.signature(each.__init__).parameters}
        # What mmcv takes out before a layer is built, and what torch's built-in class hides.
        names |= {"requires_grad"} if kind in ("BN", "SyncBN", "GN") else set()
        assert names >= KEYS[kind], kind
    assert UPSAMPLE_LAYERS.get("deconv") is not None


@pytest.mark.parametrize(
    ("row", "change", "place"),
    [
        ("retinanet_r50", {"model.type": "ATSS"}, r"model\.type: 'ATSS'"),
        ("retinanet_r50", {"model.backbone.dcn": {"type": "DCN"}}, r"model\.backbone\.dcn: "),
        ("retinanet_r50", {"model.bbox_head.loss_cls.type": "GHMC"}, r"loss_cls\.type: 'GHMC'"),
        ("retinanet_r50", {"model.test_cfg.nms_thr": 0.5}, r"model\.test_cfg\.nms_thr: "),
        ("retinanet_r50", {"model.test_cfg.nms.type": "x"}, r"model\.test_cfg\.nms\.type: 'x'"),
        ("mask_rcnn_r50", {"model.test_cfg.rpn.nms_post": 9}, r"model\.test_cfg\.rpn\.nms_post: "),
        ("mask_rcnn_r50", {"model.roi_head.shared_head": {}}, r"model\.roi_head\.shared_head: "),
        ("fcos_r50", {"data.test.type": "VOCDataset"}, r"data\.test\.type: is 'VOCDataset'"),
        ("fcos_r50", {"data.test.seg_prefix": "masks"}, r"data\.test\.seg_prefix: "),
        ("fcos_r50", {"custom_imports": {"imports": ["mine"]}}, "custom_imports: "),
        ("fcos_r50", {"data.test.pipeline.1.flip": True}, r"MultiScaleFlipAug\.flip: "),
        ("fcos_r50", {"data.test.pipeline.1.img_scale": [(9, 9), (7, 7)]}, r"\.img_scale: "),
        ("fcos_r50", {"data.test.pipeline.1.scale_factor": 2.0}, r"\.scale_factor: "),
        ("fcos_r50", {"data.test.pipeline.1.transforms.3.size": (9, 9)}, r"\.Pad\.size: "),
        ("fcos_r50", {"data.test.pipeline.1.transforms.3.type": "CLAHE"}, r"\.CLAHE: "),
        ("fcos_r50", {"data.test.pipeline.1.transforms.0.type": "Pad"}, r"\.Pad\.keep_ratio: "),
    ],
)
def test_what_is_not_known_is_refused_by_its_key(row, change, place):
    content = copy.deepcopy(detector(row)._cfg_dict.to_dict())
    for path, value in change.items():
        *parents, last = path.split(".")
        inner = content
        for key in parents:
            inner = inner[int(key) if isinstance(inner, list) else key]
        inner[last] = value
    with pytest.raises(FGDError, match=place) as refused:
        translated(Config(content), CLASSES)
    assert "\n" not in str(refused.value)


def test_steps_out_of_order_are_refused():
    content = detector("fcos_r50")._cfg_dict.to_dict()
    content["data"]["test"]["pipeline"][1]["transforms"].reverse()
    with pytest.raises(FGDError, match="mmdet 3 resizes, normalises and pads, each once"):
        translated(Config(content), CLASSES)


@pytest.mark.parametrize(
    ("order", "to_rgb", "reverses"),
    [("bgr", True, True), ("bgr", False, False), ("rgb", True, False), ("rgb", False, True)],
)
def test_mmdet_3_reads_bgr_whatever_mmdet_2_reads(order, to_rgb, reverses):
    content = detector("fcos_r50")._cfg_dict.to_dict()
    load, view = content["data"]["test"]["pipeline"]
    load["channel_order"] = order
    (normalise,) = (step for step in view["transforms"] if step["type"] == "Normalize")
    normalise["to_rgb"] = to_rgb
    found = translated(Config(content), CLASSES)
    assert found["model"]["data_preprocessor"]["bgr_to_rgb"] is reverses
    reading = found["test_dataloader"]["dataset"]["pipeline"][0]
    assert reading == {"type": "LoadImageFromFile"}


def test_resizing_keeps_the_ratio_where_mmdet_2_does():
    content = detector("fcos_r50")._cfg_dict.to_dict()
    del content["data"]["test"]["pipeline"][1]["transforms"][0]["keep_ratio"]
    found = translated(Config(content), CLASSES)
    assert found["test_dataloader"]["dataset"]["pipeline"][1]["keep_ratio"] is True


@pytest.fixture
def student(tiny_suite, tmp_path):
    """A small student's config and checkpoint."""
    folder = tmp_path / "student"
    recipe.write_row(tiny_suite, "retinanet_r50", arm="baseline", out=folder)
    config = Config.fromfile(folder / "student.py")
    state = build_detector(config.model).state_dict()
    meta = {"CLASSES": config.data.test.classes, "fgd": {"seed": 3}}
    torch.save({"state_dict": state, "meta": meta}, folder / "trained.pth")
    return folder / "student.py", folder / "trained.pth", state


def test_weights_stay_and_classes_stand_where_mmdet_3_looks(student, tmp_path):
    config, checkpoint, state = student
    out = tmp_path / "mmdet3"
    arguments = ["transfer", checkpoint, "--for", "mmdet3", "--config", config]
    arguments += ["--name", "mine", "--out", out]
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    (stored,) = out.glob("mine-????????.pth")
    assert (out / "student.pth").readlink().name == stored.name
    written = torch.load(out / "student.pth")
    assert written["state_dict"].keys() == state.keys()
    assert all(torch.equal(written["state_dict"][name], state[name]) for name in state)
    assert written["meta"] == {
        "fgd": {"seed": 3},
        "dataset_meta": {"classes": tuple(str(digit) for digit in range(10))},
    }
    content = {}
    exec((out / "student.py").read_text(), content)
    assert content["test_dataloader"]["dataset"]["metainfo"]["classes"][:2] == ("0", "1")
    # Again, over what stands there.
    assert transfer_to_mmdet3(config, checkpoint, out=out, name="mine").name == stored.name


def test_nothing_is_half_written(student, tmp_path):
    config, checkpoint, state = student
    out = tmp_path / "mmdet3"
    before = sorted(tmp_path.iterdir())
    torch.save({"state_dict": {**state, "backbone.more": torch.ones(1)}}, checkpoint)
    with pytest.raises(FGDError, match=r"trained\.pth: does not fit .*backbone\.more"):
        transfer_to_mmdet3(config, checkpoint, out=out, name="mine")
    torch.save({"state_dict": state}, checkpoint)
    unknown = config.with_name("unknown.py")
    unknown.write_text(config.read_text() + "model['bbox_head']['mine'] = 1\n")
    with pytest.raises(FGDError, match=r"unknown\.py: model\.bbox_head\.mine: is not known"):
        transfer_to_mmdet3(unknown, checkpoint, out=out, name="mine")
    assert sorted(tmp_path.iterdir()) == before
    out.mkdir()
    (out / "mine.txt").write_text("my own")
    with pytest.raises(FGDError, match=r"holds mine\.txt, which was not written by this command"):
        transfer_to_mmdet3(config, checkpoint, out=out, name="mine")
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("more", ["", "run/iter_9.pth", "photos/a-01234567.pth"])
def test_the_folder_of_a_student_is_no_folder_of_this_command(student, tmp_path, more):
    config, checkpoint, _ = student
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(config, mine / "student.py")
    shutil.copy(checkpoint, mine / "student.pth")
    if more:
        (mine / more).parent.mkdir()
        (mine / more).write_text("mine")
    before = {path: path.is_dir() or path.read_bytes() for path in mine.rglob("*")}
    with pytest.raises(FGDError, match="not written by this command, so it is not replaced"):
        transfer_to_mmdet3(mine / "student.py", mine / "student.pth", out=mine, name="mine")
    assert {path: path.is_dir() or path.read_bytes() for path in mine.rglob("*")} == before


def test_what_was_put_beside_a_transferred_one_is_kept(student, tmp_path):
    config, checkpoint, _ = student
    out = tmp_path / "mmdet3"
    transfer_to_mmdet3(config, checkpoint, out=out, name="mine")
    (out / "notes.txt").write_text("mine")
    with pytest.raises(FGDError, match=r"holds notes\.txt"):
        transfer_to_mmdet3(config, checkpoint, out=out, name="mine")


def test_mmdet_3_needs_the_config(student, tmp_path):
    arguments = ["transfer", str(student[1]), "--name", "x", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*arguments, "--for", "mmdet3"])
    assert result.exit_code == 2
    assert "--for mmdet3 and --config student.py go together" in result.output
