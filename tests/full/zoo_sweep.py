"""Asks every model of mmdet's zoo, and counts what comes of it. A traceback is a fault.

Each answer is a line of results/zoo-sweep/<part>.jsonl. A model that has one is not asked again, so
a sweep that was cut short goes on; remove the file, or lines of it, to ask anew. The page says of
the models that it has not come to that they were not asked.
"""

import json
import re
import tempfile
import textwrap
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import click
from click.testing import CliRunner

from fgd.errors import FGDError
from fgd.files import write_text
from fgd.markdown import table

FOLDER = Path("results/zoo-sweep")
TRACEBACK = "traceback"
FAULT = "wrong"
REFUSED = "refused"
NOT_ASKED = "not asked"
_IMAGE = 256  # pixels
_LARGER = {"SSDNeck": 384}  # of a smaller image it has no last level


_INTRO = """\
# The zoo's detectors

{question} Written by `make zoo-sweep`."""
_FIGURES = f"""\
## Those that work

Each was built at full size with random weights and trained one step on a CPU, on two images of
{_IMAGE} x {_IMAGE} pixels (SSD {_LARGER["SSDNeck"]}), as `fgd prove` does it: every level has the
stride below in student and teacher and is what the head gets (the neck's output), every tensor of
the student starts where its row says, and every parameter has a finite gradient or is frozen by its
config. Parameters are in millions; GFLOPs are 10^9 multiply-adds of one such image, with 1,000
proposals in a two-stage detector; seconds are those of a processor that did other work, too."""
_OTHERS = ("mmcls", "instaboostfast")  # packages that some models want beside mmdet


class Answer(NamedTuple):
    """What a question gave of a model.

    Attributes:
        outcome: in a word or two; models are counted by it.
        message: what was found, or why it was refused.
        figures: the columns of a page.
    """

    outcome: str
    message: str = ""
    figures: dict[str, str] | None = None


def show(name: str) -> Answer:
    """What `fgd zoo show` answers."""
    from fgd.cli import main

    result = CliRunner().invoke(main, ["zoo", "show", name, "--json"])
    if result.exception is None:
        return Answer("shown")
    if isinstance(result.exception, SystemExit):
        raise FGDError(result.output.strip())
    raise result.exception


def strides(name: str) -> Answer:
    """Whether the strides that the config tells are those of the built backbone and neck."""
    from fgd.pair import level_strides
    from fgd.recipe import known_config

    model = known_config(name).model
    known = level_strides(model)
    if known is None:
        return Answer("unknown", f"{model.backbone.type}, {_kinds(model)}")
    measured = _measured(json.dumps([model.backbone, model.get("neck")], default=str), name)
    if measured != known:
        return Answer(FAULT, f"the config tells {known}, measured were {measured}")
    return Answer("right")


def _kinds(model: Any) -> str:
    necks = model.get("neck")
    necks = necks if isinstance(necks, list) else [necks]
    return " and ".join(neck.type if neck else "no neck" for neck in necks)


@cache
def _measured(key: str, name: str) -> list[float]:
    import torch
    from mmdet.models import build_backbone, build_neck

    from fgd import compat
    from fgd.recipe import known_config

    compat.apply()
    model = known_config(name).model
    model.backbone.init_cfg = None
    parts = [build_backbone(model.backbone)]
    parts += [build_neck(model.neck)] if model.get("neck") else []
    features = torch.zeros(1, 3, _IMAGE, _IMAGE)
    with torch.no_grad():
        for part in parts:
            part.eval()  # not in a chain: the train() of mmdet's backbones returns nothing
            features = part(features)
    return [_IMAGE / feature.shape[-1] for feature in features]


def fit(name: str) -> Answer:
    """What `fgd new-row` says of a model as the teacher of itself."""
    from fgd.recipe import known_config

    config = known_config(name)
    config.model.backbone.pop("init_cfg", None)
    decides = {key: value for key, value in config.items() if key not in ("optimizer", "work_dir")}
    answer = _fits(json.dumps(decides, default=str, sort_keys=True), name)
    if isinstance(answer, FGDError):
        raise answer
    return answer


_answers: dict[str, Answer | FGDError] = {}


def _fits(key: str, name: str) -> Answer | FGDError:
    """The answer of a model, and of those that are only trained from other weights."""
    from fgd.new_row.fit import fit as fit_of
    from fgd.new_row.request import RowRequest

    if key not in _answers:
        request = RowRequest(name="row", folder=Path("row"), student=name, teacher=name)
        try:
            found = fit_of(request, ())
        except FGDError as error:
            _answers[key] = FGDError(str(error).replace(name, "NAME"))
        else:
            levels = next(note for note in found.notes if note.startswith("levels"))
            outcome = "inherits" if found.inherit else "fits"
            _answers[key] = Answer(outcome, levels.partition(";")[0])
    return _answers[key]


