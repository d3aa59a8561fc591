"""What the files of suites and rows may say: every key, what it is, its limits and its default.

docs/reference.md and the schemas in docs/schemas, for editors, are made from these models.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PrivateAttr,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema

from fgd.errors import FGDError, suggestion
from fgd.suite.rate import BASE_BATCH

TOLERANCE = 0.2  # AP points; the model zoo rounds to 0.1


@dataclass(frozen=True)
class _Number:
    """A number as it was written, 2 or 2.0: configs are compared by their text.

    Attributes:
        gt, ge, le: its limits, as JSON schemas have them.
    """

    gt: float | None = None
    ge: float | None = None
    le: float | None = None

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(self._checked)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        limits = {"exclusiveMinimum": self.gt, "minimum": self.ge, "maximum": self.le}
        return {"type": "number"} | {k: v for k, v in limits.items() if v is not None}

    def _checked(self, value: Any) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise PydanticCustomError("float_type", "")
        if not math.isfinite(value):
            raise PydanticCustomError("float_type", "")
        if self.gt is not None and not value > self.gt:
            raise PydanticCustomError("greater_than", "", {"gt": self.gt})
        if self.ge is not None and not value >= self.ge:
            raise PydanticCustomError("greater_than_equal", "", {"ge": self.ge})
        if self.le is not None and not value <= self.le:
            raise PydanticCustomError("less_than_equal", "", {"le": self.le})
        return value


def _scalar(value: Any) -> str | int | float | bool:
    if not isinstance(value, str | int | float):
        raise PydanticCustomError("scalar_type", "")
    return value


def _unique(value: list) -> list:
    if len(set(map(repr, value))) < len(value):
        raise PydanticCustomError("unique", "")
    return value


Number = Annotated[int | float, _Number()]
NonNegative = Annotated[int | float, _Number(ge=0)]
Positive = Annotated[int | float, _Number(gt=0)]
Fraction = Annotated[int | float, _Number(gt=0, le=1)]
Points = Annotated[int | float, _Number(ge=0, le=100)]
Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
_ONCE = (AfterValidator(_unique), Field(json_schema_extra={"uniqueItems": True}))
Names = Annotated[list[str], *_ONCE]
SomeNames = Annotated[Names, Field(min_length=1)]
Address = Annotated[str, Field(pattern="^(https?|file)://")]


class Section(BaseModel):
    """A section of a file."""

    # The docstrings below attributes describe them in docs/reference.md (docs/make_reference.py).
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)
    _said: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, value: Any, handler: Any) -> Any:
        made = handler(value)
        if isinstance(value, dict):
            made._said = value
        return made

    def __eq__(self, other: object) -> bool:
        """Whether both mean the same, whichever of the defaults one of them says."""
        return type(self) is type(other) and vars(self) == vars(other)

    def said(self) -> dict[str, Any]:
        """The section as it was written: without defaults, and in its own order."""
        return self._said


class Watch(Section):
    """What follows an iteration that went wrong (fgd/training/watch.py)."""

    nonfinite: Literal["stop", "skip", "fall_back"] = "stop"
    """After a loss or gradient that is not finite: stop, skip that batch, or fall back to the last
    state and leave out every batch since."""
    spike: Literal["report", "stop", "skip", "fall_back"] = "report"
    """After a loss above `factor` times its recent median; report only says so."""
    factor: Annotated[int | float, _Number(gt=1)] = 20
    """Multiple of the median loss of the last 100 iterations."""
    most: Natural = 3
    """How often a run may leave batches out, or go back for what then does not happen again, before
    it stops."""


class Collapse(Section):
    """What follows an AP far below an earlier one of the same training."""

    action: Literal["report", "stop"] = "report"
    """report says so, stop ends the run."""
    below: Fraction = 0.5
    """The fraction of the best AP so far that is far below it."""


class Validation(Section):
    """Figures of the student while it is trained, the page's curve of AP; without this section
    there are none. They change nothing of the training."""

    interval: Count
    """Epochs between two evaluations; there is one after the last epoch, too."""
    collapse: Collapse = Collapse()


class Job(Section):
    """What a training asks of Slurm."""

    nodes: Count = 1
    """Nodes of a training."""
    gpus_per_node: Annotated[Natural, Field(json_schema_extra=lambda s: s.pop("default"))] = 1
    """GPUs a node, one process each; 0 for nodes without GPUs, one process each. By default as many
    as the suite's gpus."""
    cpus_per_task: Count = 4
    """Processors a process; workers_per_gpu + 1 or more."""
    mem_gb: Positive = 32
    """Memory a node, in GB."""
    timeout_min: Count = 1440
    """Time limit of a job in minutes. A training that needs longer is requeued."""
    partition: str | None = None
    """sbatch's --partition."""
    account: str | None = None
    """sbatch's --account."""
    qos: str | None = None
    """sbatch's --qos."""
    constraint: str | None = None
    """sbatch's --constraint, features that the nodes must have."""
    exclude: str | None = None
    """sbatch's --exclude, nodes not to use."""
    sbatch: dict[str, Annotated[Any, AfterValidator(_scalar)]] = {}
    """Further options of sbatch by their long names, without the dashes. true for an option without
    a value; false leaves out what is otherwise given (requeue). Options that another key decides
    are refused."""
    setup: list[str] = []
    """Shell lines before the training, for modules or conda."""
    container: Annotated[str, Field(min_length=1)] | None = None
    """An Apptainer image, a .sif file or a folder, in which trainings compute, relative to the
    working directory; and single jobs, with Snakemake's --sdm apptainer."""
    container_binds: list[str] = []
    """What of the machine a container sees beside the clone, the working directory, the cache and
    the data: Apptainer's --bind."""
    signal_delay_s: Annotated[int, Field(ge=10)] = 120
    """Seconds before the time limit at which a training stops and is requeued; it resumes from its
    last saved state."""
    max_timeouts: Natural = 10
    """How often a training may reach its time limit. Preemptions are not counted."""
    max_restarts: Natural = 3
    """How often a job that lost a node or a process is submitted anew."""
    poll_s: Positive = 15
    """Seconds between two looks at a job."""
    cancel_on_interrupt: bool = True
    """Whether Ctrl-C cancels the job."""


