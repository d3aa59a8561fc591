"""A distillation small enough to be run a dozen times, and a way to watch and disturb it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
import yaml
from mmdet.models import build_detector

from fgd import progress, recipe
from fgd.mini import digits
from fgd.suite import load_suite

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TESTBED = ROOT / "cluster" / "testbed" / "testbed.py"
ROW = "retinanet_r50"
# A busy machine is slow, and nothing is timed here: what nothing happens in for so long is stuck.
_PATIENCE_S = 300
EPOCHS = 8  # of ten iterations
_IMAGES = 40  # of an epoch
_SIDE = 64  # pixels of the images: a step is short, and what surrounds it is what is tested


class Run:
    """One training on Slurm, in a folder of its own.

    `during_write`: whether `reach` also waits for a state being written, and stops rank 0 there.
    """

    def __init__(self, folder: Path, suite: Path, config: Path, during_write: bool) -> None:
        self.folder = folder
        self.work_dir = folder / "fgd" / "run"
        self.out = folder / "fgd" / "trained.pth"
        self.suite, self.config = suite, config
        self.process: subprocess.Popen | None = None
        self.during_write = during_write
        self._frozen: int | None = None

    def start(self) -> "Run":
        """Start the launcher, in a process group of its own as a terminal would."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            BIN / "fgd-cluster",
            "train",
            self.suite,
            ROW,
            self.config,
            "--arm=fgd",
            "--on=slurm",
        ]
        command += ["--work-dir", self.work_dir, "--out", self.out]
        log = (self.folder / "log.txt").open("a")
        self.process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        return self

    @property
    def text(self) -> str:
        """What the launchers have printed."""
        return (self.folder / "log.txt").read_text()

    @property
    def attempts(self) -> list[dict]:
        """The training's jobs."""
        file = self.folder / "fgd" / "jobs" / "job.json"
        return json.loads(file.read_text())["attempts"] if file.exists() else []

    @property
    def job_id(self) -> str:
        """Of the newest job."""
        return self.attempts[-1]["job_id"]

    @property
    def iteration(self) -> int:
        """The last one that was logged."""
        entries = progress.read(self.work_dir)
        return entries[-1]["iter"] if entries else 0

    def reach(self, iteration: int) -> None:
        """Wait until training has come so far; see `during_write`, and `go_on` after the fault."""
        self.wait_for(lambda: self.iteration >= iteration)
        if not self.during_write:
            return
        writer = self.ranks()[0]
        while self._frozen is None:
            # Often: a write is over in some milliseconds, and states are written all the time.
            assert self.process.poll() is None, f"the launcher has ended:\n{self.text}"
            if self._writes():
                os.kill(writer, signal.SIGSTOP)
                self._frozen = writer
                if not self._writes():  # too late
                    self.go_on()

    def go_on(self) -> None:
        """Let rank 0 go on with its write, if it was stopped there and still exists."""
        stopped, self._frozen = self._frozen, None
        if stopped is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGCONT)

    def _writes(self) -> bool:
        return any(self.work_dir.glob(".iter_*.part"))

    def wait_for(self, condition) -> None:
        """Wait until something holds while the launcher runs, as long as anything happens."""
        for _ in self._while_it_goes_on():
            if condition():
                return
            assert self.process.poll() is None, f"the launcher has ended:\n{self.text}"

    def _while_it_goes_on(self) -> Iterator[None]:
        """Again and again; an assertion fails when nothing has happened for a long time."""
        before, since, looked = None, time.monotonic(), 0.0
        while True:
            yield
            time.sleep(0.1)
            if time.monotonic() < looked + 2:
                continue
            looked = time.monotonic()
            now = (self.text, self.iteration, _squeue().stdout)  # which may not answer
            if now != before:
                before, since = now, looked
            assert looked < since + _PATIENCE_S, f"nothing happens any more:\n{self.text}"

    def restart_now(self) -> None:
        """Let a requeued job start soon: Slurm lets it wait for two minutes."""
        job_id = self.job_id
        self.wait_for(lambda: hurry(job_id, set()))

    def never_wait(self) -> None:
        """Let the job start soon whenever it was requeued, until the launcher ends."""
        hurried: set[tuple[str, str]] = set()
        while self.process.poll() is None:
            if self.attempts:
                hurry(self.job_id, hurried)
            time.sleep(1)

    def end(self) -> int:
        """Wait for the launcher's end, as long as anything happens; its status."""
        try:
            for _ in self._while_it_goes_on():
                if (status := self.process.poll()) is not None:
                    return status
        except AssertionError:
            self.kill()
            subprocess.run(["scancel", self.job_id])  # not to disturb the tests after this one
            raise

    def finish(self) -> "Run":
        """Wait for the launcher's success."""
        assert self.end() == 0, self.text
        return self

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Signal the launcher's process group and wait for its end."""
        os.killpg(self.process.pid, number)
        return self.process.wait(60)

    def student(self) -> dict[str, torch.Tensor]:
        """The trained weights."""
        return torch.load(self.out)["state_dict"]

    def ranks(self) -> list[int]:
        """Process numbers of the newest job's tasks on this machine, by rank."""
        return ranks(self.job_id)


