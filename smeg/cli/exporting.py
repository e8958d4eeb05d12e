"""`smeg-cli export`: an interface as a file for wg-quick.

The private key never passes the control socket: it is read from its file in `stateDir`, by who may read that.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from smeg.cli.configuring import configured
from smeg.cli.files import PRIVATE, new_file
from smeg.cli.parameters import MESH
from smeg.cli.program import Settings, report, shared_options
from smeg.errors import LocalError, RemoteError
from smeg.wg_quick import wg_quick


@click.command()
@click.argument("mesh", type=MESH)
@click.option("--output", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Write a new file of mode 0600, not to standard output.")  # fmt: skip
@click.option("--with-private-key", is_flag=True, help="With the key of this node in the mesh: keep the file secret.")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The configuration, which says where the key is; by default /etc/smegmesh/node.yaml if it exists.",
)
@shared_options
@click.make_pass_decorator(Settings, ensure=True)
def export(
    settings: Settings, mesh: str, output: Path | None, with_private_key: bool, config_file: Path | None
) -> None:
    """Write what is configured for MESH as a file for wg-quick: for a look, or for where smeg-node cannot run.

    It is how things are now. Whoever uses it with the private key elsewhere has to stop smeg-node here.
    """
    to_file = output is not None and str(output) != "-"
    if with_private_key and not to_file and sys.stdout.isatty():
        raise click.UsageError("a private key is not shown on a terminal; name a file by --output, or use a pipe")
    plan = settings.ask("plan", {"mesh": mesh})
    text = wg_quick(plan, private_key(plan, config_file) if with_private_key else None)
    if output is None or not to_file:
        settings.show({"configuration": text}, lambda _: click.echo(text, nl=False))
        return
    with new_file(output, PRIVATE) as write:
        write(text)
    settings.show({"file": str(output)}, lambda _: report("done", f"wg-quick takes {output}"))


def private_key(plan: Mapping[str, Any], config_file: Path | None) -> str:
    """The key that belongs to a plan, in base64. Raises `LocalError`."""
    # Slow to import.
    from smeg.edges.keyfiles import read_secret
    from smeg.keys import wireguard_text, x25519_public

    mesh = str((plan.get("mesh") or {}).get("id", ""))
    if not mesh.isalnum():
        raise RemoteError("bad-reply", "smeg-node did not say which mesh it is", "use both of one release")
    path = configured(config_file).state_dir / "meshes" / mesh / "wireguard.key"
    hint = "run this as the user that runs smeg-node, and name its configuration by --config"
    try:
        key = read_secret(path)
    except (LocalError, OSError) as error:
        raise LocalError("key-unreadable", f"cannot read {path}: {_words(error)}", hint) from None
    if wireguard_text(x25519_public(key)) != plan.get("public_key"):
        raise LocalError("key-unreadable", f"{path} is not the key of this interface", hint)
    return wireguard_text(key.reveal())


def _words(error: LocalError | OSError) -> str:
    return error.problem.message if isinstance(error, LocalError) else error.strerror or str(error)