def pair(name: str) -> Answer:
    """Whether `fgd new-row` agrees with `fgd zoo match` on a model and the best of its teachers."""
    from fgd.new_row.fit import fit as fit_of
    from fgd.new_row.request import RowRequest
    from fgd.teachers import built, compared, match

    fit(name)  # raises for a model that is no student
    matches = match(name, _facts())
    if not matches.teachers:
        return Answer("no teacher")
    models = built([name, matches.teachers[0].facts.name], print)
    best = compared(matches.student, matches.teachers[0], models)
    request = RowRequest(name="row", folder=Path("row"), student=name, teacher=best.facts.name)
    try:
        found = fit_of(request, ())
    except FGDError as error:
        # `match` goes by configs, which do not tell how a neck rounds.
        rounds = "has features of" in str(error)
        found_out = f"match names {best.facts.name}; {_plain(str(error), name)}"
        return Answer("rounds otherwise" if rounds else FAULT, found_out)
    told = (list(best.levels or {}), not best.own)
    if told != (found.levels, found.inherit):
        return Answer(FAULT, f"match says {told}, new-row {(found.levels, found.inherit)}")
    return Answer("inherits" if found.inherit else "fits")


@cache
def _facts() -> Any:
    from fgd.teachers import all_facts

    return all_facts(print)


def prove(name: str) -> Answer:
    """What one training step at full size shows of a model as the teacher of itself."""
    from fgd import proof
    from fgd.checkout import root
    from fgd.new_row.fit import fit as fit_of
    from fgd.new_row.request import RowRequest
    from fgd.new_row.texts import row_text, schedule_of
    from fgd.recipe import known_config
    from fgd.recipe.detectors import backbone_checkpoint
    from fgd.suite import load_suite

    model = known_config(name).model
    scratch = backbone_checkpoint(model) is None
    size = next((size for kind, size in _LARGER.items() if kind in _kinds(model)), _IMAGE)
    with tempfile.TemporaryDirectory() as folder:
        request = RowRequest(
            name="row", folder=Path(folder), student=name, teacher=name, from_scratch=scratch
        )
        fitting = fit_of(request, ())
        schedule = schedule_of(request, fitting.student)
        request.row.write_text(row_text(request, fitting, schedule))
        suite = Path(folder) / "zoo.yaml"
        suite.write_text(
            f"base: {root()}/configs/suites/coco.yaml\nname: zoo\nrows: [row.py]\n"
            "validation: null\ncluster: null\n"
        )
        shown = proof.prove(load_suite(suite), "row", size, (size, size))
    student = shown.sizes["student"]
    figures = {
        "Strides": " ".join(str(level.stride) for level in shown.levels),
        "Inherits": "neck, head" if fitting.inherit else "nothing",
        "Params": f"{student.parameters:.1f}",
        "GFLOPs": f"{student.gflops:.1f}",
        "Gradients": str(shown.with_gradient),
        "Frozen": str(len(shown.frozen)),
        "Seconds": f"{shown.seconds:.0f}",
    }
    return Answer("works", "", figures)


PARTS: dict[str, Callable[[str], Answer]] = {
    "show": show,
    "strides": strides,
    "fit": fit,
    "pair": pair,
    "prove": prove,
}


_ALL = ("show", "strides", "fit", "pair")  # `prove` takes a minute a model


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--words", default="", help="Ask the models alone whose name holds all of them.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the answers as a table here.")
@click.option("--families", is_flag=True, help="Ask a folder's models until one is not refused.")
def main(parts: tuple[str, ...], words: str, page: Path | None, families: bool) -> None:
    """Ask every model each of PARTS, all but `prove` by default, and print the totals."""
    from fgd import compat
    from fgd.zoo import models

    compat.prepare()
    found = sorted(models(words), key=lambda model: model.name)  # alike ones beside each other
    family = {model.name: model.config.parent.name for model in found if model.config}
    groups = _families(family) if families else [[name] for name in family]
    faults = 0
    for part in parts or _ALL:
        answers: list[dict[str, Any]] = []
        for answers in sweep(part, groups):  # the page is true whenever the sweep is cut short
            if page is not None:
                write_text(page, page_of(part, answers, family))
        faults += sum(answer["outcome"] in (TRACEBACK, FAULT) for answer in answers)
        click.echo("\n".join(totals(part, answers)))
    if faults:
        raise SystemExit(1)


def _families(family: dict[str, str]) -> list[list[str]]:
    """The models of each folder of configs, those with a ResNet-50 first, in the folders' order."""
    members: dict[str, list[str]] = {folder: [] for folder in sorted(set(family.values()))}
    for name in sorted(family, key=lambda name: ("r50" not in name, name)):
        members[family[name]].append(name)
    return list(members.values())