class Cluster(Job):
    """What a training asks of Slurm. The processes of all its nodes share the total batch of
    gpus x samples_per_gpu images, so that nodes and GPUs change the speed alone, but
    where batch norms learn from the images of a process."""

    rows: dict[str, Job] = {}
    """Other settings for single rows, by the row's name."""


class Size(Section):
    """How small the detectors are (fgd/recipe/narrow.py)."""

    channels: Count
    """Width of FPN and heads, 256 at full size."""
    fc_channels: Count
    """Width of the RoI heads' fully connected layers, 1024 at full size."""
    classes: Count
    """Number of classes of the data set."""
    length: Positive
    """Factor on every length in pixels; anchors, regression ranges, RoI scales."""
    candidates: Fraction
    """Factor on the numbers of anchors, proposals and RoIs sampled or kept."""


class MiniBackbone(Section):
    """Training of the backbones as classifiers, in place of ImageNet's."""

    iterations: Count
    """Training steps of a backbone."""


class MiniOptimizer(Section):
    """PyTorch's optimizer and its settings."""

    model_config = ConfigDict(extra="allow")

    type: str
    """Its class."""
    lr: Positive
    """The cycle's highest rate."""


class MiniSchedule(Section):
    """Optimizer and learning rate of every training of the suite."""

    optimizer: MiniOptimizer
    """PyTorch's optimizer and its settings; `lr` is the cycle's highest rate."""
    grad_clip: Positive
    """Largest L2 norm of the gradient."""
    one_cycle: dict[str, Any]
    """Settings of mmcv's OneCycleLrUpdaterHook."""


class MiniTraining(Section):
    """Training of the students."""

    epochs: Count
    """Epochs of training."""


class MiniTeacher(MiniTraining):
    """Training of the teachers."""

    least_ap: Points = 0
    """AP x 100 that a teacher has to reach, so that one whose training went wrong teaches
    nobody."""


