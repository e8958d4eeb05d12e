"""Arguments that are more than text: times, prefixes. Each is checked before the daemon is asked.

Most are click types as plain functions: each takes what was typed and raises `click.BadParameter`.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Network
from typing import TYPE_CHECKING

import click

from smeg.errors import SmegError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from smeg.cli.program import Settings

_COMPLETE_SECONDS = 1.0
_MOST = 200
"""names that a shell is offered."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")


def duration(text: str) -> int:
    """`90s`, `10m`, `24h`, `7d`: seconds, at least one."""
    found = _DURATION.fullmatch(text)
    if found is None or not int(found[1]):
        raise click.BadParameter(f"{text!r} is not a duration such as 90s, 10m, 24h or 7d")
    return int(found[1]) * _UNITS[found[2]]


def seconds(text: str) -> float:
    """A time to wait, from 0.01 to 3600 seconds."""
    try:
        number = float(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a number of seconds") from None
    if not 0.01 <= number <= 3600:
        raise click.BadParameter(f"{text!r} is not from 0.01 to 3600 seconds")
    return number


def prefix(text: str) -> str:
    """An IPv6 prefix, with no bit set beyond its length, in canonical form."""
    try:
        return str(IPv6Network(text))
    except ValueError as error:
        raise click.BadParameter(f"not an IPv6 prefix: {error}") from None


class Named(click.types.StringParamType):
    """Text that names something the daemon knows; a shell completes it by asking the daemon, for a moment at most."""

    name = "text"

    def __init__(self, command: str, rows: str) -> None:
        """What to ask, and where in the answer the names are."""
        self._command = command
        self._rows = rows

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        # Slow to import.
        from click.shell_completion import CompletionItem

        from smeg.cli.program import Settings

        settings = ctx.find_object(Settings) or Settings()
        try:
            if self._command == "members":
                meshes = [str(ctx.params["mesh"])] if ctx.params.get("mesh") else _names(settings, "list-meshes", {})
                names = [name for mesh in meshes for name in _names(settings, "members", {"mesh": mesh}, self._rows)]
            else:
                names = _names(settings, self._command, {}, self._rows)
        except SmegError:
            return []
        # A shell would take more than a word for several, and what does not print for something else.
        plain = (name for name in dict.fromkeys(names) if re.fullmatch(r"[\w.-]+", name))
        return [CompletionItem(name) for name in plain if name.startswith(incomplete)][:_MOST]


def _names(settings: Settings, command: str, arguments: dict[str, str], rows: str = "meshes") -> list[str]:
    found = settings.ask(command, arguments, _COMPLETE_SECONDS).get(rows)
    return [str(row.get("name")) for row in found if isinstance(row, dict)] if isinstance(found, list) else []


MESH = Named("list-meshes", "meshes")
NODE = Named("members", "members")
