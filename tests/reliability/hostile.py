"""Checkpoints that a stranger could have made, and every command that takes a checkpoint.

Each file tries to run code, to need more memory than it should, or to be taken for something else.
Code that runs would leave a file at `marker`.
"""

import collections
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

TENSOR = torch.zeros(4)


class Calls:
    """Unpickling it calls a function; it can also be the key of a dictionary."""

    def __init__(self, function: Callable, *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple:
        return self._call


def payloads(marker: Path) -> dict[str, Any]:
    """Objects whose unpickling would make `marker`."""
    import builtins
    import functools
    import os
    import subprocess

    code = f"open({str(marker)!r}, 'w')"
    return {
        "open": Calls(open, str(marker), "w"),
        "os.system": Calls(os.system, f"touch '{marker}'"),
        "exec": Calls(builtins.exec, code),
        "eval": Calls(builtins.eval, code),
        "subprocess": Calls(subprocess.Popen, ["touch", str(marker)]),
        "partial": Calls(functools.partial, open, str(marker), "w"),
        "mkdir": Calls(os.mkdir, str(marker)),
    }


def places(thing: Any) -> dict[str, Any]:
    """A checkpoint with `thing` in every place that has a name, and deep inside."""
    deep = thing
    for _ in range(100):
        deep = [deep]
    return {
        "whole": thing,
        "bare state": {"backbone.conv1.weight": thing},
        "state_dict": {"state_dict": thing},
        "tensor": {"state_dict": {"backbone.conv1.weight": thing}},
        "ordered": {"state_dict": collections.OrderedDict(a=TENSOR, b=thing)},
        "meta": {"state_dict": {"a": TENSOR}, "meta": thing},
        "classes": {"state_dict": {"a": TENSOR}, "meta": {"CLASSES": (thing,)}},
        "optimizer": {"state_dict": {"a": TENSOR}, "optimizer": {"state": {0: thing}}},
        "key": {"state_dict": {"a": TENSOR}, thing: 0},
        "deep": {"state_dict": {"a": TENSOR}, "meta": {"x": deep}},
        "average": {"state_dict": {"a": TENSOR}, "moving_average": {"a": thing}},
        "unknown": {"state_dict": {"a": TENSOR}, "ema": {"x": [TENSOR, {"y": thing}]}},
    }


def write(folder: Path, marker: Path) -> Iterator[tuple[str, Path]]:
    """Write the corpus; its files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    number = 0

    def new() -> Path:
        nonlocal number
        number += 1
        return folder / f"{number:03d}.pth"

    for kind, thing in payloads(marker).items():
        for place, content in places(thing).items():
            for legacy in (False, True):
                path = new()
                torch.save(content, path, _use_new_zipfile_serialization=not legacy)
                yield f"{kind} in {place}{', legacy' * legacy}", path
    for kind, data in _shapeless(marker).items():
        path = new()
        path.write_bytes(data)
        yield kind, path


def _shapeless(marker: Path) -> dict[str, bytes]:
    whole = _saved({"state_dict": {"backbone.a": torch.randn(3000)}})
    return {
        "empty": b"",
        "one byte": b"\x80",
        "text": b"<html>404 Not Found</html>",
        "random": np.random.default_rng(0).bytes(5000),
        "zeros": bytes(5000),
        **{f"cut at {part}%": whole[: len(whole) * part // 100] for part in (1, 10, 50, 90, 99)},
        "plain pickle": pickle.dumps(payloads(marker)["os.system"]),
        "pickle bomb": _billion_laughs(),
        "circle": _circle(),
        "numpy": _npz(),
        "tar": _tar("../../escaped"),
        "legacy tar": _tar("storages"),
        "zip bomb": _zip_bomb(whole),
        "declares more": _declares_more(whole),
        "stride 0": _saved({"state_dict": {"a": torch.zeros(1).expand(10**12)}}),
        "sparse": _saved({"state_dict": {"a": torch.eye(3).to_sparse()}}),
        "meta device": _saved({"state_dict": {"a": torch.zeros(10**12, device="meta")}}),
        "list": _saved([TENSOR]),
        "number": _saved(7),
        "state is a list": _saved({"state_dict": [TENSOR]}),
        "state of numbers": _saved({"state_dict": {"backbone.a": 1}}),
        "state of lists": _saved({"backbone.a": [TENSOR]}),
        "names are numbers": _saved({"state_dict": {1: TENSOR}}),
        "average is a list": _saved({"state_dict": {"a": TENSOR}, "moving_average": [TENSOR]}),
        "average of numbers": _saved({"state_dict": {"a": TENSOR}, "moving_average": {"a": 1}}),
        "meta is a list": _saved({"state_dict": {"a": TENSOR}, "meta": [1]}),
        "torchscript": _script(),
    }


def _saved(content: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _billion_laughs() -> bytes:
    thing: list = [TENSOR]
    for _ in range(60):
        thing = [thing] * 10
    return _saved({"state_dict": {"a": TENSOR}, "meta": {"x": thing}})


def _circle() -> bytes:
    thing: list = []
    thing += [thing] * 3
    return _saved({"state_dict": {"a": TENSOR}, "meta": {"x": thing}})


def _npz() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=np.zeros(3))
    return buffer.getvalue()


def _tar(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member in (name, "tensors", "pickle"):
            data = pickle.dumps(1)
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def _zip_bomb(whole: bytes) -> bytes:
    """The checkpoint's archive with its largest entry deflated, to a thousandth of its size."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as source,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for entry in source.infolist():
            data = source.read(entry)
            target.writestr(entry.filename, bytes(20_000_000) if len(data) > 9000 else data)
    return buffer.getvalue()


def _declares_more(whole: bytes) -> bytes:
    """The number of elements, 3000, in the pickle becomes 2,000,003,000."""
    old, new = b"M" + struct.pack("<H", 3000), b"J" + struct.pack("<i", 2_000_003_000)
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(whole)) as source,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target,
    ):
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry).replace(old, new))
    return buffer.getvalue()


