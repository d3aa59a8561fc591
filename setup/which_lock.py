"""Which lock set-up installs: there are two, with a torch for CUDA 12 and one for CUDA 13.

    python3 setup/which_lock.py [--torch cu13] [--operators cpu] [--gpu v100] [--driver 535]

prints the lock's file, or says in one line why this machine's driver or cards cannot run its torch,
and what can. A login node has neither: --gpu and --driver speak for the nodes. Nothing is imported
here that a bare Python lacks.
"""

import argparse
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Lock:
    """A lock, and what its torch can run on.

    Attributes:
        name: what `make setup TORCH=` is given; "" for the default.
        file: in this folder.
        cuda: major version that its torch is built for.
        driver: the oldest that runs it: NVIDIA's rule for minor versions of one major version.
        capability: of the oldest cards that its torch has code for.
    """

    name: str
    file: str
    cuda: int
    driver: int
    capability: float

    @property
    def torch(self) -> str:
        """Its torch's version."""
        return re.search(r"^torch==(\S+)", self.path.read_text(), re.MULTILINE)[1]

    @property
    def path(self) -> Path:
        return HERE / self.file

    @property
    def text(self) -> str:
        """In words, with the command that installs it."""
        command = f"make setup{f' TORCH={self.name}' if self.name != DEFAULT else ''}"
        return (
            f"`{command}` (torch {self.torch} for CUDA {self.cuda}: drivers from {self.driver}, "
            f"cards from {_OLDEST[self.capability]} on)"
        )


DEFAULT = "cu12"
LOCKS = {
    "cu12": Lock("cu12", "requirements.txt", 12, 525, 7.0),
    "cu13": Lock("cu13", "requirements-cu13.txt", 13, 580, 7.5),
}
_OLDEST = {7.0: "V100", 7.5: "Turing (T4, RTX 20)"}
# Compute capability of the cards that clusters have, by what they are called.
_CAPABILITIES = {
    3.7: "k80",
    6.0: "p100",
    6.1: "p4 p40 gtx1080 gtx1080ti titanxp",
    7.0: "v100 v100s titanv",
    7.5: "t4 rtx2080 rtx2080ti rtx6000 rtx8000 titanrtx",
    8.0: "a100 a30",
    8.6: "a10 a16 a40 a4000 a5000 a6000 rtx3080 rtx3080ti rtx3090 rtx3090ti",
    8.9: "l4 l40 l40s rtx4080 rtx4090 rtx6000ada",
    9.0: "h100 h200 gh200",
    10.0: "b200 gb200",
    12.0: "rtx5080 rtx5090 rtxpro6000",
}
CARDS = {name: number for number, names in _CAPABILITIES.items() for name in names.split()}


def named(name: str | None) -> Lock:
    """A lock by its name, the default one without; another name ends the program."""
    if (name or DEFAULT) not in LOCKS:
        _fail(f"TORCH={name}: there are {' and '.join(LOCKS)}, for CUDA 12 and CUDA 13")
    return LOCKS[name or DEFAULT]


def refusal(lock: Lock, capability: float | None, driver: int | None) -> str | None:
    """Why a machine cannot run a lock's torch, and what can; None if it can, or nothing is known.

    Args:
        capability: of the machine's oldest card.
        driver: major version of its driver.
    """
    reasons = []
    if driver is not None and driver < lock.driver:
        reasons.append(f"needs driver {lock.driver} or newer, and this is {driver}")
    if capability is not None and capability < lock.capability:
        reasons.append(
            f"has no code for cards before {_OLDEST[lock.capability]}, and this one's compute "
            f"capability is {capability}"
        )
    if not reasons:
        return None
    can = [other.text for other in LOCKS.values() if _runs(other, capability, driver)]
    more = f"{can[0]} can run here" if can else "Only the CPU can be used: `make setup CUDA=0`"
    return f"torch {lock.torch} for CUDA {lock.cuda} {' and '.join(reasons)}. {more}"


def _runs(lock: Lock, capability: float | None, driver: int | None) -> bool:
    old_card = capability is not None and capability < lock.capability
    return not old_card and not (driver is not None and driver < lock.driver)


def this_machine() -> tuple[float | None, int | None]:
    """Compute capability of the oldest card, and the driver's major version; None if not known."""
    return _least("compute_cap"), (int(found) if (found := _least("driver_version")) else None)


def _least(field: str) -> float | None:
    """The smallest number that nvidia-smi has for a field, of all cards."""
    command = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if said.returncode:  # an old one does not know the field
        return None
    numbers = [re.match(r"\d+(\.\d+)?", line.strip()) for line in said.stdout.splitlines()]
    return min((float(number[0]) for number in numbers if number), default=None)


def capability_of(card: str) -> float:
    """Of a card by its name (v100, "Tesla V100", RTX-3090) or by the number itself (7.0).

    Raises:
        ValueError: no such card is known.
    """
    if re.fullmatch(r"\d+\.\d", card):
        return float(card)
    plain = re.sub(r"nvidia|tesla|geforce|quadro|[^a-z0-9]", "", card.lower())
    if plain not in CARDS:
        raise ValueError(
            f"GPU={card}: not a card that is known here. Give its compute capability, such as "
            f"GPU=8.6, or one of {', '.join(sorted(CARDS))}"
        )
    return CARDS[plain]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", default="")
    parser.add_argument("--operators", default="auto")
    parser.add_argument("--gpu", default="")
    parser.add_argument("--driver", default="")
    said = parser.parse_args()
    lock = named(said.torch)
    if said.operators != "cpu":
        capability, driver = this_machine()
        try:
            capability = capability_of(said.gpu) if said.gpu else capability
        except ValueError as error:
            _fail(str(error))
        if said.driver and not re.match(r"\d+", said.driver):
            _fail(f"DRIVER={said.driver}: expected a number such as 535, as nvidia-smi shows it")
        driver = int(re.match(r"\d+", said.driver)[0]) if said.driver else driver
        if reason := refusal(lock, capability, driver):
            _fail(reason)
    print(os.path.relpath(lock.path))


def _fail(reason: str) -> NoReturn:
    sys.exit(f"error: {reason}")


if __name__ == "__main__":
    main()
