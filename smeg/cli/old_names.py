"""The predecessor's commands and options, as what they are called now.

Its commands took everything by options: `query-mesh -m MESH -q QUERY` is `query-mesh MESH QUERY` here. What has no
place any more is answered with where it went. None of this shows in any help.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click

COMMANDS: Mapping[str, str] = {"get-mesh": "members", "put-service": "set-service"}
"""Commands that have another name now."""

_MESH = {"-m": "mesh", "--mesh": "mesh", "--meshid": "mesh"}
ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "members": _MESH,
    "leave-mesh": _MESH,
    "query-mesh": {**_MESH, "-q": "query", "--query": "query"},
    "put-alias": {**_MESH, "-a": "alias", "--alias": "alias"},
    "put-description": {**_MESH, "-d": "description", "--description": "description"},
    "set-service": {**_MESH, "-s": "service", "--service": "service"},
    "delete-service": {**_MESH, "-s": "service", "--service": "service"},
}
"""By command: options that are arguments now. The arguments come in the order in which these first stand here."""

_OF_NODE = "it is said of the whole node in its configuration"
_TOKEN = "a token says it: on a member `smeg-cli invite MESH`, here `smeg-cli join-mesh FILE`"
GONE: Mapping[str, Mapping[str, str]] = {
    command: {
        **{name: f"{_OF_NODE}, by wireguardPort" for name in ("-p", "--wgport")},
        **{name: f"{_OF_NODE}, by publicEndpoint" for name in ("-e", "--endpoint")},
        **{name: f"{_OF_NODE}, by role" for name in ("-r", "--role")},
        **{name: f"{_OF_NODE}, by keepAliveWg" for name in ("-k", "--KeepAliveWg")},
        **{name: f"{_OF_NODE}, by advertiseRoutes" for name in ("-a", "--advertise")},
        **{name: f"{_OF_NODE}, by advertiseDefaults" for name in ("-d", "--defaults")},
        **({name: _TOKEN for name in ("-m", "--meshid", "-i", "--ip")} if command == "join-mesh" else {}),
    }
    for command in ("new-mesh", "join-mesh")
} | {"set-service": {name: "give --port, --protocol and --text" for name in ("-v", "--value")}}
"""By command: options that nothing takes the place of here, and what does instead."""


def modernised(typed: Sequence[str]) -> list[str]:
    """What was typed, as it would be typed now. Raises `click.UsageError` for what lives elsewhere now."""
    at = _command(typed)
    if at is None or typed[at] not in _KNOWN:
        return list(typed)
    command, before, rest = COMMANDS.get(typed[at], typed[at]), list(typed[:at]), list(typed[at + 1 :])
    gone, arguments = GONE.get(command, {}), ARGUMENTS.get(command, {})
    found: dict[str, str] = {}
    others: list[str] = []
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name == "--":
            others += [name, *rest]
            break
        if name in gone:
            context = click.Context(click.Command(command), info_name=f"smeg-cli {command}")
            raise click.UsageError(f"{command} has no {name} any more: {gone[name]}", context)
        if name in arguments and (equals or rest) and arguments[name] not in found:
            found[arguments[name]] = value if equals else rest.pop(0)
        else:
            others.append(name + equals + value)
    order = list(dict.fromkeys(arguments.values()))
    first = [found[name] for name in order if name in found]
    # Behind `--` nothing that begins with a dash is an option.
    shielded = ["--", *first] if any(word.startswith("-") for word in first) and "--" not in others else first
    return [*before, command, *(others + shielded if shielded[:1] == ["--"] else shielded + others)]


def _command(typed: Sequence[str]) -> int | None:
    """Where the command stands: the first word that is no option and no option's value."""
    value = False
    for at, word in enumerate(typed):
        if not value and not word.startswith("-"):
            return at
        value = not value and word in _WITH_VALUE
    return None


_KNOWN = {*COMMANDS, *ARGUMENTS, *GONE}
_WITH_VALUE = ("--socket", "--timeout", "--format")
