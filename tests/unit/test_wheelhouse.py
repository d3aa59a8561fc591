"""Wheelhouses: what is gathered for which Python, and which are refused. pip is not run."""

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import make_wheelhouse
import pytest
import wheelhouse
from wheelhouse import Manifest, WheelhouseError

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
MACHINE = platform.machine()
LOCK = """\
# by `make lock`
colorama==0.4.6 ; sys_platform == 'win32'
    # via click
networkx==3.6.1 ; python_full_version < '3.12'
networkx==3.7 ; python_full_version >= '3.12'
numpy==1.26.4
connection-pool==0.0.3
torch==2.11.0
nvidia-nccl-cu13==2.28.9 ; sys_platform == 'linux'
"""
NUMPY = f"numpy-1.26.4-cp312-cp312-manylinux_2_17_{MACHINE}.manylinux2014_{MACHINE}.whl"


@pytest.fixture
def lock(monkeypatch, tmp_path):
    file = tmp_path / "requirements.txt"
    file.write_text(LOCK)
    monkeypatch.setattr(wheelhouse, "LOCK", file)
    monkeypatch.setattr(make_wheelhouse, "LOCK", file)
    return file


@pytest.fixture
def folder(tmp_path):
    """A wheelhouse of a single package beside torch, for this Python on this machine."""
    folder = tmp_path / "wheelhouse"
    folder.mkdir()
    (folder / "six.whl").write_text("six")
    Manifest(
        python=PYTHON,
        platform=wheelhouse.this_platform(),
        lock=wheelhouse.lock_hash(),
        packages=["six==1.17.0", "torch==2.11.0"],
        files={"six.whl": wheelhouse.sha256(folder / "six.whl")},
    ).write(folder)
    return folder


def change(folder: Path, **values: object) -> None:
    replace(Manifest.read(folder), **values).write(folder)


# --- what set-up takes -----------------------------------------------------------------------


def test_a_bare_python_lists_the_packages(folder):
    script = [sys.executable, "-E", "-s", "-S", wheelhouse.HERE / "wheelhouse.py", folder]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["six==1.17.0", "torch==2.11.0"]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"python": "3.9"}, f"is for Python 3.9, and this is {PYTHON}"),
        ({"platform": "Linux riscv64"}, "is for the platform Linux riscv64, and this is "),
        ({"lock": "0"}, "was made for another version of setup/requirements.txt"),
        ({"files": {"six.whl": "0"}}, "six.whl is missing or damaged"),
        ({"files": {"numpy.whl": "0"}}, "numpy.whl is missing or damaged"),
    ],
)
def test_another_one_is_refused_with_the_command_for_the_right_one(folder, values, said):
    change(folder, **values)
    with pytest.raises(WheelhouseError, match=said) as refused:
        wheelhouse.check(folder)
    assert f"`make wheelhouse PYTHON_VERSION={PYTHON}`" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"python": "3.11"}', "\xff"])
def test_no_or_half_a_manifest_is_refused(folder, text):
    (folder / wheelhouse.MANIFEST).unlink()
    if text is not None:
        (folder / wheelhouse.MANIFEST).write_bytes(text.encode("latin1"))
    with pytest.raises(WheelhouseError, match="is no wheelhouse, or not a whole one"):
        wheelhouse.check(folder)


@pytest.mark.parametrize("libc", [("glibc", "2.17"), ("", "")])
def test_another_c_library_is_refused(folder, monkeypatch, libc):
    monkeypatch.setattr(platform, "libc_ver", lambda: libc)
    with pytest.raises(WheelhouseError, match=r"is for glibc 2\.28 or newer"):
        wheelhouse.check(folder)


class TestTorchOfTheMachine:
    @pytest.fixture(autouse=True)
    def without_torch(self, folder, lock, monkeypatch):
        lock.write_text("six==1.17.0\ntorch==2.11.0\ntorchvision==0.26.0\n")
        change(folder, packages=["six==1.17.0"], lock=wheelhouse.lock_hash())
        monkeypatch.setattr(sys, "prefix", sys.base_prefix)
        self.there = {"torch": "2.11.0+cu130", "torchvision": "0.26.0"}
        monkeypatch.setattr(wheelhouse.metadata, "version", self.version)

    def version(self, name: str) -> str:
        if name not in self.there:
            raise wheelhouse.metadata.PackageNotFoundError
        return self.there[name]

    def test_of_the_locks_version_is_taken(self, folder):
        assert not wheelhouse.check(folder).has_torch

    @pytest.mark.parametrize(
        ("there", "said"),
        [
            ({}, "has no torch where 2.11.0 is needed"),
            ({"torch": "2.11.0"}, "has no torchvision where 0.26.0 is needed"),
            ({"torch": "2.9.1+cpu"}, r"has torch 2.9.1\+cpu where 2.11.0 is needed"),
        ],
    )
    def test_of_another_version_is_refused(self, folder, there, said):
        self.there = there
        with pytest.raises(WheelhouseError, match=said) as refused:
            wheelhouse.check(folder)
        assert str(refused.value).endswith(f"`make wheelhouse PYTHON_VERSION={PYTHON}`")

    def test_in_a_virtual_environment_would_not_be_seen(self, folder, monkeypatch):
        monkeypatch.setattr(sys, "prefix", "/opt/env")
        with pytest.raises(WheelhouseError, match="/opt/env is a virtual environment"):
            wheelhouse.check(folder)

    def test_other_refusals_keep_it_out_of_the_right_command(self, folder):
        change(folder, python="3.9")
        with pytest.raises(WheelhouseError, match="TORCH_IS_THERE=1`"):
            wheelhouse.check(folder)


