"""What every rank of a job runs."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from submitit import JobEnvironment
from submitit.core.utils import DelayedSubmission
from submitit.helpers import TorchDistributedEnvironment

# For how long a rank of an earlier start may go on: of a node that comes back, Slurm ends what is
# left there after the training has started anew.
_LEAVING_S = 180


@dataclass(frozen=True)
class TrainingTask:
    """A training, as `fgd train` runs it, in every task of a submitit job.

    It can be called again after any interruption: training resumes from its work folder.

    Attributes:
        config, work_dir, out: what `fgd train` takes.
        visible_devices: on this machine, the launcher's CUDA_VISIBLE_DEVICES; None if it has none.
    """

    config: Path
    work_dir: Path
    out: Path
    visible_devices: str | None = None

    def __call__(self) -> None:
        """Train as one rank of the job.

        Raises:
            FGDError: the training is not possible.
        """
        self._show_devices()
        # All GPUs of the node stay visible: NCCL's fast paths between them need that.
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        # Read when torch is imported, which happens below.
        os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("SLURM_CPUS_PER_TASK", "1"))

        from fgd import compat
        from fgd.progress import log_to
        from fgd.train import train

        compat.quiet()
        log_to(sys.stdout)
        train(self.config, self.work_dir, self.out, patience_s=_LEAVING_S)
        # Nothing is left to be saved. While it ends, Python gives signals their default action back
        # (but not to ignored ones): submitit's would kill the rank, and its job would have failed.
        signal.signal(getattr(signal, f"SIG{JobEnvironment.USR_SIG}"), signal.SIG_IGN)

    def _show_devices(self) -> None:
        """submitit hides all GPUs from its local tasks: show those that the launcher saw.

        Before torch is imported, which reads the variable once.
        """
        if JobEnvironment().cluster != "local":
            return
        if self.visible_devices is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = self.visible_devices

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit before it requeues the job: the work folder holds what is needed."""
        return DelayedSubmission(self)
