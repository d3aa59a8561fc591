"""Requests that no cluster can meet end soon, with the setting's name."""

import pytest
from slurm_project import Project, queue


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"nodes": 100, "gpus_per_node": 0}, "cluster.nodes (100)"),
        ({"partition": "nowhere"}, "cluster.partition (nowhere)"),
        ({"mem_gb": 0.001}, "cluster.mem_gb (0.001"),
        ({"mem_gb": 100000}, "cluster.mem_gb (100000)"),
        ({"gpus_per_node": 4}, "gpus_per_node 4"),
        ({"sbatch": {"no-such-option": 1}}, "cluster.sbatch"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_an_impossible_request_names_its_setting(project: Project, cluster, words, tmp_path):
    # 100 processes can share 100 images: it is Slurm that refuses. A job over its memory is told to
    # end, and may go on for KillWait, 30 s: on a fast machine it would be done by then.
    epochs = project.epochs_of(90)
    run = project.run(f"impossible_{tmp_path.name}", epochs=epochs, samples=100, **cluster)
    run.start()
    assert run.end() == 2, run.text
    assert words in run.text
    assert queue() == ""


def test_an_error_of_the_training_is_shown_with_its_rank(project: Project):
    run = project.run("broken", 2)
    text = run.config.read_text()
    run.config = project.folder / "config_broken.py"
    run.config.write_text(text.replace("/data/train/", "/data/nowhere/"))
    run.start()
    assert run.end() == 2, run.text
    assert "rank" in run.text
    assert "/data/nowhere/" in run.text
    assert len(run.attempts) == 1


def test_too_little_memory_is_told_as_that(project: Project):
    # Which state Slurm gives it depends on its version and on what watches over memory.
    run = project.run("memory", epochs=project.epochs_of(90), mem_gb=0.2)
    run.start()
    assert run.end() == 2, run.text
    assert "it needed more than cluster.mem_gb (0.2 GB a node" in run.text
    assert "somebody cancelled it" not in run.text
    assert len(run.attempts) == 1
    assert queue() == ""
