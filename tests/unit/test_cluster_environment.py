"""What sbatch and its job see of a shell's variables, one by one, and of a job around it."""

import os

import pytest
from test_cluster_executors import TASK, directives

from cluster import environment
from cluster.executors import Slurm
from cluster.settings import ClusterSettings
from cluster.slurm import job_state

# As slurmd sets them in a job of
#   sbatch --mem-per-cpu=4000 --ntasks-per-node=2 --cpus-per-task=3 --gpus-per-task=1
# and srun --cpu-bind=mask_cpu:0x3 in its steps.
HEAD_JOB = {
    "SLURM_JOB_ID": "99",
    "SLURM_JOBID": "99",
    "SLURM_MEM_PER_CPU": "4000",
    "SLURM_NTASKS": "2",
    "SLURM_NPROCS": "2",
    "SLURM_NTASKS_PER_NODE": "2",
    "SLURM_TASKS_PER_NODE": "2",
    "SLURM_CPUS_PER_TASK": "3",
    "SLURM_TRES_PER_TASK": "cpu:3",
    "SLURM_GPUS_PER_TASK": "1",
    "SLURM_GPUS": "2",
    "SLURM_CPU_BIND": "quiet,mask_cpu:0x3",
    "SLURM_CPU_BIND_TYPE": "mask_cpu:",
    "SLURM_MEM_BIND": "local",
    "SLURM_DISTRIBUTION": "block",
    "SLURM_NODELIST": "n7",
    "SLURM_PROCID": "0",
    "SLURM_STEP_ID": "0",
    "SLURM_EXPORT_ENV": "NONE",
    "SLURM_WORKING_CLUSTER": "testbed:n7:6817:9472:101",
    "SLURMD_NODENAME": "n7",
    "SBATCH_MEM_BIND": "quiet,local",
    "SBATCH_CPU_BIND_TYPE": "mask_cpu:",
    "SRUN_DEBUG": "3",
    "PMI_RANK": "0",
    "PMIX_RANK": "0",
    "CUDA_VISIBLE_DEVICES": "0",
    "GPU_DEVICE_ORDINAL": "0",
}


@pytest.fixture
def sees(command, tmp_path, monkeypatch):
    """Submits a job with some variables set; what sbatch, and so its job, has of them."""
    command("srun", "exit 0")
    command("sbatch", f"/usr/bin/env -0 > {tmp_path}/seen; echo Submitted batch job 17")
    for name in list(os.environ):
        if name.startswith(("SLURM", "SBATCH")):
            monkeypatch.delenv(name)

    def submit(settings=None, **variables):
        with monkeypatch.context() as context:
            for name, value in variables.items():
                context.setenv(name, value)
            before = dict(os.environ)
            notes = Slurm().notes(settings or ClusterSettings())
            Slurm().submit(
                TASK, settings=settings or ClusterSettings(), name="name", folder=tmp_path
            )
            assert dict(os.environ) == before
        text = (tmp_path / "seen").read_text()
        items = dict(item.partition("=")[::2] for item in text.split("\0") if item)
        for of_the_shell in ("_", "PWD", "OLDPWD", "SHLVL"):
            items.pop(of_the_shell, None)
        script = (tmp_path / "17_submission.sh").read_text()
        return items, script, notes

    return submit


# --- From a job ---


@pytest.mark.parametrize("name", HEAD_JOB)
def test_a_variable_of_the_job_around_it_does_not_reach_a_training(sees, name):
    login, script, _ = sees()
    within, script_within, _ = sees(**{"SLURM_JOB_ID": "99", name: HEAD_JOB[name]})
    assert (within, script_within) == (login, script)


def test_a_training_starts_from_a_job_as_from_a_login_node(sees):
    login, script, _ = sees(SLURM_CONF="/opt/slurm.conf")
    within, script_within, notes = sees(SLURM_CONF="/opt/slurm.conf", **HEAD_JOB)
    assert (within, script_within) == (login, script)
    assert notes == []


