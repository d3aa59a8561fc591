"""From a suite and a row to the configs that training and evaluation take.

A row says who learns from whom and how; the student's own config in the model zoo says the rest; a
suite says on which data and devices, and may make every detector small.
"""

import copy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from mmcv import Config, ConfigDict

from fgd import own, rate
from fgd.checkout import root
from fgd.config_text import config_text
from fgd.errors import FGDError
from fgd.files import write_text
from fgd.heads import heads, level_strides
from fgd.hooks import moving_average
from fgd.narrow import Size, narrow
from fgd.own import OwnDetector
from fgd.schema import validate
from fgd.suite import ARMS, Suite, row_file
from fgd.zoo import find, suggestion, zoo_config

_LATERAL = "neck.lateral_convs.0.conv.weight"  # its shape follows from the backbone's channels
_SCHEDULE = ("optimizer", "optimizer_config", "lr_config", "runner")


@dataclass(frozen=True)
class Row:
    """A row file; every field is described in workflow/schemas/row.schema.yaml.

    `student` and `teacher` are names; `own` has those of them that are the user's own files.
    """

    name: str
    student: str
    teacher: str
    distill: dict
    optimizer: dict
    optimizer_config: dict
    lr_config: dict
    runner: dict
    published: dict
    base_batch: int = rate.BASE_BATCH
    from_scratch: bool = False
    baseline_of: str | None = None
    own: dict[str, OwnDetector] = field(default_factory=dict)


@dataclass(frozen=True)
class RowPlan:
    """What a row is made of.

    Attributes:
        name: of the row.
        baseline: the row that trains the baseline; another one's if `baseline_of` says so.
        student, teacher: names of detectors.
        backbone: key of the backbone that the student starts from; None for one from scratch.
        kinds: of AP that the student has, "box", "mask" or both.
    """

    name: str
    baseline: str
    student: str
    teacher: str
    backbone: str | None
    kinds: tuple[str, ...]

    def folder(self, run: str) -> str:
        """Where a training ("fgd", "baseline/seed1") lies in the suite's results."""
        return f"{self.baseline if run.split('/')[0] == 'baseline' else self.name}/{run}"


@dataclass(frozen=True)
class TeacherPlan:
    """Where a teacher comes from.

    Attributes:
        trained: whether the suite trains it; otherwise it is downloaded.
        backbone: key of the backbone that this training starts from, if there are both.
        own: the user's own files, in place of a download.
    """

    trained: bool
    backbone: str | None = None
    own: OwnDetector | None = None


@dataclass(frozen=True)
class Plan:
    """What a suite needs before its rows can be trained.

    Attributes:
        rows: by name, in the suite's order.
        teachers: by name.
        backbones: by key, the name that `fgd download` finds the backbone by.
    """

    rows: dict[str, RowPlan]
    teachers: dict[str, TeacherPlan]
    backbones: dict[str, str]


class Composed(NamedTuple):
    """`training` is what `fgd train` takes, `detector` the same detector for mmdet's own tools."""

    training: Config
    detector: Config


def load_row(name: str, suite: Suite | None = None) -> Row:
    """Read and check a row's file: the one that the suite names, or configs/distillers/<name>.py.

    Raises:
        FGDError: an unknown row, a key that the schema refuses, or a file that is not there.
    """
    if suite is not None and name in suite.row_files:
        path = Path(suite.row_files[name])
        place = str(path)
    else:
        path = row_file(name)
        place = f"configs/distillers/{path.name}"
    content = own.read_config(path).to_dict()
    validate(content, "row", place)
    detectors = {
        "student": own.name_of(content["student"]),
        "teacher": own.name_of(content["teacher"]),
        "own": own.find_in_row(content, path),
    }
    return Row(name=name, **{"published": {}} | content | detectors)


