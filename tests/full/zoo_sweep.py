"""Asks every model of mmdet's zoo, and counts what comes of it. A traceback is a fault.

Each answer is a line of results/zoo-sweep/<part>.jsonl. A model that has one is not asked again, so
a sweep that was cut short goes on; remove the file to ask anew.
"""

import json
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from fgd.errors import FGDError

FOLDER = Path("results/zoo-sweep")
TRACEBACK = "traceback"
FAULT = "wrong"
_IMAGE = 256  # pixels; every neck of the zoo can be run on it


def show(name: str) -> tuple[str, str]:
    """What `fgd zoo show` answers."""
    from fgd.cli import main

    result = CliRunner().invoke(main, ["zoo", "show", name, "--json"])
    if result.exception is None:
        return "shown", ""
    if isinstance(result.exception, SystemExit):
        raise FGDError(result.output.strip())
    raise result.exception


def strides(name: str) -> tuple[str, str]:
    """Whether the strides that the config tells are those of the built backbone and neck."""
    from fgd.pair import level_strides
    from fgd.recipe import known_config

    model = known_config(name).model
    known = level_strides(model)
    if known is None:
        return "unknown", f"{model.backbone.type}, {_kinds(model)}"
    measured = _measured(json.dumps([model.backbone, model.get("neck")], default=str), name)
    if measured != known:
        return FAULT, f"the config tells {known}, measured were {measured}"
    return "right", ""


def _kinds(model: Any) -> str:
    necks = model.get("neck")
    necks = necks if isinstance(necks, list) else [necks]
    return " and ".join(neck.type if neck else "no neck" for neck in necks)


@cache
def _measured(key: str, name: str) -> list[float]:
    import torch
    from mmdet.models import build_backbone, build_neck

    from fgd.recipe import known_config

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


def fit(name: str) -> tuple[str, str]:
    """What `fgd new-row` says of a model as the teacher of itself."""
    from fgd.recipe import known_config

    config = known_config(name)
    config.model.backbone.pop("init_cfg", None)
    decides = {key: value for key, value in config.items() if key not in ("optimizer", "work_dir")}
    answer = _fits(json.dumps(decides, default=str, sort_keys=True), name)
    if isinstance(answer, FGDError):
        raise answer
    return answer


_answers: dict[str, tuple[str, str] | FGDError] = {}


def _fits(key: str, name: str) -> tuple[str, str] | FGDError:
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
            _answers[key] = "inherits" if found.inherit else "fits", levels.partition(";")[0]
    return _answers[key]


def prove(name: str) -> tuple[str, str]:
    """What one training step at full size shows of a model as the teacher of itself."""
    from fgd import proof
    from fgd.checkout import root
    from fgd.new_row.fit import fit as fit_of
    from fgd.new_row.request import RowRequest
    from fgd.new_row.texts import row_text
    from fgd.recipe import known_config
    from fgd.recipe.detectors import backbone_checkpoint
    from fgd.suite import load_suite

    scratch = backbone_checkpoint(known_config(name).model) is None
    with tempfile.TemporaryDirectory() as folder:
        request = RowRequest(
            name="row", folder=Path(folder), student=name, teacher=name, from_scratch=scratch
        )
        fitting = fit_of(request, ())
        request.row.write_text(row_text(request, fitting))
        suite = Path(folder) / "zoo.yaml"
        suite.write_text(
            f"base: {root()}/configs/suites/coco.yaml\nname: zoo\nrows: [row.py]\n"
            "validation: null\ncluster: null\n"
        )
        shown = proof.prove(load_suite(suite), "row", _IMAGE, (_IMAGE, _IMAGE))
    strides = " ".join(str(level.stride) for level in shown.levels)
    starts = "neck and head" if fitting.inherit else "nothing"
    return "works", f"strides {strides}; inherits {starts}; {shown.with_gradient} gradients"


PARTS: dict[str, Callable[[str], tuple[str, str]]] = {
    "show": show,
    "strides": strides,
    "fit": fit,
    "prove": prove,
}


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice(list(PARTS)))
@click.option("--words", default="", help="Ask the models alone whose name holds all of them.")
@click.option("--page", type=click.Path(path_type=Path), help="Write the answers as a table here.")
@click.option("--families", is_flag=True, help="Ask one model of each folder of configs alone.")
def main(parts: tuple[str, ...], words: str, page: Path | None, families: bool) -> None:
    """Ask every model each of PARTS, all but `prove` by default, and print the totals."""
    from fgd import compat
    from fgd.zoo import models

    compat.prepare()
    found = sorted(models(words), key=lambda model: model.name)  # alike ones beside each other
    if families:
        found = list({m.config.parent.name: m for m in reversed(found) if m.config}.values())[::-1]
    names = [model.name for model in found]
    faults = 0
    for part in parts or ("show", "strides", "fit"):  # `prove` takes a minute a model
        answers = sweep(part, names)
        faults += sum(answer["outcome"] in (TRACEBACK, FAULT) for answer in answers)
        click.echo("\n".join(totals(part, answers)))
        if page is not None:
            page.write_text(_page(part, answers), encoding="utf-8")
    if faults:
        raise SystemExit(1)


def sweep(part: str, names: list[str]) -> list[dict[str, str]]:
    """The answers of all models, those that were asked before from the file."""
    path = FOLDER / f"{part}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = {answer["name"]: answer for answer in _read(path)}
    with path.open("a", encoding="utf-8") as file:
        for name in names:
            if name not in known:
                outcome, message = _ask(PARTS[part], name)
                known[name] = {"name": name, "outcome": outcome, "message": message}
                file.write(json.dumps(known[name]) + "\n")
                file.flush()
    return [known[name] for name in names]


def _read(path: Path) -> Iterator[dict[str, str]]:
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue  # the sweep was killed as it wrote the line


def _ask(question: Callable[[str], tuple[str, str]], name: str) -> tuple[str, str]:
    try:
        return question(name)
    except FGDError as error:
        return "refused", str(error).replace(name, "NAME")
    except Exception as error:
        if "implementation for device cpu not found" in str(error):
            return "needs a GPU", ""
        place = traceback.extract_tb(error.__traceback__)[-1]
        return TRACEBACK, f"{type(error).__name__}: {error} ({Path(place.filename).name})"


def totals(part: str, answers: list[dict[str, str]]) -> Iterator[str]:
    """Lines: how many models have each outcome, and with which message."""
    counted = Counter(answer["outcome"] for answer in answers)
    listed = ", ".join(f"{number} {outcome}" for outcome, number in counted.most_common())
    yield f"{part}: {len(answers)} models, {listed}"
    for outcome in counted:
        messages = Counter(a["message"] for a in answers if a["outcome"] == outcome)
        for message, number in messages.most_common():
            if message:
                yield f"  {outcome} {number}: {message}"


def _page(part: str, answers: list[dict[str, str]]) -> str:
    question = (PARTS[part].__doc__ or "").strip()
    counted, *_ = totals(part, answers)
    rows = [f"| {a['name']} | {a['outcome']} | {a['message']} |" for a in answers]
    table = "\n".join(["| Model | Outcome | What was found |", "|---|---|---|", *rows])
    title = f"# The zoo's detectors\n\nWritten by `make zoo-sweep`. {question}"
    return f"{title}\n\n{counted}.\n\n{table}\n"


if __name__ == "__main__":
    main()
