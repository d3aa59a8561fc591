"""From a suite's file to its experiment."""

from pathlib import Path

from fgd.experiment import cache
from fgd.experiment.experiment import Experiment
from fgd.experiment.inputs import deciding, recorded
from fgd.suite import Suite, load_suite


def load_experiment(suite: Suite | str | Path) -> Experiment:
    """A suite, or the one of a file, with everything that planning has to know of it.

    Raises:
        FGDError: the suite is wrong, or one of its rows does not fit together.
    """
    suite = suite if isinstance(suite, Suite) else load_suite(suite)
    return cache.read(suite) or _composed(suite)


def _composed(suite: Suite) -> Experiment:
    from fgd import recipe  # imports mmcv, and with it torch
    from fgd.configs import read_once

    with recorded() as seen, read_once():
        plan = recipe.plan(suite)
        found = Experiment(suite, plan, recipe.split_files(suite), recipe.digests(suite, plan))
    files = deciding(seen)
    if files is not None:
        cache.write(found, files)
    return found