def compose(suite: Suite, row: Row, arm: str, seed: int | None = None) -> Composed:
    """The configs of one training: arm "fgd" distils, arm "baseline" trains the student alone.

    Args:
        seed: one of the suite's; the first one by default.

    Raises:
        FGDError: an unknown arm, seed or detector, or levels or inheritance that student and
            teacher do not allow.
    """
    if arm not in ARMS:
        raise FGDError(f"unknown arm {arm!r}: expected {' or '.join(ARMS)}")
    seed = suite.seed if seed is None else seed
    if seed not in suite.seeds:
        listed = ", ".join(map(str, suite.seeds))
        raise FGDError(f"suite {suite.name} has no seed {seed}: it has {listed}")
    student = _load_detector(suite, row.student, row.own, learns=True)
    recipe = dict(suite=suite.name, row=row.name, arm=arm, student=row.student, teacher=row.teacher)
    schedule = _own_schedule(suite, row.student, "student")
    if schedule is None:
        schedule = _follow_batch(suite, _published_schedule(row, student), recipe, row.base_batch)
    detector = _detector_config(suite, student, schedule)
    training = _training_config(suite, detector, recipe, seed)
    if arm == "fgd":
        teacher = _load_teacher(suite, row.teacher, row.own).model
        _check(suite, row, student.model, teacher)
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

    At full size its training is the one that its own config describes, at the learning rate of the
    suite's batch.
    """
    teacher = _load_teacher(suite, name, _own_detectors(suite))
    recipe = dict(suite=suite.name, teacher=name)
    schedule = _own_schedule(suite, name, "teacher")
    if schedule is None:
        zoos = {key: teacher[key] for key in _SCHEDULE}
        base_batch = teacher.get("auto_scale_lr", {}).get("base_batch_size", rate.BASE_BATCH)
        schedule = _follow_batch(suite, zoos, recipe, base_batch)
    detector = _detector_config(suite, teacher, schedule)
    return Composed(_training_config(suite, detector, recipe, suite.seed), detector)


def plan(suite: Suite) -> Plan:
    """What the suite's rows need, without importing a single model.

    Raises:
        FGDError: a row is unknown or does not fit together.
    """
    owned = _own_detectors(suite)
    rows, teachers, backbones = {}, {}, {}
    _check_stated_rates(suite)
    for name in suite.rows:
        row = load_row(name, suite)
        student = _load_detector(suite, row.student, owned, learns=True).model
        teacher = _load_teacher(suite, row.teacher, owned).model
        _check(suite, row, student, teacher)
        _check_baseline(suite, row)
        _check_backbone(row, student)
        needed = [_backbone_checkpoint(student)]
        if suite.trains(row.teacher):
            needed.append(_backbone_checkpoint(teacher))
        else:
            _check_obtainable(suite, row)
        keys = [_add_backbone(backbones, checkpoint) for checkpoint in needed]
        teachers[row.teacher] = TeacherPlan(
            suite.trains(row.teacher), *keys[1:], own=owned.get(row.teacher)
        )
        rows[name] = RowPlan(
            name=name,
            baseline=row.baseline_of or name,
            student=row.student,
            teacher=row.teacher,
            backbone=keys[0],
            kinds=tuple(heads(student)),
        )
    _check_train_teachers(suite, teachers)
    return Plan(rows, teachers, backbones)


def write_row(suite: Suite, name: str, arm: str, out: str | Path, seed: int | None = None) -> str:
    """Write `config.py` and `student.py` of a row's arm into the folder `out`.

    Returns:
        The arithmetic of batch and learning rate, in words.
    """
    _check_stated_rates(suite)
    composed = compose(suite, load_row(name, suite), arm, seed)
    write_text(Path(out) / "student.py", config_text(composed.detector))
    write_text(Path(out) / "config.py", config_text(composed.training))
    return _batch_and_rate(suite, composed.training)


def write_teacher(suite: Suite, name: str, out: str | Path) -> str:
    """Write `config.py` and `detector.py` of a teacher into the folder `out`.

    Returns:
        The arithmetic of batch and learning rate, in words.
    """
    composed = compose_teacher(suite, name)
    write_text(Path(out) / "detector.py", config_text(composed.detector))
    write_text(Path(out) / "config.py", config_text(composed.training))
    return _batch_and_rate(suite, composed.training)


def _batch_and_rate(suite: Suite, training: Config) -> str:
    return (
        f"{suite.gpus} GPUs x {suite.samples_per_gpu} images = {suite.total_batch} images a step; "
        f"{rate.of_config(training)}"
    )


def backbone_key(checkpoint: str) -> str:
    """File name of a backbone: `open-mmlab://detectron2/resnet50_caffe` is `resnet50_caffe`."""
    return checkpoint.rsplit("/", 1)[-1].removesuffix(".pth")


def _add_backbone(backbones: dict[str, str], checkpoint: str | None) -> str | None:
    """Note that a backbone is needed; its key, or None where there is none."""
    if checkpoint is None:
        return None
    key = backbone_key(checkpoint)
    if backbones.setdefault(key, checkpoint) != checkpoint:
        raise FGDError(
            f"two backbones are called {key!r}: {checkpoint} and {backbones[key]}. Rename the file "
            "of one"
        )
    return key


def known_config(name: str) -> Config:
    """The config of a detector by its name: of configs/detectors, or of mmdet's model zoo.

    Raises:
        FGDError: there is none of that name.
    """
    shipped = root() / "configs" / "detectors" / f"{name}.py"
    return Config.fromfile(str(shipped) if shipped.exists() else zoo_config(name))


def with_classes(model: ConfigDict, number: int) -> ConfigDict:
    """A model config whose heads tell `number` classes apart."""
    return ConfigDict(_replace(model.to_dict(), {"num_classes": number}))


def data_classes(suite: Suite) -> tuple[str, ...] | None:
    """The class names that a suite's data set says; None where it leaves them to COCO's."""
    return _dataset(suite).data.train.get("classes")


def images_of(suite: Suite, split: str) -> int | None:
    """How many images the data set's config says that a split has; None where it says nothing."""
    return _dataset(suite).get("images", {}).get(split)