@pytest.mark.parametrize(
    "name", ["SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "CUDA_HOME", "FGD_X"]
)
def test_the_way_to_the_controller_and_the_users_own_variables_stay(sees, name):
    assert sees(**{name: "/somewhere", "SLURM_JOB_ID": "99"})[0][name] == "/somewhere"


def test_what_a_login_shell_sets_for_srun_is_told(sees):
    seen, _, notes = sees(SLURM_CPU_BIND="none", SLURM_CONF="/opt/slurm.conf")
    assert "SLURM_CPU_BIND" not in seen
    (note,) = notes
    assert note.startswith("SLURM_CPU_BIND: trainings do not get")
    assert "cluster.setup" in note


def test_a_job_around_snakemake_is_left_but_not_the_way_to_the_controller():
    variables = HEAD_JOB | {"SLURM_CONF": "/opt/slurm.conf", "PATH": "/bin", "SBATCH_QOS": "long"}
    environment.leave_job(variables)
    kept = {"SLURM_CONF", "PATH", "SBATCH_QOS", "CUDA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"}
    kept |= {environment.AROUND}
    assert {name for name in variables if not name.startswith(("PMI", "SRUN"))} == kept
    assert variables[environment.AROUND] == HEAD_JOB["SLURM_JOB_ID"]


def test_what_a_login_shell_has_is_left_alone():
    variables = {"SLURM_CPU_BIND": "none", "PATH": "/bin"}
    environment.leave_job(variables)
    assert variables == {"SLURM_CPU_BIND": "none", "PATH": "/bin"}


# --- SBATCH_* of the user's shell ---


@pytest.mark.parametrize(
    ("name", "value", "decided_by"),
    [
        ("SBATCH_PARTITION", "debug", "cluster.partition (gpu)"),
        ("SBATCH_ACCOUNT", "physics", "cluster.account (vision)"),
        ("SBATCH_QOS", "short", "cluster.qos (long)"),
        ("SBATCH_CONSTRAINT", "v100", "cluster.constraint (a100)"),
        ("SBATCH_TIMELIMIT", "5", "cluster.timeout_min (90)"),
        ("SBATCH_SIGNAL", "USR1@5", "cluster.signal_delay_s (120)"),
        ("SBATCH_GPUS", "1", "cluster.gpus_per_node (4)"),
        ("SBATCH_GPUS_PER_NODE", "1", "cluster.gpus_per_node (4)"),
        ("SBATCH_GPUS_PER_TASK", "1", "cluster.gpus_per_node (4)"),
        ("SBATCH_TRES_PER_TASK", "cpu:1", "cluster.gpus_per_node (4)"),
        ("SBATCH_GRES", "lustre:1,gpu:a100:1", "cluster.gpus_per_node (4)"),
        ("SBATCH_CPUS_PER_GPU", "1", "cluster.cpus_per_task (8)"),
        ("SBATCH_MEM_PER_CPU", "100", "cluster.mem_gb (100"),
        ("SBATCH_MEM_PER_GPU", "100", "cluster.mem_gb (100"),
        ("SBATCH_MEM_PER_NODE", "100", "cluster.mem_gb (100"),
        ("SBATCH_NO_REQUEUE", "1", "cluster.sbatch.requeue"),
        ("SBATCH_REQUEUE", "1", "cluster.sbatch.requeue"),
        ("SBATCH_RESERVATION", "june", "cluster.sbatch.reservation"),
        ("SBATCH_ARRAY_INX", "1-9", "the launcher needs this option"),
        ("SBATCH_CLUSTERS", "other", "the launcher needs this option"),
        ("SBATCH_ERROR", "e", "the launcher needs this option"),
        ("SBATCH_JOB_NAME", "mine", "the launcher needs this option"),
        ("SBATCH_OPEN_MODE", "truncate", "the launcher needs this option"),
        ("SBATCH_OUTPUT", "o", "the launcher needs this option"),
        ("SBATCH_WAIT", "1", "the launcher needs this option"),
    ],
)
def test_the_suite_decides_not_the_shell_and_says_so(
    sees, cluster_settings, name, value, decided_by
):
    settings = cluster_settings.model_copy(update={"sbatch": {"reservation": "july"}})
    seen, _, notes = sees(settings, **{name: value})
    assert name not in seen
    (note,) = notes
    assert note.startswith(f"{name}={value} is left out: {decided_by}")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SBATCH_PARTITION", "debug"),
        ("SBATCH_ACCOUNT", "physics"),
        ("SBATCH_QOS", "short"),
        ("SBATCH_CONSTRAINT", "v100"),
        ("SBATCH_RESERVATION", "june"),
        ("SBATCH_GRES", "lustre:1"),
        ("SBATCH_REQ_SWITCH", "1"),
        ("SBATCH_EXCLUSIVE", "user"),
        ("SBATCH_OF_A_SLURM_TO_COME", "1"),
    ],
)
def test_what_the_suite_says_nothing_of_is_passed_on_and_told(sees, name, value):
    seen, script, notes = sees(**{name: value})
    assert seen[name] == value
    assert environment.option_of(name) not in directives(script)
    assert notes == [f"{name}={value} goes to sbatch, as the suite says nothing of it"]


def test_single_jobs_tell_what_they_get_of_the_shell(monkeypatch):
    monkeypatch.setenv("SBATCH_QOS", "short")
    monkeypatch.setenv("SBATCH_CPU_BIND_TYPE", "mask_cpu:")
    assert environment.note_on_single_jobs().startswith("sbatch reads SBATCH_QOS of this shell")
    monkeypatch.delenv("SBATCH_QOS")
    assert environment.note_on_single_jobs() == ""


# --- Questions ---


def test_no_variable_of_the_shell_hides_a_job_or_changes_what_a_time_looks_like(
    command, monkeypatch
):
    seen = "$SLURM_TIME_FORMAT$SQUEUE_STATES$SLURM_CONF"
    command("scontrol", f'echo "JobId=17 JobName=name JobState=conf:{seen}"')
    monkeypatch.setenv("SLURM_TIME_FORMAT", "%s")
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    monkeypatch.setenv("SLURM_CONF", "/opt/slurm.conf")
    assert job_state("17", "name").state == "conf:/opt/slurm.conf"
