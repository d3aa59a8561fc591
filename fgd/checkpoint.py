"""Checkpoint files: read as data and never as code, their content verified by a hash inside.

A checkpoint is a pickle, and a pickle can run any code when it is read. So every file is read with
torch's `weights_only`, and what else a stranger could hide in one is refused before and after that:
archives that unpack to more than they are, tensors larger than what they store, anything but
tensors where tensors belong. torch does not compare the check sums of its own files, so that a
flipped bit would be trained on; what this project writes therefore carries a hash of its content.
"""

import hashlib
import re
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fgd.errors import FGDError
from fgd.files import impostor
from fgd.layouts import plain_names
from fgd.stand_ins import NAMES, StandIn, make_plain

_HASH = "content_sha256"  # its key in `meta`
_MOST_ITEMS = 1_000_000  # in one checkpoint; a detector's has a few thousand
_ZIP, _LEGACY = b"PK\x03\x04", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_RECORD = re.compile(r"/data/\d+$")  # where an archive has a storage
_ONE_READER = threading.Lock()


def read_checkpoint(path: str | Path, *, as_saved: bool = False) -> dict[str, Any]:
    """Read a checkpoint file, torch's or safetensors, onto the CPU as data: no code in it runs.

    Args:
        as_saved: leave the names of the tensors as they are, for who looks for a part of them by
            its prefix. Otherwise they are the detector's own (`layouts.plain_names`).

    Returns:
        The stored dictionary, its `state_dict` of tensors by name, its `meta` a dictionary; a bare
        state dict comes back as `{"state_dict": ..., "meta": {}}`.

    Raises:
        FGDError: there is no such file, it is damaged, or it holds anything but plain data.
    """
    path = Path(path)
    if not path.is_file():
        raise FGDError(f"{path}: there is no such checkpoint file")
    try:
        content = _load_safetensors(path) if _is_safetensors(path) else _load(path)
        items = list(_walk(content))
        if any(isinstance(item, StandIn) for item in items):
            make_plain(items)
            items = list(_walk(content))
        _check_tensors(items)
        checkpoint = _as_checkpoint(content)
        _check_hash(checkpoint)
        if not (as_saved or is_sealed(checkpoint)):
            checkpoint["state_dict"] = plain_names(checkpoint["state_dict"])
    except _Refused as reason:
        raise FGDError(f"{path}: {reason}") from None
    return checkpoint