def _script() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)), buffer)
    return buffer.getvalue()


# --- Every command that takes a checkpoint ---


class Commands:
    """Arguments for the command line, by command, that let it read a checkpoint at a path.

    Args:
        folder: of the suite; holds its configs and whatever the commands write.
        suite: a tiny suite with its data in place.
    """

    def __init__(self, folder: Path, suite: Any) -> None:
        from detectors import training_config

        from fgd import recipe

        self._folder = folder
        distilled = training_config(suite, "retinanet_r50", "fgd")
        self._teacher = Path(distilled.model.teacher_checkpoint)
        self._backbone = Path(distilled.model.student.backbone.init_cfg.checkpoint)
        self._originals = {p: p.read_bytes() for p in (self._teacher, self._backbone)}
        self._fgd, self._baseline = folder / "fgd.py", folder / "baseline.py"
        distilled.dump(str(self._fgd))
        training_config(suite, "retinanet_r50", "baseline").dump(str(self._baseline))
        self._plain = folder / "plain.py"
        data = distilled.data.train
        self._annotations, self._images = data.ann_file, data.img_prefix
        row = recipe.load_row("retinanet_r50")
        recipe.compose(suite, row, "baseline").detector.dump(str(self._plain))

    def of(self, path: Path) -> Iterator[tuple[str, list[str]]]:
        """Each command in turn, with `path` where it reads its checkpoint."""
        out = str(self._folder / "written.pth")
        yield "transfer", ["transfer", str(path), "--name", "x", "--out", out]
        yield "publish", ["publish", str(path), "--name", "x", "--index", f"{self._folder}/zoo"]
        yield "evaluate", ["evaluate", str(self._plain), str(path), "--out", out]
        yield (
            "check-teacher",
            ["check-teacher", "x", str(self._plain), str(path), "--ap=0", f"--out={out}"],
        )
        picture = ["visualize", f"--annotations={self._annotations}", f"--folder={self._images}"]
        picture.append(f"--out={out}")
        yield "visualize --model", [*picture, "--model", "x", str(self._plain), str(path)]
        yield "visualize --distillation", [*picture, "--distillation", str(self._fgd), str(path)]
        yield "new-row", self._new_row(path)
        for place in (self._teacher, self._backbone):
            place.write_bytes(path.read_bytes())
            yield f"train ({place.parent.name})", self._train(self._fgd)
        yield "train (baseline's backbone)", self._train(self._baseline)
        for place, content in self._originals.items():
            place.write_bytes(content)
        states = self._folder / "states"
        states.mkdir(exist_ok=True)
        (states / "iter_0000001.pth").write_bytes(path.read_bytes())
        yield "train (its own state)", self._train(self._baseline, states)

    def _new_row(self, teacher: Path) -> list[str]:
        files = [f"--{split}={self._annotations}" for split in ("train", "val")]
        files += [f"--{split}-images={self._images}" for split in ("train", "val")]
        detectors = [f"--student={self._plain}", f"--teacher={self._plain}"]
        row = ["--name=x", f"--out={self._folder}/row", f"--teacher-checkpoint={teacher}"]
        return ["new-row", *row, *detectors, *files]

    def _train(self, config: Path, work_dir: Path | None = None) -> list[str]:
        work_dir = work_dir or self._folder / "run"
        out = str(self._folder / "trained.pth")
        return ["train", str(config), "--work-dir", str(work_dir), "--out", out]


def refusal(arguments: list[str]) -> str:
    """Run a command in this process; the one line that it refuses its input with.

    Raises:
        AssertionError: it was accepted, or answered with anything but a line.
    """
    from click.testing import CliRunner

    from fgd.cli import main

    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, f"exit code {result.exit_code}: {result.exception!r}"
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.output
    assert result.stderr.rstrip().endswith(lines[0]), result.stderr
    assert "Traceback" not in result.output
    return lines[0]
