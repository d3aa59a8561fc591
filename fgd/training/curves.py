"""A training's log as curves in somebody else's program: TensorBoard, Weights & Biases.

Nothing is imported for a run that wants none.
"""

from pathlib import Path
from typing import Any

from mmcv.runner.hooks import Hook

from fgd import progress
from fgd.errors import FGDError

_NEVER = 10**9  # iterations; the loop says when there is something to write


def hooks(kinds: list[str], work_dir: Path, fingerprint: str, name: str) -> list[Hook]:
    """The hooks for a suite's `curves`.

    Args:
        kinds: "tensorboard", "wandb".
        work_dir: of the training.
        fingerprint: of the training; a resumed one goes on with its own curve.
        name: of the training, for people.

    Raises:
        FGDError: the program is not installed.
    """
    made: list[Hook] = []
    if "tensorboard" in kinds:
        made.append(TensorBoardHook(work_dir))
    if "wandb" in kinds:
        made.append(_wandb(work_dir, fingerprint, name))
    return made


class TensorBoardHook(Hook):
    """Event files in the folder `tensorboard` of the work folder, as exact as log.jsonl.

    What a killed run wrote after its last state is purged when it is resumed; what was logged
    before curves were wanted is written first.
    """

    def __init__(self, work_dir: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise FGDError(
                f"the suite's curves have tensorboard, which cannot be imported ({error}): pip "
                "install tensorboard, or take it out of the suite"
            ) from error
        self._work_dir = work_dir
        self._open = SummaryWriter

    def before_run(self, runner: Any) -> None:
        """Called by the runner."""
        if runner.rank != 0:
            return
        folder = self._work_dir / "tensorboard"
        earlier = [] if folder.exists() else progress.read(self._work_dir)
        self._writer = self._open(folder, purge_step=runner.iter + 1)
        for entry in earlier:
            self._write(entry)
        self.after_train_epoch(runner)  # a validation that the run made up for

    def after_train_iter(self, runner: Any) -> None:
        """Called by the loop, with a line in the log buffer if there is one."""
        if runner.rank == 0 and runner.log_buffer.ready:
            self._write(runner.log_buffer.output | {"iter": runner.iter + 1})

    def after_train_epoch(self, runner: Any) -> None:
        """Called by the loop, after a validation if there is one."""
        for name, value in runner.log_buffer.output.items():
            if runner.rank == 0 and name.endswith("_AP"):
                self._writer.add_scalar(f"val/{name}", value, runner.iter)

    def after_run(self, runner: Any) -> None:
        """Called by the runner."""
        if runner.rank == 0:
            self._writer.close()

    def _write(self, entry: dict[str, Any]) -> None:
        for name in ("lr", "images_per_second", "loss", *progress.terms_of(entry)):
            tag = name if name in ("lr", "images_per_second") else f"train/{name}"
            self._writer.add_scalar(tag, entry[name], entry["iter"])
        # Before the state that a resumed run starts from.
        self._writer.flush()


def _wandb(work_dir: Path, fingerprint: str, name: str) -> Hook:
    from mmcv.runner.hooks import WandbLoggerHook

    try:
        return WandbLoggerHook(
            init_kwargs=dict(
                project="fgd",
                name=name,
                id=fingerprint[:16],
                resume="allow",
                dir=str(work_dir),
            ),
            interval=_NEVER,
            ignore_last=True,
            log_artifact=False,
        )
    except ImportError as error:
        raise FGDError(
            f"the suite's curves have wandb, which cannot be imported ({error}): pip install "
            "wandb, or take it out of the suite"
        ) from error
