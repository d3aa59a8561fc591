"""setup/build_mmcv.py: what is compiled, and when. The compiler itself is not run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import build_mmcv
import pytest


@pytest.fixture
def build(monkeypatch, tmp_path):
    """The script, on a machine without GPU whose cache is empty."""
    monkeypatch.setattr(build_mmcv.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(build_mmcv.torch.version, "cuda", "13.0")
    monkeypatch.setenv("FGD_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CUDA_HOME", raising=False)
    return build_mmcv


def toolkit(folder: Path, version: str) -> Path:
    """A CUDA toolkit, as far as it is looked at."""
    nvcc = folder / "bin" / "nvcc"
    nvcc.parent.mkdir(parents=True)
    nvcc.write_text(f"#!/bin/sh\necho 'Cuda compilation tools, release {version}, V{version}.1'\n")
    nvcc.chmod(0o755)
    (folder / "include").mkdir()
    (folder / "include" / "cuda_runtime.h").touch()
    return folder


def test_every_source_is_included_once(build, tmp_path):
    names = [f"op_{i}.cpp" for i in range(10)] + ["psamask.cpp"]
    for name in names:
        (tmp_path / name).write_text("int x;\n" * len(name))
    build.join_sources(tmp_path, but={"psamask.cpp"})
    compiled = sorted(path.name for path in tmp_path.glob("*.cpp"))
    assert compiled == [f"joined_{i}.cpp" for i in range(build.JOINED_UNITS)] + ["psamask.cpp"]
    included = "".join(path.read_text() for path in tmp_path.glob("joined_*.cpp"))
    assert all(included.count(f'"{name}.inc"') == 1 for name in names[:-1])
    assert all((tmp_path / f"{name}.inc").exists() for name in names[:-1])


def test_toolkit_without_gpu_means_cpu_and_says_so(build, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("CUDA_PATH", str(toolkit(tmp_path / "cuda", "13.1")))
    assert build.variant("auto") == "cpu"
    assert "make setup CUDA=1" in capsys.readouterr().err


def test_cuda_home_or_the_users_word_compile_for_cuda(build, monkeypatch, tmp_path):
    home = str(toolkit(tmp_path / "cuda", "13.1"))
    monkeypatch.setenv("CUDA_HOME", home)
    assert build.variant("auto").startswith("cuda13.1-")
    assert build.variant("cpu") == "cpu"
    monkeypatch.delenv("CUDA_HOME")
    monkeypatch.setenv("CUDA_PATH", home)
    assert build.variant("cuda").startswith("cuda13.1-")


def test_toolkit_of_another_major_version_is_refused(build, monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_HOME", str(toolkit(tmp_path / "cuda", "12.4")))
    with pytest.raises(build.SetupError, match=r"version 12\.4.*needs one of version 13\.x"):
        build.variant("auto")


def test_cached_wheel_is_taken_as_it_is(build, monkeypatch):
    wheel = build.cache_folder("cpu") / "mmcv_full-1.7.2-cp311-cp311-linux_x86_64.whl"
    wheel.parent.mkdir(parents=True)
    wheel.touch()
    monkeypatch.setattr(build, "download_source", pytest.fail)
    assert build.cached_wheel("cpu") == wheel


@pytest.mark.parametrize(
    ("version", "expected"),
    [("12.8", "7.0;7.5;8.0;9.0+PTX"), ("13.0", "7.5;8.0;9.0+PTX"), ("14.1", "7.5;8.0;9.0+PTX")],
)
def test_the_cards_are_those_that_the_toolkit_knows(build, monkeypatch, version, expected):
    assert build.architectures(version) == expected
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "8.6")
    assert build.architectures(version) == "8.6"


def test_the_environments_own_ninja_is_found_before_the_systems(build, monkeypatch, tmp_path):
    for folder in ("own", "system"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ninja").write_text("#!/bin/sh")
        (tmp_path / folder / "ninja").chmod(0o755)
    monkeypatch.setattr(build.sys, "executable", str(tmp_path / "own" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    found = shutil.which("ninja", path=build.build_environment()["PATH"])
    assert found == str(tmp_path / "own" / "ninja")


# As mmcv's setup.py reads its version, and other ways to call exec().
READS_ITS_VERSION = """
def version():
    exec(compile("__version__ = '1.7.2'", "version.py", "exec"))
    return locals()["__version__"]

def in_a_dictionary():
    names = {}
    exec("x = 2", names)
    return names["x"]

exec("y = 3")
print(version(), in_a_dictionary(), y)
"""


@pytest.mark.parametrize("python", [sys.executable, "python3.13", "python3.14"])
def test_a_setup_that_runs_its_version_file_finds_the_version(build, python):
    # A name on the PATH may be of a version manager, which has no such version.
    if (
        not shutil.which(python)
        or subprocess.run([python, "-c", ""], capture_output=True).returncode
    ):
        pytest.skip(f"needs a {python} on the PATH that starts")
    done = subprocess.run(
        [python, "-c", READS_ITS_VERSION],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(build.SHIMS)},
    )
    assert done.stdout == "1.7.2 2 3\n", done.stderr


@pytest.mark.parametrize(
    ("header", "expected"),
    [("C++17 or later", "c++14 c++17"), ("C++20 or later", "c++20 c++20"), ("", "c++14 c++17")],
)
def test_torch_decides_on_the_standard(build, monkeypatch, tmp_path, header, expected):
    (tmp_path / "torch/include/ATen").mkdir(parents=True)
    (tmp_path / "torch/include/ATen/ATen.h").write_text(f"#error {header} compatible compiler")
    monkeypatch.setattr(build.torch, "__file__", str(tmp_path / "torch/__init__.py"))
    (tmp_path / "setup.py").write_text("['-std=c++14'] ['-std=c++17']")
    build.use_torchs_standard(tmp_path)
    first, second = expected.split()
    assert (tmp_path / "setup.py").read_text() == f"['-std={first}'] ['-std={second}']"