def test_set_up_stops_before_anything_is_installed(folder, tmp_path):
    shutil.copytree(wheelhouse.HERE, tmp_path / "clone" / "setup")
    change(folder, python="3.9")
    done = subprocess.run(
        [tmp_path / "clone" / "setup" / "install.sh"],
        env=os.environ | {"PYTHON": sys.executable, "WHEELS": str(folder), "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {folder} is for Python 3.9")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in (tmp_path / "clone").iterdir()] == ["setup"]


# --- what is gathered ------------------------------------------------------------------------


@pytest.mark.parametrize(("python", "networkx"), [("3.11", "3.6.1"), ("3.12", "3.7")])
def test_the_lock_is_read_for_another_python(lock, python, networkx):
    assert [str(each) for each in make_wheelhouse.locked(python)] == [
        f"networkx=={networkx}",
        "numpy==1.26.4",
        "connection-pool==0.0.3",
        "torch==2.11.0",
        "nvidia-nccl-cu13==2.28.9",
    ]


class Index:
    """In pip's place: files that an index has, by requirement; what was asked for."""

    def __init__(self) -> None:
        self.files = {
            "networkx==3.7": "networkx-3.7-py3-none-any.whl",
            "networkx==3.6.1": "networkx-3.6.1-py3-none-any.whl",
            "numpy==1.26.4": NUMPY,
            "connection-pool==0.0.3": "connection_pool-0.0.3.tar.gz",
        }
        self.compiled = "connection_pool-0.0.3-py3-none-any.whl"
        self.asked: list[str] = []

    def __call__(self, command: str, _: str, folder: str, *words: object) -> None:
        words = [str(word) for word in words]
        if command == "wheel":
            names = [self.compiled]
        elif words[-1] == str(wheelhouse.MMCV):
            names = ["mmcv-full-1.7.2.tar.gz"]
        else:
            names = [self.files[word] for word in words if word in self.files]
        self.asked += names
        for name in names:
            (Path(folder) / name).write_text(name)


@pytest.fixture
def index(monkeypatch, lock):
    index = Index()
    monkeypatch.setattr(make_wheelhouse, "_pip", index)
    return index


def gather(out: Path, python: str = "3.12") -> None:
    make_wheelhouse.gather(out, python, [make_wheelhouse.TORCH.pattern])


def test_a_source_alone_becomes_a_wheel_and_mmcv_stays_one(index, tmp_path):
    gather(tmp_path / "out")
    manifest = Manifest.read(tmp_path / "out")
    assert set(manifest.files) == {
        "connection_pool-0.0.3-py3-none-any.whl",
        "mmcv-full-1.7.2.tar.gz",
        "networkx-3.7-py3-none-any.whl",
        NUMPY,
    }
    assert manifest.packages == ["connection-pool==0.0.3", "networkx==3.7", "numpy==1.26.4"]
    there = {path.name for path in (tmp_path / "out").iterdir()}
    assert there == {wheelhouse.MANIFEST, *manifest.files}


def test_what_is_there_is_not_fetched_again_but_damaged_files_are(index, tmp_path):
    gather(tmp_path)
    first = (tmp_path / wheelhouse.MANIFEST).read_text()
    index.asked.clear()
    gather(tmp_path)
    assert index.asked == []
    (tmp_path / NUMPY).write_text("half")
    gather(tmp_path)
    assert index.asked == [NUMPY]
    assert (tmp_path / wheelhouse.MANIFEST).read_text() == first


def test_an_interrupted_one_is_no_wheelhouse_and_goes_on(index, tmp_path, monkeypatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    gather(tmp_path)
    (tmp_path / NUMPY).unlink()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(make_wheelhouse, "_pip", interrupted)
        gather(tmp_path)
    assert not (tmp_path / wheelhouse.MANIFEST).exists()
    index.asked.clear()
    gather(tmp_path)
    assert index.asked == [NUMPY]


def test_another_python_takes_the_folder_over(index, tmp_path):
    gather(tmp_path)
    (tmp_path / "notes.txt").touch()
    index.files["numpy==1.26.4"] = NUMPY.replace("cp312", "cp311")
    gather(tmp_path, "3.11")
    assert Manifest.read(tmp_path).python == "3.11"
    assert {path.name for path in tmp_path.iterdir() if "n" in path.name} >= {"notes.txt"}
    assert not (tmp_path / NUMPY).exists()
    assert (tmp_path / NUMPY.replace("cp312", "cp311")).exists()


def test_a_wheel_that_compiled_for_another_python_is_refused(index, tmp_path):
    index.compiled = f"connection_pool-0.0.3-cp310-cp310-linux_{MACHINE}.whl"
    with pytest.raises(WheelhouseError, match=r"connection-pool==0\.0\.3 comes as source alone"):
        gather(tmp_path)
    assert not (tmp_path / wheelhouse.MANIFEST).exists()
