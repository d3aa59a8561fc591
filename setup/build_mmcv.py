"""Compile the mmcv-full wheel from its sdist, once a machine; print the wheel's path.

For a torch this new mmcv-full exists as source only. The wheel is kept outside the checkout, in
${FGD_CACHE:-${XDG_CACHE_HOME:-~/.cache}/fgd}/wheels, one folder for each Python, torch and CUDA
version, so that the next clone takes it from there. Which operators are compiled: see `variant`.

Usage (in the project's environment, with setup/requirements.txt installed):
    python setup/build_mmcv.py [auto | cpu | cuda] [--only OPERATOR ...]
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from mmcv_operators import keep_operators

SDIST = Path(__file__).with_name("mmcv.txt")
SHIMS = Path(__file__).with_name("build_shims")
# Machine code for V100 (toolkits before 13 alone know it), T4 and RTX 20, A100 and, upwards
# compatible, every 8.x card, and H100; and PTX, which newer cards' drivers translate. Fixed, not
# read off the card: one wheel serves a cluster's login node and all its GPU nodes.
ARCHITECTURES = {12: "7.0;7.5;8.0;9.0+PTX", 13: "7.5;8.0;9.0+PTX"}
# These two of csrc/pytorch/cpu define macros and templates that their neighbours define too.
COMPILED_ALONE = {"psamask.cpp", "rotated_feature_align.cpp"}
JOINED_UNITS = 4


class SetupError(Exception):
    """Something that the user can put right; the text says how."""


def say(text: str) -> None:
    """Standard output is for the wheel's path alone."""
    print(text, file=sys.stderr, flush=True)


def variant(choice: str) -> str:
    """Which operators to compile: 'cpu', or 'cuda13.0-…' with the toolkit's version.

    auto: CUDA where a GPU is visible or CUDA_HOME is set, which is what `module load cuda` does on
    a cluster's login node. A toolkit that merely lies on the machine is not enough: compiling for
    it takes many times longer.
    """
    if choice == "cpu":
        return "cpu"
    toolkit = find_toolkit()
    if choice == "auto" and not (torch.cuda.is_available() or "CUDA_HOME" in os.environ):
        if toolkit:
            say(
                f"CUDA toolkit found in {toolkit}, but no GPU: compiling for CPU only "
                "(`make setup CUDA=1` compiles the CUDA operators too)."
            )
        return "cpu"
    if toolkit is None:
        raise SetupError(
            "the CUDA operators need a CUDA toolkit (nvcc), and none was found: load one "
            "(`module load cuda`), set CUDA_HOME, or say `make setup CUDA=0` for CPU only"
        )
    version = toolkit_version(toolkit)
    if version.split(".")[0] != torch.version.cuda.split(".")[0]:
        raise SetupError(
            f"the CUDA toolkit in {toolkit} is version {version}, and torch {torch.__version__} "
            f"needs one of version {torch.version.cuda.split('.')[0]}.x: load or set CUDA_HOME to "
            "such a one, or say `make setup CUDA=0` for CPU only"
        )
    return f"cuda{version}-{architectures(version).replace(';', '-').replace(' ', '-')}"


def architectures(toolkit: str) -> str:
    """The cards to compile for, by a toolkit's version, in the words of TORCH_CUDA_ARCH_LIST."""
    known = ARCHITECTURES[min(max(ARCHITECTURES), int(toolkit.split(".")[0]))]
    return os.environ.get("TORCH_CUDA_ARCH_LIST", known)


def find_toolkit() -> Path | None:
    """The first complete CUDA toolkit, in the order in which a user would expect to be heard."""
    nvcc = shutil.which("nvcc")
    candidates = [
        os.environ.get("CUDA_HOME"),
        os.environ.get("CUDA_PATH"),
        Path(nvcc).resolve().parents[1] if nvcc else None,
        "/usr/local/cuda",
    ]
    for home in (Path(candidate) for candidate in candidates if candidate):
        if (home / "bin/nvcc").exists() and (home / "include/cuda_runtime.h").exists():
            return home
    return None


