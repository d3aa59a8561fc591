"""Rehearsals as a page for people and as data."""

import json
from dataclasses import asdict

import torch

from fgd import markdown
from fgd.proof.complexity import IMAGE
from fgd.proof.run import Proof
from fgd.starting_weights import BACKBONE, OWN, TEACHER

_INTRO = """\
# Every row at full size

Written by `make full`. For each row, student and teacher were built from the model zoo's configs as
large as they are trained, and `fgd train` trained one step on two small images, on a CPU. The
checkpoints were made, in the zoo's format, with random weights: nothing here says anything of AP.
A row is listed only if all of this held (torch {torch}):

- every distilled level has, in student and teacher, the width of the neck and the stride below;
- the audit found every tensor of the student to start from where the row says;
- the step gave every parameter of the student a finite gradient, or its config froze it."""
_SIZES = f"""\
## Sizes

Parameters in millions. GFLOPs are 10^9 multiply-adds of convolutions and matrix products for one
image of 1333x800, padded to {IMAGE[1]}x{IMAGE[0]}; of a two-stage detector with 1,000 proposals and
100 masks. Those of retinanet_r50 agree with mmdet's documentation to a percent, which counts norms
and activations, too."""
_STARTS = """\
## Starts and gradients

Tensors of the student by where they start from (parameters and buffers), and parameter tensors by
what the step did to them."""


def summary(proof: Proof) -> str:
    """A rehearsal as a line."""
    student, teacher = proof.sizes["student"], proof.sizes["teacher"]
    return (
        f"{student.parameters} M parameters, {student.gflops} GFLOPs, from "
        f"{teacher.parameters} M, {teacher.gflops} GFLOPs; {len(proof.levels)} levels, "
        f"{proof.with_gradient} parameter tensors with a gradient, {len(proof.frozen)} frozen; "
        f"{proof.seconds:.0f} s"
    )


def to_json(proofs: dict[str, list[Proof]]) -> str:
    """Everything that was measured.

    Args:
        proofs: by suite.
    """
    suites = {suite: [asdict(proof) for proof in rows] for suite, rows in proofs.items()}
    return json.dumps({"torch": torch.__version__, "suites": suites}, indent=2) + "\n"


def to_markdown(proofs: dict[str, list[Proof]]) -> str:
    """A page of two tables a suite.

    Args:
        proofs: by suite.
    """
    parts = [_INTRO.format(torch=torch.__version__), _SIZES]
    parts += [f"Suite `{suite}`:\n\n{_sizes(rows)}" for suite, rows in proofs.items()]
    parts += [_STARTS]
    parts += [f"Suite `{suite}`:\n\n{_starts(rows)}" for suite, rows in proofs.items()]
    return "\n\n".join(parts) + "\n"


def _sizes(proofs: list[Proof]) -> str:
    header = ["Row", "Params", "GFLOPs", "Teacher", "Params", "GFLOPs", "FGD strides", "Channels"]
    lines = []
    for proof in proofs:
        student, teacher = proof.sizes["student"], proof.sizes["teacher"]
        widths = sorted({(level.student[0], level.teacher[0]) for level in proof.levels})
        lines.append(
            [
                proof.row,
                f"{student.parameters:.1f}",
                f"{student.gflops:.0f}",
                proof.teacher,
                f"{teacher.parameters:.1f}",
                f"{teacher.gflops:.0f}",
                " ".join(str(level.stride) for level in proof.levels),
                ", ".join(str(a) if a == b else f"{a} from {b}" for a, b in widths),
            ]
        )
    return markdown.table(header, lines, left=1)


def _starts(proofs: list[Proof]) -> str:
    header = ["Row", "Backbone", "Teacher", "Own", "With gradient", "Frozen"]
    lines = [
        [
            proof.row,
            *(str(proof.sources[source]) for source in (BACKBONE, TEACHER, OWN)),
            str(proof.with_gradient),
            str(len(proof.frozen)),
        ]
        for proof in proofs
    ]
    return markdown.table(header, lines, left=1)
