"""All benchmarks in one run on one machine, printed and stored as JSON and Markdown.

    python benchmarks/run.py [--published CHECKOUT] [--device cuda] [--only loss step ...]

--published is a checkout of the published code (github.com/yzd-v/FGD) to compare with.
"""

import argparse
import time
from pathlib import Path

import annotations
import deployment
import evaluation
import growth
import loader
import loss
import ranks
import sharing
import starting
import states
import step
import torch
import waits
from made_coco import IMAGES

from fgd import compat
from fgd.files import write_json, write_text
from fgd.suite import load_suite
from fgd.suite.layout import default_results

compat.prepare()
TOPICS = (
    "loss", "step", "ranks", "states", "evaluation", "waits", "annotations", "loader", "starting",
    "growth", "sharing", "deployment",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--published", type=Path, help="checkout of the published code")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="by default a GPU, if any")
    parser.add_argument("--only", nargs="+", choices=TOPICS, default=TOPICS)
    parser.add_argument("--rows", nargs="+", help="by default the eight of the table")
    parser.add_argument("--batch", type=int, default=2, help="images a step")
    parser.add_argument("--rounds", type=int, default=10, help="measured runs of each kind")
    parser.add_argument("--images", type=int, default=300, help="images for the figures")
    parser.add_argument(
        "--annotated", type=int, default=IMAGES, help="images of the made annotation file"
    )
    parser.add_argument("--suite", default="mini", help="whose finished students are deployed")
    parser.add_argument("--checkpoint", nargs=2, type=Path, metavar=("CONFIG", "WEIGHTS"))
    parser.add_argument("--out", type=Path, default=Path(default_results("benchmarks"), "bench"))
    arguments = parser.parse_args()
    device = arguments.device or ("cuda" if torch.cuda.is_available() else "cpu")

    rows = arguments.rows or list(load_suite("configs/suites/coco.yaml").rows)
    published, rounds = arguments.published, arguments.rounds
    folder = arguments.out.parent / "images"
    measures = {
        "loss": lambda: loss.measure(device, rounds, published),
        "step": lambda: step.measure(device, rows, arguments.batch, rounds, published, folder),
        "ranks": lambda: ranks.measure(device, arguments.batch, rounds),
        "states": lambda: states.measure(device, rounds),
        "evaluation": lambda: evaluation.measure(arguments.images, arguments.checkpoint),
        "waits": lambda: waits.measure(device),
        "annotations": lambda: annotations.measure(arguments.annotated),
        "loader": lambda: loader.measure(device),
        "starting": lambda: starting.measure(rounds),
        "growth": growth.measure,
        "sharing": lambda: sharing.measure(rounds),
        "deployment": lambda: deployment.measure(arguments.suite, rounds),
    }
    modules = dict(
        loss=loss, step=step, ranks=ranks, states=states, evaluation=evaluation, waits=waits,
        annotations=annotations, loader=loader, starting=starting, growth=growth, sharing=sharing,
        deployment=deployment,
    )  # fmt: skip
    results: dict = {
        "when": time.strftime("%Y-%m-%d"),
        "device": loss.device_name(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    sections = [
        f"# Benchmarks\n\n{results['device']}, {results['threads']} threads, "
        f"torch {results['torch']}, {results['when']}"
    ]
    for name in arguments.only:
        results[name] = measures[name]()
        sections.append(modules[name].report(results[name]))
        print(sections[-1], end="\n\n", flush=True)
        # After every topic, so that a run that is cut short keeps what it has.
        write_json(arguments.out.with_suffix(".json"), results)
        write_text(arguments.out.with_suffix(".md"), "\n\n".join(sections) + "\n")


if __name__ == "__main__":
    main()
