"""From a suite and a row to the configs that training and evaluation take.

A row says who learns from whom and how; the student's own config in the model zoo says the rest; a
suite says on which data and devices, and may make every detector small.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from mmcv import Config

from fgd.checkout import root
from fgd.errors import FGDError
from fgd.files import write_text
from fgd.narrow import Size, narrow
from fgd.schema import validate
from fgd.zoo import suggestion, zoo_config

ARMS = ("fgd", "baseline")
BASE_BATCH = 16  # images, that the rows' learning rates are for: 8 GPUs x 2
_SCHEDULE = ("optimizer", "optimizer_config", "lr_config", "runner")


@dataclass(frozen=True)
class Suite:
    """A suite file; every field is described in workflow/schemas/suite.schema.yaml."""

    name: str
    rows: tuple[str, ...]
    results: str
    dataset: str
    seed: int
    gpus: int
    samples_per_gpu: int
    workers_per_gpu: int
    checkpoint_interval: int
    log_interval: int
    data_root: str | None = None
    mini: dict | None = None

    @property
    def total_batch(self) -> int:
        """Images of one training step, over all processes."""
        return self.gpus * self.samples_per_gpu

    def teacher_checkpoint(self, name: str) -> str:
        """Path of a teacher's weights."""
        return f"{self.results}/teachers/{name}/teacher.pth"

    def backbone_checkpoint(self, key: str) -> str:
        """Path of a backbone's weights."""
        return f"{self.results}/backbones/{key}.pth"


@dataclass(frozen=True)
class Row:
    """A row file; every field is described in workflow/schemas/row.schema.yaml."""

    name: str
    student: str
    teacher: str
    distill: dict
    optimizer: dict
    optimizer_config: dict
    lr_config: dict
    runner: dict
    published: dict


@dataclass(frozen=True)
class RowPlan:
    """What a row is made of: its detectors, its student's backbone, whether that predicts masks."""

    student: str
    teacher: str
    backbone: str
    masks: bool


@dataclass(frozen=True)
class Plan:
    """What a suite needs before its rows can be trained.

    Attributes:
        rows: by name, in the suite's order.
        teachers: by name, the key of the backbone that the teacher's own training starts from;
            None for a teacher that is downloaded.
        backbones: by key, the name that `fgd download` finds the backbone by.
    """

    rows: dict[str, RowPlan]
    teachers: dict[str, str | None]
    backbones: dict[str, str]


class Composed(NamedTuple):
    """`training` is what `fgd train` takes, `detector` the same detector for mmdet's own tools."""

    training: Config
    detector: Config


