"""What is known of the zoo's models from their configs, kept where it is found again in a moment.

The key of the cache is a hash of everything that the facts follow from: the zoo's configs and
metafiles, our detectors, our source and the versions of what reads them. So an entry that is found
is right, and one of another key is never looked at.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fgd import zoo
from fgd.checkout import root, source_hash
from fgd.errors import FGDError
from fgd.files import cache_root, write_text
from fgd.pair import Member, Normalisation, Shape

# Of a model's config, what says nothing of pairs.
_LEFT_OUT = ("train_cfg", "test_cfg", "init_cfg", "pretrained")


@dataclass(frozen=True)
class Facts:
    """A model of the zoo, as far as its config and metafile tell.

    Attributes:
        name: in the zoo.
        box_ap, mask_ap: published, in points; None where there is none.
        dataset: of these figures, as the metafile calls it.
        model: its mmdet model config, with what its classes have by default; None if it cannot be
            read.
        trained, tested: what it does to pixels; None where it takes them as they are.
        fault: why the model cannot be used; "" if it can.
    """

    name: str
    box_ap: float | None
    mask_ap: float | None
    dataset: str
    model: dict[str, Any] | None = None
    trained: Normalisation | None = None
    tested: Normalisation | None = None
    fault: str = ""


def all_facts(say: Callable[[str], None] = lambda line: None) -> dict[str, Facts]:
    """Of all models of the zoo, by name.

    Args:
        say: is told if they have to be read first.
    """
    file = _file("facts")
    try:
        return {each["name"]: _from_json(each) for each in json.loads(file.read_text())}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    names = zoo.search("")
    say(f"reading the configs of {len(names)} models once; a minute or two")
    found = [_facts(name) for name in names]
    _keep(file, [asdict(each) for each in found])
    return {each.name: each for each in found}


@dataclass(frozen=True)
class Built:
    """A model of the zoo as mmdet builds it.

    Attributes:
        parameters: their number.
        tensors: shapes by name, of all that a student could inherit.
    """

    parameters: int
    tensors: Mapping[str, Shape]


def built(names: Iterable[str], say: Callable[[str], None]) -> dict[str, Built | None]:
    """Models as they are built, by name; None of one that cannot be. Each is built once.

    Args:
        say: is told if some have to be built first.
    """
    file = _file("built")
    wanted = list(names)
    try:
        known = {
            name: _built_from_json(each) for name, each in json.loads(file.read_text()).items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        known = {}
    missing = [name for name in wanted if name not in known]
    if missing:
        say(f"building {len(missing)} models once, to count and compare what they hold")
        known |= {name: _build(name) for name in missing}
        _keep(file, {name: each and asdict(each) for name, each in known.items()})
    return {name: known[name] for name in wanted}


def _build(name: str) -> Built | None:
    from fgd.pair.taps import shapes
    from fgd.recipe import known_config
    from fgd.recipe.building import number_of_parameters, outline

    try:
        detector = outline(name, known_config(name).model)
    except FGDError:
        return None
    member = Member("teacher", tensors=shapes(detector))
    return Built(number_of_parameters(detector), member.inheritable)


def _built_from_json(each: dict[str, Any] | None) -> Built | None:
    if each is None:
        return None
    return Built(each["parameters"], {name: tuple(s) for name, s in each["tensors"].items()})


def _facts(name: str) -> Facts:
    from fgd.pair import normalisation_of
    from fgd.pair.meaning import with_defaults
    from fgd.recipe import known_config
    from fgd.recipe.supported import without_teacher

    try:
        entry = zoo.find(name)
    except FGDError as error:
        return Facts(name, None, None, "", fault=f"no checkpoint: {error}")
    figures = (name, entry.box_ap, entry.mask_ap, entry.dataset)
    try:
        config = known_config(name)
    except FGDError as error:
        return Facts(*figures, fault=str(error))
    model = without_teacher(config.model).to_dict()
    kept = {key: value for key, value in model.items() if key not in _LEFT_OUT}
    trained, tested = (normalisation_of(config.data[split]) for split in ("train", "test"))
    plain = json.loads(json.dumps(with_defaults(kept), default=str))
    return Facts(*figures, plain, trained, tested)


def _from_json(each: dict[str, Any]) -> Facts:
    for key in ("trained", "tested"):
        if (said := each[key]) is not None:
            each[key] = Normalisation(tuple(said["mean"]), tuple(said["std"]), said["to_rgb"])
    return Facts(**each)


def _file(what: str) -> Path:
    digest = hashlib.sha256(source_hash().encode() + sys.version.encode())
    for package in ("mmdet", "mmcv-full"):
        digest.update(version(package).encode())
    metafiles = zoo.metafiles()
    configs = metafiles[0].parents[1].rglob("*.py") if metafiles else []
    for path in sorted([*metafiles, *configs, *(root() / "configs/detectors").glob("*.py")]):
        digest.update(str(path).encode() + path.read_bytes())
    return cache_root() / "zoo" / f"{what}-{digest.hexdigest()[:32]}.json"


def _keep(file: Path, value: Any) -> None:
    try:
        for old in file.parent.glob(f"{file.name.partition('-')[0]}-*.json"):
            old.unlink()
        write_text(file, json.dumps(value))
    except OSError:
        return  # it is found out again
