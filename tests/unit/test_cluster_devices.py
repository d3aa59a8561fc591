"""GPUs of a machine are reserved for one training at a time: real processes, GPUs by name alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
import torch

from cluster import devices
from cluster.devices import Gpu
from cluster.executors import Local
from fgd.errors import FGDError

# A launcher: it starts a training that takes its GPUs, says so and waits to be told to end.
LAUNCHER = """
import logging, sys, time
from pathlib import Path
from submitit import JobEnvironment
from cluster.devices import Gpu
from cluster.executors import Local
from cluster.settings import ClusterSettings
from cluster.task import TrainingTask

class Waiting(TrainingTask):
    def __call__(self):
        self._take_gpu()
        import os
        rank = JobEnvironment().global_rank
        (self.work_dir / f"rank{rank}").write_text(os.environ["CUDA_VISIBLE_DEVICES"])
        while not (self.work_dir / "end").exists():
            time.sleep(0.1)

name, folder, processes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
gpus = [Gpu(gpu, sys.argv[5] + gpu) for gpu in sys.argv[4].split(",") if gpu]
logging.basicConfig(level=logging.INFO, filename=folder / "log")
place = Local(lambda: gpus)
task = Waiting(Path("config.py"), folder, Path("final.pth"), "abc")
settings = ClusterSettings(gpus_per_node=processes)
job = place.submit(task, settings=settings, name=name, folder=folder / "jobs")
(folder / "job").write_text(job)
while place.state(job, name, folder / "jobs").state == "RUNNING":
    time.sleep(0.1)
"""


class Training:
    """A launcher in a process of its own, and what it started."""

    def __init__(self, folder, processes, gpus, machine):
        folder.mkdir()
        self.folder = folder
        self.name = uuid4().hex  # no other test's, which may run at the same time
        command = [sys.executable, "-c", LAUNCHER, self.name, folder, processes, gpus, machine]
        # As in two sessions of a machine, each with temporary files of its own.
        environment = os.environ | {"TMPDIR": str(folder)}
        self.launcher = subprocess.Popen([*map(str, command)], env=environment)

    @property
    def gpus(self):
        """What its first process sees; None before it has started."""
        file = self.folder / "rank0"
        return file.read_text() if file.exists() else None

    @property
    def log(self):
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""

    def end(self):
        (self.folder / "end").touch()


def wait_for(condition):
    """Wait until something is true; a machine that never comes so far is an error."""
    end = time.monotonic() + 300
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts trainings, on GPUs on which no other test trains; ends them after the test."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    machine = f"{uuid4().hex}/"
    started = []

    def begin(processes=1, gpus="0"):
        training = Training(tmp_path / f"training{len(started)}", processes, gpus, machine)
        started.append(training)
        return training

    yield begin
    for training in started:
        training.end()
        for job_id in Local().lost(training.name):
            os.kill(int(job_id.split("@")[0]), signal.SIGINT)
        training.launcher.kill()
        training.launcher.wait()


def test_trainings_never_share_a_gpu_and_wait_for_one(start):
    trainings = [start(gpus="0,1") for _ in range(3)]
    wait_for(lambda: sum(training.gpus is not None for training in trainings) == 2)
    running = [training for training in trainings if training.gpus is not None]
    assert {training.gpus for training in running} == {"0", "1"}
    (last,) = (training for training in trainings if training.gpus is None)
    wait_for(lambda: "waiting for a free GPU: 2 of 2 are used by other trainings" in last.log)
    assert last.gpus is None
    running[1].end()
    wait_for(lambda: last.gpus is not None)
    assert last.gpus == running[1].gpus
    assert last.log.count("waiting") == 1


def test_a_training_keeps_its_gpus_when_its_launcher_is_killed(start):
    first = start(processes=2, gpus="2,5")
    wait_for(lambda: (first.folder / "job").exists())
    first.launcher.kill()
    first.launcher.wait()
    assert first.gpus == "2,5"
    second = start(gpus="5")
    wait_for(lambda: "waiting for a free GPU: 1 of 1 is used by other trainings" in second.log)
    assert second.gpus is None
    first.end()
    wait_for(lambda: second.gpus == "5")


def test_without_a_gpu_trainings_run_beside_each_other_and_are_found_by_name(start):
    trainings = [start(processes=2, gpus="") for _ in range(2)]
    for training in trainings:
        wait_for(lambda training=training: training.gpus == "")
        job_id = wait_for((training.folder / "job").read_text)
        assert Local().lost(training.name) == [job_id]
    assert Local().lost("training") == []


def test_more_processes_than_gpus_are_refused():
    with (
        pytest.raises(FGDError, match=r"gpus \(8\) ask.*machine has 2 \(0, 3\).*samples_per_gpu"),
        devices.reserve(8, [Gpu("0", "a"), Gpu("3", "b")]),
    ):
        pass


# Not what is tested here decides on the machine.
without_a_gpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason="needs a machine without a GPU"
)


@without_a_gpu
@pytest.mark.parametrize("driver", [None, True])
@pytest.mark.parametrize("named", [None, "0,1"])
def test_a_machine_without_gpus_has_none_whatever_is_named(monkeypatch, named, driver):
    """Whether its driver is looked for, or torch is asked as on a machine that has one."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    if driver is not None:
        monkeypatch.setattr(devices, "_has_driver", lambda: driver)
    assert devices.visible() == []


