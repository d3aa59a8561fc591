"""Where a student starts from: for every tensor, proven by its value.

Published code lost its users days twice: a backbone whose ImageNet weights were never loaded, and
an inherited head that a later initialisation overwrote. Both train, both only end at a lower AP. So
no code is trusted here to have loaded what it says: each tensor of the initialised student is
compared with the tensor of its name in three sources,

- the checkpoint that the backbone's `init_cfg` names, read from its file, and converted where
  mmdet reads another project's file,
- the teacher's checkpoint, read from its file,
- the student's own initialisation: the same detector, built again from the same seed, and then
  mmdet's `init_weights` of the student alone, past the distiller's. A run draws all its random
  numbers from its seed, so what is the student's own agrees to the last bit.

A value can be in several sources: a fresh batch norm is ones and zeros, and so may the teacher's
be. By value the sources are the same then, and so is the training that follows. Therefore the
source that the row expects only has to be one of those that have the value, and it is the one that
is recorded. Nothing is excused by being constant or small: a value that the expected source does
not have, to the last bit, is an error.
"""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import torch
from mmcv.runner import BaseModule
from torch import Tensor, nn

from fgd.checkpoint import read_checkpoint
from fgd.errors import FGDError
from fgd.files import sha256
from fgd.pair import of_loss
from fgd.pretrained import Part, parts
from fgd.weights import own_names

BACKBONE = "backbone checkpoint"
TEACHER = "teacher"
OWN = "own initialisation"
_SOURCES = (BACKBONE, TEACHER, OWN)
_LISTED = 8  # tensors named in a message


class _File(NamedTuple):
    path: str
    tensors: dict[str, Tensor]  # by the student's names
    unused: tuple[str, ...] = ()  # names in the file of what the student does not have


def own_values(detector: nn.Module) -> dict[str, Tensor]:
    """What the student's own initialisation gives, by name.

    Args:
        detector: the distiller, or a baseline's plain detector, just built from the run's seed and
            not initialised. It is used up.
    """
    # Not the distiller's init_weights: that it does as the row says is what the check shows.
    student: BaseModule = _student(detector)
    student.init_weights()
    return student.state_dict()


def check_start(
    detector: nn.Module, own: dict[str, Tensor], model: dict, *, from_scratch: bool = False
) -> dict[str, Any]:
    """Compare every parameter and buffer of a freshly initialised student with its sources.

    Args:
        detector: the distiller, or a baseline's plain detector, initialised, on the CPU.
        own: the `own_values` of another one, built from the same config and seed.
        model: the config of `detector`.
        from_scratch: whether the backbone starts from its own initialisation, too.

    Returns:
        {"summary": {"tensors" and "parameters": their number by source}, "files": by source,
        {"path", "sha256": its first 8 digits}, and for the backbone "unused": the checkpoint's
        tensors that the student does not have; "tensors": by name, {"source", "shape"}}

    Raises:
        FGDError: the config names no checkpoint for the backbone, or a tensor has another value
            than the source that the config expects for it.
    """
    # keep_vars: parameters stay parameters, so that they can be told from buffers.
    tensors = _student(detector).state_dict(keep_vars=True)
    files = _files(model, detector, tensors, from_scratch=from_scratch)
    values = {source: file.tensors for source, file in files.items()}
    values[OWN] = own
    expected = {name: _expected(name, model, values) for name in tensors}
    faults = list(_faults(tensors, expected, values))
    if faults:
        more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        raise FGDError(
            f"{len(faults)} of {len(tensors)} tensors do not start from where the config says: "
            f"{'; '.join(faults[:_LISTED])}{more}. {_advice(files)}"
        )
    return _report(tensors, expected, files)


def _advice(files: dict[str, _File]) -> str:
    after = "that nothing initialises the student after it has inherited"
    if BACKBONE not in files:
        return f"Check {after}"
    return (
        f"The backbone's checkpoint is {files[BACKBONE].path}: check that it belongs to this "
        f"backbone (mmcv only warns if it does not), and {after}"
    )


def summary(report: dict[str, Any]) -> str:
    """`check_start`'s report as one line of a log."""
    count, files = report["summary"]["tensors"], report["files"]
    parts = []
    if BACKBONE in files:
        backbone = files[BACKBONE]
        parts.append(f"{count[BACKBONE]} tensors of {backbone['path']} ({backbone['sha256']})")
    if TEACHER in files:
        teacher = files[TEACHER]
        parts.append(f"{count[TEACHER]} of the teacher {teacher['path']} ({teacher['sha256']})")
    parts.append(f"{count[OWN]} own")
    who = "student" if TEACHER in files else "detector"
    return f"{who} starts from: {', '.join(parts)}"


