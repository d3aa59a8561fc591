"""The `cluster:` section of a suite: what a training asks for, and what a wrong section says."""

import re

import pytest
import yaml

from cluster.settings import (
    ClusterSettings,
    check,
    for_training,
    on_this_machine,
    submitit_parameters,
)
from fgd.checkout import root
from fgd.errors import FGDError
from fgd.suite import load_suite


def write_suite(folder, cluster=None, **changes):
    """The COCO suite (8 GPUs x 2 images) with another `cluster:` section, or without one."""
    content = yaml.safe_load((root() / "configs/suites/coco.yaml").read_text())
    del content["cluster"]
    content |= changes | ({} if cluster is None else {"cluster": cluster})
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def settings_of(path, name="retinanet_r50"):
    return for_training(load_suite(path), name, path)


# --- What a training asks for ---


@pytest.mark.parametrize("name", ["coco", "mini"])
def test_the_suites_of_the_repository_can_be_trained_on_a_cluster(name):
    path = root() / f"configs/suites/{name}.yaml"
    suite = load_suite(path)
    check(suite, path)
    assert suite.total_batch % for_training(suite, "fcos_r50", path).tasks == 0


def test_a_suite_that_says_nothing_is_trained_on_one_node_with_its_gpus(tmp_path):
    settings = settings_of(write_suite(tmp_path))
    assert (settings.nodes, settings.gpus_per_node, settings.tasks) == (1, 8, 8)


def test_a_rows_own_settings_go_over_the_suites(tmp_path):
    cluster = {"nodes": 2, "gpus_per_node": 4, "mem_gb": 100}
    path = write_suite(tmp_path, cluster | {"rows": {"fcos_r50": {"nodes": 1, "qos": "long"}}})
    own, other = settings_of(path, "fcos_r50"), settings_of(path, "retinanet_r50")
    assert (own.nodes, own.gpus_per_node, own.mem_gb, own.qos) == (1, 4, 100, "long")
    assert (other.nodes, other.qos) == (2, None)


def test_a_teacher_is_trained_with_the_suites_settings(tmp_path):
    path = write_suite(tmp_path, {"nodes": 2, "gpus_per_node": 1, "partition": "gpu"})
    settings = settings_of(path, "retinanet_x101_64x4d_fpn_1x_coco")
    assert (settings.nodes, settings.partition) == (2, "gpu")


def test_on_this_machine_there_is_a_process_for_each_gpu_whatever_the_cluster_says(tmp_path):
    suite = load_suite(write_suite(tmp_path, {"nodes": 4, "gpus_per_node": 4}))
    assert on_this_machine(suite, "retinanet_r50").tasks == suite.gpus


def test_on_this_machine_restarts_and_ctrl_c_are_as_the_suite_says(tmp_path):
    cluster = {"max_restarts": 0, "cancel_on_interrupt": False, "timeout_min": 5}
    rows = {"fcos_r50": {"max_restarts": 7}}
    suite = load_suite(write_suite(tmp_path, cluster | {"rows": rows}))
    settings = on_this_machine(suite, "retinanet_r50")
    assert (settings.max_restarts, settings.cancel_on_interrupt) == (0, False)
    assert on_this_machine(suite, "fcos_r50").max_restarts == 7


@pytest.mark.parametrize(
    ("nodes", "gpus", "tasks", "shape"),
    [
        (1, 1, 1, "1 node x 1 GPU"),
        (2, 4, 8, "2 nodes x 4 GPUs"),
        (3, 0, 3, "3 nodes, without GPUs"),
    ],
)
def test_one_task_a_gpu_and_one_a_node_without_gpus(nodes, gpus, tasks, shape):
    settings = ClusterSettings(nodes=nodes, gpus_per_node=gpus)
    assert (settings.tasks, settings.shape) == (tasks, shape)


# --- In submitit's words ---


def test_what_is_not_set_is_not_asked_for():
    parameters = submitit_parameters(ClusterSettings(gpus_per_node=0), "name")
    assert "gpus_per_node" not in parameters
    assert parameters.keys().isdisjoint({"slurm_partition", "slurm_account", "slurm_qos"})


def test_what_is_set_is_asked_for():
    settings = ClusterSettings(nodes=2, gpus_per_node=4, partition="gpu", exclude="n7")
    parameters = submitit_parameters(settings, "mini.fcos_r50.fgd")
    assert parameters["name"] == "mini.fcos_r50.fgd"
    assert (parameters["nodes"], parameters["tasks_per_node"]) == (2, 4)
    assert (parameters["slurm_partition"], parameters["slurm_exclude"]) == ("gpu", "n7")


def test_further_options_of_sbatch_are_passed_on():
    parameters = submitit_parameters(ClusterSettings(sbatch={"reservation": "july"}), "name")
    options = parameters["slurm_additional_parameters"]
    assert options == {"requeue": True, "reservation": "july"}


