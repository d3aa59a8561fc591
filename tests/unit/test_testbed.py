"""The testbed leaves a Slurm alone that it did not start; tests/slurm tests what it starts."""

import sys

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
    monkeypatch.setattr(testbed, "_running", lambda daemon: set())
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


def test_gpus_and_nodes_are_as_many_as_asked_for():
    text = settings.slurm_conf("host", ["n1", "n2", "n3"], 4)
    assert text.count("\nNodeName=") == 3
    assert text.count("Gres=gpu:4") == 3
    assert settings.gres_conf(["n1"], 0).strip() == settings.MARK
