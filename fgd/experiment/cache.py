"""What was found about suites, kept where planning finds it again without mmcv and torch.

An entry counts only if everything is as it was: the suite's settings, our source, the versions of
what composes, and every file that was read. Anything else is a miss, and so is a damaged entry.
"""

import hashlib
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fgd import zoo
from fgd.checkout import root
from fgd.checkout import source_hash as _source
from fgd.experiment.experiment import Experiment
from fgd.files import cache_root, sha256, write_text
from fgd.suite import Suite
from fgd.suite.plan import OwnFiles, Plan, SplitFiles

_PACKAGES = ("fgd", "mmdet", "mmcv-full", "mmcv", "addict", "pydantic", "pyyaml")
_FOUND = TypeAdapter(tuple[Plan, dict[str, SplitFiles], dict[str, str]])


def read(suite: Suite) -> Experiment | None:
    """The suite's experiment, if there is an entry for it and nothing has changed since."""
    try:
        stored = json.loads(_file(suite).read_text(encoding="utf-8"))
        entry = stored["entry"]
        if stored["sha256"] != _digest(entry) or entry["made_from"] != _made_from(suite):
            return None
        if any(sha256(path) != digest for path, digest in entry["files"].items()):
            return None
        plan, splits, digests = _FOUND.validate_python(entry["found"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return None
    if not all(path.is_file() for path in _brought(plan)):
        return None  # composing says which
    return Experiment(suite, plan, splits, digests)


def write(experiment: Experiment, files: set[Path]) -> None:
    """Keep what was found; where nothing can be written, the next one composes again.

    Args:
        files: that were read for it.
    """
    found = (experiment.plan, experiment.splits, experiment.digests)
    try:
        entry = {
            "made_from": _made_from(experiment.suite),
            "files": {str(path): sha256(path) for path in sorted(files | set(zoo.metafiles()))},
            "found": _FOUND.dump_python(found, mode="json"),
        }
        text = json.dumps({"sha256": _digest(entry), "entry": entry})
        write_text(_file(experiment.suite), text)
    except OSError:
        return


def _file(suite: Suite) -> Path:
    """Of a suite's entry: others of the same checkout, folder and settings take its place."""
    entry = [str(root()), os.getcwd(), _settings(suite)]
    return cache_root() / "experiments" / f"{_digest(entry)[:32]}.json"


def _made_from(suite: Suite) -> dict[str, Any]:
    """What an experiment follows from, beside the files that were read."""
    return {
        "suite": _settings(suite),
        "folder": os.getcwd(),
        "python": sys.version,
        "versions": {name: _version(name) for name in _PACKAGES},
        "source": _source(),
        # A new one may take the place of the model zoo's of the same name.
        "detectors": sorted(path.name for path in (root() / "configs/detectors").glob("*.py")),
    }


def _settings(suite: Suite) -> dict[str, Any]:
    """All of a suite's settings; how the path of its file is written makes no difference."""
    return json.loads(json.dumps(suite.said() | {"file": os.path.abspath(suite.file)}))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _brought(plan: Plan) -> list[Path]:
    """The user's own weights: composing does not read them, but wants them to be there."""
    sources = [teacher.source for teacher in plan.teachers.values()]
    brought = [source.checkpoint for source in sources if isinstance(source, OwnFiles)]
    # What a suite trains itself has a name without a folder.
    return brought + [Path(name) for name in plan.backbones.values() if name.startswith("/")]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
