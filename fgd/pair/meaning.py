"""What the weights of a neck and of heads stand for, compared by the keys of two model configs.

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
_OF_CLASS = object()  # the default is that of the class that the key is an argument of
# The keys of a neck or a head that are compared, wherever they stand, and mmdet's default.
_COMPARED = {
    "act_cfg": _OF_CLASS,
    "add_extra_convs": False,
    "anchor_coder": _OF_CLASS,
    "anchor_generator": _OF_CLASS,
    "anchor_type": _OF_CLASS,
    "approx_anchor_generator": _OF_CLASS,
    "bbox_coder": _OF_CLASS,
    "centerness_on_reg": False,
    "conv_cfg": None,
    "end_level": -1,
    "featmap_strides": _OF_CLASS,
    "no_norm_on_lateral": False,
    "norm_cfg": _OF_CLASS,
    "order": _OF_CLASS,
    "point_base_scale": _OF_CLASS,
    "point_strides": _OF_CLASS,
    "prior_generator": _OF_CLASS,
    "reg_decoded_bbox": False,
    "relu_before_extra_convs": False,
    "square_anchor_generator": _OF_CLASS,
    "start_level": _OF_CLASS,
    "strides": _OF_CLASS,
    "transform_method": _OF_CLASS,
    "upsample_cfg": _OF_CLASS,
    "use_grid_points": False,
}
# Inside of these, what training alone knows.
_OF_TRAINING = ("clip_border", "eps", "momentum", "requires_grad")
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
        elif key in _COMPARED:
            yield from _values(f"{path}.{key}", *_given(key, ours, theirs, _COMPARED[key]))
        elif key in ours and key in theirs:
            yield from _parts(f"{path}.{key}", ours[key], theirs[key], exceptions)


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
        for key in sorted((ours.keys() | theirs.keys()) - {"type", *_OF_TRAINING}):
            yield from _values(f"{path}.{key}", *_given(key, ours, theirs, _OF_CLASS))


def _plain(value: Any) -> Any:
    """The one form of values that mean the same."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is True:  # mmdet reads add_extra_convs so
        return "on_input"
    return _SAME.get(value, value) if isinstance(value, str) else value


def _given(key: str, ours: dict, theirs: dict, default: Any) -> list[Any]:
    """A key's values in both; the default where one of them leaves it out."""
    if key in ours and key in theirs:
        return [ours[key], theirs[key]]
    return [
        part[key] if key in part else _default(part, key) if default is _OF_CLASS else default
        for part in (ours, theirs)
    ]


def with_defaults(node: Any) -> Any:
    """A model config that says the defaults that `differences` would look up in mmdet's classes."""
    if isinstance(node, list | tuple):
        return [with_defaults(item) for item in node]
    if not isinstance(node, dict):
        return node
    said = {key: with_defaults(value) for key, value in node.items()}
    for key, default in _COMPARED.items():
        if default is _OF_CLASS and "type" in node and key not in said:
            said[key] = _default(node, key)
        if key in said:
            said[key] = _with_arguments(said[key])
    return said


def _with_arguments(value: Any) -> Any:
    """A value that is compared as a whole, with all that its class has by default."""
    if not isinstance(value, dict) or "type" not in value:
        return value
    return _defaults(value["type"]) | value


def _default(part: dict, key: str) -> Any:
    """The default of an argument of mmdet's class that a config's `type` names; None without."""
    return _defaults(part.get("type", "")).get(key)


@cache
def _defaults(kind: str) -> dict[str, Any]:
    """The defaults of a class of mmdet's arguments; of its bases' where it has none."""
    # Here, for it imports every model; few pairs leave to the class what the other one says.
    from mmdet.core.anchor.builder import PRIOR_GENERATORS
    from mmdet.core.bbox.builder import BBOX_CODERS
    from mmdet.models.builder import MODELS

    found = (registry.get(kind) for registry in (MODELS, BBOX_CODERS, PRIOR_GENERATORS))
    kinds: tuple[Any, ...] = next(filter(None, found), object).__mro__
    defaults: dict[str, Any] = {}
    for each in kinds:
        for name, parameter in inspect.signature(each.__init__).parameters.items():
            if parameter.default is not parameter.empty:
                defaults.setdefault(name, parameter.default)
    return defaults


def _line(what: str, ours: Any, theirs: Any) -> str:
    return f"{what} is {ours} in the student, {theirs} in the teacher"