def _dataset(suite: Suite) -> Config:
    return own.read_config(root() / suite.dataset)


def _own_detectors(suite: Suite) -> dict[str, OwnDetector]:
    """The detectors of a suite's rows that are the user's own files, by name."""
    return own.merge([load_row(name, suite).own for name in suite.rows], f"suite {suite.name}")


def _load_teacher(suite: Suite, name: str, owned: dict[str, OwnDetector]) -> Config:
    return _load_detector(suite, name, owned, learns=suite.trains(name))


def _load_detector(suite: Suite, name: str, owned: dict[str, OwnDetector], learns: bool) -> Config:
    """The detector's mmdet config, in the suite's size.

    Args:
        owned: where the name is looked up first.
        learns: whether the suite trains it; then its heads have the classes of the data.
    """
    config = own.load_config(owned[name]) if name in owned else known_config(name)
    if learns:
        moving_average(name, config)  # refuses what the training would leave out
    if suite.mini is not None:
        mini = _mini_detector(suite, name)
        if "dcn" in config.model.backbone and mini["depth"] < 50:
            raise FGDError(
                f"suite {suite.name}: mini.detectors.{name} has depth {mini['depth']}, but its "
                "deformable convolutions need bottleneck blocks: depth 50 or more"
            )
        size = Size(**suite.mini["size"])
        config.model = narrow(config.model.to_dict(), size, mini["depth"], mini["base_channels"])
    elif learns and (classes := data_classes(suite)):
        config.model = with_classes(config.model, len(classes))
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


def _published_schedule(row: Row, student: Config) -> dict:
    """The row's schedule over the student's own, for steps of `row.base_batch` images."""
    return dict(
        optimizer=student.optimizer | row.optimizer,
        optimizer_config=row.optimizer_config,
        lr_config=student.lr_config | row.lr_config,
        runner=row.runner,
    )


def _follow_batch(suite: Suite, schedule: dict, recipe: dict, base_batch: int) -> dict:
    """The schedule at the suite's total batch; `recipe` records what it was for."""
    recipe["learning_rate"] = rate.recorded(schedule, base_batch)
    return rate.scaled(schedule, suite.total_batch, base_batch)


def _detector_config(suite: Suite, config: Config, schedule: dict) -> Config:
    """A plain mmdet config: what mmdet's own tools/train.py and tools/test.py take."""
    model = copy.deepcopy(config.model)
    checkpoint = _backbone_checkpoint(model)
    if checkpoint is not None:
        path = suite.backbone_checkpoint(backbone_key(checkpoint))
        model.backbone.init_cfg.checkpoint = path
    return Config(
        dict(
            model=model,
            data=_data(suite, config),
            evaluation=config.get("evaluation", dict(metric="bbox")),
            checkpoint_config=dict(interval=1),
            log_config=dict(interval=suite.log_interval, hooks=[dict(type="TextLoggerHook")]),
            custom_hooks=config.get("custom_hooks", [dict(type="NumClassCheckHook")]),
            dist_params=dict(backend="nccl"),
            log_level="INFO",
            load_from=None,
            resume_from=None,
            workflow=[("train", 1)],
            **schedule,
        )
    )


