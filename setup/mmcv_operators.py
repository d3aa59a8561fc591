"""Leave operators out of mmcv's CUDA sources, so that the few that are needed compile in a minute.

mmcv registers the CUDA implementation of every operator in one file, cudabind.cpp. What is left out
of it is still there by name, and says on a GPU that it has no implementation for CUDA.
"""

import re
from collections.abc import Collection, Iterator
from pathlib import Path

_CPU_ALONE = """#pragma push_macro("MMCV_WITH_CUDA")
#undef MMCV_WITH_CUDA
{source}
#pragma pop_macro("MMCV_WITH_CUDA")
"""
_NAME = re.compile(r"\b(\w+)\s*\(")


def keep_operators(folder: Path, names: Collection[str]) -> None:
    """Remove the CUDA sources of all operators but some, and their registrations.

    Args:
        folder: mmcv/ops/csrc/pytorch/cuda of an unpacked source.
        names: of the operators' files, without `_cuda.cu`: roi_align, nms, focal_loss.

    Raises:
        ValueError: there is no such operator.
    """
    sources = {path.stem.removesuffix("_cuda"): path for path in folder.glob("*.cu")}
    if unknown := sorted(set(names) - set(sources)):
        raise ValueError(f"mmcv has no CUDA operator {unknown[0]!r}; it has {sorted(sources)}")
    gone: set[str] = set()
    for name, path in sources.items():
        if name not in names:
            gone.update(_defined(path.read_text()))
            path.unlink()
    for path in folder.glob("*.cu"):
        gone -= set(_defined(path.read_text()))
    bindings = folder / "cudabind.cpp"
    bindings.write_text("".join(_without(_declarations(bindings.read_text()), gone)))
    # A few operators are called without the register, where there is CUDA at all.
    for path in folder.parent.glob("*.cpp"):
        source = path.read_text()
        if gone & set(re.findall(r"\w+", source)):
            path.write_text(_CPU_ALONE.format(source=source))


def _defined(source: str) -> Iterator[str]:
    """Names of the functions that a source defines at its top, with others that begin a line."""
    for declaration in _declarations(source):
        if "{" in declaration and (name := _NAME.search(declaration)):
            yield name[1]


def _declarations(source: str) -> Iterator[str]:
    """A C++ file piece by piece: whole declarations and definitions, preprocessor lines alone."""
    piece, depth = "", 0
    for line in source.splitlines(keepends=True):
        piece += line
        code = line.split("//")[0]
        depth += sum(code.count(c) for c in "({") - sum(code.count(c) for c in ")}")
        if depth == 0 and (code.rstrip().endswith((";", "}")) or code.startswith("#")):
            yield piece
            piece = ""
    yield piece


def _without(declarations: Iterator[str], gone: set[str]) -> Iterator[str]:
    """Those that need nothing of `gone`, nor what needs it."""
    gone = set(gone)
    for declaration in declarations:
        words = set(re.findall(r"\w+", declaration))
        if not words & gone:
            yield declaration
        elif "{" in declaration and (name := _NAME.search(declaration)):
            gone.add(name[1])
