"""The command that teaches a shell to complete the others."""

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands and options with Tab.

    bash and zsh: eval "$(fgd completion bash)" in ~/.bashrc or ~/.zshrc; fish: fgd completion fish
    | source.
    """
    program = ctx.find_root().command
    complete = get_completion_class(shell)
    assert complete is not None  # click has all that the argument allows
    click.echo(complete(program, {}, "fgd", "_FGD_COMPLETE").source())
