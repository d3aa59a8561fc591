"""The launcher's command line, and the account that single jobs are submitted under."""

from dataclasses import replace

import pytest
from click.testing import CliRunner

from cluster import accounts
from cluster.cli import main
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.suite import load_suite
from fgd.suite.settings import Cluster

STUDY = root() / "configs/suites/study.yaml"


@pytest.mark.parametrize(
    ("run", "title"),
    [
        (["fcos_r50", "--arm=fgd", "--seed=0"], "study.fcos_r50.fgd"),
        (["fcos_r50", "--arm=baseline", "--seed=2"], "study.fcos_r50.baseline.seed2"),
        (["fcos_r50", "--arm=fgd"], "study.fcos_r50.fgd"),
        (["a_teacher"], "study.a_teacher"),
    ],
)
def test_a_training_is_called_after_its_run_wherever_it_lies(monkeypatch, tmp_path, run, title):
    launched = []
    monkeypatch.setattr("cluster.launcher.launch", lambda training, *_: launched.append(training))
    name, *options = run
    files = [f"--work-dir={tmp_path / 'run'}", f"--out={tmp_path / 'trained.pth'}"]
    command = ["train", str(STUDY), name, str(STUDY), *options, *files]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert [training.name for training in launched] == [title]


@pytest.mark.parametrize("command", ["train", "head", "status", "supervise"])
def test_a_suite_goes_by_its_name_and_a_misspelt_one_is_told(monkeypatch, tmp_path, command):
    monkeypatch.chdir(tmp_path)  # no clone is here
    asked = []
    monkeypatch.setattr("cluster.launcher.launch", lambda training, *_: asked.append(training.name))
    monkeypatch.setattr("cluster.head.submit", lambda name, *_: asked.append(name) or "17")
    monkeypatch.setattr("cluster.head.supervise", lambda name, *_: asked.append(name))
    monkeypatch.setattr("cluster.status.lines", lambda suite: asked.append(suite.name) or [])
    more = ["x", str(STUDY), "--work-dir=w", "--out=o"] if command == "train" else []
    result = CliRunner().invoke(main, [command, "study", *more])
    assert result.exit_code == 0, result.output
    assert asked == ["study.x" if command == "train" else "study"]
    result = CliRunner().invoke(main, [command, "studie", *more])
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert "studie: no such suite file; configs/suites has " in said
    assert "did you mean 'study'" in said
    assert len(asked) == 1


def test_a_seed_without_an_arm_is_refused(tmp_path):
    command = ["train", str(STUDY), "x", str(STUDY), "--seed=1", "--work-dir=w", "--out=o"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "--seed goes with --arm" in result.output


def test_an_account_is_tested_as_snakemake_would_and_told_of(monkeypatch):
    suite = replace(load_suite(STUDY), cluster=Cluster(account="vision"))
    asked = []
    accounts.check(suite, "s.yaml", asked.append)
    assert asked == ["vision"]

    def refuse(account):
        raise RuntimeError("WorkflowError:\n  The given account is\n invalid.")

    said = r"s\.yaml: cluster\.account \(vision\): The given account is invalid\. Name one of yours"
    with pytest.raises(FGDError, match=said):
        accounts.check(suite, "s.yaml", refuse)


def test_without_an_account_slurm_has_to_know_one(command):
    suite = replace(load_suite(STUDY), cluster=None)
    with pytest.raises(
        FGDError, match="none is given, and Snakemake's Slurm executor asks `sacct`"
    ):
        accounts.check(suite, "s.yaml", pytest.fail)
    command("sacct", "exit 0")
    accounts.check(suite, "s.yaml", pytest.fail)