class MiniDetector(Section):
    """Size of the backbone of a student or teacher, and its own training."""

    depth: Literal[18, 34, 50, 101, 152]
    """Depth of the ResNet; deformable convolutions need 50 or more."""
    base_channels: Count
    """Channels of its first stage, 64 at full size."""
    epochs: Count | None = None
    """Epochs of this detector's training, in place of the suite's."""
    lr: Positive | None = None
    """Highest learning rate of this detector's training."""


class Mini(Section):
    """Makes every detector small and trains teachers and backbones as part of the suite. Only such
    a suite has a schedule of its own: at full size the schedule is the published one."""

    size: Size
    backbone: MiniBackbone
    schedule: MiniSchedule
    student: MiniTraining
    teacher: MiniTeacher
    detectors: dict[str, MiniDetector]
    """Size of the backbone of every student and teacher, by the detector's name."""


class SuiteFile(Section):
    """Which rows run, on which data, on how many devices, and where their results go."""

    model_config = ConfigDict(title="A suite of rows (configs/suites/<suite>.yaml)")

    name: Annotated[str, Field(pattern="^[A-Za-z0-9_-]+$")]
    """Name of the suite."""
    base: str | None = None
    """Another suite's file, relative to this one. This file's keys stand in place of that one's; in
    sections (mini, cluster, ...) key by key."""
    rows: SomeNames
    """Rows of the results table, in its order. Each is the name of a file in configs/distillers, or
    the path of a row's file (ends in .py), relative to the suite."""
    results: str
    """Folder of everything that the suite produces, relative to the working directory."""
    dataset: str
    """Config of the data set, relative to the suite or to the repository."""
    data_root: str | None = None
    """Folder of the data, in place of the one that the dataset's config names."""
    coco_address: Address | None = None
    """Address of COCO 2017's archives, for example http://images.cocodataset.org or a file:// one.
    What the data's folder lacks is downloaded from there; without this key nothing is."""
    teacher_tolerance: NonNegative = TOLERANCE
    """AP points by which a teacher may stay below its published AP; one that is further below stops
    its rows."""
    train_teachers: Names = []
    """Teachers that are trained and published as part of the suite, as their own configs say, for
    want of a checkpoint that could be downloaded. A mini suite trains all of its teachers."""
    seed: Natural | None = None
    """Seed of initialisation, data order and augmentation."""
    seeds: Annotated[list[Natural], Field(min_length=1), *_ONCE] | None = None
    """Several seeds, in place of `seed`: every row is trained once with each, and the table shows
    mean and standard deviation. Teachers and backbones have the first one."""
    gpus: Count
    """Training processes on one machine. gpus x samples_per_gpu is the total batch that the
    learning rate follows; with a `cluster:` section the processes of its nodes share that batch."""
    samples_per_gpu: Count
    """Images of a batch in one process."""
    workers_per_gpu: Natural
    """Data loading processes beside one training process."""
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"
    """What detectors compute in while they are trained: fp32, as the published rows were; bf16 or
    fp16 for mixed precision, which is faster on GPUs with tensor cores; auto for bf16 on GPUs that
    have it, fp16 on others, fp32 on a CPU."""
    channels_last: bool = False
    """Keep images and features channel by channel at each pixel (NHWC) in training."""
    learning_rates: dict[str, Positive] | None = None
    """Learning rates that rows are expected to have at this suite's total batch, by the row's name.
    The rate follows the total batch by itself; one that is written down here and does not fit is an
    error."""
    checkpoint_interval: Count
    """Iterations between two saved training states."""
    log_interval: Count
    """Iterations between two lines of the training log."""
    pictures: SomeNames | None = None
    """Images of the validation set that pictures are drawn of, by their file names. Without it they
    are the first two that hold two objects or more."""
    accept_data: Annotated[
        list[
            Literal[
                "of another size",
                "turned by EXIF",
                "wrong area",
                "wrong iscrowd",
                "wrong segmentation",
            ]
        ],
        *_ONCE,
    ] = []
    """Kinds of findings in the data that are counted instead of refused; `fgd data check` names
    them."""
    watch: Watch | None = None
    validation: Validation | None = None
    curves: Annotated[list[Literal["tensorboard", "wandb"]], *_ONCE] = []
    """Programs that show the training log as curves while it grows. tensorboard writes event files
    to the training's run/tensorboard; wandb (Weights & Biases) has to be installed and logged
    in."""
    cluster: Cluster | None = None
    mini: Mini | None = None


