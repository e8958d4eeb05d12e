"""The meshes as a graph: what `list-meshes`, `members` and `routes` answer, as nodes and edges to be drawn.

A mesh is a node too, because thousands of members that all reach each other would be millions of edges. A member that
is in several of the meshes stands there once, between them; so a bridge looks like one. Pure: no drawing, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Row = Mapping[str, Any]
_DEFAULT = "::/0"


class Kind(StrEnum):
    """What a node of the graph stands for."""

    MESH = "mesh"
    DISTANT = "distant"
    """A mesh that this node is not in."""
    PEER = "peer"
    CLIENT = "client"
    BEHIND = "behind"
    """A prefix behind a member, or the way out."""
    SERVICE = "service"


class Link(StrEnum):
    """What an edge says."""

    MEMBER = "member"
    CARRIED = "carried"
    """From a client to the peer that carries it."""
    BRIDGE = "bridge"
    """From a mesh to a bridge out of it, or from a bridge to the mesh that it leads to."""
    OFFERS = "offers"


@dataclass(frozen=True, slots=True)
class Node:
    key: str
    """Unique in the graph."""
    kind: Kind
    label: str
    state: str = ""
    """Of a member: `alive`, `daemon-down`, `pruned`, `quarantined`."""
    marks: tuple[str, ...] = ()
    """Of a member: some of `self`, `leader`, `bridge`, `exit`."""


@dataclass(frozen=True, slots=True)
class Edge:
    start: str
    end: str
    kind: Link
    label: str = ""


@dataclass(slots=True)
class Graph:
    """Nodes by key, and edges; both in the order in which they were found."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str, Link], Edge] = field(default_factory=dict)

    def add(self, node: Node) -> str:
        """Its key. What was there under the same key stays, with the marks of both."""
        known = self.nodes.get(node.key)
        if known is not None:
            marks = tuple(dict.fromkeys((*known.marks, *node.marks)))
            state = known.state if known.state == "alive" else node.state or known.state
            node = Node(known.key, known.kind, known.label, state, marks)
        self.nodes[node.key] = node
        return node.key

    def join(self, start: str, end: str, kind: Link, label: str = "") -> None:
        if start != end:
            self.edges.setdefault((start, end, kind), Edge(start, end, kind, label))

    def mark(self, key: str, mark: str) -> None:
        node = self.nodes[key]
        self.nodes[key] = Node(key, node.kind, node.label, node.state, tuple(dict.fromkeys((*node.marks, mark))))


def graph_of(meshes: Iterable[Row], members: Mapping[str, Sequence[Row]], routes: Iterable[Row]) -> Graph:
    """`members` by mesh id; `routes` are rows of all meshes. What a row lacks is left out: the daemon may be older."""
    graph = Graph()
    ids: dict[str, str] = {}
    places: dict[str, set[str]] = {}
    for mesh in meshes:
        mesh_id, name = str(mesh.get("id", "")), str(mesh.get("name", ""))
        ids.setdefault(name, graph.add(Node(f"mesh {mesh_id}", Kind.MESH, name)))
        for row in members.get(mesh_id, ()):
            key = _member(graph, row, f"mesh {mesh_id}")
            places.setdefault(key, set()).add(mesh_id)
    for key, found in places.items():
        if len(found) > 1:
            graph.mark(key, "bridge")
    for route in routes:
        if route.get("state") in ("chosen", "standby") and route.get("node"):
            _route(graph, route, ids)
    return graph


def _member(graph: Graph, row: Row, mesh: str) -> str:
    key = f"node {row.get('node', '')}"
    kind = Kind.CLIENT if row.get("role") == "client" else Kind.PEER
    marks = tuple(mark for mark in ("self", "leader") if row.get(mark) is True)
    label = str(row.get("alias") or row.get("name") or row.get("node", ""))
    graph.add(Node(key, kind, label, str(row.get("state", "")), marks))
    via = row.get("via")
    carriers = [str(one.get("node", "")) for one in via if isinstance(one, dict)] if isinstance(via, list) else []
    if kind is Kind.CLIENT and carriers:
        carrier = f"node {carriers[0]}"
        if carrier not in graph.nodes:
            graph.add(Node(carrier, Kind.PEER, str(via[0].get("name", "")) if via else ""))
        graph.join(key, carrier, Link.CARRIED)
    else:
        graph.join(mesh, key, Link.MEMBER)
    services = row.get("services")
    for said in services if isinstance(services, list) else ():
        if isinstance(said, dict):
            words = f"{said.get('name', '')} {said.get('protocol', '')}/{said.get('port', '')}"
            graph.join(key, graph.add(Node(f"service {words} {key}", Kind.SERVICE, words)), Link.OFFERS)
    return key


def _route(graph: Graph, route: Row, ids: Mapping[str, str]) -> None:
    """The bridges of one way, from mesh to mesh, and what is behind the last."""
    path, bridges = _texts(route.get("path")), _texts(route.get("bridges"))
    if not path or not bridges:
        return
    prefix = str(route.get("prefix", ""))
    at = _mesh(graph, path[0], ids)
    for index, name in enumerate(bridges):
        # Of the bridges only the first is known by its id; others by the mesh in which they are heard.
        key = f"node {route.get('node')}" if index == 0 else f"bridge {name} of {at}"
        known = key in graph.nodes
        graph.add(Node(key, Kind.PEER, name, "" if known else "alive", ("bridge",) if index + 1 < len(path) else ()))
        if index > 0 or not known:
            graph.join(at, key, Link.BRIDGE)
        if index + 1 < len(path):
            at = _mesh(graph, path[index + 1], ids)
            if (at, key, Link.MEMBER) not in graph.edges:
                graph.join(key, at, Link.BRIDGE, str(prefix) if index + 1 == len(bridges) else "")
        else:
            if prefix == _DEFAULT:
                graph.mark(key, "exit")
            words = "everything else" if prefix == _DEFAULT else prefix
            graph.join(key, graph.add(Node(f"behind {prefix}", Kind.BEHIND, words)), Link.OFFERS)


def _mesh(graph: Graph, name: str, ids: Mapping[str, str]) -> str:
    return ids[name] if name in ids else graph.add(Node(f"distant {name}", Kind.DISTANT, name))


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
