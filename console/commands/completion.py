"""`freshness completion`: the script by which a shell completes commands, options and their values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

#: For each shell, where it reads such a script from.
SHELLS = {
    "bash": "freshness completion bash > ~/.local/share/bash-completion/completions/freshness",
    "zsh": "freshness completion zsh > ~/.zfunc/_freshness   (with ~/.zfunc in fpath)",
    "fish": "freshness completion fish > ~/.config/fish/completions/freshness.fish",
}


@click.command(epilog="\b\nKeep it for good:\n" + "\n".join(f"  {line}" for line in SHELLS.values()))
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete this command: its commands, options and their values.

    For this session alone: `eval "$(freshness completion bash)"`.
    """
    made = get_completion_class(shell)
    assert made is not None  # noqa: S101 - a choice of ours
    click.echo(made(ctx.find_root().command, {}, "freshness", "_FRESHNESS_COMPLETE").source())
