"""A run that goes wrong says so: which iteration, term, level, gradient and images.

Nothing waits for the device in an iteration. Each leaves one small tensor of its loss terms there,
and all are read together where a line is logged or a state is saved, so that no state is ever saved
behind a bad iteration. A run is a pure function of its config, so the rest can wait until something
is wrong: the run goes back to its last state, trains up to the bad iteration again and looks at it
in detail before the policy decides.
"""

import json
import logging
import math
from collections import deque
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.distributed as dist
from mmcv.runner.hooks import Hook
from torch import Tensor

from fgd.errors import FGDError
from fgd.files import link_or_copy, write_json
from fgd.suite.settings import Watch as Policy
from fgd.train import ranks
from fgd.train.diagnosis import diagnose, not_finite_in, summary

RECENT = 100  # iterations whose median loss a spike is measured by
_FEWEST = 20


@dataclass
class Incidents:
    """What went wrong in a run, kept in its work folder: which batches it leaves out, and why.

    Attributes:
        fingerprint: of the recipe whose run it was.
        left_out: iterations without a step of the optimizer, counted from 0.
        reasons: one for each time that counts, see `Policy.most`.
        examine: {"iter", "reason", "kind"} of a bad iteration that is to be looked at; the kind is
            the policy's field for it, whose action may change before the run comes to it.
    """

    fingerprint: str = ""
    left_out: list[int] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    examine: dict[str, Any] | None = None

    @classmethod
    def load(cls, folder: Path, fingerprint: str) -> "Incidents":
        """Those of a work folder; none if it has none of this recipe's."""
        file = folder / "incidents.json"
        content = json.loads(file.read_text()) if file.exists() else {}
        ours = content.get("fingerprint") == fingerprint
        return cls(**content) if ours else cls(fingerprint)

    def save(self, folder: Path) -> None:
        """Write them."""
        write_json(folder / "incidents.json", asdict(self))


class GoBack(Exception):
    """The run has to go back to its last state; its incidents say why."""


