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
from torch import Tensor

from fgd.errors import FGDError
from fgd.files import link_or_copy, write_json
from fgd.suite.settings import Watch as Policy
from fgd.training import ranks
from fgd.training.diagnosis import diagnose, not_finite_in, summary
from fgd.training.state import Meta
from fgd.training.step import Trainable

_LOGGER = logging.getLogger(__name__)
RECENT = 100  # iterations whose median loss a spike is measured by
_FEWEST = 20
# One after the other: each halves the scale, so that then a gradient is a millionth of what it is
# at first, and what is still not finite is no overflow.
_MOST_OVERFLOWS = 20


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


@dataclass
class Watch:
    """Looks at every iteration's losses, and at the bad ones twice.

    Attributes:
        folder: the run's work folder.
        policy: what to do.
        incidents: of this run so far.
        model, optimizer: of the run.
        begun: the run's seed, and the state that it begins from.
    """

    folder: Path
    policy: Policy
    incidents: Incidents
    model: Trainable
    optimizer: torch.optim.Optimizer
    begun: Meta

    def __post_init__(self) -> None:
        self._last_state = self.begun.iter
        self._recent = deque(self.begun.recent_losses, maxlen=RECENT)
        self._waiting: dict[int, Tensor] = {}
        self._names: list[str] = []
        self._overflows = 0

    @property
    def recent_losses(self) -> list[float]:
        """The last `RECENT` losses that were looked at."""
        return list(self._recent)

    def leaves_out(self, iteration: int, batch: dict[str, Any]) -> bool:
        """Whether the coming iteration is left out; one that is to be examined is looked at first.

        Raises:
            FGDError: the policy is to stop.
        """
        wanted = self.incidents.examine
        if wanted is not None and wanted["iter"] == iteration:
            self._examine(iteration, batch, wanted)
        return iteration in self.incidents.left_out

    def add(self, iteration: int, terms: dict[str, Tensor]) -> None:
        """Keep an iteration's terms on the device; none of a batch that was left out."""
        if not terms:
            return
        if self._waiting and list(terms) != self._names:
            self.look()  # YOLOX's last epochs have one term more
        self._names = list(terms)
        self._waiting[iteration] = torch.stack([v.detach().float() for v in terms.values()])

    def state_saved(self, done: int) -> None:
        """A run goes back to the state after `done` iterations from now on."""
        self._last_state = done

    def look(self) -> None:
        """Read what the iterations since the last look left on the device, of all ranks.

        Raises:
            GoBack: something went wrong.
        """
        if not self._waiting:
            return
        # (ranks, iterations, terms)
        values = _of_all_ranks(torch.stack(list(self._waiting.values())))
        iterations, self._waiting = list(self._waiting), {}
        for iteration, terms in zip(iterations, values.transpose(0, 1), strict=True):
            bad = [n for n, v in zip(self._names, terms.T, strict=True) if not v.isfinite().all()]
            bad = self._without_overflow(bad)
            # A bad term makes its sum and the gradient bad: it is the one to be named.
            bad = [n for n in bad if n not in ("loss", "grad_norm")] or bad
            if bad:
                kinds = {n: terms[:, self._names.index(n)].tolist() for n in bad}
                reason = ", ".join(f"{n} is {_first_bad(v)}" for n, v in kinds.items())
                self._act(iteration, reason, "nonfinite")
            loss = terms[:, self._names.index("loss")].mean().item()
            usual = median(self._recent) if len(self._recent) >= _FEWEST else math.inf
            self._recent.append(loss)
            if loss > self.policy.factor * usual:
                reason = f"loss is {loss:.4g}, {loss / usual:.0f} times its recent median"
                self._act(iteration, reason, "spike")

    def _without_overflow(self, bad: list[str]) -> list[str]:
        """What is bad beside a gradient that overflows in float16.

        Its scaler leaves such a step out, and scales less; where that does not help, it is bad.
        """
        if not self.model.precision.scaler.is_enabled():
            return bad
        self._overflows = self._overflows + 1 if "grad_norm" in bad else 0
        if self._overflows >= _MOST_OVERFLOWS:
            return bad
        return [name for name in bad if name != "grad_norm"]

    def _act(self, iteration: int, reason: str, kind: str) -> None:
        if self._action(kind) == "report":
            _LOGGER.warning("iteration %d: %s", iteration + 1, reason)
            return
        _LOGGER.warning(
            "iteration %d: %s. Going back to the last state to look at it", iteration + 1, reason
        )
        self.incidents.examine = dict(iter=iteration, reason=reason, kind=kind)
        self._save_incidents()
        raise GoBack

    def _action(self, kind: str) -> str:
        return getattr(self.policy, kind)

    def _examine(self, iteration: int, batch: dict[str, Any], wanted: dict[str, Any]) -> None:
        """Take the step's gradient, write down what is wrong with it, and decide."""
        self.incidents.examine = None
        action = self._action(wanted["kind"])
        if action == "report":  # it was another when the run went back
            self._save_incidents()
            return
        file = self.folder / "diagnosis" / f"iter_{iteration + 1:07d}.json"
        reports = ranks.of_all(diagnose(self.model, batch, iteration, self.begun.seed))
        if ranks.rank() == 0:
            lr = self.optimizer.param_groups[0]["lr"]
            write_json(file, {**wanted, "action": action, "lr": lr, "ranks": reports})
            self._keep_state(file)
        again = [report for report in reports if not_finite_in(report)]
        seen = wanted["kind"] == "spike" or bool(again)
        reason = f"iteration {iteration + 1}: {wanted['reason']}"
        what = summary(again) if seen else "; looked at, it did not happen again"
        message = f"{reason}{what}. See {file}"
        if seen and action == "stop":
            # What is saved still asks for a look: a resumed run takes it, and its own action.
            raise FGDError(
                f"{message}. Its last state is kept. Find out why (learning rate, data, "
                "precision), or let the suite's `watch` section leave such batches out"
            )
        if len(self.incidents.reasons) >= self.policy.most:
            if not seen:
                self._save_incidents()  # a resumed run goes on: there was nothing
            raise FGDError(
                f"{message}. The run has left batches out or gone back in vain {self.policy.most} "
                f"times already: look at what {file.parent} says of them. The suite's watch.most "
                "is how often it may"
            )
        self.incidents.reasons.append(reason)
        if seen:
            self._leave_out(iteration, action, message)
        else:
            self._save_incidents()
            _LOGGER.warning("%s. The run goes on", message)

    def _leave_out(self, iteration: int, action: str, message: str) -> None:
        first = iteration if action == "skip" else self._last_state
        self.incidents.left_out += range(first, iteration + 1)
        self._save_incidents()
        _LOGGER.warning("%s. Left out: iterations %d to %d", message, first + 1, iteration + 1)
        if first < iteration:
            raise GoBack

    def _save_incidents(self) -> None:
        if ranks.rank() == 0:
            self.incidents.save(self.folder)

    def _keep_state(self, file: Path) -> None:
        """The state from which the iteration can be trained again, beside its diagnosis."""
        state = self.folder / f"iter_{self._last_state:07d}.pth"
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
