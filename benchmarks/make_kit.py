"""Pack a GPU kit: what benchmarks/gpu.py needs on a machine that has torch and no network.

    python benchmarks/make_kit.py --out results/gpu-kit [--published CHECKOUT]

The folder travels as it is. On a machine with Linux on x86-64, Python 3.12, torch, torchvision,
Triton, NumPy, SciPy, OpenCV, a C++ compiler and nvcc, its `run.sh` unpacks it, compiles
mmcv's operators for the machine's card and measures. For the mini training --mini names a checkout
in which these are made: the row's config, its backbone, and its teacher (checked.json).
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "setup"))
import make_wheelhouse  # noqa: E402  (a script's folder, no package)

from fgd.suite.layout import Layout, Run, default_results  # noqa: E402

PYTHON = "3.12"
# What the library imports or compiles mmcv with; pip brings what these need.
PACKAGES = [
    "addict",
    "click",
    "faster-coco-eval",
    "filelock",
    "jinja2",
    "jsonschema",
    "matplotlib",
    "mmdet",
    "ninja",
    "pillow",
    "psutil",
    "pycocotools",
    "pydantic",
    "pyyaml",
    "setuptools",
    "tabulate",
    "tqdm",
    "wheel",
    "yapf",
]
THERE = ("torch|torchvision|triton|nvidia-.*|cuda-.*", "numpy|scipy|opencv-.*", "pip|pandas")
OPERATORS = "roi_align nms focal_loss deform_conv modulated_deform_conv"
SOURCES = ("fgd", "configs", "workflow", "setup", "benchmarks", "tests/data/fgd_golden.npz")
MINI_FILES = Layout(default_results("mini"))
RUN_FILES = MINI_FILES.run(Run("retinanet_r50", "fgd", 0))
MINI = (
    "data/mini/annotations",
    "data/mini/train",
    "data/mini/val",
    RUN_FILES.config,
    RUN_FILES.detector,
    MINI_FILES.teacher("retinanet_x101_64x4d_fpn_1x_coco").checkpoint,
    MINI_FILES.backbone("resnet18x16"),
)
RUN = f"""#!/usr/bin/env bash
# Measure on this machine; results go to the folder that is given: ./run.sh OUT
set -euo pipefail
cd "$(dirname "$0")"
out=$(realpath -m "${{1:-results}}")
mkdir -p "$out"
python=${{PYTHON:-python3}}
"$python" -m pip install --quiet --no-index --no-deps --no-compile --target site wheels/*.whl
export PYTHONPATH=$PWD:$PWD/site PIP_NO_INDEX=1 PIP_FIND_LINKS=$PWD/wheels FGD_CACHE=$PWD/cache
published=()
if [ -d published ]; then published=(--published published); fi
# What needs no operators runs while they compile: right or wrong, not how fast.
compile() {{
    export TORCH_CUDA_ARCH_LIST=${{TORCH_CUDA_ARCH_LIST:-$("$python" -c \\
        'import torch; print("%d.%d" % torch.cuda.get_device_capability())')}}
    wheel=$("$python" setup/build_mmcv.py ${{OPERATORS:-cuda --only {OPERATORS}}})
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target site "$wheel"
}}
compile >"$out/compile.log" 2>&1 &
compiling=$!
"$python" -W ignore benchmarks/gpu.py --only golden --out "$out" || true
wait $compiling || cat "$out/compile.log"
cp cache/wheels/*/*.whl "$out/" 2>/dev/null || true
"$python" -W ignore benchmarks/gpu.py "${{published[@]}}" --out "$out" \\
    --only ${{TOPICS:-loss step waits training compiled}} --seconds "${{SECONDS_LEFT:-420}}"
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(default_results("gpu-kit")))
    parser.add_argument("--published", type=Path, help="checkout of the published code")
    parser.add_argument("--mini", type=Path, help="checkout with the mini row's config and teacher")
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    make_wheelhouse.gather(out / "wheels", PYTHON, THERE, PACKAGES)
    for source in SOURCES:
        names = subprocess.run(
            ["git", "ls-files", "-z", source], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
        for name in names.split("\0")[:-1]:
            _copy(ROOT / name, out / name)
    for name in MINI if arguments.mini else ():
        _copy(arguments.mini / name, out / name)
    if arguments.published:
        losses = "mmdet/distillation/losses/fgd.py"
        _copy(arguments.published / losses, out / "published" / losses)
    (out / "run.sh").write_text(RUN)
    (out / "run.sh").chmod(0o755)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {size / 2**20:.1f} MiB. On the other machine: {out}/run.sh")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


if __name__ == "__main__":
    main()
