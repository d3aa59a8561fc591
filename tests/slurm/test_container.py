"""Ranks in a container of Apptainer's, in jobs of a real Slurm: undisturbed, and after faults.

The image has this machine's own /usr, so that nothing has to be fetched: Apptainer, the process
that mounts the image, and Slurm's signals are tried. Another system's packages are not.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from slurm_project import BIN, restarts

PROGRAMS = ("apptainer", "mksquashfs", "squashfuse_ll")
FOLDERS = ("dev", "etc", "proc", "root", "sys", "tmp", "usr", "var/tmp")


@pytest.fixture(scope="session")
def image(tmp_path_factory) -> Path:
    """A squashfs with an empty system in it, but for its PATH."""
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        pytest.skip(f"needs {', '.join(missing)} on the PATH: Debian sid has them")
    system = tmp_path_factory.mktemp("image") / "system"
    for folder in (*FOLDERS, ".singularity.d/env"):
        (system / folder).mkdir(parents=True)
    for folder in ("bin", "lib", "lib64", "sbin"):
        (system / folder).symlink_to(f"usr/{folder}")
    (system / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (system / "etc/group").write_text("root:x:0:\n")
    settings = system / ".singularity.d/env"
    (settings / "90-environment.sh").write_text(f"export PATH={BIN}:$PATH\n")
    (settings / "99-base.sh").touch()  # where it is not, Apptainer passes --env over
    packed = system.with_suffix(".sqsh")
    subprocess.run(["mksquashfs", system, packed], check=True, capture_output=True)
    return packed


@pytest.fixture
def contained(project, image, monkeypatch):
    """Makes a training of two ranks on two nodes, in the container."""
    # As for users without rights on a node: a process mounts the image, not the kernel.
    monkeypatch.setenv("APPTAINER_USERNS", "1")
    packages = [Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()]
    shown = ["/usr", *(str(path) for path in packages if not path.is_relative_to("/usr"))]

    def make(name, *epochs, **settings):
        settings |= dict(container=str(image), container_binds=shown)
        return project.run(f"container_{name}", 2, *epochs, **settings)

    return make


def mounts(run) -> list[str]:
    """The mount namespaces of the two ranks, which a container has for itself."""
    run.wait_for(lambda: len(run.ranks()) == 2)
    return [os.readlink(f"/proc/{pid}/ns/mnt") for pid in run.ranks()]


def test_two_ranks_train_in_it(contained, survives):
    def disturb(run):
        run.reach(20)
        assert len({*mounts(run), os.readlink("/proc/self/ns/mnt")}) == 3
        run.go_on()

    run = survives("none, in a container", contained("whole"), 2, disturb)
    assert len(run.attempts) == 1
    assert restarts(run.job_id) == 0


def test_its_time_limit_is_reached(contained, project, survives):
    # The rank asks its job's script, outside, to requeue; the image stays mounted till then.
    epochs = project.epochs_of(seconds=50)
    run = contained("timeout", epochs, timeout_min=1, signal_delay_s=10, max_timeouts=60)
    survives("time limit, in a container", run, 2, lambda run: run.never_wait(), epochs)
    assert len(run.attempts) == 1
    assert restarts(run.job_id) >= 1
    # Nothing of what Slurm ends with the requeued job is told as a failure.
    errors = (run.folder / f"fgd/jobs/{run.job_id}_0_log.err").read_text()
    assert "Traceback" not in errors


def test_the_launcher_is_killed_and_then_a_rank(contained, survives):
    def disturb(run):
        run.reach(20)
        run.kill()
        run.start()
        run.reach(40)
        os.kill(run.ranks()[-1], signal.SIGKILL)
        run.go_on()

    run = survives("SIGKILL of both, in a container", contained("killed"), 2, disturb)
    assert "found job" in run.text
    assert "was killed" in run.text
    assert len(run.attempts) == 2