def load_suite(path: str | Path) -> Suite:
    """Read and check a suite file.

    Raises:
        FGDError: no such file, a key that the schema refuses, or an unknown row.
    """
    path = Path(path)
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in (root() / "configs" / "suites").glob("*.yaml")))
        raise FGDError(f"{path}: no such suite file; configs/suites has {names}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FGDError(f"{path}: not valid YAML: {error}") from error
    validate(content, "suite", str(path))
    for row in content["rows"]:
        _row_file(row)
    if not (root() / content["dataset"]).is_file():
        raise FGDError(f"{path}: dataset {content['dataset']}: no such file in the repository")
    return Suite(**content | {"rows": tuple(content["rows"])})


def load_row(name: str) -> Row:
    """Read and check configs/distillers/<name>.py.

    Raises:
        FGDError: an unknown row, or a key that the schema refuses.
    """
    path = _row_file(name)
    content = Config.fromfile(str(path)).to_dict()
    validate(content, "row", f"configs/distillers/{path.name}")
    return Row(name=name, **{"published": {}} | content)


def compose(suite: Suite, row: Row, arm: str) -> Composed:
    """The configs of one training: arm "fgd" distils, arm "baseline" trains the student alone.

    Raises:
        FGDError: an unknown arm or detector, or levels or inheritance that student and teacher do
            not allow.
    """
    if arm not in ARMS:
        raise FGDError(f"unknown arm {arm!r}: expected {' or '.join(ARMS)}")
    student = _load_detector(suite, row.student)
    schedule = _own_schedule(suite, row.student, "student") or _published_schedule(
        suite, row, student
    )
    recipe = dict(
        suite=suite.name,
        row=row.name,
        arm=arm,
        student=row.student,
        teacher=row.teacher,
        **_learning_rate(suite, row),
    )
    detector = _detector_config(suite, student, schedule)
    training = _training_config(suite, detector, recipe)
    if arm == "fgd":
        teacher = _load_detector(suite, row.teacher).model
        _check_levels(row, student.model, teacher)
        _check_inheritance(row, student.model, teacher)
        teacher.backbone.init_cfg = None
        training.model = dict(
            type="FGDDistiller",
            student=detector.model,
            teacher=teacher,
            teacher_checkpoint=suite.teacher_checkpoint(row.teacher),
            distill=row.distill,
        )
    return Composed(training, detector)


def compose_teacher(suite: Suite, name: str) -> Composed:
    """The configs of a teacher: to evaluate it, and to train it.

    At full size its training is the one that its own config in the zoo describes.
    """
    teacher = _load_detector(suite, name)
    schedule = _own_schedule(suite, name, "teacher") or {key: teacher[key] for key in _SCHEDULE}
    detector = _detector_config(suite, teacher, schedule)
    recipe = dict(suite=suite.name, teacher=name, total_batch=suite.total_batch)
    return Composed(_training_config(suite, detector, recipe), detector)


def plan(suite: Suite) -> Plan:
    """What the suite's rows need, without importing a single model.

    Raises:
        FGDError: a row is unknown or does not fit together.
    """
    rows, teachers, backbones = {}, {}, {}
    for name in suite.rows:
        row = load_row(name)
        student = _load_detector(suite, row.student).model
        teacher = _load_detector(suite, row.teacher).model
        _check_levels(row, student, teacher)
        _check_inheritance(row, student, teacher)
        needed = [student.backbone.init_cfg.checkpoint]
        teachers[row.teacher] = None
        if suite.mini is not None:
            needed.append(teacher.backbone.init_cfg.checkpoint)
            teachers[row.teacher] = backbone_key(needed[1])
        backbones |= {backbone_key(checkpoint): checkpoint for checkpoint in needed}
        rows[name] = RowPlan(
            row.student, row.teacher, backbone_key(needed[0]), "mask_head" in _roi_head(student)
        )
    return Plan(rows, teachers, backbones)


def write_row(suite: Suite, name: str, arm: str, out: str | Path) -> None:
    """Write `config.py` and `student.py` of a row's arm into the folder `out`."""
    composed = compose(suite, load_row(name), arm)
    write_text(Path(out) / "student.py", composed.detector.pretty_text)
    write_text(Path(out) / "config.py", composed.training.pretty_text)


def write_teacher(suite: Suite, name: str, out: str | Path) -> None:
    """Write `config.py` and `detector.py` of a teacher into the folder `out`."""
    composed = compose_teacher(suite, name)
    write_text(Path(out) / "detector.py", composed.detector.pretty_text)
    write_text(Path(out) / "config.py", composed.training.pretty_text)


def backbone_key(checkpoint: str) -> str:
    """File name of a backbone: `open-mmlab://detectron2/resnet50_caffe` is `resnet50_caffe`."""
    return checkpoint.rsplit("/", 1)[-1]


def _row_file(name: str) -> Path:
    folder = root() / "configs" / "distillers"
    known = {path.stem: path for path in sorted(folder.glob("*.py"))}
    if name not in known:
        raise FGDError(
            f"unknown row {name!r}: configs/distillers has {', '.join(known)}"
            f"{suggestion(name, known)}"
        )
    return known[name]


def _load_detector(suite: Suite, name: str) -> Config:
    """The detector's own mmdet config, in the suite's size."""
    own = root() / "configs" / "detectors" / f"{name}.py"
    config = Config.fromfile(str(own) if own.exists() else zoo_config(name))
    if suite.mini is not None:
        mini = _mini_detector(suite, name)
        if "dcn" in config.model.backbone and mini["depth"] < 50:
            raise FGDError(
                f"suite {suite.name}: mini.detectors.{name} has depth {mini['depth']}, but its "
                "deformable convolutions need bottleneck blocks: depth 50 or more"
            )
        size = Size(**suite.mini["size"])
        config.model = narrow(config.model.to_dict(), size, mini["depth"], mini["base_channels"])
    return config


def _mini_detector(suite: Suite, name: str) -> dict:
    sizes = suite.mini["detectors"]
    if name not in sizes:
        raise FGDError(
            f"suite {suite.name}: mini.detectors has no entry for {name!r}; add its depth and "
            "base_channels"
        )
    return sizes[name]


def _own_schedule(suite: Suite, name: str, role: str) -> dict | None:
    """The schedule of a suite that has one; None at full size."""
    if suite.mini is None:
        return None
    detector = _mini_detector(suite, name)
    optimizer = dict(suite.mini["schedule"]["optimizer"])
    optimizer["lr"] = detector.get("lr", optimizer["lr"])
    return dict(
        optimizer=optimizer,
        optimizer_config=dict(
            grad_clip=dict(max_norm=suite.mini["schedule"]["grad_clip"], norm_type=2)
        ),
        lr_config=dict(
            policy="OneCycle", max_lr=optimizer["lr"], **suite.mini["schedule"]["one_cycle"]
        ),
        runner=dict(
            type="EpochBasedRunner",
            max_epochs=detector.get("epochs", suite.mini[role]["epochs"]),
        ),
    )


def _published_schedule(suite: Suite, row: Row, student: Config) -> dict:
    """The row's schedule over the student's own, at the learning rate of the suite's batch."""
    scale = suite.total_batch / BASE_BATCH
    lr_config = student.lr_config | row.lr_config
    # The warm-up is as long in images, whatever the batch.
    lr_config["warmup_iters"] = round(lr_config["warmup_iters"] / scale)
    return dict(
        optimizer=student.optimizer | row.optimizer | {"lr": row.optimizer["lr"] * scale},
        optimizer_config=row.optimizer_config,
        lr_config=lr_config,
        runner=row.runner,
    )


def _learning_rate(suite: Suite, row: Row) -> dict:
    """Provenance of the learning rate."""
    if suite.mini is not None:
        return dict(total_batch=suite.total_batch)
    base = row.optimizer["lr"]
    lr = base * suite.total_batch / BASE_BATCH
    return dict(
        total_batch=suite.total_batch,
        learning_rate=f"{base} x {suite.total_batch} images / {BASE_BATCH} images = {lr}",
    )


def _detector_config(suite: Suite, config: Config, schedule: dict) -> Config:
    """A plain mmdet config: what mmdet's own tools/train.py and tools/test.py take."""
    model = copy.deepcopy(config.model)
    init = model.backbone.init_cfg
    init.checkpoint = suite.backbone_checkpoint(backbone_key(init.checkpoint))
    return Config(
        dict(
            model=model,
            data=_data(suite, config),
            evaluation=config.evaluation,
            checkpoint_config=dict(interval=1),
            log_config=dict(interval=suite.log_interval, hooks=[dict(type="TextLoggerHook")]),
            custom_hooks=[dict(type="NumClassCheckHook")],
            dist_params=dict(backend="nccl"),
            log_level="INFO",
            load_from=None,
            resume_from=None,
            workflow=[("train", 1)],
            **schedule,
        )
    )


def _training_config(suite: Suite, detector: Config, recipe: dict) -> Config:
    """What `fgd train` reads, and nothing else."""
    return Config(
        dict(
            {key: detector[key] for key in ("model", "data", *_SCHEDULE)},
            seed=suite.seed,
            checkpoint=dict(interval=suite.checkpoint_interval),
            log=dict(interval=suite.log_interval),
            recipe=recipe,
        )
    )


def _data(suite: Suite, config: Config) -> dict:
    """The suite's files, read by the detector's own pipelines."""
    dataset = Config.fromfile(str(root() / suite.dataset))
    splits = {}
    for split in ("train", "val", "test"):
        files = dict(dataset.data[split])
        for key in ("ann_file", "img_prefix"):
            files[key] = _move(files[key], dataset.data_root, suite.data_root)
        pipeline = _replace(config.data[split].pipeline, dataset.get("pipeline", {}))
        splits[split] = dict(files, pipeline=pipeline)
    return dict(
        samples_per_gpu=suite.samples_per_gpu, workers_per_gpu=suite.workers_per_gpu, **splits
    )


def _move(path: str, old_root: str, new_root: str | None) -> str:
    if new_root is None:
        return path
    return f"{new_root.rstrip('/')}/{path.removeprefix(old_root)}"


def _replace(node: Any, settings: dict) -> Any:
    """Give the keys that `settings` names its values, in nested transforms too."""
    if isinstance(node, dict):
        return {
            key: settings[key] if key in settings else _replace(value, settings)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_replace(item, settings) for item in node]
    return node


def _check_levels(row: Row, student: dict, teacher: dict) -> None:
    for role, name, model in (
        ("student", row.student, student),
        ("teacher", row.teacher, teacher),
    ):
        outputs = model["neck"]["num_outs"]
        beyond = [level for level in row.distill["levels"] if level >= outputs]
        if beyond:
            raise FGDError(
                f"row {row.name}: distill.levels has {beyond[0]}, but the {role} {name} has the "
                f"FPN levels 0 to {outputs - 1}"
            )
    strides = [4 * 2 ** model["neck"].get("start_level", 0) for model in (student, teacher)]
    if strides[0] != strides[1]:
        raise FGDError(
            f"row {row.name}: FPN level 0 has stride {strides[0]} in the student {row.student} and "
            f"{strides[1]} in the teacher {row.teacher}: their features differ in height and width"
        )


def _check_inheritance(row: Row, student: dict, teacher: dict) -> None:
    """What can be seen without building the models; fgd.weights.inherit compares every tensor."""
    if not row.distill["inherit"]:
        return
    for what, ours, theirs in (
        ("detector", student["type"], teacher["type"]),
        ("neck's in_channels", student["neck"]["in_channels"], teacher["neck"]["in_channels"]),
        ("number of classes", _classes(student), _classes(teacher)),
    ):
        if ours != theirs:
            raise FGDError(
                f"row {row.name}: distill.inherit needs a teacher with the student's neck and "
                f"head, but the {what} of {row.student} is {ours} and of {row.teacher} {theirs}; "
                "set inherit=False or choose another teacher"
            )


def _classes(model: dict) -> int:
    head = model.get("bbox_head") or _roi_head(model)["bbox_head"]
    return (head[0] if isinstance(head, list) else head)["num_classes"]


def _roi_head(model: dict) -> dict:
    return model.get("roi_head", {})
