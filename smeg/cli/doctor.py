"""`smeg-cli doctor`: looks at this host, its configuration and its daemon, if one runs, for what keeps meshes from
working."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smeg.cli.configuring import configured, usual
from smeg.cli.program import UNHEALTHY, Ask, Settings, shared_options
from smeg.cli.tables import clean, painted
from smeg.errors import LocalError, SmegError

if TYPE_CHECKING:
    from smeg.checkup import Daemon, Finding
    from smeg.config import Config

_COLOURS = {"good": "green", "warning": "yellow", "wrong": "red", "unknown": "blue"}


@click.command()
@click.option("--config", "file", type=click.Path(path_type=Path), metavar="FILE",
              help="The configuration; by default /etc/smegmesh/node.yaml where there is one.")  # fmt: skip
@shared_options
@click.make_pass_decorator(Settings, ensure=True)
def doctor(settings: Settings, file: Path | None) -> int:
    """Check this host: WireGuard, IPv6, forwarding, ports, clock, MTU, firewall, names, versions.

    Each check says what is wrong and what to do. No daemon has to run; as root it sees more. Nothing is changed. The
    exit status is 3 when something is wrong, 0 also with warnings.
    """
    found = checkup(settings.ask, file)
    settings.show(found, _view)
    return 0 if found["healthy"] else UNHEALTHY


def checkup(ask: Ask, file: Path | None) -> dict[str, Any]:
    """Every check, and whether nothing is wrong."""
    # Slow to import.
    from smeg.checkup import Finding, State, findings
    from smeg.edges.host import facts

    config, wrong = _configuration(file)
    daemon, silent, names = _daemon(ask)
    found = [Finding("config", State.WRONG, words, hint) for words, hint in wrong]
    found += findings(facts(config, daemon, silent, names), config)
    healthy = not any(finding.state is State.WRONG for finding in found)
    return {"healthy": healthy, "checks": [_row(finding) for finding in found]}


def _row(finding: Finding) -> dict[str, str]:
    return {
        "check": finding.topic,
        "state": finding.state.value,
        "message": finding.message,
        "hint": finding.hint,
    }


def _configuration(file: Path | None) -> tuple[Config, list[tuple[str, str]]]:
    """The configuration, or the defaults with what is wrong with it."""
    try:
        return configured(file), []
    except LocalError as error:
        return usual(), [(error.problem.message, error.problem.hint)]


def _daemon(ask: Ask) -> tuple[Daemon | None, tuple[str, str], list[str]]:
    """What the daemon says of itself, or why none does; and the hosts of its members' endpoints."""
    from smeg.checkup import Daemon

    try:
        status = ask("status", {"mesh": None})
        meshes = _rows(status, "meshes")
        hosts = [host for mesh in meshes for host in _hosts(ask, mesh)]
    except SmegError as error:
        return None, (error.problem.message, error.problem.hint), []
    problems = tuple((str(row.get("message", "")), str(row.get("hint", ""))) for row in _rows(status, "problems"))
    gossip = status.get("gossip")
    port = gossip.get("port") if isinstance(gossip, dict) else None
    backends = frozenset(backend for mesh in meshes if (backend := str(mesh.get("backend") or "")))
    names = status.get("names")
    served = names.get("served") if isinstance(names, dict) else None
    serves = tuple(map(str, served)) if isinstance(served, list) else ()
    version, gossip_port = str(status.get("version", "")), port if isinstance(port, int) else 0
    return Daemon(version, gossip_port, problems, backends, serves), ("", ""), hosts


def _hosts(ask: Ask, mesh: Mapping[str, Any]) -> list[str]:
    members = _rows(ask("members", {"mesh": str(mesh.get("id", ""))}), "members")
    endpoints = [str(one) for row in members for one in row.get("endpoints") or []]
    # Addresses are many, and need no look-up.
    return [host for one in endpoints if (host := one.rpartition(":")[0]) and not host.startswith("[")]


def _rows(result: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = result.get(name)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _view(result: Mapping[str, Any]) -> None:
    width = max(len(row["check"]) for row in result["checks"])
    for row in result["checks"]:
        state = painted(f"{row['state']:7}", _COLOURS[row["state"]])
        lines = clean_lines(row["message"])
        click.echo(f"{state}  {row['check'].ljust(width)}  {lines[0]}")
        for line in lines[1:]:
            click.echo(f"{' ' * (width + 11)}{line}")
        if row["hint"] and row["state"] != "good":
            click.echo(f"{' ' * (width + 11)}{painted('do', 'cyan')}: {clean(row['hint'])}")
    counts = Counter(row["state"] for row in result["checks"])
    click.echo("\n" + ", ".join(f"{counts[state]} {state}" for state in _COLOURS if counts[state]))


def clean_lines(text: str) -> list[str]:
    return [clean(line) for line in text.split("\n")] or [""]
