"""The literal command: `snakemake --profile slurm`, and the status beside it."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from shrunken import shrunken
from slurm_project import BIN, ROOT, queue

ROW = "retinanet_r50"


class Workflow:
    """A folder in which Snakemake runs a small suite of one row on two nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        suite = shrunken(rows=[ROW], samples_per_gpu=4)
        suite["cluster"] |= {"poll_s": 1}
        (folder / "mini.yaml").write_text(yaml.safe_dump(suite))
        # The profile is found where the command is typed, as in a clone.
        (folder / "slurm").symlink_to(ROOT / "slurm")
        size = ["--train=12", "--val=8"]
        command = [BIN / "fgd", "data", "mini", "--out=data/mini", *size]
        subprocess.run(command, cwd=folder, check=True)

    def start(self, *targets: str) -> subprocess.Popen:
        """Start Snakemake, in a process group of its own as a terminal would."""
        command = [BIN / "snakemake", "--snakefile", ROOT / "Snakefile", "--profile", "slurm"]
        return subprocess.Popen(
            [*command, "--config", "suite=mini.yaml", "--", *targets],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *targets: str) -> str:
        """Run Snakemake to its end; what it prints."""
        process = self.start(*targets)
        text, _ = process.communicate(timeout=1800)
        assert process.returncode == 0, text
        return text

    def status(self, *options: str) -> str:
        """What `fgd-cluster status` prints."""
        command = [BIN / "fgd-cluster", "status", "mini.yaml", *options]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Workflow:
    """The row distilled on two nodes, and the table."""
    workflow = Workflow(tmp_path_factory.mktemp("workflow"))
    workflow.run()
    return workflow


def test_every_training_ran_on_both_nodes_and_the_table_is_written(finished: Workflow):
    table = (finished.folder / "results/mini/table.md").read_text()
    assert ROW in table
    assert "Unfinished" not in table
    records = sorted(finished.folder.glob("results/mini/**/jobs/job.json"))
    assert len(records) == 3  # the teacher's, the student's and the baseline's
    ids = [json.loads(path.read_text())["attempts"][-1]["job_id"] for path in records]
    command = ["sacct", "--allocations", "--noheader", "--parsable2", "--format=State,NodeList"]
    for job_id in ids:
        done = subprocess.run([*command, "--jobs", job_id], capture_output=True, text=True)
        assert done.stdout.strip() == "COMPLETED|n[1-2]"
    assert queue() == ""


def test_the_status_tells_where_every_training_stands(finished: Workflow):
    lines = json.loads(finished.status("--json"))
    assert {(line["row"], line["arm"]) for line in lines} >= {(ROW, "fgd"), (ROW, "baseline")}
    assert {line["stage"] for line in lines} == {"evaluated"}
    assert all(line["ap"] is not None and line["job_id"] for line in lines)
    text = finished.status()
    assert all(len(line) <= 80 for line in text.splitlines())


def test_a_second_run_has_nothing_to_do(finished: Workflow):
    assert "Nothing to be done" in finished.run()


def test_an_account_that_slurm_does_not_know_is_refused_at_once(finished: Workflow):
    suite = finished.folder / "mini.yaml"
    text = suite.read_text()
    content = yaml.safe_load(text)
    content["cluster"]["account"] = "vison"
    suite.write_text(yaml.safe_dump(content))
    (finished.folder / "results/mini/table.md").unlink()
    process = finished.start()
    said, _ = process.communicate(timeout=60)
    suite.write_text(text)
    assert process.returncode != 0
    assert "mini.yaml: cluster.account (vison): The given account vison appears to be" in said
    assert "Traceback" not in said
    finished.run()


def test_a_killed_snakemake_finds_its_job_again(finished: Workflow):
    folder = finished.folder / "results/mini" / ROW / "fgd"
    jobs = _train_anew(finished, folder)
    process = finished.start(str(folder.relative_to(finished.folder) / "trained.pth"))
    _wait(lambda: _attempts(jobs) > 0 and queue(), process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    command = [BIN / "snakemake", "--snakefile", ROOT / "Snakefile", "--unlock"]
    subprocess.run(
        [*command, "--config", "suite=mini.yaml"], cwd=finished.folder, check=True, text=True
    )
    finished.run(str(folder.relative_to(finished.folder) / "trained.pth"))
    assert _attempts(jobs) == 1
    assert queue() == ""


def test_ctrl_c_in_snakemake_cancels_the_job(finished: Workflow):
    folder = finished.folder / "results/mini" / ROW / "fgd"
    jobs = _train_anew(finished, folder)
    process = finished.start(str(folder.relative_to(finished.folder) / "trained.pth"))
    _wait(lambda: _attempts(jobs) > 0 and queue(), process)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    _wait(lambda: queue() == "", None)
    finished.run(str(folder.relative_to(finished.folder) / "trained.pth"))


def _train_anew(workflow: Workflow, folder: Path) -> Path:
    """Remove a training's result and all that it left."""
    stamp = time.time_ns()
    (folder / "run").rename(folder / f"run.{stamp}")
    (folder / "jobs").rename(folder / f"jobs.{stamp}")
    (folder / "trained.pth").unlink()
    return folder / "jobs" / "job.json"


def _attempts(record: Path) -> int:
    return len(json.loads(record.read_text())["attempts"]) if record.exists() else 0


def _wait(condition, process: subprocess.Popen | None, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process is None or process.poll() is None, process.stdout.read()
        assert time.monotonic() < end, f"waited {seconds} s"
        time.sleep(0.2)
