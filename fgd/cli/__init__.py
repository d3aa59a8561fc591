"""The command line: every step of the workflow is one command that a person can type.

A module of this package holds the commands of one topic. Imports stay inside the commands, so that
`fgd --help` and planning need not wait for torch.
"""

import click

from fgd import compat
from fgd.cli import (
    completion,
    data,
    doctor,
    new_row,
    pictures,
    prepare,
    proof,
    results,
    training,
    zoo,
)
from fgd.cli.group import Group


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fgd")
def main() -> None:
    """Distil object detectors with FGD (arXiv 2111.11837).

    The workflow (`snakemake`) is made of these commands; each can also be run alone. A file that
    is where a command writes is replaced if that command wrote it, and stays otherwise.

    Exit codes: 0 done; 1 a check of `fgd doctor` failed, or a bug, with a traceback; 2 wrong input,
    or something refused, with one line that says what to do; 130 interrupted.
    """
    compat.prepare()


# In the order of a run.
for command in (
    data.data,
    data.mini_backbone,
    prepare.compose,
    prepare.download,
    prepare.check_teacher,
    proof.prove,
    proof.memory,
    training.train,
    training.fingerprint,
    training.transfer,
    training.export,
    training.evaluate,
    training.publish,
    pictures.visualize,
    results.table,
    results.plot,
    results.report,
    results.card,
    results.study,
    results.compare,
    results.verify,
    zoo.zoo,
    new_row.new_row,
    doctor.doctor,
    completion.completion,
):
    main.add_command(command)