def _student(detector: nn.Module) -> nn.Module:
    return getattr(detector, "student", detector)


def _teacher(detector: nn.Module) -> nn.Module:
    return getattr(detector, "teacher", detector)


def _files(
    model: dict, detector: nn.Module, names: Iterable[str], *, from_scratch: bool
) -> dict[str, _File]:
    files = {}
    if not from_scratch:
        student = model.get("student", model)
        backbone = _student(detector).get_submodule("backbone")
        files[BACKBONE] = _backbone_file(student, backbone, names)
    if "teacher_checkpoint" in model:
        path = model["teacher_checkpoint"]
        state = read_checkpoint(path)["state_dict"]
        files[TEACHER] = _File(path, own_names(_teacher(detector), state))
    return files


def _backbone_file(student: dict, backbone: nn.Module, names: Iterable[str]) -> _File:
    """The checkpoint of the backbone, its tensors under the names that the student has for them.

    Other parts that start from weights (a C4 detector's last stage) start from the same file.
    """
    starting = parts(student)
    if not starting or starting[0].path != "backbone":
        init = student["backbone"].get("init_cfg")
        raise FGDError(
            "the student's config names no checkpoint for its backbone: expected backbone.init_cfg "
            f"= dict(type='Pretrained', checkpoint=...), got {init!r}"
        )
    path = starting[0].checkpoint
    state = read_checkpoint(path, as_saved=True)["state_dict"]
    reads = [part.read(state) for part in starting]
    reads[0] = own_names(backbone, reads[0])
    tensors: dict[str, Tensor] = {}
    used = set()
    for part, read in zip(starting, reads, strict=True):
        for name in names:
            if (inside := part.inside(name)) in read:
                tensors[name] = read[inside]
                used.add(inside)
    return _File(path, tensors, tuple(name for name in reads[0] if name not in used))


def _expected(name: str, model: dict, values: dict[str, dict[str, Tensor]]) -> str:
    part, inside = _part_of(name, model) if BACKBONE in values else (None, "")
    distill = model.get("distill", {"inherit": False})
    inherits = distill["inherit"] and not _fits(name, distill.get("inherit_except", ()))
    if inherits and not name.startswith("backbone."):
        # Batch norm counts its batches only since torch 0.4.1; a teacher may have another loss.
        own = name.endswith(".num_batches_tracked") or of_loss(name)
        return OWN if own and name not in values[TEACHER] else TEACHER
    if part is None:
        return OWN
    lacks = name not in values[BACKBONE] and part.may_lack(inside)
    return OWN if lacks else BACKBONE


def _part_of(name: str, model: dict) -> tuple[Part | None, str]:
    """The part that starts from weights and has a tensor, and its name in there."""
    for part in parts(model.get("student", model)):
        if (inside := part.inside(name)) is not None:
            return part, inside
    return None, ""


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _faults(
    tensors: dict[str, Tensor], expected: dict[str, str], values: dict[str, dict[str, Tensor]]
) -> Iterator[str]:
    for name, tensor in tensors.items():
        wanted = expected[name]
        having = [source for source, named in values.items() if _same(tensor, named.get(name))]
        if wanted in having:
            continue
        if name not in values[wanted]:
            yield f"{name} is not in the {wanted}"
        else:
            yield f"{name} is from {having[0] if having else 'an unknown source'}, not {wanted}"


def _same(ours: Tensor, theirs: Tensor | None) -> bool:
    # Loading converts to the model's own precision: half-precision files are compared after it.
    return theirs is not None and torch.equal(ours, theirs.to(ours.dtype))


def _report(
    tensors: dict[str, Tensor], sources: dict[str, str], files: dict[str, _File]
) -> dict[str, Any]:
    counts = {"tensors": dict.fromkeys(_SOURCES, 0), "parameters": dict.fromkeys(_SOURCES, 0)}
    for name, tensor in tensors.items():
        counts["tensors"][sources[name]] += 1
        if isinstance(tensor, nn.Parameter):
            counts["parameters"][sources[name]] += tensor.numel()
    described: dict[str, dict[str, Any]] = {
        source: {"path": file.path, "sha256": sha256(file.path)[:8]}
        for source, file in files.items()
    }
    if BACKBONE in files:
        # A classifier, for example, which an ImageNet checkpoint has and a detector has not.
        described[BACKBONE]["unused"] = list(files[BACKBONE].unused)
    return {
        "summary": counts,
        "files": described,
        "tensors": {
            name: {"source": sources[name], "shape": list(tensor.shape)}
            for name, tensor in tensors.items()
        },
    }
