"""A suite with everything that planning has to know of it, and what that means for each job.

Composing takes mmcv and with it torch. What it found is kept in a cache, so that planning again, in
every job of a cluster for example, imports neither.
"""

from fgd.experiment.experiment import Experiment
from fgd.experiment.loading import load_experiment

__all__ = ["Experiment", "load_experiment"]
