"""The commands by which a node's user says something of it to the others: alias, description, services."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from smeg.cli.parameters import MESH
from smeg.cli.program import Settings, report, shared_options

pass_settings = click.make_pass_decorator(Settings, ensure=True)
_PROTOCOL = click.Choice(["tcp", "udp"])


@click.command("put-alias")
@click.argument("mesh", type=MESH)
@click.argument("alias")
@shared_options
@pass_settings
def put_alias(settings: Settings, mesh: str, alias: str) -> None:
    """Call this node ALIAS in MESH, beside its name; an empty ALIAS ('') takes it back.

    An alias is 1 to 63 of a-z, 0-9 and inner -. Where names are served, ALIAS.MESH.smeg leads to this node.
    """
    words = f"this node is {alias.lower()} in {mesh}" if alias else f"this node has no alias in {mesh}"
    _change(settings, "put-alias", {"mesh": mesh, "alias": alias}, words)


@click.command("put-description")
@click.argument("mesh", type=MESH)
@click.argument("text")
@shared_options
@pass_settings
def put_description(settings: Settings, mesh: str, text: str) -> None:
    """Describe this node to the members of MESH in a line of TEXT, at most 256 bytes; '' takes it back."""
    words = f"{mesh} knows what this node is" if text else f"this node has no description in {mesh}"
    _change(settings, "put-description", {"mesh": mesh, "description": text}, words)


@click.command("set-service")
@click.argument("mesh", type=MESH)
@click.argument("name")
@click.option("--port", type=click.IntRange(1, 65535), required=True)
@click.option("--protocol", type=_PROTOCOL, default="tcp", show_default=True)
@click.option("--text", "texts", multiple=True, metavar="KEY=VALUE", help="An attribute; may be given again.")
@shared_options
@pass_settings
def set_service(settings: Settings, mesh: str, name: str, port: int, protocol: str, texts: tuple[str, ...]) -> None:
    """Tell MESH that this node offers the service NAME (http, postgresql, ...), instead of what it said of it before.

    At most 16, each with 16 texts, 1536 bytes in all. Where names are served, _NAME._tcp.ALIAS.MESH.smeg has it.
    """
    service = {"name": name.lower(), "port": port, "protocol": protocol, "text": list(texts)}
    words = f"{mesh} knows {name.lower()} at {protocol} port {port} of this node"
    _change(settings, "set-service", {"mesh": mesh, "service": service}, words)


@click.command("delete-service")
@click.argument("mesh", type=MESH)
@click.argument("name")
@click.option("--protocol", type=_PROTOCOL, help="Only this one of both.")
@shared_options
@pass_settings
def delete_service(settings: Settings, mesh: str, name: str, protocol: str | None) -> None:
    """Tell MESH that this node offers the service NAME no more."""
    which = {"mesh": mesh, "name": name, **({"protocol": protocol} if protocol else {})}
    _change(settings, "delete-service", which, f"{mesh} knows {name.lower()} of this node no more")


def _change(settings: Settings, command: str, arguments: Mapping[str, Any], words: str) -> None:
    result = settings.ask(command, arguments)
    settings.show(result, lambda _: report("done", words))


COMMANDS = (put_alias, put_description, set_service, delete_service)
