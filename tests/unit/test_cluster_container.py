"""Trainings in a container: what is asked of Apptainer, what is refused, how a job is requeued."""

import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import pytest
from fake_apptainer import FakeApptainer

from cluster import container
from cluster.container import binds, check, check_single_jobs, single_jobs
from cluster.executors import Local, Slurm, submitit_result, task_paths
from cluster.settings import (
    ClusterSettings,
    for_training,
    in_container,
    on_this_machine,
    submitit_parameters,
)
from cluster.task import TrainingTask
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.experiment import load_experiment
from fgd.suite import load_suite

TASK = TrainingTask(Path("/fgd/config.py"), Path("/fgd/run"), Path("/fgd/run/final.pth"), "abc")


@pytest.fixture
def image(tmp_path):
    """The settings of a container whose image is there."""
    (tmp_path / "fgd.sif").touch()
    return ClusterSettings(container=str(tmp_path / "fgd.sif"), container_binds=["/scratch:/data"])


def options(command, name):
    """What an option is given in a command, as often as it is."""
    return [value for option, value in pairwise(command) if option == name]


# --- What is asked ---


def test_ranks_start_in_the_container_with_this_clones_code(command, image, tmp_path):
    for name in ("srun", "apptainer"):
        command(name, "exit 0")
    command("sbatch", "echo Submitted batch job 17")
    Slurm().submit(TASK, settings=image, name="name", folder=tmp_path)
    script = (tmp_path / "17_submission.sh").read_text()
    start = next(line for line in script.splitlines() if line.startswith("srun "))
    words = shlex.split(start)
    words = words[words.index("apptainer") :]
    assert words[:3] == ["apptainer", "exec", "--nv"]
    assert {str(root()), os.getcwd(), "/tmp", "/scratch:/data"} <= {*options(words, "--bind")}
    assert f"PYTHONPATH={root()}" in options(words, "--env")
    # What mounts the image would die of the signal that submitit otherwise has.
    assert "SUBMITIT_PREEMPT_SIGNAL=URG" in options(words, "--env")
    assert re.findall("--signal=(.+)", script) == ["URG@120"]
    assert words[words.index(image.container) :] == [
        *(image.container, "python", "-u", "-m", "submitit.core._submit", str(tmp_path))
    ]
    assert script.index("scontrol requeue") < script.index("\nsrun ")


def test_a_suite_without_a_container_starts_ranks_as_before(command, tmp_path):
    command("srun", "exit 0")
    command("sbatch", "echo Submitted batch job 17")
    Slurm().submit(TASK, settings=ClusterSettings(), name="name", folder=tmp_path)
    script = (tmp_path / "17_submission.sh").read_text()
    assert "apptainer" not in script
    assert "scontrol" not in script
    assert "--signal=USR2@120" in script
    assert single_jobs(ClusterSettings()) == {}


def test_nodes_without_gpus_want_no_driver(image):
    words = shlex.split(container.python(image.model_copy(update={"gpus_per_node": 0})))
    assert "--nv" not in words


def test_a_container_sees_where_links_to_data_lead(image, tmp_path, monkeypatch):
    for name in ("coco", "lost"):
        (tmp_path / "clone" / "data").mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / "data" / name).symlink_to(f"../../disk/{name}")
    (tmp_path / "disk" / "coco").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "clone")
    found = [folder for folder in binds(image) if "disk" in folder]
    assert found == [str(tmp_path / "disk" / "coco")]


