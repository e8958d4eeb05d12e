"""The meshes as a graph: members once, bridges between their meshes, and no name that is anything but a name."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smeg.cli import graphs
from smeg.errors import LocalError
from smeg.graph import Graph, Kind, Link, graph_of
from smeg.graph_text import dot, mermaid
from tests.canned_daemon import CannedDaemon, canned_daemon
from tests.typed import typed

MESHES = [{"id": "aaaa", "name": "paris"}, {"id": "bbbb", "name": "lyon"}]
EVIL = 'x"]; evil [label="\\" <b> --> | # ;\n end'


def member(node: str, **other: Any) -> dict[str, Any]:
    return {"node": node, "name": f"the-{node}", "role": "peer", "state": "alive", **other}


MEMBERS = {
    "aaaa": [
        member("one", self=True, leader=True),
        member("bridge"),
        member("phone", role="client", via=[{"node": "one", "name": "the-one"}]),
        member("dead", state="pruned"),
    ],
    "bbbb": [member("one"), member("two", services=[{"name": "web", "protocol": "tcp", "port": 80}])],
}


def way(prefix: str, path: list[str], bridges: list[str], state: str = "chosen") -> dict[str, Any]:
    return {"mesh": path[0], "prefix": prefix, "node": "bridge", "path": path, "bridges": bridges, "state": state}


def drawn(routes: list[dict[str, Any]]) -> Graph:
    return graph_of(MESHES, MEMBERS, routes)


def links(graph: Graph, kind: Link) -> set[tuple[str, str]]:
    return {(edge.start, edge.end) for edge in graph.edges.values() if edge.kind is kind}


def test_a_member_of_two_meshes_stands_once_between_them() -> None:
    graph = drawn([])
    assert {end for start, end in links(graph, Link.MEMBER) if start == "mesh aaaa"} >= {"node one", "node bridge"}
    assert ("mesh bbbb", "node one") in links(graph, Link.MEMBER)
    assert graph.nodes["node one"].marks == ("self", "leader", "bridge")


def test_a_client_hangs_on_its_carrier_and_the_dead_say_so() -> None:
    graph = drawn([])
    assert links(graph, Link.CARRIED) == {("node phone", "node one")}
    assert graph.nodes["node dead"].state == "pruned"
    assert "(pruned)" in dot(graph)
    assert "pruned" in mermaid(graph)


def test_a_way_leads_from_bridge_to_bridge_to_meshes_beyond() -> None:
    graph = drawn([way("fd02::/64", ["paris", "nice", "rome"], ["the-bridge", "far"])])
    chain = [("node bridge", "distant nice"), ("distant nice", "bridge far of distant nice"),
             ("bridge far of distant nice", "distant rome")]  # fmt: skip
    assert links(graph, Link.BRIDGE) == set(chain)
    assert graph.nodes["distant rome"].kind is Kind.DISTANT
    assert graph.nodes["node bridge"].marks == ("bridge",)


def test_exits_and_what_is_behind_a_member_are_drawn_and_ways_not_taken_are_not() -> None:
    routes = [way("::/0", ["paris"], ["the-bridge"]), way("2001:db8::/48", ["paris"], ["the-bridge"], "standby")]
    graph = drawn([*routes, way("fd09::/64", ["paris", "far"], ["the-bridge"], "longer")])
    assert graph.nodes["node bridge"].marks == ("exit",)
    assert links(graph, Link.OFFERS) >= {("node bridge", "behind ::/0"), ("node bridge", "behind 2001:db8::/48")}
    assert "distant far" not in graph.nodes


def test_services_are_drawn_at_their_member() -> None:
    assert ("node two", "service web tcp/80 node two") in links(drawn([]), Link.OFFERS)
    assert "web tcp/80" in dot(drawn([]))


def labels(text: str) -> list[str]:
    """The labels of nodes as DOT's own rules read them."""
    return re.findall(
        r'^  n\d+ \[label="((?:[^"\\\n]|\\.)*)", shape=\w+, color="#\w{6}"(?:, style=\w+)?\];$', text, re.M
    )


