"""Two finished models on one test set: is one better than the other, or did it meet its images?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcv import Config

from fgd.checkpoint import read_checkpoint
from fgd.classes import Names
from fgd.configs import read_detector
from fgd.errors import FGDError
from fgd.evaluation.bootstrap import CONFIDENCE, Matches, interval
from fgd.evaluation.scores import detect_in, scored, test_data
from fgd.evaluation.test_set import check_test_set
from fgd.evaluation.truth import Truth
from fgd.files import sha256
from fgd.heads import heads
from fgd.plain import load_plain
from fgd.suite.layout import RunFiles, TeacherFiles


def compare_models(
    ours: Path,
    others: Path,
    *,
    draws: int = 1000,
    seed: int = 0,
    batch: int | None = None,
    precision: str = "fp32",
) -> dict[str, Any]:
    """Detect with two models on their test set, and bootstrap the difference of their AP.

    Args:
        ours, others: folders of results: of a row's run, or of a teacher.
        draws: of the test set's images.
        seed: of the draws.
        batch: images at a time; the config's number if None.
        precision: "fp32", or "bf16" or "fp16" for mixed precision.

    Returns:
        `images`, `draws`, `seed`, `confidence`, and for "box" and "mask", where both have
        it: `ours`, `others`, `difference` and `interval`, AP as fractions.

    Raises:
        FGDError: there is no finished model in a folder, or they have not the same test set.
    """
    models = [_Model.of(folder) for folder in (ours, others)]
    if models[0].tested != models[1].tested:
        raise FGDError(
            f"{models[0].config} and {models[1].config} name other test sets: the same images are "
            "needed to compare on. Evaluate both on one: let data.test be the same in both configs"
        )
    kinds = [set(heads(model.cfg.model)) for model in models]
    if not kinds[0] & kinds[1]:
        said = [" and ".join(sorted(each)) for each in kinds]
        raise FGDError(
            f"{models[0].config} predicts {said[0]}, {models[1].config} {said[1]}: there is no AP "
            "that both have"
        )
    matches = [_matches(model, batch=batch, precision=precision) for model in models]
    report: dict[str, Any] = {"draws": draws, "seed": seed, "confidence": CONFIDENCE}
    for kind in [kind for kind in matches[0] if kind in matches[1]]:
        one, other = matches[0][kind], matches[1][kind]
        if one.images < 2:
            raise FGDError(
                f"{models[0].cfg.data.test.ann_file}: has {one.images} image, of which no choice "
                "can be drawn; compare on two or more"
            )
        report["images"] = one.images
        report[kind] = {
            "ours": one.ap(),
            "others": other.ap(),
            "difference": one.ap() - other.ap(),
            "interval": interval(one, other, draws=draws, seed=seed),
        }
    return report


@dataclass(frozen=True)
class _Model:
    """A finished model.

    Attributes:
        config, checkpoint: its files.
        cfg: what the config says.
        classes: in the order of the labels.
        tested: what decides which images and objects it is tested on, and as what.
    """

    config: Path
    checkpoint: Path
    cfg: Config
    classes: Names
    tested: tuple[Any, ...]

    @classmethod
    def of(cls, folder: Path) -> "_Model":
        """The model of a folder of results."""
        config, checkpoint = _files(folder)
        cfg = read_detector(config)
        classes = check_test_set(cfg, config)
        test = cfg.data.test
        tested = (sha256(test.ann_file), Path(test.img_prefix).resolve(), classes)
        return cls(config, checkpoint, cfg, classes, tested)


def _files(folder: Path) -> tuple[Path, Path]:
    """The config and the checkpoint of a finished model."""
    for files in (RunFiles(str(folder)), TeacherFiles(str(folder))):
        config, checkpoint = Path(files.detector), Path(files.checkpoint)
        if config.is_file() and checkpoint.is_file():
            return config, checkpoint
    raise FGDError(
        f"{folder}: no finished model; expected student.py and student.pth (a row's fgd or "
        "baseline folder), or detector.py and teacher.pth (a teacher's)"
    )


def _matches(model: _Model, *, batch: int | None, precision: str) -> dict[str, Matches]:
    stored = read_checkpoint(model.checkpoint)
    detector = load_plain(model.cfg, stored, model.checkpoint, model.classes)
    dataset, loader = test_data(model.cfg, batch)
    results = detect_in(precision, detector, loader)
    truth = Truth(dataset)
    found = scored(dataset, results, truth)
    # mmdet fills in boxes of zeros for a detector of masks alone.
    kinds = heads(model.cfg.model)
    return {kind: Matches(truth, found[kind], kind) for kind in kinds if kind in found}
