"""The command line of the launcher.

Imports stay inside the commands: what they need says much unless it is told to be quiet first.
"""

import shutil
import sys
import time
from pathlib import Path

import click

from fgd import compat
from fgd.cli.group import Group
from fgd.cli.paths import CONFIG, OUT_FOLDER, SUITE, TRAINED
from fgd.progress import log_to


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fgd")
def main() -> None:
    """Get trainings onto machines, and see where they stand."""
    compat.prepare()


@main.command()
@click.argument("suite", type=SUITE)
@click.argument("name")
@click.argument("config", type=CONFIG)
@click.option(
    "--arm", type=click.Choice(["fgd", "baseline"]), help="Of a row. Leave it out for a teacher."
)
@click.option("--seed", type=int, help="Of a row; the suite's first one by default.")
@click.option(
    "--work-dir", type=OUT_FOLDER, required=True, help="Training states and log; resumed from."
)
@click.option("--out", type=TRAINED, required=True, help="The final training state.")
@click.option(
    "--on",
    "executor",
    type=click.Choice(["local", "slurm"]),
    default="local",
    show_default=True,
    help="Where: processes of this machine, or a job of Slurm.",
)
@click.option(
    "--on-interrupt",
    type=click.Choice(["cancel", "leave"]),
    help="What Ctrl-C does to the job; the suite's cluster.cancel_on_interrupt by default.",
)
def train(
    suite: Path,
    name: str,
    config: Path,
    arm: str | None,
    seed: int | None,
    work_dir: Path,
    out: Path,
    executor: str,
    on_interrupt: str | None,
) -> None:
    """Train CONFIG as `fgd train` does, on the nodes that SUITE asks for NAME, a row or a teacher.

    Waits until it is done. A job that runs already, or has finished, is found again: the command
    can be repeated after anything that stopped it.
    """
    from cluster import settings as cluster_settings
    from cluster.launcher import Training, launch
    from fgd.suite import load_suite

    if seed is not None and arm is None:
        raise click.UsageError("--seed goes with --arm: a teacher is trained once")
    log_to(sys.stdout)
    loaded = load_suite(suite)
    if executor == "local":
        wanted = cluster_settings.on_this_machine(loaded, name)
    else:
        wanted = cluster_settings.for_training(loaded, name, suite)
    if on_interrupt:
        wanted = wanted.model_copy(update={"cancel_on_interrupt": on_interrupt == "cancel"})
    seed = loaded.seed if seed is None else seed
    run = () if arm is None else Path(loaded.layout.run_name(arm, seed)).parts
    called = ".".join((loaded.name, name, *run))
    launch(Training(called, config, work_dir, out, loaded.full_size), wanted, executor)


@main.command()
@click.argument("suite")
@click.argument("arguments", nargs=-1, metavar="[-- SNAKEMAKE'S ARGUMENTS]")
@click.option("--partition", help="As the suite's cluster.partition, which counts otherwise.")
@click.option("--account", help="The same for the account,")
@click.option("--qos", help="the QOS")
@click.option("--timeout-min", type=click.IntRange(1), help="and the time limit in minutes.")
@click.option(
    "--mem-gb", type=click.FloatRange(0, min_open=True), help="Memory, in GB.  [default: 8]"
)
@click.option(
    "--sbatch",
    multiple=True,
    metavar="OPTION[=VALUE]",
    help="A further option of sbatch, by its long name without the dashes; can be repeated.",
)
def head(suite: str, arguments: tuple[str, ...], sbatch: tuple[str, ...], **wishes: object) -> None:
    """Submit a job that runs Snakemake for SUITE, a suite's name or file.

    For sites where nothing may run for days on a login node. The job is requeued at its time limit
    and goes on by itself; trainings run on meanwhile.
    """
    from cluster import head as job
    from fgd.suite import load_suite

    log_to(sys.stdout)
    loaded = load_suite(suite)
    options = [option.partition("=") for option in sbatch]
    wishes["sbatch"] = {name: value if equals else True for name, equals, value in options}
    job_id = job.submit(suite, loaded, job.settings_of(loaded, wishes), arguments)
    folder = Path(loaded.layout.head)
    click.echo(f"submitted head job {job_id}: {folder / 'head.sh'}. What Snakemake says:")
    click.echo(f"    tail -f {folder / f'{job_id}.log'}")


@main.command()
@click.argument("suite")
@click.argument("arguments", nargs=-1, metavar="[-- SNAKEMAKE'S ARGUMENTS]")
def supervise(suite: str, arguments: tuple[str, ...]) -> None:
    """Run Snakemake for SUITE in a Slurm job: what the script of `head` does.

    A script of your own ends in `exec .venv/bin/fgd-cluster supervise SUITE` and asks for
    `--signal=B:USR1@120 --requeue --open-mode=append`.
    """
    from cluster import head as job
    from fgd.suite import find_suite

    find_suite(suite)
    log_to(sys.stdout)
    sys.exit(job.supervise(suite, arguments))


@main.command()
@click.argument("suite")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--watch", type=float, metavar="SECONDS", help="Repeat until Ctrl-C.")
def status(suite: str, as_json: bool, watch: float | None) -> None:
    """Show where every training of SUITE stands: a suite's name or file."""
    from cluster import status as run
    from fgd.suite import load_suite

    loaded = load_suite(suite)
    while True:
        found = run.lines(loaded)
        width = shutil.get_terminal_size().columns
        text = run.as_json(found) if as_json else run.as_table(found, width)
        if watch is None:
            click.echo(text)
            return
        click.clear()
        click.echo(text)
        time.sleep(watch)
