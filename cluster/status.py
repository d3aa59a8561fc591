"""Where a suite stands: a line for every training, from the files that it leaves and from Slurm."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tabulate import tabulate

from cluster import record
from cluster.executors import EXECUTORS, Elsewhere
from cluster.slurm import JobState
from fgd import progress
from fgd.errors import FGDError
from fgd.experiment import load_experiment, outdated
from fgd.suite import Suite
from fgd.suite.layout import TrainingFiles
from fgd.suite.plan import TrainedHere

_HEAD = ("row", "arm", "stage", "job", "state", "nodes", "epoch", "eta", "AP")
# What gives way where the terminal is narrow, in this order, and how far. 16 letters tell all rows
# apart; long teachers' names say little beyond their beginning.
_GIVE_WAY = (("row", 16), ("nodes", 0), ("state", 7))


@dataclass(frozen=True)
class Line:
    """One training of a suite, at one moment.

    Attributes:
        row, arm: what is trained; a teacher of the suite has the arm "teacher", a further seed
            of a row "fgd/seed1".
        stage: the furthest that it has come: planned, queued, training, stopped, failed, trained,
            evaluated; of a teacher from the model zoo, planned or downloaded; outdated where what
            was measured is of other settings or data than the suite's.
        job_id, state, nodes: of its job, if it has or had one.
        epoch, max_epochs, iter, max_iters, loss: of the newest line of its log.
        eta_seconds: until training is done.
        ap: box AP x 100, or mask AP of a detector without boxes, once it is evaluated.
    """

    row: str
    arm: str
    stage: str
    job_id: str | None = None
    state: str | None = None
    nodes: str | None = None
    epoch: int | None = None
    max_epochs: int | None = None
    iter: int | None = None
    max_iters: int | None = None
    loss: float | None = None
    eta_seconds: float | None = None
    ap: float | None = None


def lines(suite: Suite) -> list[Line]:
    """Every training of a suite, teachers first."""
    experiment = load_experiment(suite)
    layout, found = suite.layout, []
    others = outdated.why_left_out(experiment, layout)
    for name, teacher in experiment.plan.teachers.items():
        files = layout.teacher(name)
        evaluation, checkpoint = Path(files.evaluation), Path(files.checkpoint)
        if isinstance(teacher.source, TrainedHere):
            line = _line(name, "teacher", layout.teacher_training(name), evaluation)
        else:
            line = Line(name, "teacher", "downloaded" if checkpoint.exists() else "planned")
            line = _with_ap(line, checkpoint, evaluation)
        found.append(_outdated(line) if files.evaluation in others else line)
    for run in experiment.runs:
        trained = layout.run(run)
        title = layout.run_name(run.arm, run.seed)
        line = _line(run.row, title, trained, Path(trained.evaluation))
        found.append(_outdated(line) if trained.evaluation in others else line)
    return found


def as_json(found: list[Line]) -> str:
    """The lines as a JSON list of objects."""
    return json.dumps([asdict(line) for line in found], indent=2)


def as_table(found: list[Line], width: int = 80) -> str:
    """The lines as a table that fits a terminal."""
    cells = [_HEAD, *(_cells(line) for line in found)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for name, least in _GIVE_WAY:
        column = _HEAD.index(name)
        excess = sum(widths) + 2 * (len(widths) - 1) - width
        widths[column] = min(widths[column], max(least, widths[column] - excess))
    fitted = [
        [_fit(cell, size) for cell, size in zip(row, widths, strict=True) if size] for row in cells
    ]
    lines = tabulate(fitted, tablefmt="plain", disable_numparse=True).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _line(name: str, arm: str, files: TrainingFiles, evaluation: Path) -> Line:
    entries = progress.read(Path(files.work_dir))
    last = entries[-1] if entries else {}
    job_id, state, nodes, end = _job(Path(files.jobs))
    stage = _stage(files, state, end, begun=bool(last))
    line = Line(
        name,
        arm,
        stage,
        job_id=job_id,
        state=end or (state.state.lower() if state else None),
        nodes=nodes,
        epoch=last.get("epoch"),
        max_epochs=last.get("max_epochs"),
        iter=last.get("iter"),
        max_iters=last.get("max_iters"),
        loss=last.get("loss"),
        eta_seconds=last.get("eta_seconds") if stage == "training" else None,
    )
    return _with_ap(line, Path(files.trained), evaluation)


def _stage(files: TrainingFiles, state: JobState | None, end: str | None, begun: bool) -> str:
    done = end == record.COMPLETED or (state is not None and state.state == "COMPLETED")
    # Without a launcher nobody has given a job's result its place yet.
    if Path(files.trained).exists() or (done and Path(files.final).exists()):
        return "trained"
    if end == record.CANCELLED:
        return "stopped"
    if end not in (None, record.COMPLETED):
        return "failed"
    if state is not None:
        return "queued" if state.is_waiting else "training"
    return "stopped" if begun else "planned"


def _job(folder: Path) -> tuple[str | None, JobState | None, str | None, str | None]:
    """Id, state, nodes and end of a training's newest job."""
    try:
        log = record.load(folder)
    except FGDError:
        log = None
    if log is None or log.current is None:
        return None, None, None, None
    attempt = log.current
    if attempt.job_id is None or attempt.end is not None:
        return attempt.job_id, None, None, attempt.end
    try:
        state = EXECUTORS[log.executor].state(attempt.job_id, attempt.name, folder)
    except Elsewhere as elsewhere:
        state = JobState("ELSEWHERE", nodes=elsewhere.host)
    end = state.state.lower() if state.is_final and state.state != "COMPLETED" else None
    return attempt.job_id, state, state.nodes or None, end


def _with_ap(line: Line, checkpoint: Path, evaluation: Path) -> Line:
    """The line of an evaluated checkpoint, unless the evaluation is of the one before."""
    if line.stage not in ("trained", "downloaded") or not evaluation.exists():
        return line
    if not checkpoint.exists() or evaluation.stat().st_mtime < checkpoint.stat().st_mtime:
        return line
    report = json.loads(evaluation.read_text(encoding="utf-8"))
    metrics = report.get("box") or report["mask"]  # SOLO finds masks alone
    return replace(line, ap=100 * metrics["AP"], stage="evaluated")


def _outdated(line: Line) -> Line:
    """The line of what is done, and not what the suite now says."""
    done = line.stage in ("trained", "evaluated", "downloaded")
    return replace(line, ap=None, stage="outdated" if done else line.stage)


def _cells(line: Line) -> tuple[str, ...]:
    eta = "" if line.eta_seconds is None else _clock(line.eta_seconds)
    epoch = "" if line.epoch is None else f"{line.epoch}/{line.max_epochs}"
    ap = "" if line.ap is None else f"{line.ap:.1f}"
    job = (line.job_id or "").split("@")[0]
    state = (line.state or "").split(",")[0]  # without the exit code
    texts = (line.row, line.arm, line.stage, job, state, line.nodes, epoch, eta, ap)
    return tuple(text or "-" for text in texts)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds; days would need a wider column."""
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}"


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "~"