class Project:
    """The training that is disturbed, on one node and on two."""

    def __init__(self, folder: Path, during_write: bool) -> None:
        self.folder = folder
        self._during_write = during_write
        digits.write(folder / "data", train=_IMAGES, val=4, size=_SIDE)
        mini = (ROOT / "configs/datasets/mini.py").read_text()
        self._dataset = folder / "dataset.py"
        self._dataset.write_text(
            mini.replace("img_scale=(128, 128)", f"img_scale=({_SIDE}, {_SIDE})")
        )
        self._undisturbed: dict[tuple[int, int], dict] = {}
        self._count = 0

    def suite(self, nodes: int = 1, samples: int = 4, **cluster) -> Path:
        """A suite file of the mini suite, on so many nodes."""
        content = yaml.safe_load((ROOT / "configs/suites/mini.yaml").read_text())
        content |= dict(
            results=str(self.folder / "results"),
            dataset=str(self._dataset),
            data_root=str(self.folder / "data"),
            samples_per_gpu=samples,
            checkpoint_interval=10,
            log_interval=1,
        )
        content["mini"]["student"]["epochs"] = 1
        content["cluster"] = dict(
            nodes=nodes, gpus_per_node=1, cpus_per_task=1, mem_gb=4, timeout_min=30, poll_s=0.5
        )
        content["cluster"] |= cluster
        self._count += 1
        path = self.folder / f"suite{self._count}.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    def config(self, suite: Path, epochs: int) -> Path:
        """The row's training config, with random weights where downloads would be."""
        loaded = load_suite(suite)
        composed = recipe.compose(loaded, recipe.load_row(ROW), "fgd")
        composed.training.runner.max_epochs = epochs
        torch.manual_seed(0)
        self._save(composed.detector.model.backbone, composed.detector.model)
        teacher = recipe.compose_teacher(loaded, recipe.load_row(ROW).teacher).training.model
        path = Path(composed.training.model.teacher_checkpoint)
        if not path.exists():
            teacher.backbone.init_cfg = None
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"state_dict": build_detector(teacher).state_dict()}, path)
        # One file a length, so that every run of it has the same fingerprint.
        config = self.folder / f"config_{epochs}_{loaded.total_batch}.py"
        if not config.exists():
            composed.training.dump(str(config))
        return config

    def _save(self, backbone: dict, model: dict) -> None:
        path = Path(backbone["init_cfg"]["checkpoint"])
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            plain = dict(model, backbone=dict(backbone, init_cfg=None))
            torch.save({"state_dict": build_detector(plain).backbone.state_dict()}, path)

    def run(self, name: str, nodes: int = 1, epochs: int = EPOCHS, **settings) -> Run:
        """A training of 10 iterations an epoch; not yet started."""
        suite = self.suite(nodes, **settings)
        config = self.config(suite, epochs)
        return Run(self.folder / f"{name}_{nodes}", suite, config, self._during_write)

    def undisturbed(self, nodes: int, epochs: int = EPOCHS) -> dict[str, torch.Tensor]:
        """The student of a run that nothing happens to."""
        if (nodes, epochs) not in self._undisturbed:
            run = self.run(f"undisturbed{epochs}", nodes, epochs).start().finish()
            self._undisturbed[nodes, epochs] = run.student()
        return self._undisturbed[nodes, epochs]

    def epochs_of(self, seconds: float) -> int:
        """So many that one process, which nothing happens to, trains about so long here."""
        self.undisturbed(1)
        log = progress.read(self.folder / f"undisturbed{EPOCHS}_1" / "fgd" / "run")
        return round(seconds * median(entry["images_per_second"] for entry in log) / _IMAGES)


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The largest relative difference of two students; 0 if every bit agrees."""
    assert a.keys() == b.keys()
    pairs = ((a[key].double(), b[key].double()) for key in a)
    return max(float((x - y).abs().max() / y.abs().max().clamp(min=1e-12)) for x, y in pairs)


def scontrol(*arguments: str) -> None:
    """Run scontrol."""
    subprocess.run(["scontrol", *arguments], check=True, capture_output=True)


def ranks(job_id: str) -> list[int]:
    """Process numbers of a job's tasks on this machine, by rank."""
    found = {}
    listed = subprocess.run(
        ["pgrep", "-f", "python.* -m submitit.core._submit"], capture_output=True, text=True
    )
    for pid in listed.stdout.split():
        try:
            text = Path(f"/proc/{pid}/environ").read_text(errors="replace")
            name = Path(f"/proc/{pid}/comm").read_text()
        except OSError:  # it has just ended
            continue
        variables = dict(item.partition("=")[::2] for item in text.split("\0"))
        # The batch shell and srun have the words in their command lines, too.
        if "python" in name and variables.get("SLURM_JOB_ID") == job_id:
            found[int(variables["SLURM_PROCID"])] = int(pid)
    return [pid for _, pid in sorted(found.items())]


