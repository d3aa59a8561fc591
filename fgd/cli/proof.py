"""The command that rehearses rows at their full size."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fgd.cli.paths import SUITE, out_file
from fgd.errors import suggestion

if TYPE_CHECKING:
    from fgd.suite import Suite


def _chosen(files: Iterable[Path], names: Sequence[str]) -> list[tuple["Suite", str]]:
    """The rows of these names in these suites, all of them where none is named."""
    from fgd.suite import load_suite

    rows = [(suite, name) for suite in map(load_suite, files) for name in suite.rows]
    known = sorted({name for _, name in rows})
    for name in names:
        if name not in known:
            raise click.UsageError(
                f"no row {name!r}: these suites have {', '.join(known)}{suggestion(name, known)}"
            )
    return [(suite, name) for suite, name in rows if not names or name in names]


@click.command()
@click.argument("suites", type=SUITE, nargs=-1, required=True)
@click.option("--row", "rows", multiple=True, help="Only this row; can be given several times.")
@click.option(
    "--size",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Of the images, in pixels.",
)
@click.option(
    "--json",
    "json_file",
    type=out_file('"with_gradient"'),
    help="Write everything that was measured here.",
)
@click.option("--markdown", type=out_file("# Every row at full size"), help="Write the page here.")
def prove(
    suites: tuple[Path, ...],
    rows: tuple[str, ...],
    size: int,
    json_file: Path | None,
    markdown: Path | None,
) -> None:
    """Rehearse the rows of SUITES at full size, without data and downloads.

    For each row student and teacher are built as the suite trains them; checkpoints of random
    weights are made in a temporary folder, and one training step is run on a small image. The row
    has to start from the right weights, every FGD level has to have its shape, and every parameter
    its gradient. It takes a minute or two a row and up to 10 GB of memory.
    """
    chosen = _chosen(suites, rows)
    from fgd import proof
    from fgd.files import write_text

    proofs: dict[str, list[proof.Proof]] = {}
    for suite, name in chosen:
        shown = proof.prove(suite, name, size)
        click.echo(f"{suite.name} {name}: {proof.summary(shown)}", err=True)
        proofs.setdefault(suite.name, []).append(shown)
    page = proof.to_markdown(proofs)
    if json_file is not None:
        write_text(json_file, proof.to_json(proofs))
    if markdown is not None:
        write_text(markdown, page)
    click.echo(page)


@click.command()
@click.argument("suites", type=SUITE, nargs=-1, required=True)
@click.option("--row", "rows", multiple=True, help="Only this row; can be given several times.")
@click.option(
    "--json",
    "json_file",
    type=out_file('"fixed"', '"image"'),
    help="Write the figures here, beside other rows'.",
)
def memory(suites: tuple[Path, ...], rows: tuple[str, ...], json_file: Path | None) -> None:
    """Say what the rows of SUITES need of a GPU's memory, counted on a CPU.

    Every row is built at full size, and what a step keeps is counted on two small images: a minute
    a row, and up to 6 GB. Half as much again is added for what a CPU does not show. `fgd doctor`
    compares the figures in configs/memory.json with the GPUs that it sees.
    """
    chosen = _chosen(suites, rows)
    from fgd import proof
    from fgd.doctor.memory import keep

    found = {}
    for suite, name in chosen:
        needed = found[name] = proof.memory(suite, name)
        click.echo(
            f"{name} needs about {needed.of(suite.samples_per_gpu):.1f} GB with "
            f"{suite.samples_per_gpu} images a GPU: {needed.fixed} GB and {needed.image} GB an "
            "image, half as much again for what is not counted, and the driver's"
        )
    if json_file is not None:
        keep(json_file, found)
