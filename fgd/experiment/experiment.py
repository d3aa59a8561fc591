"""What planning has to know of a suite."""

from dataclasses import dataclass

from fgd.errors import FGDError
from fgd.suite import ARMS, Run, Suite
from fgd.suite.layout import Layout
from fgd.suite.plan import Plan, RowPlan, SplitFiles, Teacher, TrainedHere


@dataclass(frozen=True)
class Experiment:
    """A suite, and what was found when its configs were composed.

    Attributes:
        suite: what its file says.
        plan: rows, teachers and backbones, and where each comes from.
        splits: the files of "train" and "val".
        digests: a hash of every training's configs, by its folder in the results.
    """

    suite: Suite
    plan: Plan
    splits: dict[str, SplitFiles]
    digests: dict[str, str]

    @property
    def layout(self) -> Layout:
        """Where everything lies."""
        return self.suite.layout

    def row(self, name: str) -> RowPlan:
        """A row by its name.

        Raises:
            FGDError: there is none.
        """
        if name not in self.plan.rows:
            raise FGDError(f"suite {self.suite.name} has no row {name!r}")
        return self.plan.rows[name]

    def teacher(self, name: str) -> Teacher:
        """A teacher by its name.

        Raises:
            FGDError: there is none.
        """
        if name not in self.plan.teachers:
            raise FGDError(f"suite {self.suite.name} has no teacher {name!r}")
        return self.plan.teachers[name]

    def run(self, row: str, name: str) -> Run:
        """A row's run by what it is called in a path, "fgd" or "baseline/seed1".

        Raises:
            FGDError: there is none.
        """
        row = self.row(row).name
        runs = {
            self.layout.run_name(arm, seed): Run(row, arm, seed)
            for arm in ARMS
            for seed in self.suite.seeds
        }
        if name in runs:
            return runs[name]
        arm, _, seed = name.partition("/")
        if seed == f"seed{self.suite.seed}":
            raise FGDError(
                f"{row}/{name}: the suite's first seed needs no folder of its own, ask for "
                f"{row}/{arm}"
            )
        raise FGDError(f"suite {self.suite.name} has no run {row}/{name}; it has {', '.join(runs)}")

    @property
    def runs(self) -> list[Run]:
        """Every training of the rows, row by row; a baseline that rows share is the one's alone."""
        return [
            Run(name, arm, seed)
            for name, row in self.plan.rows.items()
            for arm in ARMS
            if row.trained_by(arm) == name
            for seed in self.suite.seeds
        ]

    def runs_of(self, row: RowPlan) -> dict[str, Run]:
        """The runs that a row's metrics are of, by their names; of a shared baseline the other's.

        As the table has them: for every seed baseline and FGD.
        """
        return {
            self.layout.run_name(arm, seed): Run(row.trained_by(arm), arm, seed)
            for seed in self.suite.seeds
            for arm in reversed(ARMS)
        }

    def publishes(self, kind: str, name: str) -> bool:
        """Whether the suite trains and publishes one of its "teachers" or "backbones" itself."""
        if kind == "teachers":
            return isinstance(self.teacher(name).source, TrainedHere)
        return self.suite.trains_backbones
