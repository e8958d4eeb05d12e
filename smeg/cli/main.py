"""`smeg-cli`: one command of the daemon each, with its arguments and how its result is shown.

What a mesh or a node is called is sent as it was typed; the daemon finds out which one is meant. Tokens never pass
through argv. Nothing slow is imported here: a command is done before a person notices.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from smeg.cli import names, views
from smeg.cli.configuring import config
from smeg.cli.doctor import doctor
from smeg.cli.exporting import delete_static, export
from smeg.cli.files import PRIVATE, new_file
from smeg.cli.graphs import get_graph
from smeg.cli.parameters import MESH, NODE, duration, prefix
from smeg.cli.program import UNHEALTHY, Program, Settings, report, shared_options
from smeg.cli.queries import query_mesh
from smeg.cli.reaching import converge, ping
from smeg.cli.shells import completion, manual
from smeg.cli.tokens import read_token
from smeg.cli.watching import watch
from smeg.errors import RemoteError

_JOIN_TIMEOUT = 30.0
"""seconds; the daemon gives up joining before that, and says why."""

pass_settings = click.make_pass_decorator(Settings, ensure=True)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@shared_options
def main() -> None:
    """Make, join, leave and look at WireGuard meshes, by way of smeg-node on this machine.

    A mesh is named by its name, its id or a unique beginning of the id; so is a node.

    Exit status: 0 done, 1 failed, 2 wrong usage, 3 not as it should be (status, doctor, config check).
    """


@main.command("new-mesh")
@click.argument("name")
@shared_options
@pass_settings
def new_mesh(settings: Settings, name: str) -> None:
    """Make a mesh called NAME; this node becomes its first member and holds its admin key."""
    result = settings.ask("new-mesh", {"name": name})
    settings.show(result, views.made_mesh)


@main.command()
@click.argument("mesh", type=MESH)
@click.option("--uses", type=click.IntRange(min=1), default=1, show_default=True, help="How many nodes may join by it.")
@click.option("--expires", type=duration, default="24h", show_default=True, help="After 90s, 10m, 24h, 7d, ...")
@click.option("--role", type=click.Choice(["peer", "client"]), default="peer", show_default=True)
@click.option("--prefix", "prefixes", type=prefix, multiple=True, help="A route it may offer; may be given again.")
@click.option("--exit", "exit_", is_flag=True, help="It may offer the default route.")
@click.option("--output", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Write the token to a new file of mode 0600, not to standard output.")  # fmt: skip
@shared_options
@pass_settings
def invite(
    settings: Settings,
    mesh: str,
    uses: int,
    expires: int,
    role: str,
    prefixes: tuple[str, ...],
    exit_: bool,
    output: Path | None,
) -> None:
    """Make a token by which another node can join MESH. Who has the token can join: keep it secret."""
    arguments = {
        "mesh": mesh,
        "uses": uses,
        "expires": expires,
        "role": role,
        "prefixes": list(prefixes),
        "exit": exit_,
    }
    if output is None or str(output) == "-":
        token = _invited(settings, arguments)
        settings.show({"token": token}, lambda _: click.echo(token))
        return
    with new_file(output, PRIVATE) as write:
        write(f"{_invited(settings, arguments)}\n")
    if settings.machine is not None:
        settings.write({"file": str(output)})
    else:
        report("done", f"the token is in {output}; remove the file after its use")


def _invited(settings: Settings, arguments: dict[str, object]) -> str:
    match settings.ask("invite", arguments):
        case {"token": str(token)} if token.isascii() and token.isprintable():
            return token
    raise RemoteError("bad-reply", "smeg-node answered without a token", "use smeg-cli and smeg-node of one release")


@main.command("join-mesh")
@click.argument("file", required=False)
@shared_options
@pass_settings
def join_mesh(settings: Settings, file: str | None) -> None:
    """Join a mesh by the token in FILE, on standard input (-), or typed at the prompt, where it is not shown."""
    token = read_token(file)
    settings.show(settings.ask("join-mesh", {"token": token}, _JOIN_TIMEOUT), views.made_mesh)


@main.command("leave-mesh")
@click.argument("mesh", type=MESH)
@shared_options
@pass_settings
def leave_mesh(settings: Settings, mesh: str) -> None:
    """Leave MESH, tell its members, and remove its interface and keys from this node.

    A root or admin key is not removed: the folder that it is kept in is named.
    """
    settings.show(settings.ask("leave-mesh", {"mesh": mesh}), lambda result: _left(mesh, result))


def _left(mesh: str, result: Mapping[str, Any]) -> None:
    report("done", f"left {mesh}")
    if result.get("keys"):
        report("keys", f"its root and admin keys are in {result['keys']}: who has them rules over the mesh")


@main.command("list-meshes")
@shared_options
@pass_settings
def list_meshes(settings: Settings) -> None:
    """The meshes that this node is in."""
    settings.show(settings.ask("list-meshes", {}), views.meshes)


@main.command()
@click.argument("mesh", type=MESH)
@click.option("--state", "states", type=click.Choice(["alive", "daemon-down", "pruned", "quarantined"]), multiple=True,
              help="Only those in this state; may be given again.")  # fmt: skip
@shared_options
@pass_settings
def members(settings: Settings, mesh: str, states: tuple[str, ...]) -> None:
    """The members of MESH, and how they look from here."""
    which = {"state": list(states)} if states else {}
    settings.show(settings.ask("members", {"mesh": mesh, **which}), views.members)


@main.command()
@click.argument("mesh", type=MESH)
@click.option("--without", type=NODE, multiple=True, metavar="NODE",
              help="Only what would change if NODE died; may be given again.")  # fmt: skip
@shared_options
@pass_settings
def plan(settings: Settings, mesh: str, without: tuple[str, ...]) -> None:
    """How the interface of MESH is set, and what would change, now or if nodes were gone."""
    hypothetical = {"without": list(without)} if without else {}
    settings.show(settings.ask("plan", {"mesh": mesh, **hypothetical}), views.changes if without else views.plan)


@main.command()
@click.argument("mesh", type=MESH, required=False)
@click.option("--offered", is_flag=True, help="What this node offers, instead of what it knows.")
@shared_options
@pass_settings
def routes(settings: Settings, mesh: str | None, offered: bool) -> None:
    """The ways that members offer, in all meshes or in MESH: which are taken, and why."""
    result = settings.ask("routes", {"mesh": mesh})
    settings.show(result, views.offers if offered else views.routes)


@main.command()
@click.argument("destination", type=NODE)
@shared_options
@pass_settings
def why(settings: Settings, destination: str) -> None:
    """By which steps a packet gets to DESTINATION, an address or a member, and by which rule each was chosen."""
    settings.show(settings.ask("why", {"destination": destination}), views.why)


@main.command()
@shared_options
@pass_settings
def reload(settings: Settings) -> None:
    """Have the daemon read its configuration file again, without dropping a tunnel.

    A file with a mistake changes nothing. What changed is told, and which keys count after a restart alone.
    """
    settings.show(settings.ask("reload", {}), _reloaded)


def _reloaded(result: Mapping[str, Any]) -> None:
    changed, restart = (" ".join(map(str, result.get(name) or ())) for name in ("changed", "restart"))
    report("done", f"changed: {changed}" if changed else "nothing has changed")
    if restart:
        report("hint", f"these count when smeg-node is started again: {restart}")


@main.command()
@click.argument("mesh", type=MESH, required=False)
@shared_options
@pass_settings
def status(settings: Settings, mesh: str | None) -> int:
    """How the daemon does, in all meshes or in MESH. Exit status 3 when it is not healthy."""
    result = settings.ask("status", {"mesh": mesh})
    settings.show(result, views.status)
    return 0 if result.get("healthy") is True else UNHEALTHY


@main.command()
@shared_options
@pass_settings
def metrics(settings: Settings) -> None:
    """What the daemon measures, as its /metrics has it for Prometheus; docs/metrics.md says what each is."""
    settings.show(settings.ask("metrics", {}), lambda result: click.echo(str(result.get("text", "")), nl=False))


@main.command()
@click.argument("mesh", type=MESH)
@click.argument("node", type=NODE)
@click.option("--reason", default="", help="Kept in the signed eviction.")
@shared_options
@pass_settings
def evict(settings: Settings, mesh: str, node: str, reason: str) -> None:
    """Remove NODE from MESH for ever, everywhere. Needs the mesh's admin key on this node.

    NODE may also be a device that cannot run smeg-node, by its name, NAME.PEER or its address.
    """
    result = settings.ask("evict", {"mesh": mesh, "node": node, "reason": reason})
    settings.show(result, lambda _: report("done", f"evicted {node} from {mesh}"))


_LOOKING = (query_mesh, get_graph, config, doctor, watch, ping, converge, export, delete_static)
for _command in (*names.COMMANDS, *_LOOKING, completion, manual):
    main.add_command(_command)


if __name__ == "__main__":
    main()
