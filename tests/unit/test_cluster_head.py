"""The head job: its script, and what becomes of Snakemake when the job has to leave."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from test_cluster_executors import directives

from cluster import head
from cluster.settings import ClusterSettings
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.suite import load_suite
from fgd.suite.settings import Cluster

SUITE = load_suite(root() / "configs/suites/study.yaml")
# Of this test's folder; `command` hides them.
TOOLS = {name: shutil.which(name) for name in ("bash", "sleep", "touch", "cat")}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where Snakemake runs, with nothing of a Slurm around it."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith(("SLURM", "SBATCH")):
            monkeypatch.delenv(name)
    return tmp_path


# --- Submission ---


@pytest.fixture
def programs(folder, command, monkeypatch):
    """Slurm's commands and Snakemake, all of which agree; what sbatch was given is in `script`."""
    monkeypatch.setattr(head, "_beside", lambda name: folder / "bin" / name)
    command("squeue", "exit 0")
    command("sbatch", f"{TOOLS['cat']} $2 > script; echo '17;cluster'")
    command("snakemake", 'echo "$@" > planned')
    return command


def submit(suite=SUITE, arguments=(), **wishes):
    return head.submit("study", suite, head.settings_of(suite, wishes), arguments)


def test_without_slurm_nothing_is_tried(folder, command, monkeypatch):
    monkeypatch.setattr(head.slurm.time, "sleep", pytest.fail)
    with pytest.raises(FGDError, match="no Slurm on this machine: squeue and sbatch not on the PA"):
        submit()
    command("squeue", "exit 0")
    with pytest.raises(FGDError, match="no Slurm on this machine: sbatch not on the PATH"):
        submit()
    assert not Path(SUITE.layout.head).exists()


def test_the_script_asks_for_what_the_suite_and_the_user_say(programs, folder):
    section = Cluster(partition="gpu", account="vision", setup=["module load gcc"], nodes=4)
    suite = replace(SUITE, cluster=section)
    said = submit(suite, ["-n", "a b"], partition="long", sbatch={"mail-type": "FAIL"})
    assert said == "17"
    text = (folder / "script").read_text()
    assert text == (Path(suite.layout.head) / "head.sh").read_text()
    options = directives(text)
    assert options.pop("job-name").startswith("study.head.")
    assert options.pop("output") == str(Path(suite.layout.head).absolute() / "%j.log")
    assert options == {
        "chdir": str(folder),
        "open-mode": "append",
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": "2",
        "mem": "8192M",
        "time": "1440",
        "signal": "B:USR1@120",
        "requeue": "",
        "partition": "long",
        "account": "vision",
        "mail-type": "FAIL",
    }
    assert text.splitlines()[-2:] == [
        "module load gcc",
        f"exec {folder}/bin/fgd-cluster supervise study -- -n 'a b'",
    ]


def test_what_snakemake_cannot_plan_is_not_submitted(programs, folder):
    programs("snakemake", "echo 'error: data/coco: there is no such folder' >&2; exit 1")
    with pytest.raises(FGDError, match=r"cannot run study: data/coco: there is no such folder"):
        submit()
    assert not (folder / "script").exists()


def test_a_second_head_job_is_refused(programs, folder):
    programs("squeue", "echo 16")
    with pytest.raises(FGDError, match=r"head job 16 of this suite waits or runs.*scancel 16"):
        submit()
    assert not (folder / "script").exists()


def test_a_refusal_names_the_setting(programs):
    programs("sbatch", "echo 'sbatch: error: invalid partition specified: lng' >&2; exit 1")
    with pytest.raises(FGDError, match=r"cluster\.partition \(lng\)"):
        submit(partition="lng")


@pytest.mark.parametrize("option", ["output", "signal", "mem"])
def test_an_option_that_the_script_decides_is_refused(programs, option):
    with pytest.raises(FGDError, match=rf"--sbatch {option}: "):
        submit(sbatch={option: "x"})


def test_the_shell_does_not_overrule_it(programs, folder, monkeypatch, caplog):
    programs("sbatch", f'echo "$SBATCH_TIMELIMIT$SBATCH_QOS" > {folder}/seen; echo 17')
    monkeypatch.setenv("SBATCH_TIMELIMIT", "5")
    monkeypatch.setenv("SBATCH_QOS", "short")
    caplog.set_level("INFO", "fgd.cluster")
    submit()
    assert (folder / "seen").read_text() == "short\n"
    assert "SBATCH_TIMELIMIT=5 is left out" in caplog.text


# --- In the job ---

# A launcher that notes SIGTERM, and a Snakemake that ends on SIGINT alone, as with jobs running.
LAUNCHER = """
trap 'echo launcher TERM >> {folder}/heard; exit 143' TERM
touch {folder}/launched
while :; do sleep 0.05; done
"""
SNAKEMAKE = """
echo "snakemake $@" >> {folder}/heard
case "$*" in *--unlock*) exit 0;; esac
{begin}
trap 'echo snakemake TERM >> {folder}/heard' TERM
trap 'echo snakemake INT >> {folder}/heard; exit 1' INT
echo $$ > {folder}/group
{folder}/bin/fgd-cluster train &
while :; do sleep 0.05; done
"""
SUPERVISOR = """
import sys
from pathlib import Path
from cluster import head
head._beside = lambda name: Path({folder!r}, "bin", name)
sys.exit(head.supervise("study", []))
"""


