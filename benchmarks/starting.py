"""What a command needs before its work begins: with all that mmcv and mmdet import, and without."""

import subprocess
import sys
from statistics import median

# A process's own time; its modules stand for the files that it reads.
_CODE = """
import sys, time
if {deferred}:
    from fgd import compat
    compat.prepare()
import {module}
print(time.process_time(), len(sys.modules))
"""
MODULES = ("torch", "fgd.recipe", "fgd.evaluation.evaluate", "fgd.training")


def measure(rounds: int) -> dict:
    """CPU seconds and modules of each start, in turns; medians."""
    found: dict = {}
    for _ in range(min(rounds, 5)):
        for module in MODULES:
            for kind in ("all", "deferred"):
                code = _CODE.format(deferred=kind == "deferred", module=module)
                done = subprocess.run(
                    [sys.executable, "-W", "ignore", "-c", code],
                    capture_output=True,
                    text=True,
                    check=True,
                )
                seconds, modules = done.stdout.split()
                entry = found.setdefault(module, {}).setdefault(kind, {"seconds": []})
                entry["seconds"].append(float(seconds))
                entry["modules"] = int(modules)
    for kinds in found.values():
        for entry in kinds.values():
            entry["seconds"] = median(entry["seconds"])
    return found


def report(result: dict) -> str:
    """Markdown."""
    lines = [
        "## Starting",
        "",
        "| imported | all, CPU s | deferred, CPU s | ratio | modules |",
        "|---|--:|--:|--:|--:|",
    ]
    for module, kinds in result.items():
        before, after = kinds["all"], kinds["deferred"]
        lines.append(
            f"| `{module}` | {before['seconds']:.1f} | {after['seconds']:.1f} | "
            f"{after['seconds'] / before['seconds']:.2f} | "
            f"{after['modules']:,} of {before['modules']:,} |"
        )
    return "\n".join(lines)
