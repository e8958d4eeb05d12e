"""`smeg-cli config`: makes a configuration file, and checks one. Neither needs a daemon."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from smeg.cli.files import PUBLIC, new_file
from smeg.cli.program import UNHEALTHY, Settings, report, shared_options
from smeg.cli.tables import show_table
from smeg.errors import LocalError

if TYPE_CHECKING:
    from smeg.config import Config

USUAL = Path("/etc/smegmesh/node.yaml")
"""Where the examples keep it."""
_MAX_BYTES = 1024 * 1024
pass_settings = click.make_pass_decorator(Settings, ensure=True)


@click.group()
@shared_options
def config() -> None:
    """Make and check the configuration of smeg-node."""


@config.command()
@click.option("--output", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Write a new file, not to standard output.")  # fmt: skip
@shared_options
@pass_settings
def init(settings: Settings, output: Path | None) -> None:
    """Write a configuration file with every key, its meaning, unit and default, all of it commented out."""
    from smeg.config_text import commented

    text = commented(usual())
    if output is None or str(output) == "-":
        settings.show({"configuration": text}, lambda _: click.echo(text, nl=False))
        return
    with new_file(output, PUBLIC) as write:
        write(text)
    settings.show({"file": str(output)}, lambda _: report("done", f"start smeg-node with --config {output}"))


@config.command()
@click.argument("file", required=False)
@shared_options
@pass_settings
def check(settings: Settings, file: str | None) -> int:
    """Name every mistake in FILE, or in what comes by standard input (-), with its line.

    Without FILE it is /etc/smegmesh/node.yaml. Of a file of the predecessor it is said what each key became, with the
    file that says the same now; the exit status is then 3.
    """
    name = file or str(USUAL)
    found = {"file": name, **checked(read_text(name), name)}
    if found["predecessor"]:
        settings.show(found, _translated)
        return UNHEALTHY
    settings.show(found, lambda _: _right(name, found["set"]))
    return 0


def checked(text: str, name: str) -> dict[str, Any]:
    """What a configuration sets, or what became of each key of the predecessor's. Raises `LocalError`."""
    from smeg.config import parse
    from smeg.predecessor import is_predecessors, translate

    if not _readable_by_both(text) and is_predecessors(text):
        found = translate(text)
        keys = [
            {"line": row.line, "key": row.key, "value": row.value, "now": row.now, "why": row.why} for row in found.keys
        ]
        return {"predecessor": True, "keys": keys, "configuration": found.text}
    return {"predecessor": False, "set": _said(parse(text, name, usual()))}


def _readable_by_both(text: str) -> bool:
    from smeg.config import parse

    try:
        parse(text, "")
    except LocalError:
        return False
    return True


def configured(file: Path | None) -> Config:
    """What a file says, by default the usual one if it is there. Raises `LocalError`."""
    if file is None and not USUAL.exists():
        return usual()
    # Slow to import.
    from smeg.config import parse

    path = str(file or USUAL)
    return parse(read_text(path), path, usual())


def usual() -> Config:
    """The configuration without a file, on this host."""
    from smeg.config import defaults

    return defaults(socket.gethostname(), os.geteuid() == 0, os.environ)


def read_text(file: str) -> str:
    """What a file, or standard input for `-`, holds. Raises `LocalError` (`config-unreadable`)."""
    try:
        if file == "-":
            return sys.stdin.buffer.read(_MAX_BYTES).decode()
        with open(file, "rb") as opened:
            return opened.read(_MAX_BYTES).decode()
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        hint = "name a file that exists; `smeg-cli config init --output FILE` makes one"
        raise LocalError("config-unreadable", f"cannot read {file}: {words}", hint) from None


def _said(parsed: Config) -> dict[str, str]:
    """What differs from the defaults."""
    from smeg.config_keys import KEYS
    from smeg.config_text import value_text

    base = usual()
    keys = [key for key in KEYS if getattr(parsed, key.field) != getattr(base, key.field)]
    said = {key.name: value_text(getattr(parsed, key.field)) for key in keys}
    return {**said, **({"meshes": f"[{', '.join(map(value_text, parsed.meshes))}]"} if parsed.meshes else {})}


def _right(name: str, said: Mapping[str, str]) -> None:
    for key, value in said.items():
        click.echo(f"{key}: {value}")
    report("done", f"{name} is right" + ("" if said else ", and sets nothing but defaults"))


def _translated(result: Mapping[str, Any]) -> None:
    rows = [[str(row["line"]), row["key"], row["value"], row["now"], row["why"]] for row in result["keys"]]
    show_table(("LINE", "KEY", "WAS", "NOW", "WHY"), rows)
    click.echo(f"\n# The same for smeg-node:\n{result['configuration']}", nl=False)
    report("hint", "this is a file of the predecessor: put the lines above into a new one, and check that")