class Job:
    """A supervisor in the place of a Slurm job 17, with stand-ins for Snakemake and a launcher."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        self.put("scontrol", f'echo scontrol "$@" >> {folder}/heard')
        self.put("fgd-cluster", LAUNCHER.format(folder=folder))
        self.put("snakemake", SNAKEMAKE.format(folder=folder, begin=""))

    def put(self, name, text):
        file = self.folder / "bin" / name
        file.write_text(f"#!{TOOLS['bash']}\n{text}")
        file.chmod(0o755)

    def start(self, job_id="17"):
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        more = {"PATH": path, "SLURM_JOB_ID": job_id, "SLURM_JOB_NAME": "study.head.1a2b3c"}
        code = SUPERVISOR.format(folder=str(self.folder))
        return subprocess.Popen(
            [sys.executable, "-c", code], cwd=self.folder, env=os.environ | more, stderr=-1
        )

    def launched(self, process):
        while not (self.folder / "launched").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        (self.folder / "launched").unlink()

    @property
    def heard(self):
        return (self.folder / "heard").read_text().splitlines()

    @property
    def mark(self):
        return self.folder / ".snakemake" / "fgd-head.study.head.1a2b3c.json"


@pytest.fixture
def job(folder):
    return Job(folder)


PLAIN = "snakemake --profile slurm --config suite=study"


def test_at_the_time_limit_launchers_leave_single_jobs_are_cancelled_and_it_is_requeued(job):
    process = job.start()
    job.launched(process)
    process.send_signal(signal.SIGUSR1)
    assert process.wait() == 0
    assert job.heard[0] == PLAIN
    assert {"launcher TERM", "snakemake TERM"} <= set(job.heard)
    assert job.heard.index("launcher TERM") < job.heard.index("snakemake INT")
    assert job.heard[-1] == "scontrol requeue 17"
    assert not job.mark.exists()


def test_a_cancelled_or_preempted_one_leaves_its_trainings_and_is_not_requeued(job):
    process = job.start()
    job.launched(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 128 + signal.SIGTERM
    assert "launcher TERM" in job.heard
    assert not any("requeue" in line for line in job.heard)


def test_one_that_was_killed_removes_snakemakes_lock_when_it_starts_again(job):
    first = job.start()
    job.launched(first)
    first.kill()
    first.wait()
    os.killpg(int((job.folder / "group").read_text()), signal.SIGKILL)
    assert json.loads(job.mark.read_text()) == {"job": "17", "name": "study.head.1a2b3c"}
    job.put("snakemake", SNAKEMAKE.format(folder=job.folder, begin="exit 0"))
    assert job.start().wait() == 0
    assert job.heard[1:] == [f"{PLAIN} --unlock", PLAIN]
    assert not job.mark.exists()


def test_a_lock_that_nobody_left_is_not_removed(job):
    job.put("snakemake", SNAKEMAKE.format(folder=job.folder, begin="exit 3"))
    assert job.start().wait() == 3
    assert job.start().wait() == 3
    assert job.heard == [PLAIN, PLAIN]


def test_another_head_job_that_runs_there_is_not_disturbed(job):
    job.mark.parent.mkdir()
    job.mark.write_text(json.dumps({"job": "16", "name": "study.head.1a2b3c"}))
    job.put("scontrol", "echo JobId=16 JobName=study.head.1a2b3c JobState=RUNNING")
    process = job.start()
    assert b"head job 16 of this suite waits or runs" in process.communicate()[1]
    assert process.returncode != 0
    assert not (job.folder / "heard").exists()


def test_the_head_job_of_another_suite_runs_beside_it_and_keeps_its_lock(job):
    job.mark.parent.mkdir()
    other = job.mark.with_name("fgd-head.coco.head.abcdef.json")
    other.write_text(json.dumps({"job": "16", "name": "coco.head.abcdef"}))
    job.put("scontrol", "echo JobId=16 JobName=coco.head.abcdef JobState=RUNNING")
    job.put("snakemake", SNAKEMAKE.format(folder=job.folder, begin="exit 0"))
    assert job.start().wait() == 0
    assert other.exists()
    job.mark.write_text(json.dumps({"job": "17", "name": "study.head.1a2b3c"}))  # was killed
    process = job.start()
    assert b"head job 16 (coco.head.abcdef) runs in this folder" in process.communicate()[1]
    assert job.heard == [PLAIN]


def test_outside_a_job_it_says_what_to_do(folder):
    with pytest.raises(FGDError, match="fgd-cluster head study"):
        head.supervise("study", [])


def test_a_site_that_does_not_requeue_is_told_of(command, monkeypatch):
    command("scontrol", "echo 'slurm_requeue error: Requested operation is disabled' >&2; exit 1")
    monkeypatch.setattr(head.time, "sleep", lambda seconds: None)
    with pytest.raises(FGDError, match=r"does not requeue head job 17: .*disabled\. Submit it"):
        head._requeue("17")


def test_a_suites_settings_for_trainings_are_not_the_head_jobs():
    suite = replace(SUITE, cluster=Cluster(nodes=4, gpus_per_node=8, mem_gb=512, qos="long"))
    expected = ClusterSettings(nodes=1, gpus_per_node=0, cpus_per_task=2, mem_gb=8, qos="long")
    assert head.settings_of(suite, {}) == expected
