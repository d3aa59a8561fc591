"""Commands that show what was measured."""

import sys
from pathlib import Path

import click

from fgd.cli.group import BATCH, PRECISION
from fgd.cli.paths import DRAWN, OUT_FOLDER, SUITE, out_file, out_files, refuse_foreign

# By which words these know the files that they wrote.
_CARD = out_file("with FGD, Focal and Global")
_STUDY = out_file("# What FGD gains, suite")
_TABLE = out_files(
    {
        ".md": ("# FGD, suite",),
        ".csv": ("row,kind,model",),
        ".json": ('"chosen_by"',),
        ".tex": ("% FGD, suite",),
    }
)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_RESULTS = click.option(
    "--results",
    type=_FOLDER,
    required=True,
    help="Suite's results.",
)


@click.command()
@click.argument("suite", type=SUITE)
@_RESULTS
@click.option("--out", type=_TABLE, required=True, help="Path without its ending.")
def table(suite: Path, results: Path, out: Path) -> None:
    """Write the results table as Markdown, CSV, JSON and LaTeX, and print it."""
    from fgd.suite import load_suite
    from fgd.table import write_table

    click.echo(write_table(load_suite(suite), results, out))


@click.command()
@click.argument("suite", type=SUITE)
@_RESULTS
@click.option("--out", type=OUT_FOLDER, required=True, help="Folder for the figures.")
def plot(suite: Path, results: Path, out: Path) -> None:
    """Draw the suite's figures for a paper: AP, AP by size, losses, AP by epoch; as PDF and SVG."""
    from fgd.report.figures import write_figures
    from fgd.report.page import read_trainings
    from fgd.suite import load_suite
    from fgd.suite.layout import FIGURES
    from fgd.table import collect

    for name in FIGURES:
        for kind in ("pdf", "svg"):
            refuse_foreign(out / f"{name}.{kind}", (DRAWN,))
    loaded = load_suite(suite)
    measured = collect(loaded, results)
    for path in write_figures(measured, read_trainings(loaded, measured, results), out):
        click.echo(path)


@click.command()
@click.argument("suite", type=SUITE)
@_RESULTS
@click.option("--row", "rows", multiple=True, help="This row alone; can be repeated.")
@click.option("--out", type=out_file("<title>FGD, suite"), required=True, help="The page, HTML.")
def report(suite: Path, results: Path, rows: tuple[str, ...], out: Path) -> None:
    """Write one page of all results, finished or not, that needs no network and no other file."""
    from fgd.report.page import write_page
    from fgd.suite import load_suite

    loaded = load_suite(suite)
    write_page(loaded, results, out, rows)
    click.echo(out)


@click.command()
@click.argument("suite", type=SUITE)
@click.argument("row")
@_RESULTS
@click.option("--out", type=_CARD, required=True, help="The card, Markdown.")
def card(suite: Path, row: str, results: Path, out: Path) -> None:
    """Write the model card of a ROW's student: data, figures, starting weights, versions."""
    from fgd.report.card import write_card
    from fgd.suite import load_suite

    write_card(load_suite(suite), row, results=results, out=out)
    click.echo(out)


@click.command()
@click.argument("suite", type=SUITE)
@_RESULTS
@click.option(
    "--out", type=_STUDY, required=True, help="The page, Markdown; its plot is beside it."
)
@click.option(
    "--command", default="fgd study", help="The command that the page names as its origin."
)
def study(suite: Path, results: Path, out: Path, command: str) -> None:
    """Write what FGD gained in a suite of several seeds: mean, spread, a plot."""
    from fgd.report.study import write_study
    from fgd.suite import load_suite

    refuse_foreign(out.with_suffix(".svg"), (DRAWN,))
    write_study(load_suite(suite), results, out, command)
    click.echo(out)


@click.command()
@click.argument("ours", type=_FOLDER)
@click.argument("others", type=_FOLDER)
@click.option(
    "--draws",
    type=click.IntRange(min=100),
    default=1000,
    show_default=True,
    help="Of the images, with replacement.",
)
@click.option("--seed", default=0, show_default=True, help="Of the draws.")
@BATCH
@PRECISION
@click.option("--out", type=out_file('"interval"'), help="Figures, JSON.")
def compare(
    ours: Path,
    others: Path,
    draws: int,
    seed: int,
    batch: int | None,
    precision: str,
    out: Path | None,
) -> None:
    """Tell whether two models' AP differs by more than the choice of the test images explains.

    OURS and OTHERS are folders of results, such as a row's fgd and baseline. Both detect on their
    test set; the images are then drawn anew, again and again, and the middle 95 % of the
    differences of AP are printed. What another seed would change is not in it.
    """
    from fgd.evaluation.comparing import compare_models as run
    from fgd.files import write_json

    report = run(ours, others, draws=draws, seed=seed, batch=batch, precision=precision)
    if out is not None:
        write_json(out, report)
    for kind in [kind for kind in ("box", "mask") if kind in report]:
        found = report[kind]
        low, high = (100 * end for end in found["interval"])
        verdict = "yes" if low > 0 else "yes, it is less" if high < 0 else "not shown"
        click.echo(
            f"{kind} AP {100 * found['ours']:.1f} - {100 * found['others']:.1f} = "
            f"{100 * found['difference']:+.1f}, 95 % interval {low:+.1f} to {high:+.1f} "
            f"({report['draws']} draws of {report['images']} images)\n"
            f"  more than the choice of images explains: {verdict}"
        )


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