@settings(deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=5))
def test_whatever_members_are_called_a_line_of_dot_is_one_node_or_one_edge(names: list[str]) -> None:
    rows = [member(str(number), name=name) for number, name in enumerate(names)]
    text = dot(graph_of(MESHES[:1], {"aaaa": rows}, []))
    assert len(labels(text)) == len(names) + 1
    assert len(text.split("\n")) == 3 + len(names) + 1 + len(names) + 2
    shown = mermaid(graph_of(MESHES[:1], {"aaaa": rows}, []))
    assert (
        len(re.findall(r'^  n\d+(\[|\(\(\()"[^"<>;|\n]*((#\d+;|<br/>)[^"<>;|\n]*)*"(\]|\)\)\))$', shown, re.M))
        == len(names) + 1
    )


scalars: st.SearchStrategy[Any] = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
strange = scalars | st.lists(scalars, max_size=2) | st.dictionaries(st.text(max_size=3), scalars, max_size=2)
rows = st.dictionaries(st.sampled_from(["node", "name", "role", "state", "via", "services", "self", "alias"]), strange)
ways = st.dictionaries(st.sampled_from(["node", "path", "bridges", "prefix", "mesh"]), strange)


@settings(deadline=None)
@given(st.lists(rows, max_size=3), st.lists(ways, max_size=3), st.sampled_from(["chosen", "standby"]))
def test_no_answer_is_too_strange_to_be_drawn(members: list[Any], routes: list[Any], state: str) -> None:
    graph = graph_of(MESHES, {"aaaa": members}, [{**route, "state": state} for route in routes])
    assert all(edge.start in graph.nodes and edge.end in graph.nodes for edge in graph.edges.values())
    assert dot(graph).endswith("}\n")
    assert mermaid(graph)


needs_graphviz = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")


@needs_graphviz
@settings(max_examples=5, deadline=None)
@given(st.lists(st.text(max_size=20), max_size=5))
def test_graphviz_reads_every_name_as_it_is(names: list[str]) -> None:
    members = [member(str(number), name=name) for number, name in enumerate([*names, EVIL])]
    text = dot(graph_of(MESHES[:1], {"aaaa": members}, []))
    done = subprocess.run(["dot", "-Tplain"], input=text.encode(), capture_output=True, check=True)
    kinds = [line.split(b" ", 1)[0] for line in done.stdout.splitlines()]
    assert (kinds.count(b"node"), kinds.count(b"edge")) == (len(members) + 1, len(members))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CannedDaemon]:
    with canned_daemon(tmp_path / "run" / "control.sock") as daemon:
        daemon.answers = {
            "list-meshes": {"meshes": MESHES[:1]},
            "members": {"mesh": MESHES[0], "members": [member("one", name=EVIL)]},
            "routes": {"routes": [way("::/0", ["paris"], ["the-bridge"])]},
        }
        yield daemon


def test_the_graph_is_dot_unless_the_file_or_the_format_says_otherwise(daemon: CannedDaemon, tmp_path: Path) -> None:
    assert typed(daemon, "get-graph").stdout.startswith("digraph")
    assert typed(daemon, "get-graph", "paris", "--format", "mermaid").stdout.startswith("flowchart")
    assert typed(daemon, "get-graph", "--output", str(tmp_path / "graph.mmd")).exit_code == 0
    assert (tmp_path / "graph.mmd").read_text().startswith("flowchart")
    assert {node["kind"] for node in orjson.loads(typed(daemon, "get-graph", "--json").stdout)["nodes"]} >= {"mesh"}


@needs_graphviz
@pytest.mark.parametrize(("kind", "beginning"), [("svg", b"<?xml"), ("png", b"\x89PNG")])
def test_pictures_are_drawn_by_graphviz(daemon: CannedDaemon, tmp_path: Path, kind: str, beginning: bytes) -> None:
    file = tmp_path / f"graph.{kind}"
    result = typed(daemon, "get-graph", "--output", str(file))
    assert result.exit_code == 0, result.stderr
    assert file.read_bytes().startswith(beginning)


def test_without_graphviz_it_is_said_what_to_install(
    daemon: CannedDaemon, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LocalError, match="not installed"):
        graphs.draw("digraph {}", "svg", 1)
    result = typed(daemon, "get-graph", "--format", "svg")
    assert result.exit_code == 1
    assert "install Graphviz" in result.stderr
