"""`smeg-cli completion` and `manual`: what shells and man read, made from the commands themselves."""

from __future__ import annotations

import click

from smeg.cli.program import Settings, shared_options

SHELLS = ("bash", "zsh", "fish")
pass_settings = click.make_pass_decorator(Settings, ensure=True)
_PROGRAM, _VARIABLE = "smeg-cli", "_SMEG_CLI_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@shared_options
@pass_settings
def completion(settings: Settings, shell: str) -> None:
    """Write what makes SHELL complete commands, options, meshes and members.

    bash: smeg-cli completion bash > /etc/bash_completion.d/smeg-cli

    zsh: smeg-cli completion zsh > a file _smeg-cli in a folder of $fpath

    fish: smeg-cli completion fish > ~/.config/fish/completions/smeg-cli.fish
    """
    # Slow to import.
    from click.shell_completion import ShellComplete, get_completion_class

    found = get_completion_class(shell)
    assert found is not None, "click knows these three"
    made = found(click.Group(), {}, _PROGRAM, _VARIABLE)
    # Not the class's own, which starts the shell to see its version.
    text = ShellComplete.source(made)
    settings.show({"script": text}, lambda _: click.echo(text, nl=False))


@click.command()
@shared_options
@pass_settings
@click.pass_context
def manual(context: click.Context, settings: Settings) -> None:
    """Write the manual page, for man: smeg-cli manual | man -l -"""
    root = context.find_root().command
    assert isinstance(root, click.Group)
    from smeg.cli.manual import manual_page

    text = manual_page(root, _PROGRAM)
    settings.show({"manual": text}, lambda _: click.echo(text, nl=False))
