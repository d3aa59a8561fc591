"""A real Slurm for the tests, and the table of faults at their end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

# As the ranks have it; two threads on two busy cores would wait for each other most of the time.
os.environ["OMP_NUM_THREADS"] = "1"

import pytest

from fgd import compat

compat.prepare()

from slurm_project import (  # noqa: E402
    EPOCHS,
    TESTBED,
    Project,
    Run,
    difference,
    queue,
    restarts,
)

from fgd import progress  # noqa: E402

sys.path.insert(0, str(TESTBED.parent))
import settings  # noqa: E402  (the testbed's; it is a script's, not a package's)

# Two ranks add gradients in one order, always; the tolerance is the contract's.
TOLERANCE = {1: 0.0, 2: 1e-5}
_FAULTS: list[tuple[str, ...]] = []


def pytest_addoption(parser) -> None:
    """Options for `make reliability`, which counts the faults."""
    parser.addoption("--during-write", action="store_true", help="faults hit a state's write")
    parser.addoption("--faults", metavar="FILE", help="write the table of faults as JSON")


@pytest.fixture(scope="session", autouse=True)
def testbed():
    """Slurm's daemons, two nodes; one that was up before stays up."""
    was_up = settings.STATE.exists()
    done = subprocess.run([sys.executable, TESTBED, "up"], capture_output=True, text=True)
    if done.returncode == settings.MACHINE_LACKS:
        # No root, a Slurm of somebody else, or no apt-get to install one: its words tell.
        pytest.skip(f"this machine cannot have a Slurm testbed: {done.stderr.strip()}")
    # A testbed that this machine can have, and that does not come up, is a failure of ours.
    assert done.returncode == 0, done.stdout + done.stderr
    yield
    if not was_up:
        subprocess.run([sys.executable, TESTBED, "down"], check=True)


@pytest.fixture(scope="session")
def project(tmp_path_factory, pytestconfig) -> Project:
    """A small distillation, its data, its teacher and what it gives undisturbed."""
    during_write = pytestconfig.getoption("--during-write")
    return Project(tmp_path_factory.mktemp("slurm"), during_write)


@pytest.fixture(autouse=True)
def clean_slate(testbed):
    """A test that failed leaves no job and no drained node to the next one."""
    yield
    if subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout:
        subprocess.run(["scancel", "--user=root"])
        time.sleep(3)
    subprocess.run([sys.executable, TESTBED, "up"], capture_output=True)


@pytest.fixture
def report_fault():
    """Takes a line of the table: fault, nodes, largest difference, jobs, requeues, seconds."""
    return lambda *cells: _FAULTS.append(tuple(map(str, cells)))


@pytest.fixture
def survives(project: Project, report_fault):
    """Disturbs a run, lets it end, and compares its student with the undisturbed run's."""

    def check(fault: str, run: Run, nodes: int, disturb, epochs: int = EPOCHS) -> Run:
        expected = project.undisturbed(nodes, epochs)
        started = time.monotonic()
        run.start()
        disturb(run)
        run.finish()
        error = difference(run.student(), expected)
        ids = [attempt["job_id"] for attempt in run.attempts]
        requeues = sum(restarts(job_id) for job_id in ids)
        seconds = f"{time.monotonic() - started:.0f}"
        fault += ", during a write" if run.during_write else ""
        report_fault(fault, nodes, f"{error:.1g}", ", ".join(ids), requeues, seconds)
        assert error <= TOLERANCE[nodes]
        assert queue() == ""
        _logged_once(run, epochs)
        return run

    return check


def _logged_once(run: Run, epochs: int) -> None:
    """No iteration was repeated or left out in the log."""
    iterations = [entry["iter"] for entry in progress.read(run.work_dir)]
    assert iterations == list(range(1, 10 * epochs + 1))


def pytest_terminal_summary(terminalreporter) -> None:
    """Print what each fault did."""
    if not _FAULTS:
        return
    head = ("fault", "nodes", "difference", "jobs", "requeues", "seconds")
    if file := terminalreporter.config.getoption("--faults"):
        Path(file).write_text(json.dumps([dict(zip(head, row, strict=True)) for row in _FAULTS]))
    rows = [head, *_FAULTS]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    terminalreporter.section("faults: the student against the undisturbed run's")
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())
