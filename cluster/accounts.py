"""Whether Slurm takes single jobs under a suite's account.

Snakemake's Slurm executor asks when it submits, in a thread whose errors nobody hears, and then
waits for ever.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from fgd.errors import FGDError
from fgd.suite import Suite


def check(suite: Suite, path: str | Path, test: Callable[[str], object]) -> None:
    """Refuse an account that Snakemake's Slurm executor would not take.

    Args:
        path: the suite's file, for the error.
        test: the executor's own test of an account; raises if it does not take it.

    Raises:
        FGDError: it is unknown to Slurm, or none is given and Slurm cannot be asked for one.
    """
    account = suite.cluster.account if suite.cluster else None
    origin = f"{path}: cluster.account"
    if not account and shutil.which("sacct") is None:
        raise FGDError(
            f"{origin}: none is given, and Snakemake's Slurm executor asks `sacct` for your last "
            "one, which is not on this machine. Is this the cluster's login node? Where there is "
            "no accounting, see docs/cluster.md"
        )
    if not account:
        return
    try:
        test(account)
    except Exception as error:  # Snakemake's own kind, or a command that is not there
        said = " ".join(str(error).removeprefix("WorkflowError:").split()).rstrip(".")
        raise FGDError(
            f"{origin} ({account}): {said}. Name one of yours, or leave it out if your cluster "
            "wants none"
        ) from None
