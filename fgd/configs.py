"""mmdet configs read from their files, and the kinds that commands take told apart."""

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmcv import Config, ConfigDict

from fgd.errors import FGDError

# What the configs of mmdet 3 name, if they cannot be read: mmengine's loader and its scopes.
_NEWER = re.compile(r"\bmmengine\b|['\"]mm\w+::")

_KEYS_OF_3 = {"default_scope", "train_dataloader", "test_dataloader", "optim_wrapper"}

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
    """An mmdet config.

    Raises:
        FGDError: it is missing or cannot be read.
    """
    if _read is None:
        return _from_file(path)
    if str(path) not in _read:
        _read[str(path)] = _from_file(path)
    return copy.deepcopy(_read[str(path)])


def _from_file(path: str | Path) -> Config:
    try:
        config = _with_init_cfg(Config.fromfile(str(path)))
    except Exception as error:
        if _NEWER.search(f"{error} {_text(path)}"):
            raise FGDError(_of_mmdet_3(path)) from error
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
    model = config.get("model")
    if isinstance(model, dict) and ("data_preprocessor" in model or _KEYS_OF_3 & config.keys()):
        raise FGDError(_of_mmdet_3(path))
    return config


def _missing_package(error: BaseException | None) -> str | None:
    """What could not be imported; mmcv raises an error of its own in the course of that one."""
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and error.name:
            return error.name.partition(".")[0]
        error = error.__cause__ or error.__context__
    return None


def _of_mmdet_3(path: str | Path) -> str:
    return (
        f"{path}: is a config of mmdet 3 or newer, and this project builds detectors with mmdet 2. "
        "Give the config of the same model from mmdet 2 (`fgd zoo search` lists them), with your "
        "number of classes; a checkpoint of mmdet 3 fits where the tensors are the same"
    )


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _with_init_cfg(config: Config) -> Config:
    """The weights of a backbone in its `init_cfg`, where all others have them.

    Older configs say model.pretrained, which mmdet hands on as it builds. Three of the zoo's say
    both; of them mmdet builds none.
    """
    model = config.get("model")
    if isinstance(model, ConfigDict) and model.get("pretrained"):
        checkpoint = model.pop("pretrained")
        model.backbone.init_cfg = ConfigDict(type="Pretrained", checkpoint=checkpoint)
    # Those of PVT say no type, for their class reads it itself.
    backbone = model.get("backbone") if isinstance(model, ConfigDict) else None
    init = backbone.get("init_cfg") if isinstance(backbone, ConfigDict) else None
    if isinstance(init, ConfigDict) and "checkpoint" in init:
        init.setdefault("type", "Pretrained")
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