def toolkit_version(toolkit: Path) -> str:
    """For example '13.0'."""
    text = subprocess.run(
        [toolkit / "bin/nvcc", "--version"], capture_output=True, text=True, check=True
    ).stdout
    return re.search(r"release (\d+\.\d+)", text).group(1)


def headers() -> list[str]:
    """The CUDA libraries' headers that came with torch: some toolkits have the compiler alone.

    Compilers look there after the toolkit's own folder.
    """
    packages = Path(torch.__file__).parents[1] / "nvidia"
    return sorted(str(folder) for folder in packages.glob("*/include"))


def cache_folder(operators: str) -> Path:
    """Where the wheel for this interpreter, torch and these operators is kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"), "fgd")
    cache = Path(os.environ.get("FGD_CACHE", cache))
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    torch_version = torch.__version__.split("+")[0]
    return cache / "wheels" / f"{python}-torch{torch_version}-{operators}"


def download_source(folder: Path, requirement: Path = SDIST) -> Path:
    """The unpacked sdist; pip compares its hash with the one in the requirement's file."""
    # Without isolation, because mmcv's setup.py asks the installed torch what to build.
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    pip += ["--no-binary", ":all:", "--no-build-isolation", "-d", folder, "-r", requirement]
    if subprocess.run(pip, stdout=sys.stderr, env=build_environment()).returncode:
        raise SetupError(
            "mmcv-full's source could not be fetched; pip's words above say why. Without a network "
            "or a package mirror (`pip config set global.index-url …`) see `make wheelhouse`"
        )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


def build_environment() -> dict[str, str]:
    """The environment in which pip runs mmcv's setup.py."""
    environment = dict(os.environ)
    # That asks for the command `ninja`, without which it compiles one file after the other. Ours is
    # beside this interpreter, which need not be on the PATH; a system's may be an old one.
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    environment["PATH"] = os.pathsep.join(folders)
    if sys.version_info >= (3, 13):
        before = os.environ.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SHIMS), before]))
    return environment


def use_torchs_standard(source: Path) -> None:
    """Let mmcv's setup.py ask for the C++ standard that torch's headers want, if they want a newer.

    It names C++14 and C++17; newer torch wants C++20.
    """
    header = Path(torch.__file__).parent / "include/ATen/ATen.h"
    wanted = re.search(r"C\+\+(\d+) or later", header.read_text())
    if wanted and int(wanted[1]) > 17:
        setup = source / "setup.py"
        setup.write_text(re.sub(r"std=c\+\+1[47]", f"std=c++{wanted[1]}", setup.read_text()))


def join_sources(folder: Path, but: Collection[str] = ()) -> None:
    """Replace a folder's C++ files, `but` for some, by a few that include them all.

    Each of the 73 files parses torch's headers, ten seconds a file: joined, they compile in a
    fifth of the time. (A precompiled header does not help: loading torch's takes longer.)
    """
    sources = [path for path in folder.glob("*.cpp") if path.name not in but]
    sources.sort(key=lambda path: (-path.stat().st_size, path.name))
    for unit in range(JOINED_UNITS):
        includes = []
        for source in sources[unit::JOINED_UNITS]:
            # Another suffix, so that mmcv's setup.py does not compile it a second time.
            joined = source.rename(source.with_suffix(".cpp.inc"))
            includes.append(f'#include "{joined.name}"\n')
        (folder / f"joined_{unit}.cpp").write_text("".join(includes))


