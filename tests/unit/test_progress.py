"""The log of a training: read while it is written, cut where a run resumes, told in a line."""

import io
import json
import logging

from fgd import progress

ENTRY = {
    "iter": 40,
    "max_iters": 375,
    "epoch": 1,
    "max_epochs": 5,
    "lr": 0.00123456,
    "images_per_second": 31.25,
    "eta_seconds": 3725.4,
    "loss": 1.23456,
    "loss_cls": 1.0,
    "loss_fgd": 0.23456,
}


def test_what_is_appended_is_read_in_order(tmp_path):
    entries = [ENTRY, ENTRY | {"iter": 60}]
    for entry in entries:
        progress.append(tmp_path, entry)
    assert progress.read(tmp_path) == entries


def test_a_training_that_has_not_begun_has_no_entries(tmp_path):
    assert progress.read(tmp_path / "run") == []


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path):
    progress.append(tmp_path, ENTRY)
    with (tmp_path / progress.FILE).open("a") as file:
        file.write(json.dumps(ENTRY)[:30])
    assert progress.read(tmp_path) == [ENTRY]


def test_entries_after_the_state_are_dropped(tmp_path):
    for iteration in (20, 40, 60):
        progress.append(tmp_path, ENTRY | {"iter": iteration})
    progress.drop_after(tmp_path, 40)
    assert [entry["iter"] for entry in progress.read(tmp_path)] == [20, 40]


def test_a_run_that_resumes_goes_on_after_a_line_cut_short(tmp_path):
    progress.append(tmp_path, ENTRY)
    with (tmp_path / progress.FILE).open("a") as file:
        file.write('{"iter": 60, "lo')
    progress.drop_after(tmp_path, 40)
    progress.append(tmp_path, ENTRY | {"iter": 60})
    assert [entry["iter"] for entry in progress.read(tmp_path)] == [40, 60]


def test_the_log_is_never_seen_half_written(tmp_path):
    progress.append(tmp_path, ENTRY)
    before = (tmp_path / progress.FILE).stat().st_ino
    progress.drop_after(tmp_path, 40)
    assert (tmp_path / progress.FILE).stat().st_ino != before  # a new file in its place
    assert [path.name for path in tmp_path.iterdir()] == [progress.FILE]


def test_nothing_is_dropped_where_there_is_no_log(tmp_path):
    progress.drop_after(tmp_path, 0)
    assert not (tmp_path / progress.FILE).exists()


def test_an_entry_as_a_line():
    assert progress.text(ENTRY) == (
        "epoch 1/5  iter 40/375  loss 1.2346  lr 0.00123  31.2 img/s  eta 1:02:05"
        "  |  loss_cls 1  loss_fgd 0.2346"
    )


def test_a_short_line_has_no_terms():
    assert progress.text(ENTRY, terms=False).endswith("eta 1:02:05")


def test_the_packages_loggers_write_to_a_stream_and_nowhere_else():
    stream = io.StringIO()
    progress.log_to(stream)
    logging.getLogger("fgd.cluster").info("submitted job 17")
    assert stream.getvalue().endswith("  submitted job 17\n")
    assert not logging.getLogger("fgd").propagate
