"""What a suite file says. Without mmcv and torch: a launcher that waits for days reads it, too."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from fgd.checkout import root
from fgd.errors import FGDError, suggestion
from fgd.suite.layout import NO_ROWS, Layout
from fgd.suite.settings import Cluster, Mini, Section, SuiteFile, Validation, Watch, validated

# The two trainings of a row: with its teacher, and without.
ARMS = ("fgd", "baseline")


@dataclass(frozen=True)
class Suite:
    """A suite; every field is described in `fgd.suite.settings.SuiteFile`.

    Two are not in it: `row_files` has the files of those rows that the suite names by a path,
    `file` is its own path.
    """

    name: str
    rows: tuple[str, ...]
    results: str
    dataset: str
    seeds: tuple[int, ...]
    gpus: int
    samples_per_gpu: int
    workers_per_gpu: int
    checkpoint_interval: int
    log_interval: int
    data_root: str | None
    coco_address: str | None
    teacher_tolerance: float
    train_teachers: tuple[str, ...]
    precision: str
    channels_last: bool
    curves: tuple[str, ...]
    learning_rates: dict[str, float] | None
    mini: Mini | None
    pictures: list[str] | None
    cluster: Cluster | None
    row_files: dict[str, str]
    watch: Watch | None
    validation: Validation | None
    accept_data: tuple[str, ...]
    file: str

    def said(self) -> dict[str, Any]:
        """Plain data of all settings, sections as they are written in the file."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {k: v.said() if isinstance(v, Section) else v for k, v in values.items()}

    @property
    def chosen_by(self) -> str:
        """What chooses the suite in `snakemake --config suite=...`: its name, or its path."""
        known = root() / "configs" / "suites" / f"{self.name}.yaml"
        return self.name if Path(self.file).absolute() == known else self.file

    @property
    def total_batch(self) -> int:
        """Images of one training step, over all processes."""
        return self.gpus * self.samples_per_gpu

    def trains(self, teacher: str) -> bool:
        """Whether the suite trains and publishes a teacher itself; if not, it is downloaded."""
        return self.mini is not None or teacher in self.train_teachers

    @property
    def full_size(self) -> bool:
        """Whether detectors are as large as in the model zoo."""
        return self.mini is None

    @property
    def trains_backbones(self) -> bool:
        """Whether the suite trains and publishes the backbones itself."""
        return self.mini is not None

    @property
    def least_ap(self) -> int | float:
        """AP x 100 that a teacher has to reach which the suite trains; 0 for any."""
        return self.mini.teacher.least_ap if self.mini else 0

    @property
    def seed(self) -> int:
        """The first seed: of single runs, and of what all seeds share, teachers and backbones."""
        return self.seeds[0]

    def check_rows(self, names: Sequence[str]) -> None:
        """Refuse names of rows that the suite has not.

        Raises:
            FGDError: one is none of its rows.
        """
        for name in names:
            if name not in self.rows:
                raise FGDError(
                    f"suite {self.name} has no row {name!r}; it has {', '.join(self.rows)}"
                )

    @property
    def layout(self) -> Layout:
        """Where everything of the suite lies."""
        return Layout(self.results, self.seed)


def suite_file(chosen: str | Path) -> Path:
    """The path of a suite that is chosen by its path, or one of configs/suites by its name."""
    path = Path(chosen)
    known = root() / "configs" / "suites" / f"{path.name}.yaml"
    return known if path.name == str(chosen) and not path.is_file() and known.is_file() else path


def find_suite(chosen: str | Path) -> Path:
    """The path of a suite's file, which is there.

    Args:
        chosen: as of `suite_file`.

    Raises:
        FGDError: it is not.
    """
    path = suite_file(chosen)
    if path.is_dir():
        raise FGDError(f"{path}: is a folder; give the suite's file in it (.yaml)")
    if not path.is_file():
        names = sorted(p.stem for p in (root() / "configs" / "suites").glob("*.yaml"))
        raise FGDError(
            f"{path}: no such suite file; configs/suites has {', '.join(names)}"
            f"{suggestion(path.stem, names)}"
        )
    return path


