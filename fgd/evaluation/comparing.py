"""Two finished models on one test set: is one better than the other, or did it meet its images?"""

from pathlib import Path
from typing import Any

from fgd.checkpoint import read_checkpoint
from fgd.configs import read_detector
from fgd.errors import FGDError
from fgd.evaluation.bootstrap import CONFIDENCE, Matches, interval
from fgd.evaluation.scores import detect_in, scored, test_data
from fgd.evaluation.test_set import check_test_set
from fgd.evaluation.truth import Truth
from fgd.files import sha256
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
    files = [_files(folder) for folder in (ours, others)]
    tested = [_tested(config) for config, _ in files]
    if tested[0] != tested[1]:
        raise FGDError(
            f"{files[0][0]} and {files[1][0]} name other test sets: the same images are needed to "
            "compare on. Evaluate both on one: let data.test be the same in both configs"
        )
    matches = [_matches(*each, batch=batch, precision=precision) for each in files]
    report: dict[str, Any] = {"draws": draws, "seed": seed, "confidence": CONFIDENCE}
    for kind in [kind for kind in matches[0] if kind in matches[1]]:
        one, other = matches[0][kind], matches[1][kind]
        report["images"] = one.images
        report[kind] = {
            "ours": one.ap(),
            "others": other.ap(),
            "difference": one.ap() - other.ap(),
            "interval": interval(one, other, draws=draws, seed=seed),
        }
    return report


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


def _tested(config: Path) -> tuple[Any, ...]:
    """What decides which images and objects a config is tested on, and as what."""
    cfg = read_detector(config)
    classes = check_test_set(cfg, config)
    test = cfg.data.test
    return sha256(test.ann_file), Path(test.img_prefix).resolve(), classes


def _matches(
    config: Path, checkpoint: Path, *, batch: int | None, precision: str
) -> dict[str, Matches]:
    cfg = read_detector(config)
    classes = check_test_set(cfg, config)
    model = load_plain(cfg, read_checkpoint(checkpoint), checkpoint, classes)
    dataset, loader = test_data(cfg, batch)
    results = detect_in(precision, model, loader)
    truth = Truth(dataset)
    found = scored(dataset, results, truth)
    return {kind: Matches(truth, detections, kind) for kind, detections in found.items()}
