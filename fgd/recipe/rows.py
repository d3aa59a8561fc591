"""A row: who learns from whom and how, one file of configs/distillers or of the user's own."""

from dataclasses import dataclass, field
from pathlib import Path

from fgd.configs import read_config
from fgd.recipe import own
from fgd.recipe.own import OwnDetector
from fgd.suite import Suite, row_file
from fgd.suite.settings import RowFile, validated


@dataclass(frozen=True)
class Row:
    """A row file; every field is described in `fgd.suite.settings.RowFile`.

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
    base_batch: int
    from_scratch: bool
    baseline_of: str | None
    own: dict[str, OwnDetector] = field(default_factory=dict)


def load_row(name: str, suite: Suite | None = None) -> Row:
    """Read and check a row's file: the one that the suite names, or configs/distillers/<name>.py.

    Raises:
        FGDError: an unknown row, a key that the schema refuses, or a file that is not there.
    """
    if suite is not None and name in suite.row_files:
        path = Path(suite.row_files[name])
        origin = str(path)
    else:
        path = row_file(name)
        origin = f"configs/distillers/{path.name}"
    content = read_config(path).to_dict()
    said = validated(RowFile, content, origin)
    for key, ap in (content.get("published") or {}).items():
        own.check_points(ap or 0, f"{origin}: published.{key}")
    settings = {
        "base_batch": said.base_batch,
        "from_scratch": said.from_scratch,
        "baseline_of": said.baseline_of,
        "published": content.get("published", {}),
        "student": own.name_of(content["student"]),
        "teacher": own.name_of(content["teacher"]),
        "own": own.find_in_row(content, path),
    }
    return Row(name=name, **content | settings)
