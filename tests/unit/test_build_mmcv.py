"""setup/build_mmcv.py: what is compiled, and when. The compiler itself is not run."""

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
