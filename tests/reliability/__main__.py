"""Counts what the project promises about faults, and writes docs/reliability.md."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import yaml
from shrunken import shrunken

PARTS = ("kills", "suites", "damage", "hostile", "steps", "slurm")
_COUNTED = Path("results/reliability.json")


@click.command()
@click.option("--kills", default=200, show_default=True, help="SIGKILLs.")
@click.option("--suites", default=1000, show_default=True, help="Generated suites.")
@click.option("--steps", default=50_000, show_default=True, help="Iterations in miniature.")
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="Keep the rest as counted.")
@click.option("--commands", default=0, help="Hostile files for each command; 0: all of them.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/reliability.md"))
def main(
    kills: int, suites: int, steps: int, only: tuple[str, ...], commands: int, out: Path
) -> None:
    """Count, and write the page."""
    from fgd import compat
    from fgd.files import write_json, write_text

    compat.prepare()
    kept = json.loads(_COUNTED.read_text()) if only and _COUNTED.exists() else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite, content = tiny(folder)
        counts = {
            "kills": lambda place: _kills(place, suite, kills),
            "suites": lambda place: _suites(place, content, suites),
            "damage": _damage,
            "hostile": lambda place: _hostile(place, suite, commands),
            "steps": lambda place: _steps(place, steps),
            "slurm": _slurm,
        }
        for part in only or PARTS:
            kept[part] = section(part, counts[part], folder / part)
            # After every part, so that a run that is cut short keeps what it has.
            write_json(_COUNTED, kept)
    there = [kept[part] for part in PARTS if part in kept]
    head = (
        "# Reliability, counted\n\n"
        "`make reliability` wrote this page; every figure is what that run did. It is to be read\n"
        "with [security.md](security.md), which says what is not promised, and with\n"
        "[platforms.md](platforms.md): Slurm's versions, and what differs between them.\n\n"
        f"{os.cpu_count()} processors, {sum(part['seconds'] for part in there):.0f} s.\n"
    )
    write_text(out, "\n".join([head, *(part["text"] for part in there)]))
    click.echo(f"written to {out}")


def tiny(folder: Path) -> tuple[Any, dict[str, Any]]:
    """The mini suite on ten images with batches of two, and one row of it as a plain dictionary."""
    from fgd.checkout import root
    from fgd.mini import digits
    from fgd.suite import load_suite

    digits.write(folder / "data", train=10, val=4, size=64)
    places = dict(results=str(folder / "results"), data_root=str(folder / "data"))
    content = shrunken(epochs=2, samples_per_gpu=2, **places)
    content["mini"]["size"]["fc_channels"] = 16
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(content))
    suite = load_suite(path)
    one = yaml.safe_load((root() / "configs/suites/mini.yaml").read_text())
    one["rows"] = ["retinanet_r50"]
    return suite, one


def section(name: str, count: Callable[[Path], str], folder: Path) -> dict[str, Any]:
    """One heading of the page and how long it took; what is counted must not print."""
    folder.mkdir(parents=True, exist_ok=True)
    click.echo(f"{name} ...")
    started = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()):
        text = count(folder)
    return {"text": text, "seconds": time.monotonic() - started}


def _kills(folder: Path, suite: Any, wanted: int) -> str:
    from reliability import kills

    n = kills.count(folder, suite, wanted)
    return (
        "## Runs that are killed\n\n"
        "Distillations of ten iterations that save their state after each, killed (SIGKILL) at\n"
        "random moments and started again until they end. State and log of each are compared with\n"
        "the undisturbed run's, to the last bit.\n\n"
        f"- kills: {n['kills']}, {n['while writing']} of them while a state was being written\n"
        f"- runs that ended: {n['runs']}\n- of them different from the undisturbed one: "
        f"**{n['different']}**\n"
    )


def _suites(folder: Path, content: dict[str, Any], wanted: int) -> str:
    from reliability import suites

    n = suites.count(folder, content, wanted)
    click.echo((folder / "bad.txt").read_text(), err=True)
    return (
        "## Wrong suites\n\n"
        "Suites with a key changed, dropped or added by hypothesis. Each is accepted and plans,\n"
        "or is refused in a message that names the key.\n\n"
        f"- generated: {sum(n.values())}\n"
        f"- accepted: {n['accepted']}\n"
        f"- refused, the key named: {n['refused']}\n"
        f"- refused without naming the key: **{n['unnamed']}**\n"
        f"- tracebacks: **{n['traceback']}**\n"
    )


def _damage(folder: Path) -> str:
    from fgd.data.coco import check
    from fgd.errors import FGDError
    from reliability import damage

    lines, missed = [], 0
    for number, what in enumerate(damage.DAMAGES):
        files = damage.write(folder / str(number), what)
        try:
            checked = check(
                *files, classes=damage.CLASSES, strict=True, open_images=True, masks=True
            )
            found = checked["found"]
            noticed = what.counted in found
        except FGDError as error:
            noticed = what.refusal is not None and bool(re.search(what.refusal, str(error)))
        missed += not noticed
        lines.append(f"| {what.name} | {'refused' if what.refusal else 'counted'} |")
    return (
        "## Damaged data\n\n"
        "What `fgd data check --masks` makes of each kind, before anything is trained.\n\n"
        f"- kinds: {len(lines)}\n- not found: **{missed}**\n\n"
        "| damage | what becomes of it |\n|---|---|\n" + "\n".join(lines) + "\n"
    )


def _hostile(folder: Path, suite: Any, most: int) -> str:
    from reliability import hostile

    marker = folder / "ran"
    files = dict(hostile.write(folder / "files", marker))
    commands = hostile.Commands(folder, suite)
    tried, accepted = 0, 0
    names = set()
    every = max(1, len(files) // most) if most else 1
    for path in list(files.values())[::every]:
        for command, arguments in commands.of(path):
            tried += 1
            names.add(command)
            try:
                hostile.refusal(arguments)
            except AssertionError:
                accepted += 1
    return (
        "## Hostile checkpoints\n\n"
        "Files whose reading would run code, in every place of a checkpoint, need more memory\n"
        "than they should, or are something else.\n\n"
        f"- files: {len(files)}; each{f' {every}th' * (every > 1)} through {len(names)} commands: "
        f"{tried} readings\n"
        f"- not refused in one line: **{accepted}**\n"
        f"- times that code ran: **{int(marker.exists())}**\n"
    )


def _steps(folder: Path, steps: int) -> str:
    # In a process of its own: memory that this one has freed would hide growth.
    code = (
        "import json, sys; from pathlib import Path; from reliability import steps; "
        "print(json.dumps(steps.count(Path(sys.argv[1]), int(sys.argv[2]))))"
    )
    command = [sys.executable, "-W", "ignore", "-c", code, folder / "run", str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    n = json.loads(done.stdout.splitlines()[-1])
    return (
        "## Many iterations\n\n"
        "The real runner and its hooks (watch, log, states) around a tiny model.\n\n"
        f"- iterations: {n['steps']}\n"
        f"- memory after a tenth of them {n['early MB']:.1f} MB, at the end {n['late MB']:.1f} MB\n"
        f"- open files after a tenth of them {n['early files']}, at the end {n['late files']}\n"
    )


def _slurm(folder: Path) -> str:
    # Tests of their own, which leave a table.
    table = folder / "faults.json"
    command = [sys.executable, "-m", "pytest", "-q", "--during-write", "--faults", table]
    done = subprocess.run([*command, "tests/slurm/test_faults.py"], capture_output=True, text=True)
    if done.returncode:
        click.echo(done.stdout[-5000:], err=True)
    head = (
        "## What Slurm does, during a write\n\n"
        "Faults on a real Slurm of two nodes, each while the first process is in the middle of\n"
        "writing its state (tests/slurm/test_faults.py). The student is compared with the\n"
        "undisturbed run's.\n\n"
    )
    if not table.exists():
        return f"{head}Not counted: this machine cannot have the testbed.\n"
    faults = json.loads(table.read_text())
    worst = max(float(fault["difference"]) for fault in faults)
    lines = [
        f"| {f['fault'].removesuffix(', during a write')} | {f['nodes']} | {f['difference']} |"
        f" {len(f['jobs'].split(', '))} | {f['requeues']} |"
        for f in faults
    ]
    return (
        f"{head}- faults: {len(faults)}\n"
        f"- tests that failed: **{_failed(done.stdout)}**\n"
        f"- largest relative difference of a tensor: **{worst:g}**\n\n"
        "| fault | nodes | difference | jobs | requeues |\n|---|---|---|---|---|\n"
        + "\n".join(lines)
        + "\n"
    )


def _failed(printed: str) -> int:
    found = re.search(r"(\d+) failed", printed)
    return int(found[1]) if found else 0


if __name__ == "__main__":
    main()