def _training_config(suite: Suite, detector: Config, recipe: dict, seed: int) -> Config:
    """What `fgd train` reads, and nothing else."""
    options = {}
    if _backbone_checkpoint(detector.model) is None:
        options["from_scratch"] = True
    if "num_last_epochs" in detector.lr_config:
        options["last_epochs"] = detector.lr_config.num_last_epochs
    if suite.validation:
        options["validation"] = dict(suite.validation)
    if average := moving_average(recipe.get("student", recipe["teacher"]), detector):
        options["ema"] = average
    return Config(
        dict(
            {key: detector[key] for key in ("model", "data", *_SCHEDULE)},
            seed=seed,
            total_batch=suite.total_batch,
            precision=suite.precision,
            channels_last=suite.channels_last,
            checkpoint=dict(interval=suite.checkpoint_interval),
            log=dict(
                interval=suite.log_interval,
                **({"curves": list(suite.curves)} if suite.curves else {}),
            ),
            watch=dict(suite.watch or {}),
            recipe=recipe,
            **options,
        )
    )


def _data(suite: Suite, config: Config) -> dict:
    """The suite's files, read by the detector's own pipelines."""
    dataset = _dataset(suite)
    splits = {}
    for split in ("train", "val", "test"):
        files = dict(dataset.data[split])
        for key in ("ann_file", "img_prefix"):
            files[key] = _move(files[key], dataset.data_root, suite.data_root)
        splits[split] = _split(config.data[split], files, dataset.get("pipeline", {}))
    return dict(
        samples_per_gpu=suite.samples_per_gpu, workers_per_gpu=suite.workers_per_gpu, **splits
    )


def _split(own: dict, files: dict, pipeline: dict) -> dict:
    """A split of the suite's data set, read as the detector's own config reads its split."""
    while "pipeline" not in own:  # one of mmdet's wrappers, such as RepeatDataset
        own = own["datasets"][0] if "datasets" in own else own["dataset"]
    settings = dict(pipeline=_replace(own["pipeline"], pipeline))
    if "dataset" in own:  # mixes the images of another data set, as YOLOX does
        return dict(type=own["type"], dataset=_split(own["dataset"], files, pipeline), **settings)
    if "filter_empty_gt" in own:
        settings["filter_empty_gt"] = own["filter_empty_gt"]
    return dict(files, **settings)


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


def _check(suite: Suite, row: Row, student: dict, teacher: dict) -> None:
    """Whether a row's detectors fit each other and the data, as far as their configs tell."""
    _check_classes(suite, row, student, teacher)
    _check_levels(row, student, teacher)
    _check_inheritance(suite, row, student, teacher)


def _check_classes(suite: Suite, row: Row, student: dict, teacher: dict) -> None:
    classes = data_classes(suite)
    for name, model in ((row.student, student), (row.teacher, teacher)):
        if classes and _classes(model) != len(classes):
            raise FGDError(
                f"row {row.name}: {name} tells {_classes(model)} classes apart, and the data set "
                f"{suite.dataset} has {len(classes)}. A teacher has to be trained on the data: "
                "give your own checkpoint, or let the suite train it (train_teachers); in a mini "
                "suite the number is mini.size.classes"
            )


def _check_baseline(suite: Suite, row: Row) -> None:
    """Whether the row's student, trained alone, is the student of the row that it names."""
    if row.baseline_of is None:
        return
    place = f"row {row.name}: baseline_of {row.baseline_of!r}"
    if row.baseline_of not in suite.rows:
        raise FGDError(f"{place}: the suite has no such row; it has {', '.join(suite.rows)}")
    other = load_row(row.baseline_of, suite)
    if other.baseline_of is not None:
        raise FGDError(f"{place}: that row has no baseline of its own; name {other.baseline_of!r}")
    ours, theirs = (compose(suite, each, "baseline").detector.to_dict() for each in (row, other))
    differing = sorted(key for key in ours if ours[key] != theirs[key])
    if differing:
        raise FGDError(
            f"{place}: the two students are not trained alike, they differ in "
            f"{', '.join(differing)}. Leave the key out, and the row trains a baseline of its own"
        )


