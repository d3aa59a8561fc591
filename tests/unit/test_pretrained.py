"""Backbones of other projects: read as mmdet reads them, and audited after that."""

import copy
import logging
import re

import pytest
import torch
from families import small
from mmcv import ConfigDict
from mmcv.utils import get_logger
from mmdet.models import build_backbone, build_detector

from fgd import recipe
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.pretrained import parts
from fgd.recipe.checks import check_one_file
from fgd.starting_weights import BACKBONE, OWN, check_start, own_values
from fgd.suite import load_suite

SWIN = dict(
    type="SwinTransformer",
    embed_dims=8,
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 1, 1),
    window_size=2,
    convert_weights=True,
)
PVT = dict(type="PyramidVisionTransformer", embed_dims=8, num_layers=[1, 1, 1, 1])
# From mmdet's names to those of the two projects' own files.
SWIN_NAMES = (
    ("stages.", "layers."),
    ("attn.w_msa.", "attn."),
    ("ffn.layers.0.0.", "mlp.fc1."),
    ("ffn.layers.1.", "mlp.fc2."),
    ("projection.", "proj."),
)


@pytest.fixture(autouse=True)
def quiet():
    for name in ("mmcv", "mmdet"):
        get_logger(name).setLevel(logging.ERROR)


def of_swin(state):
    """A file of Swin's own project: one norm behind all, no norms of stages, and a classifier."""
    found = {"norm.weight": torch.rand(64), "head.weight": torch.rand(10, 64)}
    for name, tensor in state.items():
        if not re.match(r"norm\d", name):
            for ours, theirs in SWIN_NAMES:
                name = name.replace(ours, theirs)
            found[name] = tensor
    return {"model": found}


