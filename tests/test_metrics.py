"""Metrics: what Prometheus' own parser reads of them, that they say what happens, and that docs and dashboard keep to
their names."""

from __future__ import annotations

import json
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from scenarios.simulation import World
from smeg.dashboard import Dashboard
from smeg.edges.metrics_server import MAX_CONNECTIONS, MAX_REQUEST, PATIENCE, MetricsServer
from smeg.errors import LocalError
from smeg.exposition import Family, Histogram, Page
from smeg.metric_families import FAMILIES, table
from smeg.metrics import Process, Queue
from tests.builders import QUICK
from tests.loopback import end_at_last, form_mesh
from tests.nodes import wait_for

DOCS = Path(__file__).parent.parent / "docs"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    """By name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def sampled(family: Family) -> list[str]:
    """The names that its samples have."""
    if family.kind != "histogram":
        return [family.name]
    return [f"{family.name}_{part}" for part in ("bucket", "sum", "count")]


def values(samples: Samples, name: str, **labels: str) -> list[float]:
    return [value for (found, said), value in samples.items() if found == name and labels.items() <= dict(said).items()]


def page_of(dashboard: Dashboard) -> Samples:
    return read(dashboard.metrics(10.0, {"gossip": Queue(3, 0)}, Process(1000, 1.5)))


# The text.


@QUICK
@given(st.text(), st.floats(allow_nan=False), st.text())
def test_whatever_a_label_or_a_meaning_says_the_parser_reads_it_back(label: str, value: float, meaning: str) -> None:
    page = Page([Family("some_thing", "gauge", meaning, labels=("which",))])
    page.add("some_thing", value, label)
    ((family,),) = [list(text_string_to_metric_families(page.text()))]
    (sample,) = family.samples
    assert sample.labels == {"which": label}
    assert sample.value == value


@QUICK
@given(st.lists(st.floats(0, 100)))
def test_a_histogram_counts_what_is_not_above_each_bound(observed: list[float]) -> None:
    histogram = Histogram((1, 2.5, 50))
    for each in observed:
        histogram.observe(each)
    page = Page([Family("took_seconds", "histogram", "It.", "seconds", ("mesh",))])
    page.add_histogram("took_seconds", histogram, "home")
    samples = read(page.text())
    for bound, text in ((1.0, "1"), (2.5, "2.5"), (50.0, "50"), (float("inf"), "+Inf")):
        below = sum(1 for each in observed if each <= bound)
        assert values(samples, "took_seconds_bucket", le=text) == [below]
    assert values(samples, "took_seconds_count") == [len(observed)]
    assert values(samples, "took_seconds_sum") == [pytest.approx(sum(observed))]


def test_names_keep_to_the_conventions() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"smegmesh_[a-z_]+", family.name)
        assert (family.kind == "counter") == family.name.endswith("_total"), family.name
        bare = family.name.removesuffix("_total")
        assert not family.unit or bare.endswith(family.unit), family.name
        assert family.meaning.endswith("."), family.name


# What they say.


def test_a_death_shows_in_members_latency_and_the_change_of_leader() -> None:
    world = World(7, 5, heartbeat_interval=1.0)
    world.start()
    world.form()
    assert world.run(30.0, lambda: all(set(host.members("demo").values()) == {"alive"} for host in world.hosts))
    leader = world.hosts[0].dashboard.list_meshes()["meshes"][0]["leader"]
    nodes = [host.dashboard.status(None, 0.0)["node"] for host in world.hosts]
    dead = nodes.index(leader)
    living = [host for host in world.hosts if host is not world.hosts[dead]]
    before = page_of(living[0].dashboard)
    assert values(before, "smegmesh_members", state="alive") == [5]
    assert values(before, "smegmesh_detection_latency_seconds_count") == [0]
    world.hosts[dead].crash()
    assert world.run(20.0, lambda: all("pruned" in host.members("demo").values() for host in living))
    pages = [page_of(host.dashboard) for host in living]
    for page in pages:
        assert values(page, "smegmesh_members", state="pruned", role="peer") == [1]
        assert values(page, "smegmesh_members", state="alive", role="peer") == [4]
        assert sum(values(page, "smegmesh_device_operations_total", operation="remove-peer")) == 1
    assert sum(values(page, "smegmesh_leads")[0] for page in pages) == 1
    changes = [values(page, "smegmesh_leader_changes_total")[0] for page in pages]
    assert changes[0] > values(before, "smegmesh_leader_changes_total")[0]
    counts = sum(values(page, "smegmesh_detection_latency_seconds_count")[0] for page in pages)
    total = sum(values(page, "smegmesh_detection_latency_seconds_sum")[0] for page in pages)
    assert counts >= 1
    assert 0.5 <= total / counts <= 12.0


def test_a_page_does_not_grow_with_the_mesh() -> None:
    def size(hosts: int) -> int:
        world = World(3, hosts, heartbeat_interval=1.0)
        world.start()
        world.form()
        assert world.run(30.0, lambda: len(world.hosts[0].members("demo")) == hosts)
        return len(page_of(world.hosts[0].dashboard))

    assert size(2) == size(8)


def test_whole_daemons_serve_what_the_command_prints(tmp_path: Path) -> None:
    with end_at_last() as make:
        one = make(tmp_path / "one", metricsListen=0, dnsAddress="::1", dnsPort=0)
        two = make(tmp_path / "two")
        for node in (one, two):
            node.start()
        form_mesh("home", one, two)
        wait_for("both are known", lambda: len(one.members("home")) == 2, 20)
        place = one.ask("status")["metrics"]
        port = int(place.rpartition(":")[2])

        def page() -> Samples:
            status, text = get(("127.0.0.1", port))
            assert status == 200
            return read(text)

        wait_for("messages are counted", lambda: values(page(), "smegmesh_messages_total", kind="heartbeat") != [], 20)
        served, printed = page(), read(one.does("metrics")["text"])
        assert served.keys() == printed.keys()
        assert values(served, "smegmesh_members", role="peer", state="alive") == [2]
        assert values(served, "smegmesh_healthy") == [1]
        assert values(served, "smegmesh_dns_queries_total") == [0]
        assert values(served, "smegmesh_queue_messages", actor="gossip") != []
        assert 10e6 < values(served, "smegmesh_resident_memory_bytes")[0] < 500e6
        assert values(served, "smegmesh_message_bytes_total", kind="membership", direction="out")[0] > 0
        assert {name for name, _ in served} <= {name for family in FAMILIES for name in sampled(family)}
        assert "metrics" not in two.ask("status")


def test_an_address_that_is_taken_is_a_problem_of_status(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, end_at_last() as make:
        node = make(tmp_path / "one", metricsListen=f"127.0.0.1:{other.getsockname()[1]}")
        node.start()
        wait_for("it is said", lambda: node.problems() == ["metrics-unusable"], 10)


# The server.


def get(place: tuple[str, int], request: str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n") -> tuple[int, str]:
    with socket.create_connection(place, 20) as client:
        client.sendall(request.encode("latin-1"))
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, content = answer.decode().partition("\r\n\r\n")
    return int(head.split(" ")[1]), content


class Bench:
    """A server whose clock a test moves, and which serves while the test waits."""

    def __init__(self, server: MetricsServer) -> None:
        self.server = server
        self.now = 0.0

    def client(self, *sent: str) -> socket.socket:
        one = socket.create_connection(("127.0.0.1", self.server.port), 20)
        one.sendall("".join(sent).encode("latin-1"))
        one.setblocking(False)
        return one

    def serve(self) -> None:
        if select.select([self.server.descriptor], [], [], 0)[0] and self.server.serve(self.now):
            self.server.answer("page\n" * 100_000)

    def receive(self, one: socket.socket) -> bytes:
        """All until the end."""
        found: list[bytes] = []

        def ended() -> bool:
            self.serve()
            try:
                found.append(one.recv(1 << 20))
            except BlockingIOError:
                return False
            except ConnectionResetError:
                found.append(b"")
            return found[-1] == b""

        wait_for("the connection ends", ended, 20)
        one.close()
        return b"".join(found)


@pytest.fixture
def bench() -> Iterator[Bench]:
    with made() as found:
        yield found


@contextmanager
def made() -> Iterator[Bench]:
    server = MetricsServer(ip_address("127.0.0.1"), 0)
    try:
        yield Bench(server)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET /metrics HTTP/1.1\r\nHost: 127.0.0.1:9\r\n\r\n", 200),
        ("GET /metrics?x=1 HTTP/1.0\r\nhost: [::1]\r\n\r\n", 200),
        ("HEAD /metrics HTTP/1.1\r\nHost: LOCALHOST\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        ("GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        ("GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 403),
        ("GET /metrics HTTP/1.1\r\n\r\n", 403),
        ("GET /metrics\r\n\r\n", 400),
        ("\xff\x00\r\n\r\n", 400),
        ("x" * (MAX_REQUEST + 1), 400),
    ],
)
def test_who_asks_for_the_page_in_the_name_of_this_host_gets_it(bench: Bench, request_: str, status: int) -> None:
    answer = bench.receive(bench.client(request_))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    content = answer.partition(b"\r\n\r\n")[2]
    assert len(content) == (500_000 if status == 200 and request_.startswith("GET") else len(content))
    assert (content == b"") == request_.startswith("HEAD")


def test_silent_connections_end_and_do_not_keep_others_out(bench: Bench) -> None:
    silent = [bench.client() for _ in range(MAX_CONNECTIONS + 5)]
    assert bench.receive(bench.client("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")).startswith(b"HTTP/1.1 200")
    assert len(bench.server._connections) <= MAX_CONNECTIONS
    bench.now = PATIENCE + 1
    bench.server.tick(bench.now)
    assert bench.server._connections == {}
    for each in silent:
        each.close()


def test_a_port_in_use_is_said_with_the_key_to_change() -> None:
    with made() as first, pytest.raises(LocalError) as caught:
        MetricsServer(ip_address("127.0.0.1"), first.server.port)
    assert caught.value.problem.code == "metrics-unusable"
    assert "metricsListen" in caught.value.problem.hint


# What is written about them.


def test_the_page_of_the_docs_has_the_table_of_the_code() -> None:
    assert table() in (DOCS / "metrics.md").read_text()


def expressions(node: Any) -> Iterator[str]:
    match node:
        case {"expr": str(text), **rest}:
            yield text
            yield from expressions(list(rest.values()))
        case {"query": str(text), "type": "query", **rest}:
            yield text
            yield from expressions(list(rest.values()))
        case dict():
            for each in node.values():
                yield from expressions(each)
        case list():
            for each in node:
                yield from expressions(each)


def test_every_expression_of_the_dashboard_and_the_alerts_names_metrics_and_labels_that_exist() -> None:
    said = list(expressions(json.loads((DOCS / "examples" / "grafana.json").read_text())))
    said += re.findall(r"expr: (.*)", (DOCS / "metrics.md").read_text())
    assert len(said) > 20
    known = {name: family for family in FAMILIES for name in sampled(family)}
    used = set()
    for expression in said:
        names = re.findall(r"smegmesh_\w+", expression)
        assert names, expression
        for name in names:
            assert name in known, expression
            used.add(known[name].name)
        labels = {label for name in names for label in known[name].labels} | {"instance", "le"}
        grouped = re.findall(r"by \(([^)]*)\)", expression)
        asked = {word.strip() for group in grouped for word in group.split(",")}
        asked |= set(re.findall(r'(\w+)=~?"', expression))
        assert asked <= labels, expression
        rated = re.findall(r"(?:rate|increase)\((\w+)", expression)
        assert all(known[name].kind != "gauge" for name in rated), expression
    assert len(used) > 20