class Watch(Hook):
    """Finds bad iterations; registered after the optimizer's step, before what logs and saves.

    Args:
        folder: the run's work folder.
        policy: what to do.
        incidents: of this run so far.
        intervals: of log lines and saved states, in iterations.
        meta: of the states to come, with the run's `seed`; the recent losses are kept in it, for a
            resumed run.
        begun_at: iteration of the state that the run was resumed from; 0 without one.
    """

    def __init__(
        self,
        folder: Path,
        policy: Policy,
        incidents: Incidents,
        intervals: tuple[int, ...],
        meta: dict[str, Any],
        begun_at: int,
        logger: logging.Logger,
    ) -> None:
        self._folder = folder
        self._policy = policy
        self._incidents = incidents
        self._intervals = intervals
        self._meta = meta
        self._last_state = begun_at
        self._logger = logger
        self._waiting: dict[int, Tensor] = {}
        self._names: list[str] = []
        self._recent = deque(meta.get("recent_losses", ()), maxlen=RECENT)

    def leaves_out(self, runner: Any, batch: dict[str, Any]) -> bool:
        """Whether the coming iteration is left out; one that is to be examined is looked at first.

        Raises:
            FGDError: the policy is to stop.
        """
        wanted = self._incidents.examine
        if wanted is not None and wanted["iter"] == runner.iter:
            self._examine(runner, batch, wanted)
        return runner.iter in self._incidents.left_out

    def after_train_iter(self, runner: Any) -> None:
        """Called by the runner.

        Raises:
            GoBack: something went wrong.
        """
        if terms := runner.outputs["terms"]:
            if self._waiting and list(terms) != self._names:
                self._look(runner)  # YOLOX's last epochs have one term more
            self._names = list(terms)
            values = [value.detach().float() for value in terms.values()]
            self._waiting[runner.iter] = torch.stack(values)
        due = any(self.every_n_iters(runner, n) for n in self._intervals)
        if (due or self.is_last_iter(runner)) and self._waiting:
            self._look(runner)
            self._meta["recent_losses"] = list(self._recent)
            if self.every_n_iters(runner, self._intervals[-1]):
                self._last_state = runner.iter + 1

    def _look(self, runner: Any) -> None:
        """Read what the iterations since the last look left on the device, of all ranks."""
        values = _of_all_ranks(
            torch.stack(list(self._waiting.values()))
        )  # ranks, iterations, terms
        iterations, self._waiting = list(self._waiting), {}
        # With float16 a gradient may overflow: its scaler leaves the step out, and scales less.
        scaled = {"grad_norm"} if runner.model.precision.scaler.is_enabled() else set()
        for iteration, terms in zip(iterations, values.transpose(0, 1), strict=True):
            bad = [n for n, v in zip(self._names, terms.T, strict=True) if not v.isfinite().all()]
            bad = [n for n in bad if n not in scaled]
            # A bad term makes its sum and the gradient bad: it is the one to be named.
            bad = [n for n in bad if n not in ("loss", "grad_norm")] or bad
            if bad:
                kinds = {n: terms[:, self._names.index(n)].tolist() for n in bad}
                reason = ", ".join(f"{n} is {_first_bad(v)}" for n, v in kinds.items())
                self._act(runner, iteration, reason, "nonfinite")
            loss = terms[:, self._names.index("loss")].mean().item()
            usual = median(self._recent) if len(self._recent) >= _FEWEST else math.inf
            self._recent.append(loss)
            if loss > self._policy.factor * usual:
                reason = f"loss is {loss:.4g}, {loss / usual:.0f} times its recent median"
                self._act(runner, iteration, reason, "spike")

    def _act(self, runner: Any, iteration: int, reason: str, kind: str) -> None:
        if self._action(kind) == "report":
            self._logger.warning("iteration %d: %s", iteration + 1, reason)
            return
        self._logger.warning(
            "iteration %d: %s. Going back to the last state to look at it", iteration + 1, reason
        )
        self._incidents.examine = dict(iter=iteration, reason=reason, kind=kind)
        self._save_incidents(runner)
        raise GoBack

    def _action(self, kind: str) -> str:
        return getattr(self._policy, kind)

    def _examine(self, runner: Any, batch: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Take the step's gradient, write down what is wrong with it, and decide."""
        self._incidents.examine = None
        action = self._action(wanted["kind"])
        if action == "report":  # it was another when the run went back
            self._save_incidents(runner)
            return
        file = self._folder / "diagnosis" / f"iter_{runner.iter + 1:07d}.json"
        reports = ranks.of_all(diagnose(runner, batch, self._meta["seed"]))
        if runner.rank == 0:
            lr = runner.current_lr()[0]
            write_json(file, {**wanted, "action": action, "lr": lr, "ranks": reports})
            self._keep_state(file)
        again = [report for report in reports if not_finite_in(report)]
        seen = wanted["kind"] == "spike" or bool(again)
        reason = f"iteration {runner.iter + 1}: {wanted['reason']}"
        what = summary(again) if seen else "; looked at, it did not happen again"
        told = f"{reason}{what}. See {file}"
        if seen and action == "stop":
            # What is saved still asks for a look: a resumed run takes it, and its own action.
            raise FGDError(
                f"{told}. Its last state is kept. Find out why (learning rate, data, precision), "
                "or let the suite's `watch` section leave such batches out"
            )
        if len(self._incidents.reasons) >= self._policy.most:
            if not seen:
                self._save_incidents(runner)  # a resumed run goes on: there was nothing
            raise FGDError(
                f"{told}. The run has left batches out or gone back in vain {self._policy.most} "
                f"times already: look at what {file.parent} says of them. The suite's watch.most "
                "is how often it may"
            )
        self._incidents.reasons.append(reason)
        if seen:
            self._leave_out(runner, action, told)
        else:
            self._save_incidents(runner)
            self._logger.warning("%s. The run goes on", told)

    def _leave_out(self, runner: Any, action: str, told: str) -> None:
        first = runner.iter if action == "skip" else self._last_state
        self._incidents.left_out += range(first, runner.iter + 1)
        self._save_incidents(runner)
        self._logger.warning("%s. Left out: iterations %d to %d", told, first + 1, runner.iter + 1)
        if first < runner.iter:
            raise GoBack

    def _save_incidents(self, runner: Any) -> None:
        self._meta["left_out"] = list(self._incidents.left_out)
        if runner.rank == 0:
            self._incidents.save(self._folder)

    def _keep_state(self, file: Path) -> None:
        """The state from which the iteration can be trained again, beside its diagnosis."""
        state = self._folder / f"iter_{self._last_state:07d}.pth"
        kept = file.with_suffix(".from.pth")
        if state.exists() and not kept.exists():
            link_or_copy(state, kept)


def _first_bad(values: list[float]) -> str:
    return str(next(value for value in values if not math.isfinite(value)))


def _of_all_ranks(values: Tensor) -> Tensor:
    """(iterations, terms) of every rank as (ranks, iterations, terms), on the CPU."""
    if not dist.is_initialized():
        return values[None].cpu()
    gathered = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, values)
    return torch.stack(gathered).cpu()
