"""Commands that show what was measured."""

import sys
from pathlib import Path

import click

from fgd.cli.group import OUT, SUITE

_RESULTS = click.option(
    "--results",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Suite's results.",
)


@click.command()
@click.argument("suite", type=SUITE)
@_RESULTS
@click.option("--out", type=OUT, required=True, help="Path without its ending.")
def table(suite: Path, results: Path, out: Path) -> None:
    """Write the results table as Markdown, CSV, JSON and LaTeX, and print it."""
    from fgd.suite import load_suite
    from fgd.table import write_table

    click.echo(write_table(load_suite(suite), results, out))


@click.command()
@click.argument("suite", type=SUITE)
@_RESULTS
@click.option("--out", type=OUT, required=True, help="Folder for the figures.")
def plot(suite: Path, results: Path, out: Path) -> None:
    """Draw the suite's figures for a paper: AP, AP by size, losses, AP by epoch; as PDF and SVG."""
    from fgd.report.figures import write_figures
    from fgd.report.page import read_runs
    from fgd.suite import load_suite
    from fgd.table import collect

    loaded = load_suite(suite)
    measured = collect(loaded, results)
    for path in write_figures(measured, read_runs(loaded, measured, results), out):
        click.echo(path)


@click.command()
@click.argument("suite", type=SUITE)
@_RESULTS
@click.option("--row", "rows", multiple=True, help="This row alone; can be repeated.")
@click.option("--out", type=OUT, required=True, help="The page, HTML.")
def report(suite: Path, results: Path, rows: tuple[str, ...], out: Path) -> None:
    """Write one page of all results, finished or not, that needs no network and no other file."""
    from fgd.report.page import write_page
    from fgd.suite import load_suite

    loaded = load_suite(suite)
    write_page(loaded.with_rows(rows) if rows else loaded, results, out)
    click.echo(out)


@click.command()
@click.argument("suite", type=SUITE)
@_RESULTS
@click.option("--out", type=OUT, required=True, help="The page, Markdown; its plot is beside it.")
@click.option(
    "--command", default="fgd study", help="The command that the page names as its origin."
)
def study(suite: Path, results: Path, out: Path, command: str) -> None:
    """Write what FGD gained in a suite of several seeds: mean, spread, a plot."""
    from fgd.report.study import write_study
    from fgd.suite import load_suite

    write_study(load_suite(suite), results, out, command)
    click.echo(out)


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
def verify(results: Path) -> None:
    """Compare a suite's RESULTS with what they were made from: their provenance.json files."""
    from fgd.provenance import verify as run

    found = run(results)
    for name, differences in found:
        click.echo(f"{name}: {'; '.join(differences) or 'as it was made'}")
    wrong = sum(bool(differences) for _, differences in found)
    click.echo(f"{len(found)} results, {wrong} not as they were made")
    sys.exit(2 if wrong else 0)
