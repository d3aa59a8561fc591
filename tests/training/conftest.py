"""Real trainings of a few steps, some of them killed, disturbed or in several processes."""

import os
import subprocess
import sys

import pytest
from small_suite import own_cache, tiny_data, tiny_suite

__all__ = ["own_cache", "tiny_data", "tiny_suite"]


@pytest.fixture
def two_processes(tmp_path):
    """Runs a Python script in two processes that train together; returns how they ended."""

    def run(script, *arguments):
        file = tmp_path / "script.py"
        file.write_text(script)
        # Not with Python's timeout, whose SIGKILL would leave the two processes behind.
        command = ["timeout", "300", sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command += ["--nproc-per-node=2", file, *arguments]
        environment = dict(os.environ, OMP_NUM_THREADS="1")
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    return run
