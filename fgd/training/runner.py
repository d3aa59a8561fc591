"""mmcv's epoch runner, able to start in the middle of an epoch, and the hooks that go with it."""

from typing import TYPE_CHECKING, Any

from mmcv.runner import EpochBasedRunner
from mmcv.runner.hooks import Hook
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from fgd.data.batches import on_device
from fgd.training.ema import MovingAverage
from fgd.training.sampling import BatchPlan, derive_seed, seed_everything

if TYPE_CHECKING:  # it imports this module
    from fgd.training.watch import Watch


class ExactRunner(EpochBasedRunner):
    """Trains from any iteration on; the loader's batch sampler is a `BatchPlan`.

    Attributes:
        watch: the `Watch` that says which batches to leave out, or None.
        average: the `MovingAverage` of the weights that the detector is evaluated with, or None.
    """

    watch: "Watch | None" = None
    average: MovingAverage | None = None
    outputs: dict[str, Any]

    def start_at(self, iteration: int, iterations_an_epoch: int) -> None:
        """Count from `iteration`, the number of iterations already done."""
        self._iter = iteration
        self._epoch = iteration // iterations_an_epoch

    def run(self, data_loader: DataLoader) -> None:
        """Train until the last epoch is done."""
        self._max_iters = self._max_epochs * len(data_loader)
        self.call_hook("before_run")
        while self._epoch < self._max_epochs:
            self.train(data_loader)
        self.call_hook("after_run")

    def train(self, data_loader: DataLoader) -> None:
        """Train what is left of the current epoch."""
        self.model.train()
        self.mode = "train"
        self.data_loader = data_loader
        first = self._iter - self._epoch * len(data_loader)
        assert isinstance(data_loader.batch_sampler, BatchPlan)
        data_loader.batch_sampler.begin(self._epoch, first)
        self.call_hook("before_train_epoch")
        batches = on_device(data_loader, self.model.device)
        for self._inner_iter, batch in enumerate(batches, start=first):
            self.call_hook("before_train_iter")
            if self.watch is not None and self.watch.leaves_out(self, batch):
                self.outputs = {"loss": None, "terms": {}}
            else:
                self.outputs = self.model.train_step(batch, self.optimizer)
            self.call_hook("after_train_iter")
            self._iter += 1
        self.call_hook("after_train_epoch")
        self._epoch += 1


class IterationSeedHook(Hook):
    """Seeds every iteration by (seed, iteration, rank).

    What a detector draws at random (RoI samplers) then needs no saved generator state to resume.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def before_train_iter(self, runner: ExactRunner) -> None:
        """Called by the runner."""
        seed_iteration(self._seed, runner)


def seed_iteration(seed: int, runner: ExactRunner) -> None:
    """Seed what the runner's current iteration draws, as a run with this seed does."""
    seed_everything(derive_seed(seed, runner.iter, runner.rank))


class StepHook(Hook):
    """Backward pass, gradient clipping and the optimizer's step.

    mmcv's own hook reads the gradient norm on every iteration, which makes the host wait for the
    device; here it is one more term of the log.

    Args:
        grad_clip: `max_norm` and `norm_type` for torch's `clip_grad_norm_`, or None.
    """

    def __init__(self, grad_clip: dict | None) -> None:
        self._grad_clip = grad_clip

    def after_train_iter(self, runner: ExactRunner) -> None:
        """Called by the runner."""
        if runner.outputs["loss"] is None:  # a batch that is left out
            return
        scaler = runner.model.precision.scaler
        runner.optimizer.zero_grad()
        scaler.scale(runner.outputs["loss"]).backward()
        if self._grad_clip:
            scaler.unscale_(runner.optimizer)
            norm = clip_grad_norm_(runner.model.parameters(), **self._grad_clip)
            runner.outputs["terms"]["grad_norm"] = norm
        scaler.step(runner.optimizer)
        scaler.update()
