"""`smeg-cli get-graph`: the meshes of this node as a picture, or as text that makes one."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from smeg.cli.parameters import MESH
from smeg.cli.program import MACHINES, Ask, Settings, report, shared_options
from smeg.errors import LocalError

if TYPE_CHECKING:
    from smeg.graph import Graph

TEXTS = ("dot", "mermaid")
PICTURES = ("svg", "png")
_DRAW_SECONDS = 300.0
_AROUND = ("-Ksfdp", "-Goverlap=prism", "-Gsplines=line")
"""Five seconds for 3,000 nodes."""
MANY = 60
"""members from which on the members stand around their mesh: in layers the picture would be a strip."""


@click.command("get-graph")
@click.argument("meshes", type=MESH, metavar="[MESH]...", nargs=-1)
@click.option("--output", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Write to a file, not to standard output.")  # fmt: skip
@partial(shared_options, formats=(*TEXTS, *PICTURES, *MACHINES))
@click.make_pass_decorator(Settings, ensure=True)
def get_graph(settings: Settings, meshes: tuple[str, ...], output: Path | None) -> None:
    """Draw all meshes of this node, or some: members by role and liveness, bridges, ways, exits and services.

    Without --format the name of FILE says the format; else it is dot. SVG and PNG are drawn by the program dot of
    Graphviz; JSON and YAML have the nodes and edges.
    """
    # Slow to import.
    from smeg.graph_text import dot, mermaid

    kind = settings.format if settings.format in (*TEXTS, *PICTURES) else _kind_of(output)
    graph = graph_asked(settings.ask, meshes)
    if settings.machine is not None:
        settings.write(plain(graph))
        return
    text = mermaid(graph) if kind == "mermaid" else dot(graph)
    data = text.encode() if kind in TEXTS else draw(text, kind, len(graph.nodes))
    if output is None or str(output) == "-":
        click.echo(data, nl=False)
        return
    try:
        output.write_bytes(data)
    except OSError as error:
        raise LocalError("file-failed", f"cannot write {output}: {error.strerror}", "name another file") from error
    report("done", f"{len(graph.nodes)} nodes and {len(graph.edges)} edges are in {output}")


def _kind_of(output: Path | None) -> str:
    suffix = output.suffix.removeprefix(".").lower() if output is not None else ""
    return {"mmd": "mermaid", "gv": "dot"}.get(suffix, suffix if suffix in (*TEXTS, *PICTURES) else "dot")


def graph_asked(ask: Ask, meshes: Sequence[str]) -> Graph:
    """The graph of some meshes, or of all. Raises `SmegError`."""
    from smeg.graph import graph_of

    members, briefs = {}, []
    known = ask("list-meshes", {}).get("meshes") or []
    for name in meshes or [str(mesh.get("id", "")) for mesh in known]:
        answer = ask("members", {"mesh": name})
        mesh = answer.get("mesh") or {}
        briefs.append(mesh)
        members[str(mesh.get("id", ""))] = answer.get("members") or []
    names = {mesh.get("name") for mesh in briefs}
    routes = ask("routes", {"mesh": None}).get("routes") or []
    return graph_of(briefs, members, [row for row in routes if row.get("mesh") in names])


def plain(graph: Graph) -> dict[str, object]:
    """As JSON."""
    nodes = [
        {"key": node.key, "kind": node.kind.value, "label": node.label, "state": node.state, "marks": list(node.marks)}
        for node in graph.nodes.values()
    ]
    edges = [
        {"from": edge.start, "to": edge.end, "kind": edge.kind.value, "label": edge.label}
        for edge in graph.edges.values()
    ]
    return {"nodes": nodes, "edges": edges}


def draw(text: str, kind: str, nodes: int) -> bytes:
    """A picture of DOT text by Graphviz. Raises `LocalError`: `no-graphviz`, `graphviz-failed`."""
    program = shutil.which("dot")
    if program is None:
        hint = "install Graphviz (on Debian: apt-get install graphviz), or use --format dot or mermaid"
        raise LocalError("no-graphviz", f"{kind.upper()} is drawn by the program dot, which is not installed", hint)
    layout = _AROUND if nodes > MANY else ("-Kdot",)
    command = [program, f"-T{kind}", *layout]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_DRAW_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        hint = "draw fewer meshes, or draw what --format dot writes with another layout"
        raise LocalError("graphviz-failed", f"dot was not done after {_DRAW_SECONDS:g} s", hint) from None
    if done.returncode != 0 or not done.stdout:
        words = done.stderr.decode(errors="replace").strip()[:500] or f"exit status {done.returncode}"
        raise LocalError("graphviz-failed", f"dot failed: {words}", "draw what --format dot writes")
    return done.stdout
