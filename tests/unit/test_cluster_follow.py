"""What a launcher says while it waits: the live line of a terminal, and the log above it."""

import io
import logging
from types import SimpleNamespace

import pytest

from cluster import follow
from cluster.follow import Follower
from cluster.slurm import JobState
from fgd import progress

ENTRY = {"iter": 40, "max_iters": 375, "epoch": 1, "max_epochs": 5, "loss": 1.25}
ENTRY |= {"lr": 0.1, "images_per_second": 10, "eta_seconds": 5}
RUNNING = JobState("RUNNING", nodes="n1")


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    """The terminal to which both the live line and the log are written."""
    screen = Screen()
    monkeypatch.setattr(follow, "sys", SimpleNamespace(stderr=screen))
    monkeypatch.setenv("COLUMNS", "60")
    handler = logging.StreamHandler(screen)
    logger = logging.getLogger("fgd.cluster")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield screen
    logger.removeHandler(handler)
    logger.setLevel(level)


def visible(screen):
    """Its lines, as a person sees them."""
    lines = screen.getvalue().split("\n")
    return [line.rsplit("\x1b[2K", 1)[-1] for line in lines]


def test_the_live_line_gives_way_to_the_log(screen, tmp_path):
    follower = Follower("mini.fcos_r50.fgd", "17", tmp_path)
    follower.report(RUNNING)
    progress.append(tmp_path, ENTRY)
    follower.report(RUNNING)
    follower.close()
    told, entry, live, end = visible(screen)
    assert told == "job 17: running on n1"
    assert entry == progress.text(ENTRY)
    assert live.startswith("mini.fcos_r50.fgd  job 17 running on n1  epoch 1/5")
    assert end == ""


def test_the_live_line_is_one_line(screen, tmp_path):
    progress.append(tmp_path, ENTRY)
    Follower("mini.fcos_r50.fgd", "17", tmp_path).report(RUNNING)
    assert len(visible(screen)[-1]) == 59
