"""What every rank of a job runs."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submitit import JobEnvironment
from submitit.core.utils import DelayedSubmission
from submitit.helpers import TorchDistributedEnvironment

from cluster import container, devices

# For how long a rank of an earlier start may go on: of a node that comes back, Slurm ends what is
# left there after the training has started anew.
_LEAVING_S = 180


@dataclass(frozen=True)
class TrainingTask:
    """A training, as `fgd train` runs it, in every task of a submitit job.

    It can be called again after any interruption: training resumes from its work folder.

    Attributes:
        config, work_dir, out: what `fgd train` takes.
        fingerprint: of the config when the job was submitted; empty in a job of an earlier version.
        gpus: on this machine, one for each rank; none to train on the CPU.
        wants_gpu: whether it would take days on the CPU of a node whose GPUs torch does not find;
            on this machine `gpus` decides.
    """

    config: Path
    work_dir: Path
    out: Path
    fingerprint: str = ""
    gpus: tuple[devices.Gpu, ...] = ()
    wants_gpu: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # As text: an image's Python may be older than 3.13, which names a module for a Path that
        # others do not have.
        paths = (str(self.config), str(self.work_dir), str(self.out))
        return _task, (type(self), *paths, self.fingerprint, self.gpus, self.wants_gpu)

    def __call__(self) -> None:
        """Train as one rank of the job.

        Raises:
            FGDError: the training is not possible, is no longer the one that was submitted, or the
                node's GPUs are not there.
        """
        container.find_commands(os.environ)
        # An earlier start of the same job may have left an error there.
        JobEnvironment().paths.result_pickle.unlink(missing_ok=True)
        if JobEnvironment().cluster == "local":
            self._take_gpu()
        # All GPUs of the node stay visible: NCCL's fast paths between them need that.
        TorchDistributedEnvironment().export(set_cuda_visible_devices=False, overwrite=True)
        # Read when torch is imported, which happens below.
        os.environ.setdefault("OMP_NUM_THREADS", os.environ.get("SLURM_CPUS_PER_TASK", "1"))

        from fgd import compat

        compat.prepare()  # before what follows imports mmcv
        from fgd.errors import FGDError
        from fgd.fingerprint import fingerprint
        from fgd.progress import log_to
        from fgd.training import train

        log_to(sys.stdout)
        if self.wants_gpu and JobEnvironment().cluster != "local":
            _check_gpu()
        if self.fingerprint and fingerprint(self.config) != self.fingerprint:
            raise FGDError(
                f"{self.config}: the weights that this training starts from, its annotations or "
                "the version of the method have changed since the job was submitted. Give the same "
                "command again to train with them as they are now"
            )
        train(self.config, self.work_dir, self.out, patience_s=_LEAVING_S)
        # Nothing is left to be saved. While it ends, Python gives signals their default action back
        # (but not to ignored ones): submitit's would kill the rank, and its job would have failed.
        signal.signal(getattr(signal, f"SIG{JobEnvironment.USR_SIG}"), signal.SIG_IGN)

    def _take_gpu(self) -> None:
        """Hold this rank's GPU, and show all of the job's: submitit hides them.

        Before torch is imported, which reads the variable once.
        """
        if self.gpus:
            devices.hold(self.gpus[JobEnvironment().local_rank])
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.name for gpu in self.gpus)

    def checkpoint(self) -> DelayedSubmission:
        """Called by submitit before it requeues the job: the work folder holds what is needed."""
        return DelayedSubmission(self)


def _task(
    kind: type[TrainingTask],
    config: str,
    work_dir: str,
    out: str,
    fingerprint: str,
    gpus: tuple[devices.Gpu, ...],
    wants_gpu: bool = False,  # a job of before says nothing of it
) -> TrainingTask:
    return kind(Path(config), Path(work_dir), Path(out), fingerprint, gpus, wants_gpu)


def _check_gpu() -> None:
    """Whether torch finds a GPU.

    Raises:
        FGDError: it does not.
    """
    import torch

    from fgd.errors import FGDError

    if not torch.cuda.is_available():
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "no GPU")
        raise FGDError(
            f"torch {torch.__version__} finds no GPU on {os.uname().nodename}, where Slurm gave "
            f"the job {given}: `fgd doctor` there says why (a driver, or a torch for other cards). "
            "Leave the node out by cluster.exclude, or train on CPUs by cluster.gpus_per_node: 0"
        )