def hurry(job_id: str, hurried: set[tuple[str, str]]) -> bool:
    """Let a job that waits for its start have it in two seconds; whether it did wait.

    In the second of a requeue a node takes the job for the one that it has just ended: it fails.

    Args:
        hurried: the job's starts that were hurried before: once is enough.
    """
    shown = dict(item.partition("=")[::2] for item in show(job_id).split())
    start = (job_id, shown.get("Restarts", ""))
    if shown.get("JobState") != "PENDING" or start in hurried:
        return False
    command = ["scontrol", "update", f"jobid={job_id}", "StartTime=now+2"]
    if subprocess.run(command, capture_output=True).returncode:  # it has started by now
        return False
    hurried.add(start)
    return True


def show(job_id: str) -> str:
    """What scontrol says of a job; empty while it does not answer."""
    command = ["scontrol", "show", "job", "--oneliner", job_id]
    return subprocess.run(command, capture_output=True, text=True).stdout


def restarts(job_id: str) -> int:
    """How often Slurm has started a job anew."""
    return int(show(job_id).split("Restarts=")[1].split()[0])


def queue() -> str:
    """What is left in Slurm's queue."""
    done = _squeue()
    done.check_returncode()
    return done.stdout


def _squeue() -> subprocess.CompletedProcess[str]:
    command = ["squeue", "--noheader", "--format=%i %T %r"]
    return subprocess.run(command, capture_output=True, text=True)


def operate(*arguments: str) -> None:
    """Run the testbed's script."""
    subprocess.run([sys.executable, TESTBED, *arguments], check=True, capture_output=True)
