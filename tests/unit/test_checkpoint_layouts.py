"""Checkpoints as people have them are read: mmdet 3's, wrapped, averaged; others are named."""

import pickle
import sys
import types

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fgd import compat
from fgd.checkpoint import read_checkpoint
from fgd.configs import read_config
from fgd.download import fetch
from fgd.errors import FGDError
from fgd.export import transfer
from fgd.layouts import plain_names
from fgd.recipe import known_config
from fgd.recipe.building import build
from fgd.weights import load_strictly, own_names

STATE = {"backbone.conv1.weight": torch.arange(6.0), "neck.bias": torch.ones(2)}


def save(path, content, **options):
    torch.save(content, path, **options)
    return path


def same(state, expected=STATE):
    return state.keys() == expected.keys() and all(
        torch.equal(state[name], expected[name]) for name in expected
    )


@pytest.fixture
def history(monkeypatch):
    """mmengine's class as it pickles itself: with numpy arrays and, by getattr, its methods."""

    class HistoryBuffer:
        def mean(self):
            return 0

        def __init__(self):
            self._log_history = np.arange(5) / 7
            self.statistics_methods = {"mean": HistoryBuffer.mean}

    module = types.ModuleType("mmengine.logging.history_buffer")
    HistoryBuffer.__module__ = module.__name__
    HistoryBuffer.__qualname__ = "HistoryBuffer"
    HistoryBuffer.mean.__module__ = module.__name__
    HistoryBuffer.mean.__qualname__ = "HistoryBuffer.mean"
    module.HistoryBuffer = HistoryBuffer
    for name in ("mmengine", "mmengine.logging"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return HistoryBuffer


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_of_mmdet_3_is_read_without_mmengine(tmp_path, history, monkeypatch, zipped):
    content = {
        "state_dict": STATE,
        "meta": {"epoch": 12, "dataset_meta": {"classes": ("cat", "dog")}},
        "message_hub": {"log_scalars": {"train/loss": history()}, "resumed_keys": {}},
        "optimizer": {"param_groups": [{"lr": np.float64(0.02)}]},
    }
    path = save(tmp_path / "epoch_12.pth", content, _use_new_zipfile_serialization=zipped)
    assert b"getattr" in pickle.dumps(history(), protocol=2)
    for name in [name for name in sys.modules if name.startswith("mmengine")]:
        monkeypatch.delitem(sys.modules, name)
    read = read_checkpoint(path)
    assert same(read["state_dict"])
    assert read["message_hub"]["log_scalars"] == {"train/loss": None}
    assert read["optimizer"]["param_groups"] == [{"lr": 0.02}]
    transfer(path, tmp_path / "student.pth", "x")
    assert read_checkpoint(tmp_path / "student.pth")["meta"]["CLASSES"] == ("cat", "dog")


@pytest.mark.parametrize(
    "value",
    [
        np.float64(0.5),
        np.float32(0.5),
        np.int64(-3),
        np.bool_(True),
        np.str_("cat"),
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(3, dtype=">i4"),
        np.array(["a", "bc"]),
        np.zeros((0, 3)),
    ],
    ids=repr,
)
def test_what_numpy_wrote_is_read_as_plain_data(tmp_path, value):
    content = {"state_dict": STATE, "meta": {"x": value, "y": (1, (value,)), "z": [value]}}
    meta = read_checkpoint(save(tmp_path / "a.pth", content))["meta"]
    plain = value.tolist()
    assert meta == {"x": plain, "y": (1, (plain,)), "z": [plain]}


@pytest.mark.parametrize("value", [np.array([{}], object), np.array([1 + 2j])])
def test_what_is_no_plain_data_of_numpys_is_left_out(tmp_path, value):
    content = {"state_dict": STATE, "meta": {"x": value}}
    assert read_checkpoint(save(tmp_path / "a.pth", content))["meta"] == {"x": None}


def test_an_array_in_place_of_a_tensor_is_refused(tmp_path):
    path = save(tmp_path / "a.pth", {"state_dict": STATE | {"head.bias": np.zeros(2)}})
    with pytest.raises(FGDError, match=r"state_dict has a list under 'head\.bias'"):
        read_checkpoint(path)


class Calls:
    def __init__(self, *what):
        self._what = what

    def __reduce__(self):
        return self._what

    def __call__(self):
        """pickle wants what is called to be callable."""


def test_stand_ins_look_nothing_up_and_call_nothing(tmp_path):
    ran = tmp_path / "ran"
    looked_up = Calls(getattr, (torch.Size, "count"))
    path = save(tmp_path / "a.pth", {"state_dict": STATE, "meta": {"x": looked_up}})
    assert read_checkpoint(path)["meta"] == {"x": None}
    for thing in (
        Calls(looked_up, ()),
        Calls(Calls(getattr, (open, "__call__")), (str(ran), "w")),
        Calls(getattr, (Calls(open, (str(ran), "w")), "name")),
    ):
        path = save(tmp_path / "b.pth", {"state_dict": STATE, "meta": {"x": thing}})
        with pytest.raises(FGDError):
            read_checkpoint(path)
    assert not ran.exists()


@pytest.mark.parametrize(
    "rename",
    [
        "module.{}".format,
        "_orig_mod.{}".format,
        "module._orig_mod.{}".format,
        "_orig_mod.module.{}".format,
        lambda name: name.replace("backbone.", "backbone._orig_mod."),
        "architecture.{}".format,
        "architecture.model.{}".format,
    ],
)
def test_wrappers_are_taken_off(tmp_path, rename):
    state = {rename(name): tensor for name, tensor in STATE.items()}
    assert same(read_checkpoint(save(tmp_path / "a.pth", {"state_dict": state}))["state_dict"])


def test_names_stay_as_saved_for_who_looks_for_a_prefix(tmp_path):
    from mmcv.runner.checkpoint import _load_checkpoint_with_prefix

    compat.apply()
    state = {f"architecture.{name}": tensor for name, tensor in STATE.items()}
    path = save(tmp_path / "a.pth", {"state_dict": state})
    assert same(read_checkpoint(path, as_saved=True)["state_dict"], state)
    part = _load_checkpoint_with_prefix("architecture.backbone.", str(path))
    assert list(part) == ["conv1.weight"]


def test_of_mmrazors_distillation_the_student_is_taken():
    state = {f"architecture.{name}": tensor for name, tensor in STATE.items()}
    others = {f"teacher.{name}": torch.zeros(1) for name in STATE} | {"connectors.a": torch.ones(1)}
    assert same(plain_names(state | others))
    first = {f"architecture.model.{name}": tensor for name, tensor in STATE.items()}
    others = {f"distiller.teacher.model.{name}": torch.zeros(1) for name in STATE}
    assert same(plain_names(first | others))


def test_copies_for_an_average_are_left_out_and_other_names_stay():
    copies = {f"ema_{name.replace('.', '_')}": torch.zeros(1) for name in STATE}
    assert same(plain_names(STATE | copies))
    other = {"ema_head_weight": torch.zeros(1)}
    assert same(plain_names(STATE | other), STATE | other)
    partly = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert same(plain_names(partly), partly)


def test_what_transfer_writes_of_an_averaged_training_is_the_detector(tmp_path):
    copies = {f"ema_{name.replace('.', '_')}": torch.zeros(1) for name in STATE}
    transfer(save(tmp_path / "a.pth", {"state_dict": STATE | copies}), tmp_path / "b.pth", "x")
    assert same(torch.load(tmp_path / "b.pth")["state_dict"])


def test_batch_norms_without_a_count_are_loaded():
    model = nn.Sequential(nn.BatchNorm2d(2))
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    del state["0.num_batches_tracked"]
    load_strictly(model, state, "old.pth")
    assert torch.equal(model.state_dict()["0.weight"], state["0.weight"])
    assert model.state_dict()["0.num_batches_tracked"] == 0
    del state["0.running_var"]
    with pytest.raises(FGDError, match=r"missing 0\.running_var 2\)"):
        load_strictly(model, state, "old.pth")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 100\n"
PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"


@pytest.mark.parametrize(
    ("data", "what"), [(POINTER, "is a Git LFS pointer"), (PAGE, "is a web page")]
)
def test_what_lies_in_place_of_a_file_is_named_by_reader_and_download(tmp_path, data, what):
    path = tmp_path / "a.pth"
    path.write_bytes(data)
    with pytest.raises(FGDError, match=rf"a\.pth: {what}"):
        read_checkpoint(path)
    with pytest.raises(FGDError, match=rf"a\.pth: what is there {what}"):
        fetch(path.as_uri(), tmp_path / "b.pth", "00000000")


def test_safetensors_are_read(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({f"module.{name}": tensor for name, tensor in STATE.items()}, path)
    assert same(read_checkpoint(path)["state_dict"])
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(FGDError, match=r"a\.safetensors: is a damaged safetensors file"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "text",
    [
        "default_scope = 'mmdet'\nmodel = dict(type='RetinaNet')",
        "model = dict(type='RetinaNet', data_preprocessor=dict())",
        "model = dict(type='RetinaNet')\ntrain_dataloader = dict(batch_size=2)",
        "_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'",
        "from mmengine.config import read_base\nwith read_base():\n    from .a import *",
    ],
)
def test_a_config_of_mmdet_3_is_named(tmp_path, text):
    path = tmp_path / "c.py"
    path.write_text(text)
    with pytest.raises(FGDError, match=r"c\.py: is a config of mmdet 3 .*`fgd zoo search`"):
        read_config(path)


@pytest.mark.parametrize(
    ("model", "old"),
    [
        ("fcos_r50_caffe_fpn_gn-head_1x_coco", {"bbox_head.conv_": "bbox_head.fcos_"}),
        (
            "detr_r50_8x2_150e_coco",
            {
                "decoder.post_norm": "decoder.norm",
                ".attentions.0.": ".self_attn.",
                ".attentions.1.": ".multihead_attn.",
                ".ffns.0.": ".ffn.",
            },
        ),
        (  # the parent module's name has a part of it, which torch's own loading does not see
            "faster_rcnn_r50_fpn_dconv_c3-c5_1x_coco",
            {".conv2.conv_offset.": ".conv2_offset."},
        ),
    ],
)
def test_names_of_an_older_mmdet_are_todays(model, old):
    detector = build(model, known_config(model).model)
    state = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    former = {}
    for name, tensor in state.items():
        for new, before in old.items():
            name = name.replace(new, before)
        former[name] = torch.rand_like(tensor) if tensor.is_floating_point() else tensor
    assert former.keys() != state.keys()
    named = own_names(detector, former)
    assert named.keys() == state.keys()
    assert same(detector.state_dict(), state)  # nothing is loaded
    load_strictly(detector, former, "old.pth")
    assert same(detector.state_dict(), named)


def test_a_layer_of_ones_own_that_is_called_as_an_older_one_keeps_its_name():
    detector = build("x", known_config("fcos_r50_caffe_fpn_gn-head_1x_coco").model)
    detector.bbox_head.my_cls = nn.Linear(2, 2)
    state = detector.state_dict()
    assert own_names(detector, state).keys() == state.keys()
