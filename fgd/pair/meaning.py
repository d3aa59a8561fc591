"""What the weights of a neck and of heads stand for, compared by the keys of two model configs.

All keys are compared but those that are known to decide shapes or to matter in training alone: one
that nobody has thought of here keeps a student from inheriting, and does not pass.

Tensors of one name and shape can mean different things: box deltas in other units, anchors of other
sizes, one score a class or shares of all classes, the kernels of a convolution that standardises
them. A student that inherited such tensors would start wrong, and nothing would say so.

FCOS's `norm_on_bbox` is no such key here, though it changes what the regression's outputs are: the
published FCOS row inherits across it.
"""

import inspect
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from typing import Any

from fgd.heads import number_of_classes

_NOT_INHERITED = ("backbone", "train_cfg", "test_cfg", "init_cfg", "pretrained")
# What is not compared in a neck or a head; any other key is, wherever it stands. What decides the
# shapes of tensors shows in these: patterns of it,
_OF_SHAPES = (
    "*_channel*", "*_kernel", "*kernel_size*", "class_agnostic", "conv_bias", "depth",
    "in_channel*", "out_channel*", "reg_*_num", "reg_class_agnostic", "roi_feat_size", "stack*",
    "with_avg_pool", "with_cls", "with_reg",
    # Of the numbers those of layers, their channels and their outputs. Not those of an attention's
    # heads, levels and points, which share out one tensor's channels.
    "num_*blocks", "num_*classes", "num_*convs", "num_*fcs", "num_branches", "num_channels",
    "num_dcn", "num_deconv_*", "num_feats", "num_features", "num_grids", "num_ins", "num_layers",
    "num_outs", "num_parameters", "num_proposals", "num_protos", "num_quer*", "num_scales",
    "num_stacks", "num_stages",
)  # fmt: skip
# and what training alone knows.
_OF_TRAINING = (
    "*loss_weight*", "alpha", "bbox_thr", "center_sampl*", "clip_border", "dropout", "eps",
    "force_topk", "gamma", "gradient_mul", "ignore_label", "initial_*", "max_masks_to_train",
    "momentum", "norm_eval", "norm_on_bbox", "one_hot_smoother", "pre_anchor_topk", "requires_grad",
    "score_threshold", "score_voting", "sigma", "sync_*", "topk", "use_ohem", "with_cp",
    "zero_init_offset",
)  # fmt: skip
# Compared as a whole, also where one of both leaves it out; other dicts are parts of a model, which
# one of both may not have.
_WHOLE = ("*_cfg", "*_coder", "*_generator")
# Defaults that need not be looked up, or that are not those of the class they are arguments of.
_DEFAULTS = {
    "add_extra_convs": False,
    "centerness_on_reg": False,
    "conv_cfg": None,
    "dcn_on_last_conv": False,
    "end_level": -1,
    "no_norm_on_lateral": False,
    "reg_decoded_bbox": False,
    "relu_before_extra_convs": False,
    "use_grid_points": False,
}
# Classes whose weights mean the same: they train otherwise, or average over other images.
_SAME = {
    "DynamicRoIHead": "StandardRoIHead",
    "FreeAnchorRetinaHead": "RetinaHead",
    "LDHead": "GFLHead",
    "MMSyncBN": "BN",
    "PISARetinaHead": "RetinaHead",
    "PISARoIHead": "StandardRoIHead",
    "PISASSDHead": "SSDHead",
    "SyncBN": "BN",
}
_SOFTMAX = ("CrossEntropyLoss", "SeesawLoss")  # unless they say use_sigmoid; others, the reverse


def differences(student: dict, teacher: dict, exceptions: Iterable[str] = ()) -> Iterator[str]:
    """The keys by which weights of one name and shape would mean something else, each as a line.

    Args:
        student, teacher: mmdet model configs.
        exceptions: shell patterns of tensors that are not inherited. A part of the model that they
            leave out as a whole ("bbox_head.*") is not compared.
    """
    exceptions = list(exceptions)
    if student["type"] != teacher["type"]:
        yield _line("type", student["type"], teacher["type"])
        return
    classes = [number_of_classes(model) for model in (student, teacher)]
    if classes[0] != classes[1]:
        yield _line("number of classes", *classes)
    for part in student.keys() & teacher.keys() - {*_NOT_INHERITED}:
        yield from _parts(part, student[part], teacher[part], exceptions)


