"""The real Snakefile in a temporary folder, on the mini suite shrunk to a few steps a row."""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from shrunken import shrunken

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


class Project:
    """A folder that Snakemake works in, with a suite file of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write_suite(tiny_suite())

    def write_suite(self, suite: dict) -> None:
        (self.folder / "mini.yaml").write_text(yaml.safe_dump(suite))

    def command(self, *options: str, suite: str = "mini.yaml", checkout: Path = ROOT) -> list[str]:
        snakemake = [str(BIN / "snakemake"), "--snakefile", str(checkout / "Snakefile")]
        return [*snakemake, "--cores=2", *options, "--config", f"suite={suite}"]

    def run(
        self,
        *options: str,
        suite: str = "mini.yaml",
        environment: dict[str, str] | None = None,
        checkout: Path = ROOT,
    ) -> subprocess.CompletedProcess:
        """Run Snakemake to its end; what it prints is in `stdout`."""
        return subprocess.run(
            self.command(*options, suite=suite, checkout=checkout),
            cwd=self.folder,
            env=os.environ
            | {"PYTHONPATH": str(checkout), "FGD_CACHE": str(self.folder / "cache")}
            | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def plan(
        self, *options: str, suite: str = "mini.yaml", checkout: Path = ROOT
    ) -> dict[str, int]:
        """How often a run would run each rule."""
        result = self.run("--dry-run", *options, suite=suite, checkout=checkout)
        assert result.returncode == 0, result.stdout
        if "Nothing to be done" in result.stdout:
            return {}
        statistics = result.stdout.split("Job stats:")[1].split("total")[0]
        return {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", statistics, re.M)}


def tiny_suite() -> dict:
    """The mini suite with three steps a training."""
    return shrunken(samples_per_gpu=4)


def write_data(folder: Path) -> None:
    """A mini set of a few images, where the workflow would write the whole one."""
    size = ["--train=12", "--val=8"]
    subprocess.run(
        [str(BIN / "fgd"), "data", "mini", "--out=data/mini", *size], cwd=folder, check=True
    )
