"""A mini suite of a few small images, in the real detectors' smallest form."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from shrunken import shrunken

from fgd import compat

# The GPU kernels' tests run anywhere; Triton reads this when it is imported.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

compat.prepare()

from fgd.mini import digits  # noqa: E402
from fgd.suite import Suite, load_suite  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory) -> Iterator[None]:
    """Tests neither use nor fill the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FGD_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory) -> Path:
    """The mini set with 10 training and 4 validation images."""
    folder = tmp_path_factory.mktemp("data") / "mini"
    digits.write(folder, train=10, val=4, size=64)
    return folder


@pytest.fixture
def tiny_suite(tiny_data, tmp_path) -> Suite:
    """The mini suite on `tiny_data`, its results in `tmp_path`, with batches of 2 and 2 epochs."""
    places = dict(results=str(tmp_path), data_root=str(tiny_data))
    content = shrunken(epochs=2, samples_per_gpu=2, checkpoint_interval=2, **places)
    content["mini"]["size"]["fc_channels"] = 16
    path = tmp_path / "suite.yaml"
    path.write_text(yaml.safe_dump(content))
    return load_suite(path)
