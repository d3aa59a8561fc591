"""The testbed leaves a Slurm alone that it did not start; tests/slurm tests what it starts."""

import signal
import subprocess
import sys
import time

import pytest

from fgd.checkout import root

sys.path.insert(0, str(root() / "cluster" / "testbed"))

import settings
import testbed


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine on which no daemon runs, with its configuration in a temporary folder."""
    monkeypatch.setattr(settings, "ROOT", tmp_path / "testbed")
    for name in ("SLURM_CONF", "DBD_CONF", "GRES_CONF"):
        monkeypatch.setattr(settings, name, tmp_path / f"{name}.conf")
    monkeypatch.setattr(settings, "STATE", tmp_path / "testbed" / "state.json")
    monkeypatch.setattr(testbed, "HOSTS", tmp_path / "hosts")
    (tmp_path / "hosts").write_text("127.0.0.1 localhost")
    monkeypatch.setattr(testbed, "_running", lambda daemon: set())
    monkeypatch.setattr(testbed, "_PASSING_S", 0)
    return tmp_path


def test_a_configuration_of_somebody_else_is_left_alone(machine):
    settings.SLURM_CONF.write_text("ClusterName=production\n")
    with pytest.raises(testbed.MachineLacks, match=r"SLURM_CONF\.conf was not written by"):
        testbed._refuse_foreign()
    assert settings.SLURM_CONF.read_text() == "ClusterName=production\n"


def test_its_own_configuration_is_no_obstacle(machine):
    settings.SLURM_CONF.write_text(settings.slurm_conf("host", ["n1", "n2"], 2))
    assert testbed._refuse_foreign() is None


def test_a_daemon_of_somebody_else_is_left_alone(machine, monkeypatch):
    monkeypatch.setattr(testbed, "_running", lambda daemon: {4242} if daemon == "slurmd" else set())
    with pytest.raises(testbed.MachineLacks, match=r"slurmd runs \(process 4242\)"):
        testbed._refuse_foreign()


def test_a_process_that_passes_is_no_daemon(machine, monkeypatch):
    seen = [{4242}]
    monkeypatch.setattr(testbed, "_running", lambda daemon: seen.pop() if seen else set())
    assert testbed._refuse_foreign() is None


def test_gpus_and_nodes_are_as_many_as_asked_for():
    text = settings.slurm_conf("host", ["n1", "n2", "n3"], 4)
    assert text.count("\nNodeName=") == 3
    assert text.count("Gres=gpu:4") == 3
    assert settings.gres_conf(["n1"], 0).strip() == settings.MARK


def test_packages_that_cannot_be_installed_are_no_reason_to_skip(machine, monkeypatch):
    def fail(command, **_):
        raise testbed.subprocess.CalledProcessError(100, command, "E: Unable to locate package")

    places = {"apt-get": "/usr/bin/apt-get"}
    monkeypatch.setattr(testbed.shutil, "which", lambda name, path=None: places.get(name))
    monkeypatch.setattr(testbed, "Path", lambda _: machine / "policy-rc.d")
    monkeypatch.setattr(testbed, "_run", fail)
    # `main` prints apt-get's words and ends with 1; with another status the tests would be skipped.
    with pytest.raises(testbed.subprocess.CalledProcessError):
        testbed._install()
    assert not (machine / "policy-rc.d").exists()


def test_what_would_start_the_controller_for_ever_is_ended(machine, monkeypatch):
    # A controller that never comes up: `down` finds no process of it.
    bin_folder = machine / "bin"
    bin_folder.mkdir()
    (bin_folder / "slurmctld").write_text(f"#!/bin/sh\ntouch {machine}/tried\nexit 1\n")
    (bin_folder / "slurmctld").chmod(0o755)
    monkeypatch.setattr(testbed, "_PATH", f"{bin_folder}:{testbed._PATH}")
    monkeypatch.setattr(testbed, "_need_root", lambda: None)
    monkeypatch.setattr(testbed, "_wait_for", lambda what, condition, seconds: None)
    started = []
    popen = subprocess.Popen

    def start(*arguments, **keywords):
        started.append(popen(*arguments, **keywords))
        return started[-1]

    monkeypatch.setattr(testbed.subprocess, "Popen", start)
    testbed._write_settings(["n1"], 0)
    testbed._start_slurmctld()
    (supervisor,) = started
    try:
        while not (machine / "tried").exists():
            time.sleep(0.1)
        testbed.down()
        assert supervisor.wait(60) == -signal.SIGTERM
    finally:
        supervisor.kill()


def test_a_machine_with_another_name_gets_new_settings(machine, monkeypatch):
    monkeypatch.setattr(testbed.socket, "gethostname", lambda: "before")
    testbed._write_settings(["n1", "n2"], 2)
    (machine / "hosts").write_text("127.0.0.1 localhost\n")  # made anew by a container
    monkeypatch.setattr(testbed.socket, "gethostname", lambda: "after.example")
    testbed._write_settings(**testbed._state())
    assert "NodeHostname=after " in settings.SLURM_CONF.read_text()
    nodes = [line.split()[1] for line in (machine / "hosts").read_text().splitlines()]
    assert nodes == ["localhost", "n1", "n2"]
    testbed._write_hosts([])
    assert (machine / "hosts").read_text() == "127.0.0.1 localhost\n"
