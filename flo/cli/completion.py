"""`flo completion`: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class

PROGRAM = "flo"
VARIABLE = "_FLO_COMPLETE"
"""The shell's script calls `flo` with this variable to ask what fits."""


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print a script that teaches SHELL to complete flo's commands and options with Tab.

    \b
    For good, put the line for your shell where it reads it at its start:
      bash  ~/.bashrc                            eval "$(flo completion bash)"
      zsh   ~/.zshrc                             eval "$(flo completion zsh)"
      fish  ~/.config/fish/completions/flo.fish  flo completion fish | source

    \b
    Example: eval "$(flo completion bash)"
    """
    kind = get_completion_class(shell)
    assert kind is not None, "click knows the shells of the choice"
    click.echo(kind(ctx.find_root().command, {}, PROGRAM, VARIABLE).source())
