"""From a suite's file to its experiment."""

from pathlib import Path

from fgd.experiment.experiment import Experiment
from fgd.suite import Suite, load_suite


def load_experiment(suite: Suite | str | Path) -> Experiment:
    """A suite, or the one of a file, with everything that planning has to know of it.

    Raises:
        FGDError: the suite is wrong, or one of its rows does not fit together.
    """
    return _composed(suite if isinstance(suite, Suite) else load_suite(suite))


def _composed(suite: Suite) -> Experiment:
    from fgd import recipe

    plan = recipe.plan(suite)
    return Experiment(suite, plan, recipe.split_files(suite), recipe.digests(suite, plan))
