"""What only a GPU can tell, the most important first; every result is written as it comes.

    python benchmarks/gpu.py [--published CHECKOUT] [--seconds 420] [--only golden loss ...]

--published is a checkout of the published code (github.com/yzd-v/FGD) to compare with. --seconds
bounds the whole: what has not begun by then is left out, by name. On a CPU it runs in the mini
suite's sizes, as a rehearsal.
"""

import argparse
import platform
import subprocess
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import golden
import gpu_loss
import loss
import torch

from fgd.files import write_json, write_text
from fgd.suite.layout import Layout, Run, default_results

# Bytes over the bandwidth of a copy need a copy larger than any cache.
TOPICS = ("golden", "loss", "step", "waits", "training", "compiled")
MINI = Layout(default_results("mini")).run(Run("retinanet_r50", "fgd", 0))
ROWS = ("retinanet_r50", "faster_rcnn_r50", "fcos_r50")


def topics(arguments: argparse.Namespace, device: str) -> dict[str, Callable[[], tuple[Any, str]]]:
    """What each topic measures: plain data, and Markdown."""

    def of_golden() -> tuple[Any, str]:
        found = golden.measure(device)
        return found, golden.report(found)

    def of_loss() -> tuple[Any, str]:
        found = gpu_loss.measure(device, arguments.published)
        return found, gpu_loss.report(found)

    # These need mmcv, which may still be compiling while the others run.
    def of_step() -> tuple[Any, str]:
        import gpu_step

        found = gpu_step.measure(device, arguments.rows, arguments.published)
        return found, gpu_step.report(found)

    def of_waits() -> tuple[Any, str]:
        import gpu_waits

        found = gpu_waits.measure(device)
        return found, gpu_waits.report(found)

    def of_compiled() -> tuple[Any, str]:
        import gpu_step

        found = gpu_step.measure_compiled(device)
        return found, gpu_step.report_compiled(found)

    def of_training() -> tuple[Any, str]:
        import precision

        runs = (("bf16", 0), ("fp32", 0))
        found = precision.measure(arguments.row, arguments.out / "training", runs)
        return found, "## A mini training, retinanet_r50\n\n" + precision.report(found)

    return dict(
        golden=of_golden,
        loss=of_loss,
        step=of_step,
        waits=of_waits,
        training=of_training,
        compiled=of_compiled,
    )


def machine(device: str) -> dict[str, str]:
    """What the figures were measured on."""
    found = {
        "when": time.strftime("%Y-%m-%d"),
        "device": loss.device_name(device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": str(torch.version.cuda),
    }
    if device == "cuda":
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        found["driver"] = subprocess.run(query, capture_output=True, text=True).stdout.strip()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, help="checkout of the published code")
    parser.add_argument("--only", nargs="+", choices=TOPICS, default=TOPICS)
    parser.add_argument("--rows", nargs="+", default=ROWS)
    parser.add_argument("--seconds", type=float, default=420)
    parser.add_argument("--row", type=Path, default=Path(MINI.folder))
    parser.add_argument("--out", type=Path, default=Path(default_results("benchmarks"), "gpu"))
    arguments = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments.out.mkdir(parents=True, exist_ok=True)

    started = time.monotonic()
    results: dict[str, Any] = {"machine": machine(device)}
    sections = ["# On " + ", ".join(results["machine"].values())]
    for name, measure in topics(arguments, device).items():
        if name not in arguments.only:
            continue
        begun = time.monotonic()
        if begun - started > arguments.seconds:
            results[name] = "left out: out of time"
            sections.append(f"## {name}: left out, out of time")
        else:
            try:
                results[name], text = measure()
            except Exception:  # the topics after it may work all the same
                results[name], text = traceback.format_exc(), f"## {name}: failed"
                traceback.print_exc()
            sections.append(f"{text}\n\n({name}: {time.monotonic() - begun:.0f} s)")
        print(sections[-1], end="\n\n", flush=True)
        stem = "-".join(["gpu", *arguments.only]) if arguments.only != TOPICS else "gpu"
        write_json(arguments.out / f"{stem}.json", results)
        write_text(arguments.out / f"{stem}.md", "\n\n".join(sections) + "\n")


if __name__ == "__main__":
    main()