def of_pvt(state):
    """A file of PVT's own project: queries apart from keys and values, plain linear layers."""
    found = {"norm.weight": torch.rand(512), "cls_token": torch.rand(1, 1, 512)}
    for name, tensor in state.items():
        stage, kind, rest = re.fullmatch(r"layers\.(\d)\.(\d)\.(.*)", name).groups()
        stage = int(stage) + 1
        if kind == "0":
            found[f"patch_embed{stage}.{rest.replace('projection', 'proj')}"] = tensor
        elif rest == "0.pos_embed":
            last = (torch.rand(1, 1, tensor.shape[2]),) if stage == 4 else ()
            found[f"pos_embed{stage}"] = torch.cat([*last, tensor], dim=1)
        elif kind == "1":
            inside = rest.partition(".")[2]
            begin = f"block{stage}.0."
            if "in_proj_" in inside:
                end = inside.partition("in_proj_")[2]
                q, kv = tensor.split([len(tensor) // 3, 2 * len(tensor) // 3])
                found |= {f"{begin}attn.q.{end}": q, f"{begin}attn.kv.{end}": kv}
                continue
            inside = inside.replace("attn.attn.out_proj", "attn.proj")
            inside = inside.replace("ffn.layers.0", "mlp.fc1").replace("ffn.layers.3", "mlp.fc2")
            linear = "mlp" in inside and inside.endswith("weight")  # a convolution of 1x1 in mmdet
            found[begin + inside] = tensor.flatten(1) if linear else tensor
    return found


def student(backbone, path) -> ConfigDict:
    model = small("FPN").to_dict()
    model["backbone"] = dict(backbone, init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    widths = (1, 2, 4, 8) if backbone["type"] == "SwinTransformer" else (1, 2, 5, 8)
    model["neck"]["in_channels"] = [8 * width for width in widths]
    return ConfigDict(model)


def start_of(model, after=lambda detector: None):
    def built():
        torch.manual_seed(0)
        return build_detector(copy.deepcopy(model))

    own, detector = own_values(built()), built()
    detector.init_weights()
    after(detector)
    return check_start(detector, own, model)


def written(backbone, layout, path):
    """A file of random weights in the layout of the backbone's own project."""
    torch.manual_seed(1)
    state = build_backbone(dict(backbone)).state_dict()
    torch.save(
        layout({k: torch.rand_like(v) if v.is_floating_point() else v for k, v in state.items()}),
        path,
    )
    return student(backbone, path)


CASES = [(SWIN, of_swin, r"backbone\.norm\d\."), (PVT, of_pvt, "none")]


@pytest.mark.parametrize(("backbone", "layout", "own"), CASES, ids=["Swin", "PVT"])
def test_another_projects_file_is_audited_as_mmdet_converts_it(tmp_path, backbone, layout, own):
    model = written(backbone, layout, tmp_path / "a.pth")
    report = start_of(model)
    sources = {name: entry["source"] for name, entry in report["tensors"].items()}
    of_backbone = [name for name in sources if name.startswith("backbone.")]
    assert {n for n in of_backbone if sources[n] == OWN} == {
        n for n in of_backbone if re.match(own, n)
    }
    assert BACKBONE in {sources[n] for n in of_backbone}


@pytest.mark.parametrize(("backbone", "layout", "own"), CASES, ids=["Swin", "PVT"])
def test_what_is_not_the_converted_file_is_refused(tmp_path, backbone, layout, own):
    model = written(backbone, layout, tmp_path / "a.pth")

    def change(detector):
        name = next(
            n
            for n in detector.state_dict()
            if n.endswith("0.ffn.layers.1.bias") or n.endswith("ffn.layers.3.bias")
        )
        detector.state_dict()[name].add_(1)

    with pytest.raises(FGDError, match=r"ffn\S+bias is from an unknown source, not backbone"):
        start_of(model, change)


def test_a_c4_detectors_last_stage_starts_from_the_backbones_file(tmp_path):
    model = small("C4")
    backbone, last = model.backbone, model.roi_head.shared_head
    backbone.init_cfg = last.init_cfg = None
    torch.manual_seed(1)
    tensors = build_detector(copy.deepcopy(model)).state_dict()
    path = tmp_path / "a.pth"
    begins = r"(backbone|roi_head\.shared_head)\."
    named = {re.sub(begins, "", name): t for name, t in tensors.items() if re.match(begins, name)}
    torch.save(named, path)
    for part in (backbone, last):
        part.init_cfg = dict(type="Pretrained", checkpoint=str(path))
    report = start_of(model)
    sources = {name: entry["source"] for name, entry in report["tensors"].items()}
    assert sources["roi_head.shared_head.layer4.0.conv1.weight"] == BACKBONE
    assert report["files"][BACKBONE]["unused"] == []


def test_every_part_that_starts_from_weights_is_found():
    c4, rfp = (
        recipe.known_config(name).model
        for name in ("faster_rcnn_r50_caffe_c4_1x_coco", "cascade_rcnn_r50_rfp_1x_coco")
    )
    assert [part.path for part in parts(c4)] == ["backbone", "roi_head.shared_head"]
    backbone, fed_back = parts(rfp)
    assert fed_back.checkpoint == backbone.checkpoint == "torchvision://resnet50"
    assert fed_back.inside("neck.rfp_modules.0.layer1.0.conv1.weight") == "layer1.0.conv1.weight"
    assert fed_back.inside("neck.fpn_convs.0.conv.weight") is None
    assert fed_back.may_lack("layer2.0.rfp_conv.weight")
    assert not fed_back.may_lack("layer2.0.conv1.weight")


@pytest.mark.parametrize(
    "backbone",
    [
        SWIN,
        PVT,
        dict(PVT, type="PyramidVisionTransformerV2"),
        dict(type="EfficientNet", arch="b0", init_cfg=dict(prefix="backbone")),
        dict(type="ResNet", depth=18),
    ],
    ids=lambda backbone: backbone["type"],
)
def test_what_is_written_for_a_part_is_what_it_reads(backbone):
    init = dict(backbone.get("init_cfg", {}), type="Pretrained", checkpoint="a.pth")
    part, *_ = parts(dict(backbone=dict(backbone, init_cfg=init)))
    state = build_backbone(dict(backbone, init_cfg=None)).state_dict()
    read = part.read(part.as_saved(state))
    assert {n: t.shape for n, t in read.items()} == {n: t.shape for n, t in state.items()}


def test_pvts_weights_say_no_type_in_the_zoo():
    model = recipe.known_config("retinanet_pvt-t_fpn_1x_coco").model
    assert [part.checkpoint.rpartition("/")[2] for part in parts(model)] == ["pvt_tiny.pth"]


def test_a_second_file_is_refused_by_its_name():
    model = recipe.known_config("faster_rcnn_r50_caffe_c4_1x_coco").model
    check_one_file("the student", model)
    model.roi_head.shared_head.init_cfg.checkpoint = "torchvision://resnet50"
    with pytest.raises(FGDError, match=r"roi_head\.shared_head starts from torchvision://resnet50"):
        check_one_file("the student", model)


def test_two_backbones_of_one_name_are_two_files(tmp_path):
    for name, kind in (
        ("a", "fcos_r50_caffe_fpn_gn-head_1x_coco"),
        ("b", "retinanet_r50_caffe_fpn_1x_coco"),
    ):
        (tmp_path / f"{name}.py").write_text(
            f"student = '{kind}'\nteacher = 'fcos_r101_caffe_fpn_gn-head_1x_coco'\n"
            "distill = dict(levels=[0], inherit=False, temperature=0.5, alpha=1, beta=1, gamma=1, "
            "lambda_=1)\noptimizer = dict(lr=0.01)\noptimizer_config = dict()\n"
            "lr_config = dict(step=[8, 11])\n"
            "runner = dict(type='EpochBasedRunner', max_epochs=12)\n"
        )
    file = tmp_path / "s.yaml"
    file.write_text(f"base: {root()}/configs/suites/coco.yaml\nname: s\nrows: [a.py, b.py]\n")
    suite = load_suite(file)
    planned = recipe.plan(suite)
    assert planned.backbones == {
        "resnet50_caffe": "open-mmlab://detectron/resnet50_caffe",
        "resnet50_caffe-b38c9ae6": "open-mmlab://detectron2/resnet50_caffe",
    }
    row = recipe.load_row("b", suite)
    checkpoint = recipe.compose(suite, row, "fgd").training.model.student.backbone.init_cfg
    assert checkpoint.checkpoint == suite.layout.backbone(planned.rows["b"].backbone)