def seal(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint with a hash of its content in its `meta`, which `read_checkpoint` compares."""
    meta = {key: value for key, value in checkpoint.get("meta", {}).items() if key != _HASH}
    bare = {**checkpoint, "meta": meta}
    return {**bare, "meta": {**meta, _HASH: content_hash(bare)}}


def is_sealed(checkpoint: dict[str, Any]) -> bool:
    """Whether `read_checkpoint` had a hash to compare."""
    return _HASH in checkpoint.get("meta", {})


def content_hash(value: Any) -> str:
    """SHA-256 of tensors and plain data, whatever container they are nested in, on any device."""
    digest = hashlib.sha256()
    for item in _walk(value):
        if isinstance(item, Tensor):
            digest.update(f"tensor {item.dtype} {tuple(item.shape)}\n".encode())
            flat = item.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        elif isinstance(item, dict | list | tuple):
            digest.update(f"{_kind(item)} {len(item)}\n".encode())
        else:
            digest.update(f"{type(item).__name__} {item!r}\n".encode())
    return digest.hexdigest()


class _Refused(Exception):
    """Why a file is not taken, and what to do."""


def _check_archive(path: Path) -> None:
    """Refuse what is no file of torch.save, and archives that unpack to more than they are."""
    with path.open("rb") as file:
        start = file.read(len(_LEGACY))
    if start.startswith(_LEGACY):
        return
    if not start.startswith(_ZIP):
        raise _Refused(
            impostor(path)
            or "is no checkpoint: torch.save writes other first bytes. It is damaged or something "
            "else; fetch it again"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except Exception as error:  # a damaged directory raises many types
        raise _Refused(f"is damaged ({_one_line(error)}); fetch it again") from error
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed or sum(entry.file_size for entry in entries) > path.stat().st_size:
        raise _Refused(
            "unpacks to more than the file's size, as no file of torch.save does "
            f"({packed[0] if packed else 'overlapping entries'}). Do not use it"
        )


def _is_safetensors(path: Path) -> bool:
    """Whether it begins as such a file: the length of its header in eight bytes, and the header."""
    with path.open("rb") as file:
        start = file.read(9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and length < path.stat().st_size


def _load_safetensors(path: Path) -> dict[str, Any]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise _Refused(
            "is a safetensors file, and the package safetensors is not installed: install it, or "
            "give a file of torch.save"
        ) from error
    try:
        return load_file(path)
    except Exception as error:  # of its own type, and of torch's
        raise _Refused(f"is a damaged safetensors file ({_one_line(error)})") from error


def _load(path: Path) -> Any:
    _check_archive(path)
    with _ONE_READER:
        # What a library registers with torch does not count here.
        registered = torch.serialization.get_safe_globals()
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(NAMES)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            # torch raises many types here: RuntimeError, UnpicklingError, EOFError, KeyError ...
            raise _Refused(_explain(error)) from error
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(registered)
    _check_storages(path, content)
    return content


def _check_storages(path: Path, content: Any) -> None:
    """Refuse storages that are larger than what the archive has of them.

    torch 2.10 and newer see to it; older ones take the size that the file declares, and whoever
    reads the tensor then reads other memory of the process.
    """
    if not zipfile.is_zipfile(path):  # the older format: torch reads as many bytes as it declares
        return
    with zipfile.ZipFile(path) as archive:
        stored = Counter(e.file_size for e in archive.infolist() if _RECORD.search(e.filename))
    tensors = (item for item in _walk(content) if isinstance(item, Tensor))
    storages = [t.untyped_storage() for t in tensors if t.layout == torch.strided]
    declared = Counter(
        {s.data_ptr(): s.nbytes() for s in storages if s.device.type == "cpu"}.values()
    )
    if excess := {size for size in declared - stored if size}:
        raise _Refused(
            f"declares {max(excess)} bytes of a tensor and stores fewer; a checkpoint stores whole "
            "tensors. It is damaged, or made to do harm: do not use it"
        )


def _explain(error: Exception) -> str:
    code = re.search(r"(?:[Uu]nsupported (?:global: )?GLOBAL|Unsupported class) (\S+)", str(error))
    if code:
        return (
            f"holds the Python object {code[1]}, and reading that could run code. A checkpoint is "
            "plain tensors; get one from a source that you trust, saved as a state dict"
        )
    return (
        f"cannot be read as a checkpoint of plain tensors ({_one_line(error)}). It is damaged or "
        "holds objects that would run code; fetch it again from a source that you trust"
    )


def _walk(value: Any) -> Iterator[Any]:
    """Everything nested in `value`, containers before their content, in a fixed order.

    Without recursion, and not for ever: lists can be nested deeply, or hold one another many times.
    """
    waiting = [value]
    for _ in range(_MOST_ITEMS):
        if not waiting:
            return
        if len(waiting) > _MOST_ITEMS:
            break
        item = waiting.pop()
        yield item
        if isinstance(item, dict):
            waiting += [part for pair in reversed(item.items()) for part in reversed(pair)]
        elif isinstance(item, list | tuple):
            waiting += reversed(item)
    raise _Refused(f"holds more than {_MOST_ITEMS} items: no detector's checkpoint does")


def _check_tensors(items: list[Any]) -> None:
    for item in items:
        if not isinstance(item, Tensor):
            continue
        if item.layout != torch.strided or item.is_quantized or item.device.type != "cpu":
            raise _Refused(
                f"holds a tensor that is not plain ({item.layout}, {item.dtype}, "
                f"{item.device.type}); a checkpoint has dense tensors"
            )
        stored = item.untyped_storage().nbytes()
        if item.numel() * item.element_size() > stored:
            raise _Refused(
                f"declares a tensor of {item.numel()} elements and stores {stored} bytes of it; a "
                "checkpoint stores whole tensors"
            )


def _as_checkpoint(content: Any) -> dict[str, Any]:
    if not isinstance(content, dict):
        raise _Refused(f"a checkpoint is a dictionary, this file holds a {_kind(content)}")
    if "state_dict" in content:
        checkpoint = content
    else:  # classifiers of other projects (Swin, DeiT) have it under `model`
        inner = content.get("model")
        checkpoint = {"state_dict": inner if isinstance(inner, dict) else content}
    for key in {"state_dict", "moving_average"} & checkpoint.keys():
        _check_by_name(key, checkpoint[key])
    meta = checkpoint.setdefault("meta", {})
    if meta is None:
        checkpoint["meta"] = {}
    elif not isinstance(meta, dict):
        raise _Refused(f"its meta is a {_kind(meta)}; expected a dictionary")
    return checkpoint


def _check_by_name(key: str, state: Any) -> None:
    if not isinstance(state, dict):
        raise _Refused(f"its {key} is a {_kind(state)}; expected tensors by name")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise _Refused(
                f"its {key} has a {_kind(tensor)} under {name!r:.80}; expected tensors by name"
            )


def _check_hash(checkpoint: dict[str, Any]) -> None:
    if not is_sealed(checkpoint):
        return
    written = checkpoint["meta"][_HASH]
    if seal(checkpoint)["meta"][_HASH] != written:
        raise _Refused(
            f"is damaged: its content is not the one that was written (sha256 {written!s:.8}...)"
        )


def _kind(value: Any) -> str:
    # An OrderedDict is read back as one, and holds the same as a dictionary.
    return next((t.__name__ for t in (dict, list, tuple) if isinstance(value, t)), "") or (
        type(value).__name__
    )


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
