"""How the plan of a suite grows with its rows: `snakemake -n`, without and with its cache."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from fgd.suite.layout import default_results

ROOT = Path(__file__).resolve().parents[1]
ROWS = (8, 80, 800)


def measure() -> dict:
    """CPU seconds and peak MB of a cold and of a warm plan, by number of rows."""
    found: dict = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in ROWS:
            suite = _suite(Path(folder), count)
            cache = {"FGD_CACHE": f"{folder}/cache{count}"}
            found[count] = {kind: _plan(suite, cache) for kind in ("cold", "warm")}
    return found


def _suite(folder: Path, count: int) -> Path:
    """A suite of so many rows, each with a file of its own and a learning rate of its own."""
    content = yaml.safe_load((ROOT / "configs/suites/coco.yaml").read_text())
    names, rows = content["rows"], []
    for number in range(count):
        row = folder / f"row{number}.py"
        base = ROOT / "configs/distillers" / f"{names[number % len(names)]}.py"
        rate = 0.01 * (1 + number / 1000)
        row.write_text(f"_base_ = [{str(base)!r}]\noptimizer = dict(lr={rate})\n")
        rows.append(str(row))
    path = folder / f"suite{count}.yaml"
    dataset = str(ROOT / content["dataset"])
    named = {"name": path.stem, "results": default_results(path.stem)}
    path.write_text(yaml.safe_dump(content | named | {"rows": rows, "dataset": dataset}))
    return path


def _plan(suite: Path, cache: dict[str, str]) -> dict[str, float]:
    """A process of its own, for the peak of its children is asked of it."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3)\n"
    )
    snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "-n"]
    done = subprocess.run(
        [sys.executable, "-c", code, *snakemake, "--config", f"suite={suite}"],
        cwd=suite.parent,
        env=os.environ | cache,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    seconds, peak = map(float, done.stdout.split())
    return {"seconds": seconds, "peak": peak}


def report(result: dict) -> str:
    """Markdown."""
    lines = [
        "## Growth of a plan",
        "",
        "| rows | cold, CPU s | MB | warm, CPU s | MB |",
        "|--:|--:|--:|--:|--:|",
    ]
    for count, kinds in result.items():
        cells = (f"{kinds[k]['seconds']:.1f} | {kinds[k]['peak']:.0f}" for k in ("cold", "warm"))
        lines.append(f"| {count} | {' | '.join(cells)} |")
    return "\n".join(lines)