class OwnTeacher(Section):
    """A teacher of one's own."""

    config: Annotated[str, Field(pattern=r"\.py$")]
    """Path of its complete config, of mmdet 2 or mmdet 3, relative to the row's file."""
    checkpoint: str
    """Path of its weights, relative to the row's file."""
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{8,64}$")] = ""
    """Hex digits that the SHA-256 of the checkpoint begins with; not required."""
    ap: Points = 0
    """AP in points (41.2, not 0.412) that it reaches on the validation set: of boxes, or of masks
    where it has no boxes. The row stops if it stays below by more than the suite's
    teacher_tolerance. 0 is for any."""


class Distill(Section):
    """Where and how strongly FGD acts."""

    levels: Annotated[list[Natural], Field(min_length=1), *_ONCE]
    """The neck's outputs in the student whose features are distilled, counted from 0. Each learns
    from the teacher's of the same number, or where strides differ from the one of its stride."""
    taps: str = "neck"
    """Where features are taken in student and teacher: the neck's output, which the head gets (the
    backbone's in a detector without a neck); or the name of modules whose outputs are a level each,
    `{level}` in place of its number. The published rows have neck.fpn_convs.{level}.conv, which is
    the neck's output of an FPN without norms."""
    inherit: bool
    """Whether the student's neck and head start from the teacher's."""
    inherit_except: list[str] = []
    """Shell patterns of student tensors that the teacher does not have, or has in another shape;
    they keep their own initialisation. Any other difference of neck and head is an error. For a
    student whose backbone has other channels than the teacher's,
    neck.lateral_convs.*.conv.weight."""
    renormalise: bool = False
    """Whether the teacher gets the student's images as its own pipeline would normalise them. By
    default detectors of other Normalize are refused."""
    temperature: Positive
    """Softens the attention maps; T of the paper's equations 7 and 8."""
    alpha: NonNegative
    """Weight of the foreground's feature loss."""
    beta: NonNegative
    """Weight of the background's feature loss."""
    gamma: NonNegative
    """Weight of the attention loss."""
    lambda_: NonNegative
    """Weight of the global relation loss."""


class RowOptimizer(Section):
    """Merged over the student's own optimizer."""

    model_config = ConfigDict(extra="allow")

    lr: Positive
    """The learning rate for a total batch of `base_batch` images; another total batch scales it
    linearly."""


class GradClip(Section):
    """Arguments of torch's clip_grad_norm_."""

    max_norm: Positive
    """Largest norm of all gradients together."""
    norm_type: Positive = 2
    """Which norm; float('inf') for the largest value."""


class OptimizerConfig(Section):
    """Gradient clipping, in place of the student's own."""

    type: Literal["OptimizerHook"] = "OptimizerHook"
    """mmcv's hook; no other is run."""
    grad_clip: GradClip | None = None
    """Arguments of torch's clip_grad_norm_; None to clip nothing."""


class Runner(Section):
    """Length of the training."""

    type: Literal["EpochBasedRunner"]
    """mmcv's runner."""
    max_epochs: Count
    """Epochs of training."""


class Published(Section):
    """Published AP on COCO val2017 in points, shown beside the measured one."""

    baseline: Number | None = None
    """Box AP of the student without a teacher."""
    fgd: Number | None = None
    """Box AP of the distilled student."""
    baseline_mask: Number | None = None
    """Mask AP of the student without a teacher."""
    fgd_mask: Number | None = None
    """Mask AP of the distilled student."""


