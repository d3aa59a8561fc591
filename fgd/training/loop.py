"""The loop of a training: what happens in which order, from the first iteration to the last."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from fgd.data.batches import on_device
from fgd.training.ema import MovingAverage
from fgd.training.log import Log
from fgd.training.runner import Runner
from fgd.training.sampling import BatchPlan, seed_iteration
from fgd.training.state import Meta, States
from fgd.training.step import Trainable, update
from fgd.training.validation import Validation
from fgd.training.watch import Watch


@dataclass
class Loop:
    """Trains until the last epoch is done, from any iteration on.

    What is ours is called by its name. Hooks do what mmcv and mmdet bring: the learning rate, what
    YOLOX changes as it trains, and curves in other programs.

    Attributes:
        runner: counts iterations and epochs, and holds the hooks; the batch sampler of its loader
            is a `BatchPlan`.
        grad_clip: `max_norm` and `norm_type` for torch's `clip_grad_norm_`, or None.
        average: of the weights that the detector is evaluated with, or None.
        meta: of the states to come; what changes with an iteration is that of the last one.
        log_interval, state_interval: iterations between lines and between states; the last
            iteration always has both.
    """

    runner: Runner
    model: Trainable
    optimizer: torch.optim.Optimizer
    grad_clip: dict[str, Any] | None
    average: MovingAverage | None
    watch: Watch
    log: Log
    validation: Validation | None
    states: States
    meta: Meta
    log_interval: int
    state_interval: int

    def run(self) -> None:
        """Train.

        Raises:
            GoBack: something went wrong in an iteration, and the run has to go back to look at it.
            FGDError: the run has to stop.
        """
        runner = self.runner
        self.log.begin(runner.iter)
        if self.validation is not None:  # a killed run may not have come to it
            runner.show(self.validation.catch_up(runner.iter))
        runner.call_hook("before_run")
        while runner.epoch < runner.max_epochs:
            self._train_epoch()
        runner.call_hook("after_run")

    def _train_epoch(self) -> None:
        """Train what is left of the current epoch, and validate."""
        runner = self.runner
        self.model.train()
        plan = runner.data_loader.batch_sampler
        assert isinstance(plan, BatchPlan)
        plan.begin(runner.epoch, runner.inner_iter)
        runner.call_hook("before_train_epoch")  # YOLOX's last epochs, before the workers start
        self.log.start_clock()
        for batch in on_device(runner.data_loader, self.model.device):
            self._train_iteration(batch)
        self.log.stop_clock()
        if self.validation is not None:
            runner.show(self.validation.after_epoch(runner.epoch + 1))
        runner.call_hook("after_train_epoch")  # curves, of the validation
        runner.end_epoch()

    def _train_iteration(self, batch: dict[str, Any]) -> None:
        """One step of the optimizer, and what is watched, logged and saved after it."""
        runner = self.runner
        seed_iteration(self.meta.seed, runner.iter)
        runner.call_hook("before_train_iter")  # the learning rate, and YOLOX's size of images
        terms: dict[str, torch.Tensor] = {}  # of a batch that is left out
        if not self.watch.leaves_out(runner.iter, batch):
            terms = update(self.model, self.optimizer, batch, self.grad_clip)
        if self.average is not None:
            self.average.update(runner.iter)

        done = runner.iter + 1
        last = done == runner.max_iters
        logs = last or done % self.log_interval == 0
        saves = last or done % self.state_interval == 0
        self.watch.add(runner.iter, terms)
        if logs or saves:
            self.watch.look()  # first: nothing is logged or saved behind a bad iteration
        self.log.add(terms)
        # The log before the state: a resumed log has every line up to its state, and none after.
        runner.show(self.log.write(done, runner.epoch + 1, runner.current_lr()[0]) if logs else {})
        runner.call_hook("after_train_iter")  # curves, of the line
        self.states.background.check()  # what went wrong with the state before
        if saves:
            now = replace(
                self.meta,
                left_out=list(self.watch.incidents.left_out),
                recent_losses=self.watch.recent_losses,
                iter=done,
                epoch=runner.epoch + 1,
            )
            self.states.save(now)
            self.watch.state_saved(done)
        if last:
            self.states.background.wait()
        runner.end_iteration()
