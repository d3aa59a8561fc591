"""Which torch a machine can run, and the two locks: one but for what torch brings."""

import re
import subprocess
import sys

import pytest
import which_lock

from fgd.checkout import root

SCRIPT = root() / "setup" / "which_lock.py"
CU12, CU13 = which_lock.LOCKS["cu12"], which_lock.LOCKS["cu13"]


def asked(*options, nvidia_smi="exit 9", folder=None):
    """The script's answer on a machine whose nvidia-smi is this one."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{nvidia_smi}\n")
    program.chmod(0o755)
    return subprocess.run(
        [sys.executable, SCRIPT, *options],
        env={"PATH": f"{folder}:/bin"},
        cwd=root(),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("options", "lock"),
    [
        ([], CU12),  # where nothing is known, nothing is refused
        (["--torch", "cu13"], CU13),
        (["--gpu", "v100", "--driver", "525"], CU12),
        (["--gpu", "b200", "--driver", "570.86"], CU12),
        (["--torch", "cu13", "--gpu", "Tesla T4", "--driver", "580"], CU13),
        (["--gpu", "p100", "--driver", "390", "--operators", "cpu"], CU12),
    ],
)
def test_what_a_machine_can_run_is_named(options, lock, tmp_path):
    done = asked(*options, folder=tmp_path)
    assert done.stdout == f"setup/{lock.file}\n", done.stderr


@pytest.mark.parametrize(
    ("options", "reason", "instead"),
    [
        (
            ["--torch", "cu13", "--driver", "535.104"],
            "needs driver 580 or newer, and this is 535",
            "`make setup` (torch 2.1",
        ),
        (
            ["--torch", "cu13", "--gpu", "V100"],
            "has no code for cards before Turing (T4, RTX 20), and this one's compute capability "
            "is 7.0",
            "`make setup` (torch 2.1",
        ),
        (["--gpu", "p100"], "has no code for cards before V100", "`make setup CUDA=0`"),
        (["--driver", "470"], "needs driver 525 or newer, and this is 470", "`make setup CUDA=0`"),
        (["--torch", "cu14"], "TORCH=cu14: there are cu12 and cu13", ""),
        (["--gpu", "voodoo"], "GPU=voodoo: not a card that is known here", "GPU=8.6"),
        (["--driver", "new"], "DRIVER=new: expected a number", ""),
    ],
)
def test_what_it_cannot_run_is_refused_in_a_line_that_names_what_can(
    options, reason, instead, tmp_path
):
    done = asked(*options, folder=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert instead in done.stderr


SMI = 'case "$*" in *compute_cap*) printf "{cards}";; *) printf "{driver}";; esac'


def test_the_machines_own_driver_and_oldest_card_count(tmp_path):
    smi = SMI.format(cards="8.0\\\\n7.0\\\\n", driver="535.104.05\\\\n535.104.05\\\\n")
    assert asked(nvidia_smi=smi, folder=tmp_path).stdout == "setup/requirements.txt\n"
    refused = asked("--torch", "cu13", nvidia_smi=smi, folder=tmp_path).stderr
    assert "this is 535 and has no code" in refused
    assert "7.0" in refused
    # The user knows more of the nodes.
    of_the_nodes = ["--torch", "cu13", "--gpu", "h100", "--driver", "590"]
    done = asked(*of_the_nodes, nvidia_smi=smi, folder=tmp_path)
    assert done.stdout == "setup/requirements-cu13.txt\n"


def test_a_driver_too_old_to_tell_of_its_cards_is_still_read(tmp_path):
    smi = 'case "$*" in *compute_cap*) exit 2;; *) echo 460.32;; esac'
    assert "this is 460" in asked(nvidia_smi=smi, folder=tmp_path).stderr


def pinned(lock):
    found = re.findall(r"^([\w.-]+)==(\S+)(.*)$", lock.path.read_text(), re.MULTILINE)
    return {(name, version, marker.strip()) for name, version, marker in found}


def test_the_locks_are_one_but_for_what_torch_brings():
    differ = {name for name, _, _ in pinned(CU12) ^ pinned(CU13)}
    assert {"torch", "torchvision"} <= differ
    theirs = re.compile(r"torch|torchvision|triton|nvidia-.*|cuda-.*")
    assert [name for name in differ if not theirs.fullmatch(name)] == []


@pytest.mark.parametrize("lock", [CU12, CU13], ids=lambda lock: lock.name)
def test_a_lock_is_of_the_cuda_that_it_says(lock):
    names = {name for name, _, _ in pinned(lock)}
    assert f"nvidia-cudnn-cu{lock.cuda}" in names
    assert f"nvidia-nccl-cu{lock.cuda}" in names