def compile_wheel(source: Path, folder: Path, operators: str, log: Path) -> Path:
    """Compile into `folder`, everything that is said into `log`."""
    environment = build_environment() | {"CFLAGS": "-O2 -g0", "FORCE_CUDA": "0"}
    if operators == "cpu":
        # mmcv's setup.py compiles for CUDA where it sees a GPU.
        environment["CUDA_VISIBLE_DEVICES"] = ""
    else:
        environment["FORCE_CUDA"] = "1"
        toolkit = find_toolkit()
        environment["CUDA_HOME"] = str(toolkit)
        environment["TORCH_CUDA_ARCH_LIST"] = architectures(toolkit_version(toolkit))
        environment["CPATH"] = os.pathsep.join(filter(None, [os.environ.get("CPATH"), *headers()]))
    pip = [sys.executable, "-m", "pip", "wheel", "--verbose", "--no-deps", "--no-cache-dir"]
    pip += ["--no-build-isolation", "--wheel-dir", folder, source]
    with log.open("w") as output:
        process = subprocess.Popen(pip, stdout=output, stderr=subprocess.STDOUT, env=environment)
        show_progress(process, log)
    if process.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise SetupError(f"mmcv-full did not compile; the end of {log}:\n{last}")
    (wheel,) = folder.glob("*.whl")
    return wheel


def show_progress(process: subprocess.Popen, log: Path) -> None:
    """Until the process ends: the time and ninja's count, in place on a terminal."""
    start = time.monotonic()
    terminal = sys.stderr.isatty()
    interval = 1 if terminal else 30
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=interval)
        done = re.findall(r"^\s*\[(\d+/\d+)\] ", log.read_text(errors="replace"), re.MULTILINE)
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        line = f"  {minutes}:{seconds:02d}  files compiled: {done[-1] if done else 0}"
        print(line, end="\r" if terminal else "\n", file=sys.stderr, flush=True)
        if process.returncode is not None:
            break
    if terminal:
        say("")


def cached_wheel(operators: str, only: Collection[str] = ()) -> Path:
    """The wheel from the cache, where it is compiled if it is not there yet.

    Args:
        only: names of the CUDA operators that it has; by default all.
    """
    cache = cache_folder("-".join([operators, *sorted(only)]))
    cache.mkdir(parents=True, exist_ok=True)
    # Two set-ups at once, on one machine or one home directory, compile once.
    with _one_at_a_time(cache / "lock"):
        wheels = list(cache.glob("*.whl"))
        if wheels:
            return wheels[0]
        time_needed = "2 minutes" if operators == "cpu" else "half an hour"
        say(f"Compiling mmcv-full ({operators}) once for this machine: {time_needed} on two cores.")
        say(f"  log: {cache / 'build.log'}")
        with (
            tempfile.TemporaryDirectory(prefix="mmcv-") as folder,
            # Beside the target, so that the finished wheel appears by a rename.
            tempfile.TemporaryDirectory(prefix="part-", dir=cache) as part,
        ):
            source = download_source(Path(folder))
            use_torchs_standard(source)
            if only:
                _keep(source, only)
            join_sources(source / "mmcv/ops/csrc/pytorch")
            join_sources(source / "mmcv/ops/csrc/pytorch/cpu", but=COMPILED_ALONE)
            wheel = compile_wheel(source, Path(part), operators, cache / "build.log")
            return wheel.rename(cache / wheel.name)


def _keep(source: Path, only: Collection[str]) -> None:
    try:
        keep_operators(source / "mmcv/ops/csrc/pytorch/cuda", only)
    except ValueError as error:
        raise SetupError(str(error)) from None


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    lock = FileLock(path, fallback_to_soft=False)  # the other kind outlives a killed process
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say("Another set-up is compiling mmcv-full: waiting for it.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("choice", choices=("auto", "cpu", "cuda"), nargs="?", default="auto")
    parser.add_argument(
        "--only",
        metavar="OPERATOR",
        nargs="+",
        default=(),
        help="CUDA operators that are needed, for a measurement: roi_align nms",
    )
    arguments = parser.parse_args()
    try:
        print(cached_wheel(variant(arguments.choice), arguments.only))
    except SetupError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