class RowFile(Section):
    """Which student learns from which teacher and how. What a row leaves out is as the student's
    own config in mmdet's model zoo says."""

    model_config = ConfigDict(title="A row of the results table (configs/distillers/<row>.py)")

    student: str
    """Detector that learns. A name of mmdet's model zoo or of a file in configs/detectors, or the
    path of an mmdet config (ends in .py), relative to the row's file. Its heads get the classes of
    the suite's data set."""
    teacher: Annotated[
        Annotated[str, Tag("<name>")] | Annotated[OwnTeacher, Tag("<own>")],
        Discriminator(lambda value: "<own>" if isinstance(value, dict) else "<name>"),
    ]
    """Detector that it learns from, trained on the suite's data. A name of mmdet's model zoo, your
    own detector (config and checkpoint), or the path of an mmdet config if the suite trains it
    (train_teachers)."""
    distill: Distill
    optimizer: RowOptimizer
    """Merged over the student's own optimizer. `lr` is the learning rate for a total batch of
    `base_batch` images; another total batch scales it linearly."""
    base_batch: Count = BASE_BATCH
    """Images of the total batch that `optimizer.lr` is for."""
    from_scratch: bool = False
    """Whether the student's backbone starts from its own initialisation. Without this a backbone
    that names no checkpoint is refused."""
    optimizer_config: OptimizerConfig
    """Gradient clipping, in place of the student's own."""
    lr_config: dict[str, Any]
    """Merged over the student's own learning rate schedule."""
    runner: Runner
    baseline_of: str | None = None
    """Another row of the suite whose baseline is this row's, too: the same student, trained alike.
    For rows that differ in their distillation alone; it is trained once."""
    published: Published = Published()


Model = TypeVar("Model", bound=Section)


def validated(model: type[Model], value: Any, origin: str) -> Model:
    """What a file says, as its model.

    Args:
        origin: what the error names as the origin of `value`, for example a file.

    Raises:
        FGDError: a key is unknown or missing, or its value is not allowed.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        # What stands furthest out, and a misspelt key before the one that is missing for it.
        errors = error.errors(include_url=False)
        first = min(errors, key=lambda e: (len(e["loc"]), e["type"] != "extra_forbidden"))
        raise FGDError(f"{origin}: {_explained(first, model)}") from None


# What is wrong with a value, by pydantic's kinds of errors; the rest is pydantic's to say.
_WRONG = {
    "int_type": "is not of type 'integer'",
    "int_from_float": "is not of type 'integer'",
    "float_type": "is not of type 'number'",
    "string_type": "is not of type 'string'",
    "bool_type": "is not of type 'boolean'",
    "scalar_type": "is not of type 'string', 'number', 'boolean'",
    "list_type": "is not of type 'array'",
    "dict_type": "is not of type 'object'",
    "model_type": "is not of type 'object'",
    "greater_than": "is less than or equal to the minimum of {gt:g}",
    "greater_than_equal": "is less than the minimum of {ge:g}",
    "less_than_equal": "is greater than the maximum of {le:g}",
    "literal_error": "is not one of {expected}",
    "string_pattern_mismatch": "does not match {pattern!r}",
    "too_short": "should be non-empty",
    "string_too_short": "should be non-empty",
    "unique": "has non-unique elements",
}


def _explained(error: Any, model: type[Section]) -> str:
    """An error of pydantic's in a line that names the key."""
    path = [str(part) for part in error["loc"] if not str(part).startswith("<")]  # no Tag
    if error["type"] in ("extra_forbidden", "invalid_key", "missing"):
        *above, key = path
        if error["type"] == "missing":
            return f"{'.'.join(above) or 'the file'}: {key!r} is a required property"
        inside = f" in {'.'.join(above)}" if above else ""
        known = _section_at(model, above).model_fields
        return f"unknown key {key!r}{inside}{suggestion(key, known)}"
    wrong = _WRONG.get(error["type"], "{error}").format(
        **{"error": error["msg"]} | error.get("ctx", {})
    )
    return f"{'.'.join(path) or 'the file'}: {error['input']!r} {wrong}"


def _section_at(model: type[Section], path: list[str]) -> type[Section]:
    """The section of a file that a path of keys leads to."""
    for key in path:
        field = model.model_fields.get(key)
        # Otherwise it is a name in a dictionary of sections, whose kind is known already.
        model = (field and _section_in(field.annotation)) or model
    return model


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(_section_in, get_args(annotation))), None)
