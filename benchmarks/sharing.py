"""What two trainings on a CPU take at once: threads that wait in a loop, and threads that sleep."""

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

STEPS = 5
POLICIES = ("active", "passive")  # of OpenMP, with which torch runs its threads
_CODE = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fgd import compat
compat.prepare()
import torch
from detectors import SIZES, batch_of, distiller, for_detector, suite_of
torch.set_num_threads({os.cpu_count()})
device = torch.device("cpu")
with suite_of("mini") as suite:
    built = distiller(suite, "retinanet_r50", device)
batch = for_detector(batch_of(2, SIZES["mini"], 10, device), built)
built.train_step(batch, None)["loss"].backward()
print(flush=True)
input()
start = time.perf_counter()
for _ in range({STEPS}):
    built.train_step(batch, None)["loss"].backward()
print(time.perf_counter() - start)
"""


def measure(rounds: int) -> dict:
    """Seconds of a step of one training alone and of two at once, in turns; medians."""
    found: dict = {policy: {1: [], 2: []} for policy in POLICIES}
    for _ in range(min(rounds, 3)):
        for policy in POLICIES:
            for count in (1, 2):
                found[policy][count].append(_step(policy, count))
    return {
        policy: {str(count): median(seconds) for count, seconds in counts.items()}
        for policy, counts in found.items()
    }


def _step(policy: str, count: int) -> float:
    """Seconds of a step while so many trainings run; they begin together."""
    command = [sys.executable, "-W", "ignore", "-c", _CODE]
    environment = dict(os.environ, OMP_WAIT_POLICY=policy)
    trainings = [
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(count)
    ]
    for training in trainings:
        training.stdout.readline()
    for training in trainings:
        training.stdin.write("\n")
        training.stdin.flush()
    ends = [training.communicate()[0].split()[-1] for training in trainings]
    return max(float(text) for text in ends) / STEPS


def report(result: dict) -> str:
    """Markdown."""
    lines = [
        "## Two trainings on the same cores",
        "",
        f"Each has {os.cpu_count()} threads.",
        "",
        "| waiting threads | alone, s a step | two at once, s a step | ratio |",
        "|---|--:|--:|--:|",
    ]
    for policy, what in zip(POLICIES, ("loop", "sleep"), strict=True):
        alone, both = result[policy]["1"], result[policy]["2"]
        lines.append(f"| {what} | {alone:.2f} | {both:.2f} | {both / alone:.1f} |")
    return "\n".join(lines)