def sweep(part: str, groups: list[list[str]]) -> Iterator[list[dict[str, Any]]]:
    """An answer of each group after each model that was asked, those asked before from the file."""
    path = FOLDER / f"{part}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {answer["name"]: answer for answer in _read(path)}
    yield [_answer_of(group, known) for group in groups]
    with path.open("a", encoding="utf-8") as file:
        for group in groups:
            while (name := _to_ask(group, known)) is not None:
                known[name] = {"name": name} | _ask(PARTS[part], name)._asdict()
                file.write(json.dumps(known[name]) + "\n")
                file.flush()
                yield [_answer_of(group, known) for group in groups]


def _to_ask(group: list[str], known: dict[str, dict[str, Any]]) -> str | None:
    """The first model that was not asked, unless one before it was not refused."""
    for name in group:
        if name not in known:
            return name
        if known[name]["outcome"] != REFUSED:
            return None
    return None


def _answer_of(group: list[str], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """That of the first model that was not refused, or else of the first."""
    asked = [known[name] for name in group if name in known]
    told = [answer for answer in asked if answer["outcome"] != REFUSED] or asked
    return told[0] if told else dict(name=group[0], outcome=NOT_ASKED, message="")


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue  # the sweep was killed as it wrote the line


def _ask(question: Callable[[str], Answer], name: str) -> Answer:
    try:
        return question(name)
    except FGDError as error:
        return Answer(REFUSED, _plain(str(error), name))
    except Exception as error:
        if "implementation for device cpu not found" in str(error):
            return Answer("needs a GPU")
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Answer(TRACEBACK, f"{type(error).__name__}: {error} ({Path(place.filename).name})")


def _plain(reason: str, name: str) -> str:
    """A reason without the model's name and without paths, so that equal ones are counted."""
    return re.sub(r"(?<![:/\w])/\S+/(?=\w)", "", reason).replace(name, "NAME")


def totals(part: str, answers: list[dict[str, Any]]) -> Iterator[str]:
    """Lines: how many models have each outcome, and with which message."""
    counted = Counter(answer["outcome"] for answer in answers)
    yield f"{part}: {len(answers)} models, {_listed(counted)}"
    for outcome in counted:
        messages = Counter(a["message"] for a in answers if a["outcome"] == outcome)
        for message, number in messages.most_common():
            if message:
                yield f"  {outcome} {number}: {message}"


def _listed(counted: Counter) -> str:
    return ", ".join(f"{number} {outcome}" for outcome, number in counted.most_common())


def page_of(part: str, answers: list[dict[str, Any]], family: dict[str, str]) -> str:
    """A page of two tables: the models that have figures, and the others that were asked.

    Args:
        family: the folder of a model's config, by its name.
    """
    question = (PARTS[part].__doc__ or "").strip()
    counted, *_ = totals(part, answers)
    measured = [answer for answer in answers if answer.get("figures")]
    left = [answer["name"] for answer in answers if answer["outcome"] == NOT_ASKED]
    others = [a for a in answers if not a.get("figures") and a["outcome"] != NOT_ASKED]
    parts = [_INTRO.format(question=question), f"{counted}."]
    if measured:
        columns = list(measured[0]["figures"])
        rows = [[family[a["name"]], a["name"], *a["figures"].values()] for a in measured]
        parts += [_FIGURES + _installed(), table(["Family", "Model", *columns], rows, 4)]
    if others:
        rows = [
            [family[a["name"]], a["name"].replace("|", ""), a["outcome"], a["message"]]
            for a in others
        ]
        parts += ["## The others", table(["Family", "Model", "Outcome", "What was found"], rows, 4)]
    parts += _totals_of_all()
    if left:
        listed = ", ".join(f"`{name}`" for name in left)
        parts += [
            "## Not asked yet",
            textwrap.fill(listed, 100, break_on_hyphens=False, break_long_words=False),
        ]
    return "\n\n".join(parts) + "\n"


def _totals_of_all() -> Iterator[str]:
    """A table of what the other questions gave, of all models that were asked."""
    rows = []
    for part in _ALL:
        answers = {answer["name"]: answer["outcome"] for answer in _read(FOLDER / f"{part}.jsonl")}
        if answers:
            counted = Counter(answers.values())
            question = (PARTS[part].__doc__ or "").strip().rstrip(".")
            rows.append([question, str(len(answers)), _listed(counted), str(counted[TRACEBACK])])
    if rows:
        yield "## All models"
        yield table(["Asked was", "Models", "Answers", "Tracebacks"], rows, 1)


def _installed() -> str:
    """The packages that were there for models that want them."""
    there = [f"{name} {version(name)}" for name in _OTHERS if find_spec(name)]
    return f"\n\nInstalled beside mmdet: {', '.join(there)}." if there else ""


if __name__ == "__main__":
    main()
