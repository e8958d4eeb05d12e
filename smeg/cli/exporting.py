"""`smeg-cli export`: an interface as a file for wg-quick.

The private key never passes the control socket: it is read from its file in `stateDir`, by who may read that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from smeg.cli.configuring import configured
from smeg.cli.files import PRIVATE, new_file
from smeg.cli.parameters import MESH, duration
from smeg.cli.program import Ask, Settings, report, shared_options
from smeg.errors import LocalError, RemoteError
from smeg.wg_quick import static_client, wg_quick


@click.command()
@click.argument("mesh", type=MESH)
@click.option("--output", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Write a new file of mode 0600, not to standard output.")  # fmt: skip
@click.option("--with-private-key", is_flag=True, help="With the key of this node in the mesh: keep the file secret.")
@click.option(
    "--static",
    "static",
    metavar="NAME",
    help="Not this node: a new device NAME, which cannot run smeg-node, behind this node.",
)
@click.option("--expires", type=duration, help="How long NAME is let in: 12h, 30d, ...; by default a year.")
@click.option("--qr", is_flag=True, help="Show the file of NAME as a QR code, for a phone to read.")
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
    settings: Settings,
    mesh: str,
    output: Path | None,
    with_private_key: bool,
    static: str | None,
    expires: int | None,
    qr: bool,
    config_file: Path | None,
) -> None:
    """Write what is configured for MESH as a file for wg-quick: for a look, or for where smeg-node cannot run.

    It is how things are now. Whoever uses it with the private key elsewhere has to stop smeg-node here.

    With --static, the file is for a device of its own, such as a phone: its keys are made here, this node lets it in
    and carries it, and all members reach it. The file is the only place with its private key.
    """
    if static is not None:
        _export_static(settings, mesh, static, expires, output, qr)
        return
    if expires is not None or qr:
        raise click.UsageError("--expires and --qr go with --static NAME")
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


def _export_static(
    settings: Settings, mesh: str, name: str, expires: int | None, output: Path | None, qr: bool
) -> None:
    to_file = output is not None and str(output) != "-"
    if not to_file and not qr and settings.machine is None and sys.stdout.isatty():
        raise click.UsageError("a private key is not shown on a terminal; give --output FILE, --qr, or a pipe")
    draw = _qr_code() if qr else None
    with new_file(output, PRIVATE) if output is not None and to_file else nullcontext() as write:
        added, text = made_static(settings.ask, mesh, name, expires)
        if write is not None:
            write(text)
    said = {"name": added.get("name"), "address": added.get("address"), "expires": added.get("expires")}
    if write is not None:
        settings.show({**said, "file": str(output)}, lambda _: report("done", f"{name} is in {mesh}: {output}"))
    elif settings.machine is not None:
        settings.write({**said, "configuration": text})
    elif draw is None:
        click.echo(text, nl=False)
    if draw is not None and settings.machine is None:
        draw(text)
        report("hint", "whoever sees this code can be that device: let nobody photograph it but the device")


def made_static(ask: Ask, mesh: str, name: str, expires: int | None) -> tuple[dict[str, Any], str]:
    """What the daemon says of a new device, and the file for it, with its private key, which is nowhere else."""
    # Slow to import.
    from smeg.keys import new_secret, wireguard_text, x25519_public

    key = new_secret(os.urandom)
    # The private key never passes the control socket.
    asked = {"mesh": mesh, "name": name.lower(), "wireguard": wireguard_text(x25519_public(key))}
    plan = ask("plan", {"mesh": mesh})
    added = ask("add-static", {**asked, **({"expires": expires} if expires is not None else {})})
    return added, static_client(added, plan, wireguard_text(key.reveal()))


def _qr_code() -> Callable[[str], None]:
    """What draws one on a terminal. Raises `LocalError`."""
    try:
        # Slow to import, and few need it.
        import segno
    except ImportError:
        hint = "pip install 'smegmesh[api]', or write a --output FILE and make the code of that elsewhere"
        raise LocalError("no-qr", "QR codes need the package segno, which is not installed", hint) from None

    def draw(text: str) -> None:
        segno.make(text, error="l", micro=False).terminal(compact=True)

    return draw


@click.command("delete-static")
@click.argument("mesh", type=MESH)
@click.argument("name")
@shared_options
@click.make_pass_decorator(Settings, ensure=True)
def delete_static(settings: Settings, mesh: str, name: str) -> None:
    """Let the device NAME, made by `export --static` on this node, into MESH no more."""
    result = settings.ask("delete-static", {"mesh": mesh, "name": name.lower()})
    settings.show(result, lambda _: report("done", f"{name.lower()} is in {mesh} no more"))


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