def _parts(path: str, ours: Any, theirs: Any, exceptions: list[str]) -> Iterator[str]:
    """What differs in a neck, a head, or a part of one; tensors' names begin with `path`, too."""
    if any(fnmatchcase(f"{path}.", pattern) for pattern in exceptions):
        return
    if _is_part(ours) and _is_part(theirs) and _number(ours) != _number(theirs):
        yield _line(path, _kinds(ours), _kinds(theirs))
        return
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        for number, both in enumerate(zip(ours, theirs, strict=False)):
            yield from _parts(f"{path}.{number}", *both, exceptions)
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        return
    kind, other = (part.get("type") for part in (ours, theirs))
    if _plain(kind) != _plain(other):
        yield _line(f"{path}.type", kind, other)
        return
    for key in sorted((ours.keys() | theirs.keys()) - {*_NOT_INHERITED}):
        if key.startswith("loss"):
            sigmoids = [_has_sigmoid(part.get(key)) for part in (ours, theirs)]
            if None not in sigmoids and sigmoids[0] != sigmoids[1]:
                yield _line(f"{path}.{key}.use_sigmoid", *sigmoids)
        elif not _is_compared(key):
            continue
        elif not _matches(key, _WHOLE) and any(_is_part(p.get(key)) for p in (ours, theirs)):
            yield from _parts(f"{path}.{key}", ours.get(key), theirs.get(key), exceptions)
        else:
            yield from _values(f"{path}.{key}", *_given(key, ours, theirs))


def _matches(key: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(key, pattern) for pattern in patterns)


@cache
def _is_compared(key: str) -> bool:
    return key not in _NOT_INHERITED and not _matches(key, (*_OF_SHAPES, *_OF_TRAINING))


def _is_part(value: Any) -> bool:
    first = value[0] if isinstance(value, list | tuple) and value else value
    return isinstance(first, dict)


def _number(part: Any) -> int | None:
    """Of how many parts in a row a part is; None for one alone, whose tensors have no number."""
    return len(part) if isinstance(part, list | tuple) else None


def _kinds(part: Any) -> str:
    row = part if isinstance(part, list | tuple) else [part]
    return " and ".join(str(each.get("type", "a part")) for each in row)


def _has_sigmoid(loss: Any) -> bool | None:
    """Whether a class's score is its own, not a share of all; None for what is no loss."""
    if not isinstance(loss, dict):  # none there, or a number that weights one
        return None
    return loss.get("use_sigmoid", loss["type"] not in _SOFTMAX)


def _values(path: str, ours: Any, theirs: Any) -> Iterator[str]:
    """What differs in a value that is compared as a whole."""
    if not isinstance(ours, dict) or not isinstance(theirs, dict):
        if _plain(ours) != _plain(theirs):
            yield _line(path, ours, theirs)
    elif _plain(ours.get("type")) != _plain(theirs.get("type")):
        yield _line(f"{path}.type", ours.get("type"), theirs.get("type"))
    else:
        for key in sorted((ours.keys() | theirs.keys()) - {"type"}):
            if not _matches(key, _OF_TRAINING):
                yield from _values(f"{path}.{key}", *_given(key, ours, theirs))


def _plain(value: Any) -> Any:
    """The one form of values that mean the same."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is True:  # mmdet reads add_extra_convs so
        return "on_input"
    return _SAME.get(value, value) if isinstance(value, str) else value


def _given(key: str, ours: dict, theirs: dict) -> list[Any]:
    """A key's values in both; the default where one of them leaves it out."""
    if key in ours and key in theirs:
        return [ours[key], theirs[key]]
    return [part[key] if key in part else _default(part, key) for part in (ours, theirs)]


def with_defaults(node: Any) -> Any:
    """A model config that says the defaults that `differences` would look up in mmdet's classes."""
    if isinstance(node, list | tuple):
        return [with_defaults(item) for item in node]
    if not isinstance(node, dict):
        return node
    keys = node.keys() | {key for key in _defaults(node.get("type", "")) if _is_compared(key)}
    return {key: with_defaults(node[key] if key in node else _default(node, key)) for key in keys}


def _default(part: dict, key: str) -> Any:
    """The default of an argument of mmdet's class that a config's `type` names; None without."""
    return _DEFAULTS[key] if key in _DEFAULTS else _defaults(part.get("type", "")).get(key)


@cache
def _defaults(kind: str) -> dict[str, Any]:
    """The defaults of a class of mmdet's arguments; of its bases' where it has none."""
    # Here, for it imports every model; few pairs leave to the class what the other one says.
    from mmcv import ops
    from mmdet.core.anchor.builder import PRIOR_GENERATORS
    from mmdet.core.bbox.builder import BBOX_CODERS
    from mmdet.models.builder import MODELS

    registered = (registry.get(kind) for registry in (MODELS, BBOX_CODERS, PRIOR_GENERATORS))
    found: Any = next(filter(None, registered), None) or getattr(ops, kind, None)
    kinds: tuple[Any, ...] = found.__mro__ if isinstance(found, type) else ()
    defaults: dict[str, Any] = {}
    for each in kinds:
        for name, parameter in inspect.signature(each.__init__).parameters.items():
            if parameter.default is not parameter.empty:
                defaults.setdefault(name, parameter.default)
    return defaults


def _line(what: str, ours: Any, theirs: Any) -> str:
    return f"{what} is {ours} in the student, {theirs} in the teacher"
