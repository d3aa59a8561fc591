"""YOLOX: its own recipe, and that a resumed training sees what an unbroken one sees."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmcv import Config
from mmdet.datasets import build_dataset
from mmdet.models import build_detector

from fgd import recipe
from fgd.checkout import root
from fgd.distiller import FGDDistiller
from fgd.errors import FGDError
from fgd.fingerprint import training_annotations
from fgd.mini import digits
from fgd.mini.scene import CLASSES
from fgd.suite import load_suite
from fgd.training.state import Meta
from fgd.training.step import Trainable
from fgd.training.watch import Incidents, Policy, Watch
from fgd.training.yolox import InputSizeHook, yolox_hooks

SUITE = load_suite(root() / "configs" / "suites" / "yolox.yaml")


def small(model):
    """The same detector with an eighth of the channels, for images of 64 pixels."""
    model.backbone.update(widen_factor=0.125)
    model.neck.update(in_channels=[32, 64, 128], out_channels=32, num_csp_blocks=1)
    model.bbox_head.update(in_channels=32, feat_channels=32)
    model.update(input_size=(64, 64), random_size_range=(1, 3))
    return model


@pytest.fixture
def distiller(tmp_path):
    training = recipe.compose(SUITE, recipe.load_row("yolox_m"), "fgd").training
    model = training.model
    small(model.student), small(model.teacher)
    torch.save(build_detector(model.teacher).state_dict(), tmp_path / "teacher.pth")
    model.teacher_checkpoint = str(tmp_path / "teacher.pth")
    return build_detector(model).train()


def at(iteration=0, epoch=0, dataset=None):
    """As much of a runner as the hooks read."""
    loader = SimpleNamespace(dataset=SimpleNamespace(dataset=dataset))
    return SimpleNamespace(iter=iteration, epoch=epoch, max_epochs=300, data_loader=loader)


def test_recipe():
    row = recipe.load_row("yolox_m")
    training = recipe.compose(SUITE, row, "fgd").training
    assert training.optimizer == dict(
        type="SGD",
        lr=0.01,
        momentum=0.9,
        weight_decay=5e-4,
        nesterov=True,
        paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    )
    assert (training.total_batch, training.runner.max_epochs, training.last_epochs) == (64, 300, 15)
    assert (training.lr_config.policy, training.lr_config.warmup_iters) == ("YOLOX", 5)  # epochs
    assert training.optimizer_config.grad_clip is None
    assert training.from_scratch
    train = training.data.train
    assert train.type == "MultiImageMixDataset"
    assert train.dataset.ann_file == "data/coco/annotations/instances_train2017.json"
    assert not train.dataset.filter_empty_gt
    assert [step.type for step in train.pipeline[:3]] == ["Mosaic", "RandomAffine", "MixUp"]
    plan = recipe.plan(SUITE)
    assert plan.rows["yolox_m"].backbone is None
    assert plan.backbones == {}


def test_images_of_another_size_are_no_other_shape(tmp_path):
    digits.write(tmp_path / "set", train=6, val=1, size=160)
    dataset = Config.fromfile(root() / SUITE.dataset)
    for split, name in dict(train="train", val="val", test="val").items():
        dataset.data[split].ann_file = f"{tmp_path}/set/annotations/instances_{name}.json"
        dataset.data[split].img_prefix = f"{tmp_path}/set/{name}"
        dataset.data[split].classes = CLASSES

    def composed(*scale):
        dataset.pipeline = dict(img_scale=scale)
        dataset.dump(str(tmp_path / "dataset.py"))
        suite = dataclasses.replace(SUITE, dataset=str(tmp_path / "dataset.py"))
        return recipe.compose(suite, recipe.load_row("yolox_m"), "baseline").training

    training = composed(96, 96)
    mosaic, affine, mixup, *_ = training.data.train.pipeline
    assert mosaic.img_scale == mixup.img_scale == (96, 96)
    assert affine.border == (-48, -48)
    assert training.model.input_size == (96, 96)
    assert training.model.random_size_range == (2, 4)  # times 32 pixels: 15 to 25 of 640
    images = build_dataset(training.data.train)
    np.random.seed(0)
    assert all(images[n]["img_metas"].data["pad_shape"] == (96, 96, 3) for n in range(3))
    with pytest.raises(FGDError, match=r"img_scale 192,96: .* square images; give 192,192"):
        composed(192, 96)


def test_input_sizes_follow_from_seed_and_iteration(distiller):
    def sizes(start):
        student = distiller.student
        student._random_size_interval = 10
        hook = InputSizeHook(student, seed=0)
        seen = []
        for iteration in range(start, 100):
            hook.before_train_iter(at(iteration))
            seen.append(student._input_size)
        return seen

    whole = sizes(0)
    assert whole[:10] == [(64, 64)] * 10
    assert set(whole) == {(32, 32), (64, 64), (96, 96)}
    assert all(len(set(whole[i : i + 10])) == 1 for i in range(0, 100, 10))
    assert sizes(37) == whole[37:]


def test_teacher_and_student_see_the_same_size_and_boxes_stay_where_they_were(distiller):
    assert isinstance(distiller, FGDDistiller)
    seen = []
    for detector in (distiller.student, distiller.teacher):
        detector.backbone.register_forward_pre_hook(
            lambda module, inputs: seen.append(inputs[0].clone())
        )
    distiller.student._input_size = (96, 96)
    boxes, passed = torch.tensor([[8.0, 8.0, 40.0, 48.0]]), []
    # The losses of the levels are not called one by one.
    distiller.distill_losses.register_forward_pre_hook(
        lambda module, inputs: passed.append(inputs[2:])
    )
    losses = distiller.forward_train(
        torch.rand(1, 3, 64, 64),
        [dict(img_shape=(64, 64, 3))],
        gt_bboxes=[boxes.clone()],
        gt_labels=[torch.tensor([3])],
    )
    assert torch.equal(*seen)
    assert seen[0].shape[-2:] == (96, 96)
    ((gt_bboxes, img_shapes),) = passed
    assert torch.equal(gt_bboxes[0], boxes)
    assert img_shapes == [(64, 64)]
    assert {f"loss_fgd_fpn_{level}" for level in range(3)} <= set(losses)


@pytest.mark.parametrize(("epoch", "last"), [(283, False), (284, True), (299, True)])
def test_the_last_epochs_have_plain_images_and_an_l1_loss(distiller, epoch, last):
    skipped = []
    dataset = SimpleNamespace(update_skip_type_keys=skipped.append)
    _, hook = yolox_hooks(distiller, seed=0, last_epochs=15)
    hook.before_train_epoch(at(epoch=epoch, dataset=dataset))
    assert skipped == [("Mosaic", "RandomAffine", "MixUp")] * last
    assert distiller.student.bbox_head.use_l1 == last


def test_any_student_ends_on_plain_images_and_only_where_it_is_asked(distiller):
    skipped = []
    dataset = SimpleNamespace(update_skip_type_keys=skipped.append)
    other = SimpleNamespace(student=SimpleNamespace(bbox_head=SimpleNamespace()))
    (hook,) = yolox_hooks(other, seed=0, last_epochs=4)
    hook.before_train_epoch(at(epoch=295, dataset=dataset))
    hook.before_train_epoch(at(epoch=299, dataset=object()))  # which mixes nothing
    assert skipped == [("Mosaic", "RandomAffine", "MixUp")]
    assert yolox_hooks(other, seed=0, last_epochs=None) == []
    assert [type(hook) for hook in yolox_hooks(distiller, 0, None)] == [InputSizeHook]


def test_a_look_at_a_bad_iteration_leaves_the_boxes_where_they_were(distiller, tmp_path):
    boxes = torch.tensor([[8.0, 8.0, 40.0, 48.0]])
    batch = dict(
        img=torch.rand(1, 3, 64, 64),
        img_metas=[dict(img_shape=(64, 64, 3), ori_filename="a.jpg")],
        gt_bboxes=[boxes.clone()],
        gt_labels=[torch.tensor([3])],
    )
    distiller.student._input_size = (96, 96)
    model = Trainable(distiller, torch.device("cpu"), distributed=False)
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    incidents = Incidents(examine=dict(iter=7, reason="loss is nan", kind="nonfinite"))
    begun = Meta(fingerprint="", seed=0)
    watch = Watch(tmp_path, Policy(), incidents, model, optimizer, begun)
    kept = {name: buffer.clone() for name, buffer in distiller.named_buffers()}
    assert not watch.leaves_out(7, batch)
    assert (tmp_path / "diagnosis/iter_0000008.json").exists()
    assert torch.equal(batch["gt_bboxes"][0], boxes)
    assert all(torch.equal(buffer, kept[name]) for name, buffer in distiller.named_buffers())


def test_its_annotations_are_those_of_the_images_that_it_mixes():
    training = recipe.compose(SUITE, recipe.load_row("yolox_m"), "fgd").training
    assert training_annotations(training) == "data/coco/annotations/instances_train2017.json"
