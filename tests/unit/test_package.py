"""The project as a package that others install: what is in its wheel, what works without mmdet."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import fgd
from fgd import recipe
from fgd.checkout import root
from fgd.suite import load_suite

BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
# As if only what the wheel asks for were there.
LOSS_ALONE = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"mmcv", "mmdet", "torchvision", "pycocotools", "yaml",
                                  "jsonschema", "tqdm", "PIL", "cv2", "matplotlib", "sklearn"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """What a wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("fgd", "cluster", "configs", "setup", "workflow"):
        shutil.copytree(root() / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root() / name, source)
    subprocess.run([sys.executable, "-c", BUILD, folder], cwd=source, check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "installed")
    return folder / "installed"


def python(installed: Path, program: str, *words: str, cwd: Path) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("package", ["fgd", "cluster"])
def test_the_wheel_has_every_module(installed, package):
    found = {str(path.relative_to(root())) for path in (root() / package).rglob("*.py")}
    found = {path for path in found if not path.startswith("cluster/testbed/")}  # scripts
    assert {path for path in found if not (installed / path).is_file()} == set()


def test_the_wheel_tells_that_it_has_types_and_its_licence(installed):
    assert (installed / "fgd/py.typed").is_file()
    assert list(installed.glob("*.dist-info/licenses/LICENSE"))


def test_the_loss_of_the_wheel_works_with_torch_alone(installed, tmp_path):
    program = f"""{LOSS_ALONE}
import torch
from fgd import FGDLoss
import fgd.loss

assert fgd.__file__.startswith({str(installed)!r})
student = torch.rand(2, 8, 6, 5, requires_grad=True)
boxes = [torch.tensor([[2.0, 3.0, 30.0, 20.0]]), torch.empty(0, 4)]
loss = FGDLoss(8, 16)(student, torch.rand(2, 16, 6, 5), boxes, [(48, 40), (44, 40)])
loss.backward()
assert loss > 0 and student.grad.abs().sum() > 0
try:
    from fgd import train
except ImportError as error:
    print(error)
"""
    done = python(installed, program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("fgd.train needs mmcv, which is not installed: say `make setup`")


def test_a_command_that_needs_what_is_not_installed_says_so_in_a_line(installed, tmp_path):
    program = f"{LOSS_ALONE}\nfrom fgd.cli import main; main()"
    assert "compose" in python(installed, program, "--help", cwd=tmp_path).stdout
    words = ("compose", "mini", "fcos_r50", "--arm", "fgd", "--out", "out")
    done = python(installed, program, *words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: this command needs ")
    assert done.stderr.endswith("install fgd[detection]\n")


def test_the_wheel_composes_in_any_folder_what_the_checkout_composes(installed, tmp_path):
    recipe.write_row(load_suite("mini"), "fcos_r50", arm="fgd", out=tmp_path / "checkout")
    words = ("compose", "mini", "fcos_r50", "--arm", "fgd", "--out", "wheel")
    done = python(installed, "from fgd.cli import main; main()", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("config.py", "student.py"):
        composed = [(tmp_path / where / name).read_bytes() for where in ("checkout", "wheel")]
        assert composed[0] == composed[1]


def test_importing_fgd_imports_no_torch(tmp_path):
    program = "import fgd, sys; print({'torch', 'mmcv', 'numpy', 'yaml'} & set(sys.modules))"
    assert python(root(), program, cwd=tmp_path).stdout == "set()\n"


@pytest.mark.parametrize("name", fgd.__all__)
def test_what_fgd_offers_is_no_module_and_documented(name):
    value = getattr(fgd, name)
    assert callable(value)
    assert value.__name__ == name
    assert value.__doc__
    assert name in dir(fgd)


def test_what_fgd_does_not_have():
    with pytest.raises(AttributeError, match="has no attribute 'distil'"):
        _ = fgd.distil
