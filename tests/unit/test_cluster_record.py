"""The record of a training's jobs, and the lock of its launcher."""

import json

import pytest

from cluster import record
from cluster.record import Record
from cluster.settings import ClusterSettings
from fgd.errors import FGDError

ASKED = ClusterSettings(nodes=2, gpus_per_node=4, sbatch={"reservation": "july"}, setup=["a"])


def test_a_record_is_read_as_it_was_written(tmp_path):
    log = Record("abc", "slurm")
    log.begin("mini.fcos_r50.fgd", ASKED).end = "node_fail"
    log.begin("mini.fcos_r50.fgd", ASKED).job_id = "17"
    log.save(tmp_path)
    assert record.load(tmp_path) == log


def test_a_record_of_an_earlier_version_is_read(tmp_path):
    attempt = {"name": "mini.fcos_r50.fgd.1a2b3c", "job_id": "17", "submitted": "", "end": None}
    content = {"fingerprint": "abc", "executor": "slurm", "shape": "", "attempts": [attempt]}
    record.path(tmp_path).write_text(json.dumps(content))
    found = record.load(tmp_path)
    assert (found.current.job_id, found.current.settings) == ("17", None)


def test_there_is_no_record_before_the_first_job(tmp_path):
    assert record.load(tmp_path / "jobs") is None
    assert Record("abc", "slurm").current is None


def test_the_newest_attempt_is_the_current_one():
    log = Record("abc", "slurm")
    attempts = [log.begin("name", ASKED), log.begin("name", ASKED)]
    assert log.current is attempts[1]


def test_a_new_attempt_has_a_unique_name_and_nothing_has_become_of_it():
    log = Record("abc", "slurm")
    names = {log.begin("mini.fcos_r50.fgd", ASKED).name for _ in range(20)}
    assert len(names) == 20
    assert all(name.startswith("mini.fcos_r50.fgd.") for name in names)
    assert (log.current.job_id, log.current.end) == (None, None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"attempts": 3}',
        '{"attempts": [{"job": "17"}]}',
        '{"attempts": [], "fingerprint": "abc"}',
    ],
)
def test_a_file_that_is_no_record_is_named_with_what_to_do(tmp_path, content):
    record.path(tmp_path).write_text(content)
    with pytest.raises(FGDError, match=rf"{record.path(tmp_path)}: not a record.*squeue"):
        record.load(tmp_path)


def test_a_second_launcher_is_refused_while_the_first_one_watches(tmp_path):
    jobs = tmp_path / "jobs"
    with (
        record.only_launcher(jobs),
        pytest.raises(FGDError, match=rf"{jobs}: another launcher.*fuser"),
        record.only_launcher(jobs),
    ):
        pass


def test_the_next_launcher_may_watch_when_the_first_one_has_ended(tmp_path):
    watched = 0
    for _ in range(2):
        with record.only_launcher(tmp_path):
            watched += 1
    assert watched == 2