def test_an_option_of_sbatch_that_is_false_is_left_out():
    settings = ClusterSettings(sbatch={"requeue": False, "exclusive": False, "nice": 0})
    assert submitit_parameters(settings, "name")["slurm_additional_parameters"] == {"nice": 0}


# --- Wrong sections ---


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"node": 2}, r"suite\.yaml: unknown key 'node' in cluster; did you mean 'nodes'"),
        (
            {"rows": {"fcos_r50": {"mem_gib": 4}}},
            r"unknown key 'mem_gib' in cluster\.rows\.fcos_r50; did you mean 'mem_gb'",
        ),
        ({"rows": {"fcos_r50": {"rows": {}}}}, r"unknown key 'rows' in cluster\.rows\.fcos_r50"),
        ({"nodes": 0}, r"cluster\.nodes: 0 is less than the minimum of 1"),
        ({"timeout_min": "1 day"}, r"cluster\.timeout_min: '1 day' is not of type 'integer'"),
        ({"setup": "module load cuda"}, r"cluster\.setup: .* is not of type 'array'"),
        ({"sbatch": {"reservation": ["a"]}}, r"cluster\.sbatch\.reservation"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path, cluster, message):
    with pytest.raises(FGDError, match=message):
        load_suite(write_suite(tmp_path, cluster))


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("nodes", "cluster.nodes"),
        ("ntasks_per_node", "cluster.gpus_per_node"),
        ("cpus-per-task", "cluster.cpus_per_task"),
        ("mem", "cluster.mem_gb"),
        ("mem-per-cpu", "cluster.mem_gb"),
        ("time", "cluster.timeout_min"),
        ("partition", "cluster.partition"),
        ("signal", "cluster.signal_delay_s"),
        ("job-name", "the launcher needs"),
        ("output", "the launcher needs"),
        ("array", "the launcher needs"),
    ],
)
def test_an_option_of_sbatch_that_has_a_key_of_its_own_is_refused(tmp_path, option, named):
    path = write_suite(tmp_path, {"rows": {"fcos_r50": {"sbatch": {option: "1"}}}})
    with pytest.raises(FGDError, match=rf"cluster\.sbatch\.{option} \(fcos_r50\): .*{named}"):
        check(load_suite(path), path)


@pytest.mark.parametrize(
    "sbatch",
    [{"gres": "gpu:a100:4"}, {"gres": "nvme:1,gpu:4"}, {"gpus-per-node": "a100:2"}, {"gpus": 8}],
)
def test_gpus_are_asked_for_in_one_place(tmp_path, sbatch):
    path = write_suite(tmp_path, {"gpus_per_node": 4, "sbatch": sbatch})
    with pytest.raises(FGDError, match=r"gpus_per_node.*`gpus-per-node: <type>:4`"):
        settings_of(path)


def test_a_type_of_gpu_may_be_named_for_as_many_as_are_asked_for(tmp_path):
    sbatch = {"gpus-per-node": "a100:4", "gres": "nvme:1", "reservation": "july"}
    settings = settings_of(write_suite(tmp_path, {"gpus_per_node": 4, "sbatch": sbatch}))
    assert (settings.sbatch, settings.tasks) == (sbatch, 4)


def test_processes_that_cannot_share_the_batch_are_refused(tmp_path):
    path = write_suite(tmp_path, {"nodes": 3, "gpus_per_node": 4})
    with pytest.raises(FGDError, match=r"3 nodes x 4 GPUs are 12 processes.* the 16 images"):
        settings_of(path)


def test_more_processes_than_images_are_refused(tmp_path):
    path = write_suite(tmp_path, {"nodes": 4, "gpus_per_node": 8})
    with pytest.raises(FGDError, match="32 processes"):
        settings_of(path)


def test_a_rows_own_processes_are_checked_and_the_row_is_named(tmp_path):
    path = write_suite(tmp_path, {"rows": {"fcos_r50": {"gpus_per_node": 3}}})
    with pytest.raises(FGDError, match=r"suite\.yaml: cluster: .*3 processes.*fcos_r50"):
        check(load_suite(path), path)


def test_settings_for_a_row_that_the_suite_has_not(tmp_path):
    path = write_suite(tmp_path, {"rows": {"fcos_r50": {}}}, rows=["retinanet_r50"])
    with pytest.raises(FGDError, match=r"cluster\.rows\.fcos_r50: .*it has retinanet_r50"):
        check(load_suite(path), path)


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"cpus_per_task": 2}, "cpus_per_task is 2 (retinanet_r50), and a process has 2 loaders"),
        ({"signal_delay_s": 120, "timeout_min": 2}, "signal_delay_s is 120 (retinanet_r50): a job"),
        ({"mem_gb": float("inf")}, "cluster.mem_gb"),
    ],
)
def test_a_job_that_cannot_do_its_work_is_refused(tmp_path, cluster, words):
    path = write_suite(tmp_path, cluster)
    with pytest.raises(FGDError, match=re.escape(words)):
        check(load_suite(path), path)
