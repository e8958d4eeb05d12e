"""Results as people read them. What a result lacks shows as `-`: the daemon may be of another release than this.

Nothing here asks the daemon or decides an exit status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import click

from smeg.cli.tables import clean, painted, show_fields, show_table

Row = Mapping[str, Any]

ID_SHOWN = 12
"""characters of an id; the daemon takes any unique beginning of it."""
_RUNNING = "running"


def made_mesh(result: Row) -> None:
    mesh = _row(result, "mesh")
    show_fields([*((name, _text(mesh, name)) for name in ("name", "id")), *_these(result, "address", "interface")])


def meshes(result: Row) -> None:
    columns = ("name", "id", "interface", "members", "alive", "leader", "state")
    _table(columns, _rows(result, "meshes"), id=_id, leader=_id)


def members(result: Row) -> None:
    _members(result)
    if statics := _rows(result, "statics"):
        click.echo()
        columns = ("name", "address", "state", "via", "handshake_age", "received", "sent")
        table = [
            (*(_text(row, name) for name in columns[:4]), _age(row.get("handshake_age")),
             _size(row.get("received")), _size(row.get("sent")))
            for row in statics
        ]  # fmt: skip
        show_table(("STATIC CLIENT", "ADDRESS", "STATE", "VIA", "HANDSHAKE", "RECEIVED", "SENT"), table)


def _members(result: Row) -> None:
    rows = _rows(result, "members")
    if not rows:
        click.echo("no members", err=True)
        return
    shown = ("name", "alias", "node", "address", "role", "state", "", "via", "endpoints", "handshake")
    table = [
        (
            _text(row, "name"),
            _text(row, "alias"),
            _id(row, "node"),
            _text(row, "address"),
            _text(row, "role"),
            _text(row, "state"),
            ",".join(mark for mark in ("self", "leader") if row.get(mark) is True),
            _names(row, "via"),
            _list(row, "endpoints"),
            _age(row.get("handshake_age")),
            _size(row.get("received")),
            _size(row.get("sent")),
        )
        for row in rows
    ]
    columns = [column.upper() for column in (*shown, "received", "sent")]
    spare = ("SENT", "RECEIVED", "ENDPOINTS", "NODE", "HANDSHAKE")
    if not any(row.get("alias") for row in rows):
        show_table([columns[0], *columns[2:]], [(cells[0], *cells[2:]) for cells in table], spare)
        return
    show_table(columns, table, spare)


def plan(result: Row) -> None:
    fields = ("interface", "public_key", "listen_port", "mtu")
    described = [(name.replace("_", " "), str(result.get(name, ""))) for name in fields]
    show_fields([*described, ("addresses", _list(result, "addresses")), ("routes", _list(result, "routes"))])
    columns = ("name", "public key", "endpoint", "allowed ips", "keepalive")
    table = [
        (
            _text(row, "name"),
            _text(row, "public_key"),
            _text(row, "endpoint"),
            _list(row, "allowed_ips"),
            str(row.get("keepalive") or "off"),
        )
        for row in _rows(result, "peers")
    ]
    click.echo()
    show_table([column.upper() for column in columns], table)
    if _rows(result, "changes"):
        click.echo("\nnot applied yet:")
        changes(result)


def changes(result: Row) -> None:
    rows = _rows(result, "changes")
    if not rows:
        click.echo("nothing would change", err=True)
        return
    table = [
        (_text(row, "operation"), _text(row, "subject"), _list(row, "gains") or "-", _list(row, "loses") or "-")
        for row in rows
    ]
    show_table(("OPERATION", "ON", "GAINS", "LOSES"), table)


def routes(result: Row) -> None:
    columns = ("mesh", "prefix", "via", "path", "bridges", "state", "parts", "rule")
    table = [
        (
            _text(row, "mesh"),
            _text(row, "prefix"),
            _text(row, "via"),
            _joined(row, "path", " > "),
            _joined(row, "bridges", " > "),
            _text(row, "state"),
            _list(row, "parts") or "-",
            _text(row, "rule"),
        )
        for row in _rows(result, "routes")
    ]
    show_table([column.upper() for column in columns], table, ("PARTS", "BRIDGES", "PATH", "MESH"))


def offers(result: Row) -> None:
    rows = _rows(result, "offers")
    if not rows:
        click.echo("this node offers nothing", err=True)
        return
    table = [
        (_text(row, "mesh"), _text(row, "prefix"), _joined(row, "path", " > ") or "-", _text(row, "behind"))
        for row in rows
    ]
    show_table(("INTO", "PREFIX", "THROUGH", "BEHIND"), table)


def why(result: Row) -> None:
    name = f" ({_text(result, 'name')})" if result.get("name") else ""
    click.echo(f"to {clean(_text(result, 'destination') + name)}")
    steps = _rows(result, "steps")
    if not steps and result.get("reached") is True:
        click.echo("that is this node itself")
    for number, step in enumerate(steps, 1):
        mesh = f"  in {_text(step, 'mesh')}" if step.get("mesh") else ""
        click.echo(f"{number}  {clean(_text(step, 'from') + ' > ' + _text(step, 'to') + mesh)}")
        click.echo(f"   {clean(_text(step, 'rule'))}")
    if result.get("reached") is not True:
        click.echo(f"not reached: {clean(_text(result, 'problem'))}")


def status(result: Row) -> None:
    healthy = "healthy" if result.get("healthy") is True else "not healthy"
    show_fields(
        [
            ("state", healthy),
            *_these(result, "name", "node", "version"),
            ("uptime", _duration(result.get("uptime"))),
            *(("gossip", _gossip(gossip)) for gossip in [_row(result, "gossip")] if gossip),
            *(("names", _served(names)) for names in [_row(result, "names")] if names),
        ]
    )
    for problem in _rows(result, "problems"):
        click.echo(f"{painted('problem', 'red')}: {clean(_text(problem, 'message'))}")
        if problem.get("hint"):
            click.echo(f"   {painted('hint', 'cyan')}: {clean(_text(problem, 'hint'))}")
    columns = ("name", "id", "interface", "backend", "address", "members", "alive", "leader", "epoch", "state")
    if rows := _rows(result, "meshes"):
        click.echo()
        via = ("via",) if any(row.get("via") for row in rows) else ()
        _table((*columns, *via), rows, id=_id, leader=_id, via=_names)
    troubled = [
        row
        for row in _rows(result, "actors")
        if row.get("state") != _RUNNING or row.get("restarts") or row.get("last_error")
    ]
    if troubled:
        click.echo()
        _table(("name", "state", "restarts", "last_error"), troubled)


def _table(columns: Iterable[str], rows: Iterable[Row], **special: Callable[[Row, str], str]) -> None:
    names = tuple(columns)
    table = [[special.get(name, _text)(row, name) for name in names] for row in rows]
    show_table([name.upper().replace("_", " ") for name in names], table, ("EPOCH", "BACKEND", "LEADER", "ID"))


def _gossip(gossip: Row) -> str:
    dropped = ", ".join(f"{count} {reason}" for reason, count in sorted(_row(gossip, "dropped").items()) if count)
    parts = f"port {_text(gossip, 'port')}, {_text(gossip, 'connections')} connections"
    return f"{parts}, dropped: {dropped}" if dropped else parts


def _served(names: Row) -> str:
    parts = f"at {_list(names, 'served') or 'no address'}, {_text(names, 'queries')} queries"
    return f"{parts}, {names['dropped']} dropped" if names.get("dropped") else parts


def _these(result: Row, *names: str) -> list[tuple[str, str]]:
    return [(name, _text(result, name)) for name in names]


def _row(result: Row, name: str) -> Row:
    value = result.get(name)
    return value if isinstance(value, dict) else {}


def _rows(result: Row, name: str) -> list[Row]:
    value = result.get(name)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    return "-" if value is None or value == "" else str(value)


def _list(row: Row, name: str) -> str:
    value = row.get(name)
    return " ".join(map(str, value)) if isinstance(value, list) else ""


def _names(row: Row, name: str) -> str:
    return " ".join(_text(each, "name") for each in _rows(row, name))


def _joined(row: Row, name: str, between: str) -> str:
    value = row.get(name)
    return between.join(map(str, value)) if isinstance(value, list) else ""


def _id(row: Row, name: str) -> str:
    return _text(row, name)[:ID_SHOWN]


def _age(value: object) -> str:
    return "-" if value is None else f"{_duration(value)} ago"


def _duration(value: object) -> str:
    """Seconds, in the two largest units that they fill."""
    if not isinstance(value, int | float) or not isfinite(value):
        return "-"
    left, parts = int(value), []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def _size(value: object) -> str:
    if not isinstance(value, int | float) or not isfinite(value):
        return "-"
    number, unit = float(value), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
