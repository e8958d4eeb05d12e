"""`smeg-cli query-mesh`: a JMESPath expression over the members of a mesh.

The daemon answers all members, and the expression is evaluated here: nobody's query keeps the daemon from its work.
Source: the JMESPath specification, jmespath.org.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import click

from smeg.cli.parameters import MESH
from smeg.cli.program import TABLE, Settings, shared_options, write_json
from smeg.cli.tables import clean, show_table
from smeg.errors import LocalError

Row = Mapping[str, Any]

MAX_EXPRESSION = 4096
"""characters."""
_HINT = "see jmespath.org; `smeg-cli members MESH --json` shows the fields, e.g. [?state=='alive'].[name,address]"

OLD_FIELDS: Mapping[str, Callable[[Row], Any]] = {
    "publicKey": lambda row: row.get("wireguard"),
    "wgHost": lambda row: f"{row.get('address')}/128",
    "wgEndpoint": lambda row: next(iter(row.get("endpoints") or []), None),
    "type": lambda row: row.get("role"),
}
"""What the predecessor called the fields of a member: they are there when an expression names one."""


def search(expression: str, members: list[Any]) -> Any:
    """What a JMESPath expression finds in the members, as JSON values. Raises `LocalError` (`bad-query`)."""
    # Slow to import.
    import jmespath
    from jmespath.exceptions import JMESPathError

    if len(expression) > MAX_EXPRESSION:
        raise LocalError("bad-query", f"an expression of more than {MAX_EXPRESSION} characters", _HINT)
    old = [name for name in OLD_FIELDS if re.search(rf"\b{name}\b(?!\s*\()", expression)]
    rows = [{**{name: OLD_FIELDS[name](row) for name in old}, **row} for row in members if isinstance(row, dict)]
    try:
        with warnings.catch_warnings():
            # It warns of ways to write literals that are no longer advised.
            warnings.simplefilter("ignore", PendingDeprecationWarning)
            found = jmespath.search(expression, rows)
    except (JMESPathError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise LocalError("bad-query", f"this is no JMESPath expression that can be evaluated: {error}", _HINT) from None
    except RecursionError:
        raise LocalError("bad-query", "the expression is nested too deeply", _HINT) from None
    if isinstance(found, jmespath.visitor._Expression):
        raise LocalError("bad-query", "an expression by itself (&…) has no value", _HINT)
    return found


@click.command("query-mesh")
@click.argument("mesh", type=MESH)
@click.argument("expression")
@shared_options
@click.make_pass_decorator(Settings, ensure=True)
def query_mesh(settings: Settings, mesh: str, expression: str) -> None:
    """Evaluate a JMESPath EXPRESSION over the members of MESH: what it finds, as JSON unless --format says otherwise.

    The members are a list of what `smeg-cli members MESH --json` shows. The names of all that are alive:

        smeg-cli query-mesh paris "[?state=='alive'].name"
    """
    answer = settings.ask("members", {"mesh": mesh}).get("members")
    found = search(expression, answer if isinstance(answer, list) else [])
    if settings.format == TABLE and not settings.json:
        show(found)
    elif settings.machine is not None:
        settings.write(found)
    else:
        write_json(found)


def show(found: Any) -> None:
    """Lists of objects or of lists as tables, other values a line each."""
    rows = found if isinstance(found, list) else [found]
    if rows and all(isinstance(row, dict) for row in rows):
        columns = list(dict.fromkeys(name for row in rows for name in row))
        show_table([name.upper() for name in columns], [[_cell(row.get(name)) for name in columns] for row in rows])
    else:
        for row in rows:
            click.echo("  ".join(clean(_cell(cell)) for cell in (row if isinstance(row, list) else [row])))


def _cell(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case list():
            return " ".join(_cell(one) for one in value)
        case dict():
            return " ".join(f"{name}={_cell(one)}" for name, one in value.items())
        case _:
            return str(value)
