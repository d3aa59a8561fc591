"""An environment with mmdet 3, which cannot be installed where mmdet 2 is."""

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import build_mmcv
import torch

# Pinned, without what they depend on: torch, NumPy, OpenCV and pycocotools are those of .venv, so
# that what differs is mmdet's. matplotlib, which mmengine imports, is there, too.
PACKAGES = (
    "onedl-mmdetection==3.5.1",
    "onedl-mmengine==0.10.12",
    "imageio==2.37.0",
    "imaug==0.4.3",
    "lazy-loader==0.4",
    "markdown-it-py==4.0.0",
    "mdurl==0.1.2",
    "rich==15.0.0",
    "scikit-image==0.25.2",
    "shapely==2.1.2",
    "termcolor==3.2.0",
    "tifffile==2025.5.10",
)
MMCV = Path(__file__).with_name("mmcv.txt")


def mmdet3_python(folder: Path) -> Path:
    """The interpreter of the environment in `folder`, which is made if it is not complete there."""
    python, complete = folder / "bin/python", folder / ".complete"
    if complete.exists() and complete.read_text() == _wanted():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
    # Seen after what is installed here.
    packages = folder / f"lib/python3.{sys.version_info.minor}/site-packages"
    (packages / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
    install += ["--python", python]
    subprocess.run([*install, *PACKAGES, _mmcv_wheel()], check=True)
    complete.write_text(_wanted())
    return python


def _wanted() -> str:
    return "\n".join([*PACKAGES, MMCV.read_text(), sys.version, torch.__version__])


def _mmcv_wheel() -> Path:
    """mmcv 2's, with operators for the CPU; compiled once a machine, as `make setup` does."""
    cache = build_mmcv.cache_folder("cpu-mmcv2")
    cache.mkdir(parents=True, exist_ok=True)
    if not (wheels := list(cache.glob("*.whl"))):
        build_mmcv.say("Compiling mmcv 2's operators once for this machine: some minutes.")
        with (
            tempfile.TemporaryDirectory(prefix="mmcv2-") as folder,
            tempfile.TemporaryDirectory(prefix="part-", dir=cache) as part,
        ):
            source = build_mmcv.download_source(Path(folder), MMCV)
            build_mmcv.use_torchs_standard(source)
            operators = source / "mmcv/ops/csrc/pytorch"
            build_mmcv.join_sources(operators)
            build_mmcv.join_sources(operators / "cpu", but=build_mmcv.COMPILED_ALONE)
            wheel = build_mmcv.compile_wheel(source, Path(part), "cpu", cache / "build.log")
            wheels = [wheel.rename(cache / wheel.name)]
    return wheels[0]
