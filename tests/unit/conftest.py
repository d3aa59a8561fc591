"""What is quick: functions, and small detectors that are built and not trained."""

import subprocess

import pytest
from small_suite import own_cache, tiny_data, tiny_suite

from cluster.settings import ClusterSettings

__all__ = ["own_cache", "tiny_data", "tiny_suite"]


@pytest.fixture
def cluster_settings():
    """A `cluster:` section in which everything is said that Slurm can refuse."""
    return ClusterSettings(
        nodes=2,
        gpus_per_node=4,
        cpus_per_task=8,
        mem_gb=100,
        timeout_min=90,
        partition="gpu",
        account="vision",
        qos="long",
        constraint="a100",
        exclude="n9",
    )


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Puts a script in a command's place; without one there is no such command."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name, line):
        script = folder / name
        script.write_text(f"#!/bin/sh\n{line}\n")
        script.chmod(0o755)

    return write


# What mount says to who is not root, in a container that may not, or of an unknown file system.
_MAY_NOT = ("superuser", "ermission denied", "not permitted", "unknown filesystem type")


@pytest.fixture
def disk(tmp_path):
    """Makes a disk of a size ("100k") that can be filled; its folder."""
    folder = tmp_path / "disk"

    def mount(size):
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if any(words in done.stderr for words in _MAY_NOT):
            pytest.skip(f"needs root that may mount a tmpfs; mount said: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return folder

    yield mount
    if folder.is_mount():
        subprocess.run(["umount", "-l", folder], check=True)
