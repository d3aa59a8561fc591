"""Checkpoints from strangers: no code runs, each is refused in a line. `make reliability`: all."""

import os
import subprocess
import sys

import pytest
import torch
from reliability import hostile

from fgd.checkpoint import read_checkpoint
from fgd.errors import FGDError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    return folder / "ran", dict(hostile.write(folder / "files", folder / "ran"))


def test_the_payloads_would_run(tmp_path):
    """Read as the pickles that they are."""
    marker = tmp_path / "ran"
    (name, path), *_ = hostile.write(tmp_path / "files", marker)
    torch.load(path, weights_only=False)
    assert marker.exists(), name


def test_none_is_read_and_no_code_runs(corpus):
    marker, files = corpus
    for name, path in files.items():
        with pytest.raises(FGDError) as error:
            read_checkpoint(path)
        assert str(error.value).startswith(f"{path}: "), name
        assert "\n" not in str(error.value), name
        assert len(str(error.value)) < 600, name
    assert not marker.exists()
    assert len(files) > 150


@pytest.mark.parametrize("declared", [3001, 4000])
def test_a_size_that_torch_takes_from_the_file_is_compared_with_what_is_stored(
    tmp_path, monkeypatch, declared
):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {"a": torch.zeros(3000), "b": torch.zeros(5)}}, path)
    read_checkpoint(path)
    # As a torch before 2.10 reads a file whose pickle says another number.
    content = {"state_dict": {"a": torch.zeros(declared), "b": torch.zeros(5)}}
    monkeypatch.setattr(torch, "load", lambda *_, **__: content)
    with pytest.raises(FGDError, match=rf"a\.pth: declares {4 * declared} bytes of a tensor"):
        read_checkpoint(path)


def test_what_is_shared_in_part_empty_or_in_other_types_is_whole(tmp_path):
    path = tmp_path / "a.pth"
    whole = torch.arange(12.0)
    state = {"a": whole[:4], "b": whole.view(3, 4)[1:].t(), "none": torch.zeros(0)}
    state |= {"half": torch.zeros(3, dtype=torch.bfloat16), "flags": torch.zeros(3) > 0}
    torch.save({"state_dict": state, "optimizer": {"state": {0: whole.double()}}}, path)
    assert torch.equal(read_checkpoint(path)["state_dict"]["a"], torch.arange(4.0))


def test_every_command_refuses_in_a_line(corpus, tiny_suite, tmp_path):
    marker, files = corpus
    for command, arguments in hostile.Commands(tmp_path, tiny_suite).of(files["exec in meta"]):
        assert hostile.refusal(arguments), command
    assert not marker.exists()


def test_the_environment_cannot_allow_code(corpus, tmp_path):
    """mmcv's own loader follows TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD; see fgd.compat."""
    marker, files = corpus
    path = files["os.system in whole"]
    code = (
        "import sys; from fgd import compat; {}\nfrom mmcv.runner import load_checkpoint\n"
        "import torch\ntry: load_checkpoint(torch.nn.Linear(1, 1), sys.argv[1])\n"
        "except Exception as error: print(error)"
    )
    environment = dict(os.environ, TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD="1")

    def run(patch):
        command = [sys.executable, "-W", "ignore", "-c", code.format(patch), path]
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    done = run("compat.checkpoints_are_data()")
    assert "holds the Python object posix.system" in done.stdout
    assert not marker.exists()
    run("")
    assert marker.exists()
    marker.unlink()


def test_addresses_are_not_loaded_unverified():
    from mmcv.runner import CheckpointLoader

    from fgd import compat

    compat.apply()
    for address in ("https://example.org/a.pth", "torchvision://resnet50", "s3://a/b.pth"):
        with pytest.raises(FGDError, match="fetch it with `fgd download`"):
            CheckpointLoader.load_checkpoint(address)
