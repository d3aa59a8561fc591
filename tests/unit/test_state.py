"""Training states: whole or absent, verified, and a full disk that costs nothing."""

import errno
import logging
import os

import pytest
import torch

from fgd.checkpoint import read_checkpoint, seal
from fgd.errors import FGDError
from fgd.training import space
from fgd.training.run import _finish
from fgd.training.state import find_state, tidy, write_state

LOGGER = logging.getLogger("test")


def state(iteration: int, size: int = 1000) -> dict:
    generator = torch.Generator().manual_seed(iteration)
    return {
        "state_dict": {"weight": torch.randn(size, generator=generator)},
        "optimizer": {"state": {0: {"momentum_buffer": torch.zeros(size)}}, "param_groups": []},
        "meta": {"iter": iteration, "CLASSES": ("cat", "dog"), "lr": 0.1, "none": None},
    }


def write(folder, *iterations, size=1000):
    for iteration in iterations:
        write_state(state(iteration, size), folder / f"iter_{iteration:07d}.pth")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_two_states_are_kept(tmp_path):
    write(tmp_path, 1, 2, 3)
    assert names(tmp_path) == ["iter_0000002.pth", "iter_0000003.pth"]
    assert find_state(tmp_path, LOGGER)["meta"]["iter"] == 3


def test_every_flipped_bit_of_the_content_is_found(tmp_path):
    """torch alone reads such a file without a word."""
    write(tmp_path, 1)
    path = tmp_path / "iter_0000001.pth"
    whole = path.read_bytes()
    expected = read_checkpoint(path)
    noticed, harmless = 0, 0
    for position in range(0, len(whole), 97):
        damaged = bytearray(whole)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        try:
            read = read_checkpoint(path)
        except FGDError:
            noticed += 1
        else:  # an archive has fields that nobody reads
            harmless += 1
            assert torch.equal(read["state_dict"]["weight"], expected["state_dict"]["weight"])
            assert read["meta"] == expected["meta"]
    assert noticed > harmless


@pytest.mark.parametrize("left", [0, 10, 4000])
def test_a_damaged_newest_state_is_told_and_put_aside(tmp_path, caplog, left):
    write(tmp_path, 1, 2)
    newest = tmp_path / "iter_0000002.pth"
    newest.write_bytes(newest.read_bytes()[:left])
    (tmp_path / ".iter_0000003.pth.x.part").write_bytes(b"cut short by a kill")
    found = find_state(tmp_path, LOGGER)
    assert found["meta"]["iter"] == 1
    assert "iter_0000002.pth" in caplog.text
    tidy(tmp_path, found)
    assert names(tmp_path) == ["iter_0000001.pth", "iter_0000002.damaged"]


def test_a_state_of_unknown_origin_is_not_resumed_from(tmp_path, caplog):
    torch.save(state(1), tmp_path / "iter_0000001.pth")
    with pytest.raises(FGDError, match="none of its 1 training states"):
        find_state(tmp_path, LOGGER)
    assert "no hash of its content" in caplog.text


def test_the_hash_tells_types_order_and_nesting_apart():
    values = [[1, 2], (1, 2), [[1], 2], {1: 2}, [2, 1], [1.0, 2], ["1", 2], [True, 2], [None, 2]]
    values += [torch.zeros(2), torch.zeros(2, 1), torch.zeros(2).half(), [torch.zeros(2)]]
    hashes = {seal({"state_dict": {}, "x": value})["meta"]["content_sha256"] for value in values}
    assert len(hashes) == len(values)


def test_a_sealed_state_that_is_sealed_again_stays_the_same(tmp_path):
    once = seal(state(1))
    assert seal(once)["meta"] == once["meta"]


@pytest.fixture
def small_disk(disk):
    """A disk of 100 kB."""
    return disk("100k")


def test_a_full_disk_stops_the_run_with_the_state_before_intact(small_disk, capfd):
    write(small_disk, 1, size=4000)
    with pytest.raises(FGDError) as error:
        write(small_disk, 2, size=20000)
    text = str(error.value)
    assert "the disk is full: it needs 160.0 kB, and " in text
    assert "iter_0000001.pth is intact" in text
    assert "\n" not in text
    assert names(small_disk) == ["iter_0000001.pth"]
    assert find_state(small_disk, LOGGER)["meta"]["iter"] == 1


def test_the_last_state_is_the_result_and_lies_on_any_disk(tmp_path, small_disk):
    write(tmp_path / "run", 1, 2)
    (tmp_path / "run/iter_of_mine.pth").write_text("no state")
    for out in (tmp_path / "out.pth", small_disk / "out.pth"):
        _finish(tmp_path / "run", out)
        assert read_checkpoint(out)["meta"]["iter"] == 2
    newest = tmp_path / "run/iter_0000002.pth"
    assert newest.samefile(tmp_path / "out.pth")
    write(tmp_path / "run", 3, size=40000)
    with pytest.raises(FGDError, match=r"disk is full.*iter_0000003\.pth is intact"):
        _finish(tmp_path / "run", small_disk / "out.pth")
    assert read_checkpoint(small_disk / "out.pth")["meta"]["iter"] == 2


@pytest.mark.parametrize(
    ("number", "words"), [(errno.EDQUOT, "quota is used up"), (errno.ENOSPC, "disk is full")]
)
def test_what_is_full_is_told_when_the_file_system_notices_late(
    tmp_path, monkeypatch, number, words
):
    """NFS says so when a file is synchronised, not when it is written."""
    write(tmp_path, 1)

    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(FGDError, match=words):
        write(tmp_path, 2)
    assert names(tmp_path) == ["iter_0000001.pth"]


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(PermissionError), space.explain_full_disk(tmp_path / "x", 1, ""):
        raise PermissionError(errno.EPERM, "no")


def test_a_run_that_will_not_fit_is_refused_before_it_starts(small_disk):
    model = torch.nn.Linear(100, 100)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    adam = torch.optim.AdamW(model.parameters(), lr=0.1)
    assert space.state_bytes(model, sgd) == 2 * 40400
    assert space.state_bytes(model, adam) == 3 * 40400
    space.check_space(small_disk / "run", 30_000, kept=3)
    with pytest.raises(FGDError, match=r"3 training states of about 80.8 kB need 242.4 kB"):
        space.check_space(small_disk / "run", space.state_bytes(model, sgd), kept=3)