def _check_stated_rates(suite: Suite) -> None:
    for name, stated in (suite.learning_rates or {}).items():
        place = f"suite {suite.name}: learning_rates.{name}"
        if name not in suite.rows:
            raise FGDError(f"{place}: the suite has no such row; it has {', '.join(suite.rows)}")
        if suite.mini is not None:
            raise FGDError(f"{place}: this suite has its own rates, under `mini`; leave it out")
        row = load_row(name, suite)
        lr, gpus, images = row.optimizer["lr"], suite.gpus, suite.samples_per_gpu
        rate.check_stated(place, stated, lr, row.base_batch, gpus, images)


def _check_levels(row: Row, student: dict, teacher: dict) -> None:
    strides = [level_strides(model) for model in (student, teacher)]
    if None in strides:
        return  # the distiller runs both necks on an image before it trains
    for role, name, known in zip(
        ("student", "teacher"), (row.student, row.teacher), strides, strict=True
    ):
        beyond = [level for level in row.distill["levels"] if level >= len(known)]
        if beyond:
            raise FGDError(
                f"row {row.name}: distill.levels has {beyond[0]}, but the {role} {name} has the "
                f"FPN levels 0 to {len(known) - 1}"
            )
    if strides[0][0] != strides[1][0]:
        raise FGDError(
            f"row {row.name}: FPN level 0 has stride {strides[0][0]} in the student {row.student} "
            f"and {strides[1][0]} in the teacher {row.teacher}: their features differ in height "
            "and width"
        )


def _check_inheritance(suite: Suite, row: Row, student: dict, teacher: dict) -> None:
    """What can be seen without building the models; fgd.weights.inherit compares every tensor."""
    if not row.distill["inherit"]:
        return
    channels = student["neck"]["in_channels"], teacher["neck"]["in_channels"]
    if any(fnmatchcase(_LATERAL, each) for each in row.distill.get("inherit_except", ())):
        channels = (), ()  # they may differ
    for what, ours, theirs in (
        ("detector", student["type"], teacher["type"]),
        ("neck's in_channels", *channels),
        ("number of classes", _classes(student), _classes(teacher)),
    ):
        if ours != theirs:
            raise FGDError(
                f"row {row.name}: distill.inherit needs a teacher with the student's neck and "
                f"head, but the {what} of {row.student} is {ours} and of {row.teacher} {theirs}; "
                "set inherit=False, leave out what differs (inherit_except) or choose another "
                "teacher"
                + (
                    f"; here the channels follow from mini.detectors.{row.student} and "
                    f".{row.teacher}, depth and base_channels"
                    if suite.mini
                    else ""
                )
            )


def _check_backbone(row: Row, student: dict) -> None:
    checkpoint = _backbone_checkpoint(student)
    if checkpoint is None and not row.from_scratch:
        raise FGDError(
            f"row {row.name}: the config of the student {row.student} names no checkpoint for its "
            "backbone (backbone.init_cfg of type Pretrained); if it is to be trained from scratch, "
            "set from_scratch = True in the row"
        )
    if checkpoint is not None and row.from_scratch:
        raise FGDError(
            f"row {row.name}: from_scratch is set, but the backbone of the student {row.student} "
            f"starts from {checkpoint}; remove one of the two"
        )


def _check_obtainable(suite: Suite, row: Row) -> None:
    if row.teacher in row.own:
        if row.own[row.teacher].checkpoint is None:
            raise FGDError(
                f"row {row.name}: its teacher {row.teacher} is a config alone. Name its weights, "
                "too (teacher = dict(config='...', checkpoint='...')), or add it to train_teachers "
                f"of suite {suite.name}"
            )
        return
    try:
        find(row.teacher)
    except FGDError as error:
        raise FGDError(
            f"row {row.name}: its teacher cannot be downloaded ({error}); to train it as part of "
            f"the suite, add it to train_teachers of suite {suite.name}"
        ) from error


def _check_train_teachers(suite: Suite, teachers: dict[str, TeacherPlan]) -> None:
    for name in suite.train_teachers:
        if name not in teachers:
            raise FGDError(
                f"suite {suite.name}: train_teachers has {name!r}, but no row learns from it"
                f"{suggestion(name, teachers)}"
            )


def _backbone_checkpoint(model: dict) -> str | None:
    """The weights that a backbone starts from, as its config names them."""
    init = model["backbone"].get("init_cfg") or {}
    return init["checkpoint"] if init.get("type") == "Pretrained" else None


def _classes(model: dict) -> int:
    return next(iter(heads(model).values()))["num_classes"]