def test_none_is_visible_where_none_is_named(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.visible() == []


def test_without_a_driver_torch_is_not_asked(monkeypatch):
    """It would take seconds."""

    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(devices, "_ASKED", "raise SystemExit('torch was asked')")
    monkeypatch.setattr(devices.ctypes, "CDLL", missing)
    monkeypatch.setattr(devices, "_AMD", Path("/nowhere"))
    assert devices.visible() == []
    monkeypatch.setattr(devices, "_AMD", Path("/dev/null"))
    with pytest.raises(FGDError, match="torch was asked"):
        devices.visible()


def test_gpus_have_the_names_that_the_user_gave_them_and_what_torch_knows_them_by(monkeypatch):
    # In place of torch's answer, which needs GPUs.
    monkeypatch.setattr(devices, "_has_driver", lambda: True)
    monkeypatch.setattr(devices, "_ASKED", "print('a warning'); print(2, 'c4f9-01', 'c4f9-02')")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.visible() == [Gpu("0", "c4f9-01"), Gpu("1", "c4f9-02")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, MIG-1f,-1")
    assert devices.visible() == [Gpu("3", "c4f9-01"), Gpu("MIG-1f", "MIG-1f")]


@pytest.mark.parametrize("answer", ["2", "2 0000-00 0000-00"])
def test_where_torch_knows_no_identities_a_gpu_is_known_by_its_name_in_its_job(monkeypatch, answer):
    monkeypatch.setattr(devices, "_has_driver", lambda: True)
    monkeypatch.setattr(devices, "_ASKED", f"print('{answer}')")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert devices.visible() == [Gpu("0", "0"), Gpu("1", "1")]
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert devices.visible() == [Gpu("0", "job 7 0"), Gpu("1", "job 7 1")]


def test_torch_has_what_it_is_asked_for():
    """Its builds for CUDA know the class whether or not there is a GPU."""
    properties = getattr(torch._C, "_CudaDeviceProperties", None)
    if properties is None:
        pytest.skip("needs a torch for CUDA")
    assert hasattr(properties, "uuid")


def test_a_launcher_that_waits_for_another_to_choose_says_so(monkeypatch, caplog):
    monkeypatch.setattr(devices, "_CHOOSING", uuid4().hex)  # no other test's
    monkeypatch.setattr(devices, "_PATIENCE_S", 0)
    other = devices._claim(devices._CHOOSING)
    monkeypatch.setattr(time, "sleep", lambda _: other.close())
    gpu = Gpu("0", uuid4().hex)
    with caplog.at_level("INFO", "fgd.cluster"), devices.reserve(1, [gpu]) as gpus:
        assert gpus == (gpu,)
    assert "waiting for another launcher" in caplog.text
