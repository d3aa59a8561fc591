"""mmdet configs read from their files, and the kinds that commands take told apart."""

import ast
import copy
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mmcv import Config, ConfigDict
from mmcv.utils import import_modules_from_strings

from fgd.errors import FGDError

_KEYS_OF_3 = {"default_scope", "train_dataloader", "test_dataloader", "optim_wrapper"}

# A base's value in the words of mmcv 1; `_base_.key` without the braces is mmengine's.
_OF_BASE = re.compile(r"\{\{\s*_base_\.[\w.]+\s*\}\}")

# How to install what the zoo's configs import, where that is not its name alone.
_INSTALL = {"mmcls": "pip install 'mmcls<1' timm"}

# What `fgd compose` writes into config.py beside the model and the data.
_TRAINING = ("total_batch", "log", "checkpoint", "seed")


# What `read_once` has read so far, by path; None outside of it.
_read: dict[str, Config] | None = None


@contextmanager
def read_once() -> Iterator[None]:
    """Within it a file is read once: whoever composes a suite asks for the same ones many times."""
    global _read
    before, _read = _read, {}
    try:
        yield
    finally:
        _read = before


def read_config(path: str | Path) -> Config:
    """An mmdet 2 config.

    Raises:
        FGDError: it is missing, cannot be read, or is one of mmdet 3.
    """
    config = read_any(path)
    if is_of_mmdet_3(config):
        instead = (
            "Give the config of the same model from mmdet 2 (`fgd zoo search` lists them), with "
            "your number of classes; one of mmdet 3 is translated for a teacher that comes with "
            "its checkpoint (`fgd new-row`)"
        )
        if "model" not in config:
            instead = "Give a file of mmdet 2 (`data = dict(train=..., val=..., test=...)`)"
        raise FGDError(
            f"{path}: is a config of mmdet 3 or newer, and this project builds detectors with "
            f"mmdet 2. {instead}"
        )
    return config


def read_any(path: str | Path) -> Config:
    """An mmdet config, of mmdet 2 or of mmdet 3; of the latter no custom import is done.

    Raises:
        FGDError: it is missing or cannot be read.
    """
    if _read is None:
        return _from_file(path)
    if str(path) not in _read:
        _read[str(path)] = _from_file(path)
    return copy.deepcopy(_read[str(path)])


def is_of_mmdet_3(config: Config) -> bool:
    """Whether a config has what those of mmdet 3 alone have, in its model or beside it."""
    model = config.get("model")
    in_model = isinstance(model, dict) and "data_preprocessor" in model
    return in_model or bool(_KEYS_OF_3 & config.keys())


def _from_file(path: str | Path) -> Config:
    _check_whole(path)
    try:
        config = Config.fromfile(str(path), import_custom_modules=False)
        if not is_of_mmdet_3(config):
            if imports := config.get("custom_imports"):
                import_modules_from_strings(**imports)
            config = _with_own_cfgs(_with_init_cfg(config))
    except Exception as error:
        _close_copies(error)
        if package := _missing_package(error):
            raise FGDError(
                f"{path}: needs the package {package}, which is not installed: its custom_imports "
                f"name it. Install it beside mmdet ({_INSTALL.get(package, package)})"
            ) from error
        # It is a program: anything can be raised.
        reason = str(error).removeprefix(f"There are syntax errors in config file {path}: ")
        raise FGDError(
            f"{path}: cannot be read as a config ({type(error).__name__}"
            f"{f': {reason}' if reason else ', perhaps of what its custom_imports name'})"
        ) from error
    return config


def _close_copies(error: Exception) -> None:
    """Close mmcv's copies of a config that it could not read.

    It leaves them open and removes their folder; when they are collected, Python before 3.12 prints
    a traceback of its own.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if (copied := frame.f_locals.get("temp_config_file")) is not None:
            with suppress(FileNotFoundError):
                copied.close()


def _missing_package(error: BaseException | None) -> str | None:
    """What could not be imported; mmcv raises an error of its own in the course of that one."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name.partition(".")[0]
        error = error.__cause__ or error.__context__
    return None


def _check_whole(path: str | Path) -> None:
    """Refuse what mmengine alone can read, before anything of it runs.

    Raises:
        FGDError: naming what it is, and how to have mmdet 3 write it whole.
    """
    waiting, seen = [Path(path)], set()
    while waiting:
        file = waiting.pop()
        if file in seen or (program := _program(file)) is None:
            continue
        seen.add(file)
        if reason := _for_mmengine(program):
            origin = path if file == Path(path) else f"{path}: its _base_ {file}"
            raise FGDError(
                f"{origin}: is a config of mmdet 3 that is not whole in one file: {reason}, which "
                "mmdet 3 alone reads. Give the copy that it wrote into the folder of the training, "
                'or let it write one: python -c "from mmengine.config import Config; '
                f"Config.fromfile('{Path(path).name}').dump('whole.py')\". It can be a teacher; a "
                "student's config comes from mmdet 2 (`fgd zoo search`)"
            )
        waiting += [file.parent / base for base in _bases(program)]