def load_suite(chosen: str | Path) -> Suite:
    """Read and check a suite.

    Args:
        chosen: as of `suite_file`.

    Raises:
        FGDError: no such file, a key that the schema refuses, or an unknown row.
    """
    path = find_suite(chosen)
    if path.suffix == ".py":
        raise FGDError(f"{path}: is a row's file or another config; give a suite (.yaml)")
    content = _read(path)
    if not isinstance(content, dict):
        raise FGDError(f"{path}: is no suite; expected keys and values (configs/suites has some)")
    said = validated(SuiteFile, content, str(path))
    if (said.seed is None) == (said.seeds is None):
        raise FGDError(f"{path}: give either `seed`, a number, or `seeds`, a list of numbers")
    rows, row_files = _rows(path, said.rows)
    settings = {name: getattr(said, name) for name in SuiteFile.model_fields}
    for key in ("train_teachers", "curves", "accept_data"):
        settings[key] = tuple(settings[key])
    for key in ("base", "seed"):
        del settings[key]
    return Suite(
        **settings
        | dict(
            rows=rows,
            dataset=_dataset(path, said.dataset),
            seeds=(said.seed,) if said.seeds is None else tuple(said.seeds),
            row_files=row_files,
            file=str(path),
        )
    )


def row_file(name: str) -> Path:
    """The file of a row.

    Raises:
        FGDError: there is none of that name.
    """
    folder = root() / "configs" / "distillers"
    known = {path.stem: path for path in sorted(folder.glob("*.py"))}
    if name not in known:
        raise FGDError(
            f"unknown row {name!r}: configs/distillers has {', '.join(known)}"
            f"{suggestion(name, known)}"
        )
    return known[name]


def check_row_name(name: str, origin: str) -> None:
    """Whether results can be filed by a row's name.

    Args:
        origin: what names the row, for an error.
    """
    if name in NO_ROWS:
        raise FGDError(
            f"{origin}: a row is called {name!r}, as a folder of the results that is no row's; "
            f"give it another name than {', '.join(NO_ROWS)}"
        )


def _read(path: Path, above: tuple[Path, ...] = ()) -> Any:
    """A suite file over its `base`, if it names one; what is no mapping is the schema's to refuse.

    Args:
        above: the files that have led here.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise FGDError(f"{path}: not valid YAML: {error}") from error
    except OSError as error:
        raise FGDError(f"{path}, the base of {above[-1]}: {error.strerror}") from error
    if not isinstance(content, dict) or not isinstance(content.get("base"), str):
        return content
    if path.resolve() in (file.resolve() for file in above):
        raise FGDError(f"{path}: this suite is its own base")
    base_path = path.parent / content.pop("base")
    base = _read(base_path, (*above, path))
    if not isinstance(base, dict):
        raise FGDError(f"{base_path}, the base of {path}: not a suite")
    _make_absolute(base, base_path.parent.absolute())
    for one, other in (("seed", "seeds"), ("seeds", "seed")):
        if one in content:
            base.pop(other, None)
    return _merged(base, content)


def _make_absolute(content: dict, folder: Path) -> None:
    """Let the paths of a suite that are relative to its folder mean the same from another one."""
    dataset, rows = content.get("dataset"), content.get("rows")
    if isinstance(dataset, str) and (folder / dataset).is_file():
        content["dataset"] = str(folder / dataset)
    if isinstance(rows, list):
        content["rows"] = [
            str(folder / row) if isinstance(row, str) and row.endswith(".py") else row
            for row in rows
        ]


def _merged(base: dict, content: dict) -> dict:
    """Sections key by key; anything else, lists too, in place of the base's."""
    merged = base | content
    for key in base.keys() & content.keys():
        if isinstance(base[key], dict) and isinstance(content[key], dict):
            merged[key] = _merged(base[key], content[key])
    return merged


def _rows(suite: Path, entries: list[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The rows' names, and the files of those that are given as a path."""
    names, files = [], {}
    for entry in entries:
        if entry.endswith(".py"):
            file = (suite.parent / entry).absolute()
            if not file.is_file():
                raise FGDError(f"{suite}: row {entry!r}: there is no file {file}")
            files[file.stem] = str(file)
            entry = file.stem
        else:
            row_file(entry)
        check_row_name(entry, str(suite))
        if entry in names:
            raise FGDError(f"{suite}: two rows are called {entry!r}; results are filed by it")
        names.append(entry)
    return tuple(names), files


def _dataset(suite: Path, value: str) -> str:
    """A config beside the suite by its absolute path; one of the repository as it is written."""
    beside = (suite.parent / value).absolute()
    if beside.is_file():
        return str(beside)
    if (root() / value).is_file():
        return value
    raise FGDError(
        f"{suite}: dataset {value}: there is no such file, neither beside the suite nor in the "
        "repository"
    )