def test_a_job_on_another_node_is_shown_no_temporary_folder_of_this_one(image, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/run/session")
    assert "/run/session" not in shlex.split(container.python(image))


def test_folders_that_apptainer_would_read_otherwise_are_refused(image, tmp_path, monkeypatch):
    (tmp_path / "a:b").mkdir()
    monkeypatch.chdir(tmp_path / "a:b")
    with pytest.raises(FGDError, match=r"a:b: a comma or colon in a folder's name"):
        container.python(image)


def test_what_a_container_may_not_see_is_told(suite, monkeypatch, tmp_path):
    experiment = load_experiment(suite)
    settings = in_container(suite)
    hidden = settings.model_copy(update={"container_binds": []})
    assert str(suite.file) not in container.note(settings, experiment)
    assert "/disk/coco/annotations/instances_train2017.json" in container.note(hidden, experiment)
    assert "/disk/coco" not in container.note(settings, experiment)
    assert container.note(ClusterSettings(), experiment) == ""


def test_single_jobs_get_the_same_by_apptainers_variables(image, monkeypatch):
    monkeypatch.setenv("APPTAINER_BIND", "/gpfs,/scratch:/scratch:ro")
    found = single_jobs(image)
    folders = found["APPTAINER_BIND"].split(",")
    assert folders[:2] == ["/gpfs", "/scratch:/scratch:ro"]
    assert {*binds(image)} <= {*folders}
    assert found["APPTAINERENV_PYTHONPATH"] == str(root())
    assert found["APPTAINER_NV"] == "1"


def test_only_outside_a_container_this_machines_commands_come_first(tmp_path):
    for inside, expected in ({}, f"{tmp_path}:/bin"), ({"FGD_IN_CONTAINER": "1"}, "/bin"):
        prefix = container.path_prefix(str(tmp_path)).format()
        said = subprocess.run(
            ["/bin/bash", "-c", prefix + "echo $PATH"],
            env={"PATH": "/bin"} | inside,
            capture_output=True,
            text=True,
            check=True,
        )
        assert said.stdout.strip() == expected


# --- What a suite says ---


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "suite.yaml"
    lines = ["container: fgd.sif", "rows: {fcos_r50: {container: other.sif}}"]
    section = "\n".join(f"  {line}" for line in lines)
    base = root() / "configs/suites/coco.yaml"
    path.write_text(f"base: {base}\nname: own\ndata_root: /disk/coco\ncluster:\n{section}\n")
    return load_suite(path)


def test_trainings_and_single_jobs_have_the_suites_container_and_data(suite):
    for settings in (
        for_training(suite, "retinanet_r50", suite.file),
        on_this_machine(suite, "retinanet_r50"),
        in_container(suite),
    ):
        assert (settings.container, settings.container_binds) == ("fgd.sif", ["/disk/coco"])


def test_a_row_can_have_a_container_of_its_own(suite):
    assert for_training(suite, "fcos_r50", suite.file).container == "other.sif"


# --- What is refused ---


@pytest.mark.parametrize("executor", [Slurm(), Local(lambda: [])], ids=["slurm", "local"])
def test_an_image_that_is_not_there_is_refused_before_anything_is_submitted(
    executor, command, tmp_path
):
    for name in ("srun", "apptainer"):
        command(name, "exit 0")
    command("sbatch", f"touch {tmp_path}/submitted")
    settings = ClusterSettings(container="missing.sif")
    with pytest.raises(FGDError, match=r"^cluster\.container: there is no image missing\.sif;"):
        executor.submit(TASK, settings=settings, name="name", folder=tmp_path / "jobs")
    assert [path.name for path in tmp_path.iterdir()] == ["bin"]


def test_apptainer_has_to_be_there_unless_the_jobs_setup_may_bring_it(command, image):
    with pytest.raises(FGDError, match=r"apptainer is not on the PATH\. Load it before") as error:
        check(image)
    assert "\n" not in str(error.value)
    with_setup = image.model_copy(update={"setup": ["module load apptainer"]})
    check(with_setup)
    with pytest.raises(FGDError, match="is not on the PATH"):
        check_single_jobs(with_setup, "suite.yaml")


def test_single_jobs_are_not_run_outside_unasked():
    with pytest.raises(FGDError, match=r"^suite\.yaml: --sdm apptainer: the suite names no image"):
        check_single_jobs(ClusterSettings(), "suite.yaml")


# --- Ranks ---


def test_a_rank_on_this_machine_runs_in_the_container(image, tmp_path, monkeypatch):
    apptainer = FakeApptainer(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    executor = Local(lambda: [])
    jobs = tmp_path / "jobs"
    job_id = executor.submit(TASK, settings=image, name="name", folder=jobs)
    while executor.state(job_id, "name", jobs).state == "RUNNING":
        os.waitpid(int(job_id.split("@")[0]), 0)
    (asked,) = apptainer.asked
    assert asked[asked.index(image.container) + 1 :][:4] == [
        *("python", "-u", "-m", "submitit.core._submit")
    ]
    # It came as far as the config, which is not there.
    kind, words = submitit_result(task_paths(jobs, job_id, 0).result_pickle)
    assert kind == "error"
    assert "/fgd/config.py" in words


@pytest.mark.parametrize("status", [0, 3])
def test_a_rank_in_a_container_is_requeued_by_its_jobs_script(command, image, tmp_path, status):
    for name in ("mktemp", "sleep", "rm", "mv", "cat"):
        command(name, f'exec /bin/{name} "$@"')
    command("scontrol", f"echo outside: $* >>{tmp_path}/asked; exit {status}")
    rank = """
        import os, subprocess
        from cluster import container
        container.find_commands(os.environ)
        print(subprocess.run(["scontrol", "requeue", "17"]).returncode)
        print(os.environ["FGD_REQUESTS"])
    """
    lines = "\n".join(line.strip() for line in rank.splitlines())

    strict = image.model_copy(update={"setup": ["set -euo pipefail"]})
    parameters = container.submission(strict, submitit_parameters(strict, "name"))
    script = [*parameters["slurm_setup"], f"{sys.executable} -c {shlex.quote(lines)}", "exit 7"]
    done = subprocess.run(
        ["/bin/bash", "-c", "\n".join(script)],
        env=os.environ | {"SLURM_JOB_ID": "17", "PYTHONPATH": str(root())},
        capture_output=True,
        text=True,
        timeout=60,
    )
    said, requests = done.stdout.splitlines()
    assert (said, done.returncode) == (str(status), 7), done.stderr
    assert (tmp_path / "asked").read_text() == "outside: requeue 17\n"
    assert not Path(requests).exists()


@pytest.mark.parametrize("answered", [True, False])
def test_what_slurm_ends_with_the_requeued_job_is_no_failure(tmp_path, answered):
    requests = tmp_path / "requests"
    requests.mkdir()
    asking = subprocess.Popen(
        [root() / "cluster/in_container/scontrol", "requeue", "17"],
        env=os.environ | {"FGD_REQUESTS": str(requests)},
    )
    while not (requests / "asked").exists():
        assert asking.poll() is None
    asking.terminate()
    if answered:
        (requests / "part").write_text("0\n")
        (requests / "part").rename(requests / "answer")
    else:  # the job's script was ended before it could
        shutil.rmtree(requests)
    assert asking.wait(60) == 0


def test_in_a_container_nothing_else_is_asked_of_slurm():
    said = subprocess.run(
        [root() / "cluster/in_container/scontrol", "update", "job=17"],
        capture_output=True,
        text=True,
    )
    assert (said.returncode, said.stderr.count("\n")) == (1, 1)
    assert "can be requeued and nothing else" in said.stderr


def test_commands_stay_slurms_own_outside_and_in_a_container_of_the_users():
    for session in ({}, {"APPTAINER_CONTAINER": "/site/notebook.sif"}):
        environment = {"PATH": "/usr/bin"} | session
        container.find_commands(environment)
        assert environment["PATH"] == "/usr/bin"


def test_an_older_python_in_the_image_can_read_what_it_is_to_do():
    text = pickle.dumps(TASK)
    assert b"pathlib" not in text
    assert pickle.loads(text) == TASK