def _program(path: Path) -> ast.Module | None:
    """A Python file, parsed; None where it is none, which is for its reader to say."""
    try:
        return ast.parse(_OF_BASE.sub("None", path.read_text(encoding="utf-8")))
    except (OSError, ValueError, SyntaxError):
        return None


def _for_mmengine(program: ast.Module) -> str:
    """What in a config only mmengine's own reader understands; "" for nothing."""
    for base in _bases(program):
        if "::" in base:
            return f"it names the base {base!r}"
    for node in ast.walk(program):
        if isinstance(node, ast.ImportFrom | ast.Import):
            modules = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                modules = [node.module or ""]
            if any(module.partition(".")[0] == "mmengine" for module in modules):
                return "it imports mmengine"
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "_base_":
            return f"it takes _base_.{node.attr} from its base"
    return ""


def _bases(program: ast.Module) -> list[str]:
    """What a config's `_base_` names, as far as it is written out."""
    for node in program.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "_base_" for target in node.targets
        ):
            texts = [each.value for each in ast.walk(node.value) if isinstance(each, ast.Constant)]
            return [text for text in texts if isinstance(text, str)]
    return []


def _with_init_cfg(config: Config) -> Config:
    """The weights of a backbone in its `init_cfg`, where all others have them.

    Older configs say model.pretrained, which mmdet hands on as it builds, or backbone.pretrained.
    Three of the zoo's say the first beside it; of them mmdet builds none.
    """
    model = config.get("model")
    if isinstance(model, ConfigDict) and model.get("pretrained"):
        checkpoint = model.pop("pretrained")
        model.backbone.init_cfg = ConfigDict(type="Pretrained", checkpoint=checkpoint)
    # Those of PVT say no type, for their class reads it itself.
    backbone = model.get("backbone") if isinstance(model, ConfigDict) else None
    if not isinstance(backbone, ConfigDict):
        return config
    # timm's say True, and fetch their weights themselves.
    if isinstance(backbone.get("pretrained"), str) and not backbone.get("init_cfg"):
        backbone.init_cfg = ConfigDict(type="Pretrained", checkpoint=backbone.pop("pretrained"))
    init = backbone.get("init_cfg")
    if isinstance(init, ConfigDict) and "checkpoint" in init:
        init.setdefault("type", "Pretrained")
    return config


def _with_own_cfgs(config: Config) -> Config:
    """`train_cfg` and `test_cfg` in the model; older configs, which mmdet still builds, have them
    beside it."""
    model = config.get("model")
    for key in ("train_cfg", "test_cfg"):
        if isinstance(model, ConfigDict) and config.get(key) and not model.get(key):
            model[key] = config.pop(key)
    return config


def read_training(path: str | Path) -> Config:
    """The config of a training, as `fgd train` takes it.

    Raises:
        FGDError: it cannot be read, or is another kind of config.
    """
    config = _with_model(path)
    missing = [key for key in _TRAINING if key not in config]
    if missing:
        raise FGDError(
            f"{path}: is no config of a training, for it has no {missing[0]}; `fgd compose` writes "
            "one, config.py"
        )
    return config


def read_detector(path: str | Path) -> Config:
    """The plain mmdet config of a detector, as `fgd evaluate` takes it.

    Raises:
        FGDError: it cannot be read, or is another kind of config.
    """
    config = _with_model(path)
    if config.model.get("type") == "FGDDistiller":
        raise FGDError(
            f"{path}: is the config of a distillation, student and teacher; give the student's, "
            "which `fgd compose` writes beside it (student.py), and the checkpoint that `fgd "
            "transfer` writes"
        )
    if "test" not in config.get("data", {}):
        raise FGDError(f"{path}: has no data.test; give a complete mmdet config")
    return config


def _with_model(path: str | Path) -> Config:
    config = read_config(path)
    if "model" in config:
        return config
    if "student" in config:
        raise FGDError(
            f"{path}: is a row's file, no mmdet config; `fgd compose` writes a row's config.py and "
            "student.py"
        )
    raise FGDError(f"{path}: is no mmdet config, for it has no model")
