"""`smeg-api`: the API and the page, as a process of its own without privileges. Asks smeg-node as `smeg-cli` does."""

from __future__ import annotations

import os
import sys
import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smeg import __version__
from smeg.cli.parameters import seconds
from smeg.cli.program import default_socket, report
from smeg.config_values import inside
from smeg.errors import LocalError, SmegError
from smeg.folders import usual_folders

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from smeg.keys import Secret

PORT = 51880


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--socket", type=click.Path(path_type=Path), metavar="PATH", help="The daemon's control socket.")
@click.option("--listen", "address", default="127.0.0.1", show_default=True, metavar="ADDRESS",
              help="A loopback address, or one of this node in a mesh.")  # fmt: skip
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True, help="0 takes any free one.")
@click.option("--token-file", type=click.Path(path_type=Path), metavar="FILE",
              help="Where the token is; made with mode 0600 if it is not there.")  # fmt: skip
@click.option("--host-name", "names", multiple=True, metavar="NAME[:PORT]",
              help="Another name that this service is asked by, as behind a proxy; may be given again.")  # fmt: skip
@click.option("--timeout", type=seconds, default="10", show_default=True, metavar="SECONDS",
              help="How long to wait for the daemon's answer.")  # fmt: skip
@click.version_option(__version__, prog_name="smeg-api")
def main(
    socket: Path | None, address: str, port: int, token_file: Path | None, names: tuple[str, ...], timeout: float
) -> None:
    """Serve the REST API of smeg-node and a page that shows its meshes, until SIGTERM.

    Needs no privileges, only the use of the daemon's control socket: run it as the daemon's user, or as a member of
    the controlGroup that the daemon's configuration names.
    """
    try:
        # The packages of the extra, and slow to import.
        from smeg.api.serving import listen, serve
        from smeg.api.token_file import read_or_make_token, usual_token_file
    except ModuleNotFoundError as error:
        report("error", f"the package {error.name} is not installed")
        report("hint", "pip install 'smegmesh[api]'")
        sys.exit(1)
    try:
        where = _address(address)
        file = token_file or usual_token_file(usual_folders(os.geteuid() == 0, os.environ)[0])
        token = read_or_make_token(file)
        with listen(where, port) as listening:
            bound = int(listening.getsockname()[1])
            app = _app(socket or default_socket(), timeout, token, known_hosts(where, bound, names))
            shown = f"[{where}]" if ":" in where else where
            report("serving", f"http://{shown}:{bound}/ with the token in {file}")
            serve(app, listening)
    except SmegError as error:
        report("error", error.problem.message)
        if error.problem.hint:
            report("hint", error.problem.hint)
        sys.exit(1)


def known_hosts(address: str, port: int, names: tuple[str, ...]) -> frozenset[str]:
    """What `Host` may say."""
    local = ("localhost", "127.0.0.1", "[::1]") if ip_address(address).is_loopback else ()
    own = f"[{address}]" if ":" in address else address
    found = {f"{host}:{port}" for host in (*local, own)}
    if port == 80:
        found |= {host.rpartition(":")[0] for host in found}
    return frozenset({*found, *(name.lower() for name in names)})


def _address(text: str) -> str:
    try:
        return str(inside(text))
    except ValueError:
        message = f"cannot listen on {text[:60]!r}: the token would cross a network in the clear"
        hint = "use a loopback address or one of this node in a mesh, or a proxy with TLS and --host-name"
        raise LocalError("bad-address", message, hint) from None


def _app(socket: Path, timeout: float, token: Secret, hosts: frozenset[str]) -> ASGIApp:
    from smeg.api.app import make_app
    from smeg.api.daemon import Daemon
    from smeg.api.guard import Guard, Rules

    return Guard(make_app(Daemon(socket, timeout)), Rules(hosts, token), time.monotonic)


if __name__ == "__main__":
    main()
