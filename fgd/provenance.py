"""From what a result was made: written beside it, and checked against what is there now."""

import json
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

from fgd.checkout import is_checkout, root
from fgd.errors import FGDError
from fgd.files import sha256, write_json
from fgd.method import method_id

_PACKAGES = ("fgd", "torch", "torchvision", "mmcv-full", "mmdet", "numpy", "opencv-python-headless")
FILE = "provenance.json"


def software() -> dict[str, Any]:
    """Versions of what computes, and the checkout's commit; None where it is no git checkout."""
    versions: dict[str, str | None] = {"python": python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {"versions": versions, "commit": _commit()}


def of_training(config: str | Path, fingerprint: str, files: list[str], data: str) -> dict:
    """What a training's states carry with them.

    Args:
        config: the training config.
        fingerprint: `fgd.fingerprint.fingerprint` of it.
        files: the checkpoints that it starts from.
        data: its annotation file.
    """
    return {
        "config_sha256": sha256(config),
        "fingerprint": fingerprint,
        "method": method_id(),
        "weights": {path: sha256(path) for path in sorted(set(files))},
        "data": {"annotations": str(data), "sha256": sha256(data)},
        **software(),
    }


def write(
    out: Path, files: dict[str, Path], training: dict[str, Any] | None, annotations: str
) -> None:
    """Write the provenance of an evaluation.

    Args:
        files: what it belongs to, "evaluation", "checkpoint" and "config".
        training: the checkpoint's own `meta.fgd`; None for one of a model zoo.
        annotations: the annotation file that it was evaluated on.
    """
    write_json(
        out,
        {
            "files": {
                role: {"name": path.name, "sha256": sha256(path)} for role, path in files.items()
            },
            "trained": training,
            "evaluated": {
                "data": {"annotations": annotations, "sha256": sha256(annotations)},
                **software(),
            },
        },
    )


def verify(results: Path) -> list[tuple[str, list[str]]]:
    """Compare a suite's results with their provenance.

    Returns:
        For each result its folder and what does not agree; an empty list for one that is as it was.

    Raises:
        FGDError: there are no results, or a provenance.json is not one.
    """
    found = sorted(results.glob(f"**/{FILE}"))
    if not found:
        raise FGDError(f"{results}: no {FILE} in it; expected the folder of a suite's results")
    return [(str(path.parent.relative_to(results)), _differences(path)) for path in found]


def _differences(path: Path) -> list[str]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        files, evaluated = stored["files"], stored["evaluated"]["data"]
        expected = {path.parent / entry["name"]: entry["sha256"] for entry in files.values()}
        expected[Path(evaluated["annotations"])] = evaluated["sha256"]
        made = (stored["trained"] or {}).get("made", {})
        if made:
            data = made["data"]
            expected[Path(data["annotations"])] = data["sha256"]
            expected |= {Path(name): digest for name, digest in made["weights"].items()}
            expected[path.parent / "config.py"] = made["config_sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise FGDError(f"{path}: not a provenance of `fgd evaluate` ({error!r})") from error
    differences = [_difference(file, digest) for file, digest in expected.items()]
    report = path.parent / files["evaluation"]["name"]
    if (
        report.is_file()
        and json.loads(report.read_text())["sha256"] != (files["checkpoint"]["sha256"])
    ):
        differences.append(f"{report.name} is of another checkpoint")
    distilled = made and (stored["trained"].get("arm") == "fgd")
    if distilled and made["method"] != method_id():
        differences.append("the method (loss, inheritance, operators) has changed since")
    return [words for words in differences if words]


def _difference(file: Path, digest: str) -> str | None:
    if not file.is_file():
        return f"{file} is missing"
    return None if sha256(file) == digest else f"{file} has changed since"


def _commit() -> str | None:
    """The commit, with `-dirty` if files of it are changed."""
    if not is_checkout():  # a repository around an installed package is another project's
        return None
    command = ["git", "-C", str(root()), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
