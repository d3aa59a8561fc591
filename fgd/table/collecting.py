"""What a suite has measured so far, gathered from its results."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from fgd import recipe
from fgd.errors import FGDError
from fgd.files import sha256
from fgd.suite import ARMS, Suite
from fgd.table.model import Detector, Figures, Row, Table
from fgd.table.numbers import deviation, difference, mean, there

# How papers write what mmdet calls these classes.
_MODEL_NAMES = {
    "FasterRCNN": "Faster R-CNN",
    "MaskRCNN": "Mask R-CNN",
    "RepPointsDetector": "RepPoints",
}


def collect(suite: Suite, results: Path) -> Table:
    """Gather what a suite has measured so far."""
    teachers: dict[str, Detector] = {}
    rows = []
    for name, plan in recipe.plan(suite).rows.items():
        row = recipe.load_row(name, suite)
        if row.teacher not in teachers:
            composed = recipe.compose_teacher(suite, row.teacher)
            teachers[row.teacher] = _detector(row.teacher, composed.detector.model)
        student = recipe.compose(suite, row, "baseline").detector.model
        runs = [suite.run_name(arm, seed) for seed in suite.seeds for arm in reversed(ARMS)]
        folders = {run: plan.folder(run) for run in runs}
        measured = {"teacher": _read_report(results / "teachers" / row.teacher / "eval.json")} | {
            run: _read_report(results / folder / "eval.json") for run, folder in folders.items()
        }
        rows.append(
            Row(
                name=name,
                student=_detector(row.student, student),
                teacher=teachers[row.teacher],
                figures={k: _figures(k, suite, measured, row.published) for k in plan.kinds},
                measured=measured,
                configs={
                    run: _hash(results / folder / "config.py") for run, folder in folders.items()
                },
                folders=folders,
            )
        )
    settings = asdict(suite)
    del settings["file"]
    return Table(
        suite=suite.name,
        chosen_by=suite.chosen_by,
        seeds=suite.seeds,
        small=suite.mini is not None,
        data=suite.data_root or suite.dataset,
        results=str(results),
        settings=hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest(),
        rows=rows,
    )


def _figures(kind: str, suite: Suite, measured: dict[str, dict | None], published: dict) -> Figures:
    aps = {
        arm: {seed: _ap(measured[suite.run_name(arm, seed)], kind) for seed in suite.seeds}
        for arm in ARMS
    }
    gains = [difference(aps["fgd"][seed], aps["baseline"][seed]) for seed in suite.seeds]
    suffix = "" if kind == "box" else f"_{kind}"
    fgd, baseline = (list(aps[arm].values()) for arm in ("fgd", "baseline"))
    return Figures(
        teacher_ap=mean([_ap(measured["teacher"], kind)]),
        baseline_ap=mean(baseline),
        baseline_std=deviation(baseline),
        baseline_runs=len(there(baseline)),
        fgd_ap=mean(fgd),
        fgd_std=deviation(fgd),
        fgd_runs=len(there(fgd)),
        gain_std=deviation(gains),
        gains=tuple(None if gain is None else round(gain, 1) for gain in gains),
        published_baseline=published.get(f"baseline{suffix}"),
        published_fgd=published.get(f"fgd{suffix}"),
    )


def _ap(report: dict | None, kind: str) -> float | None:
    return 100 * report[kind]["AP"] if report and kind in report else None


def _detector(name: str, model: dict) -> Detector:
    kind = _MODEL_NAMES.get(model["type"], model["type"])
    if model["type"] == "CascadeRCNN":
        kind = "Cascade Mask R-CNN" if "mask_head" in model["roi_head"] else "Cascade R-CNN"
    return Detector(name, kind, _backbone(model["backbone"]))


def _backbone(backbone: dict) -> str:
    if "depth" not in backbone:
        return backbone["type"]
    letter = "X" if backbone["type"] == "ResNeXt" else "R"
    channels = backbone.get("base_channels", 64)
    return f"{letter}{backbone['depth']}" + ("" if channels == 64 else f"x{channels}")


def _read_report(path: Path) -> dict | None:
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        report.get("box", report.get("mask"))["AP"], report["sha256"], report["images"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise FGDError(
            f"{path}: not a report of `fgd evaluate` ({error!r}); delete it and evaluate again"
        ) from error
    return report


def _hash(path: Path) -> str | None:
    return sha256(path) if path.exists() else None
