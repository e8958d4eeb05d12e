"""Names of eight hosts with real WireGuard, by resolvers that machines have, with the files that docs/dns.md shows."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scenarios.hosts import Host, World
from tests.nodes import PATIENCE, Node, all_at_once, form_mesh, make_world, wait_for

MESH = "home"
PAGE = (Path(__file__).parent.parent / "docs" / "dns.md").read_text()
EXAMPLE = "e.2.4.9.9.a.9.d.a.2.b.b.1.5.d.f.ip6.arpa"
"""The prefix that the page has."""
RESOLVED = shutil.which("systemd-resolved", path=f"{os.environ['PATH']}:/usr/lib/systemd:/lib/systemd")
BUS = """<busconfig><type>system</type><listen>unix:path=/run/dbus/system_bus_socket</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow send_type="signal"/>
<allow send_requested_reply="true" send_type="method_return"/><allow send_requested_reply="true" send_type="error"/>
<allow receive_type="method_call"/><allow receive_type="method_return"/><allow receive_type="error"/>
<allow receive_type="signal"/></policy></busconfig>
"""


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


@pytest.fixture(scope="module")
def nodes(world: World) -> list[Node]:
    """All serve names on loopback, the last one also at its address in the mesh."""
    backend = world.wireguard()
    made = [
        Node(world.host(f"n{number}"), backend, dnsAddress="::1", dnsResolved=number == 2) for number in range(1, 9)
    ]
    if RESOLVED is not None and os.geteuid() == 0:
        start_resolved(made[1].host)
    all_at_once(node.start for node in made)
    form_mesh(made, MESH)
    for node in made:
        wait_for(f"{node.name} knows all", lambda node=node: list(node.states(MESH).values()) == ["alive"] * 8, 20)  # type: ignore[misc]
    made[7].ask("put-alias", MESH, "web")
    made[7].ask("set-service", MESH, "http", "--port", "8080", "--text", "path=/")
    for node in made:
        wait_for(f"{node.name} knows web", lambda node=node: len(node.members(MESH)["n8"]["services"]) == 1, 20)  # type: ignore[misc]
    return made


def start_resolved(host: Host) -> None:
    """A systemd-resolved and a bus to reach it, with an `/etc` of their own."""
    (host.folder / "bus.conf").write_text(BUS)
    user = "systemd-resolve:x:996:996::/:/usr/sbin/nologin"
    script = f"""mkdir -p /run/dbus /run/systemd/resolve /run/systemd/system /run/etc
cp -a /etc/. /run/etc/
grep -q systemd-resolve /run/etc/passwd || echo {user} >>/run/etc/passwd
rm -f /run/etc/resolv.conf
echo nameserver 127.0.0.53 >/run/etc/resolv.conf
mount --bind /run/etc /etc
chown systemd-resolve: /run/systemd/resolve"""
    host.run(["sh", "-ec", script])
    host.start(["dbus-daemon", "--config-file=bus.conf", "--nofork"])
    bus = ["test", "-e", "/run/dbus/system_bus_socket"]
    wait_for("there is a bus", lambda: host.run(bus, check=False).returncode == 0, 10)
    assert RESOLVED is not None
    host.start([RESOLVED])
    wait_for("resolved answers", lambda: host.run(["resolvectl", "status"], check=False).returncode == 0, 10)


def dig(node: Node, server: str, *question: str, check: bool = True) -> list[str]:
    """What dig prints; nothing where no server answers and `check` is off."""
    if shutil.which("dig") is None:
        pytest.skip("there is no dig here")
    done = node.host.run(["dig", f"@{server}", "+short", "+tries=5", *question], check=check, timeout=60 * PATIENCE)
    if done.returncode != 0:
        return []
    return [line for line in done.stdout.splitlines() if line]


def asks(node: Node, server: str) -> bool:
    """Whether a resolver is there yet, and asks the node."""
    return dig(node, server, "AAAA", f"n1.{MESH}.smeg", check=False) != []


def check(node: Node, server: str, *options: str) -> None:
    """Whether a resolver on a node's host knows all names of the mesh."""
    members = node.members(MESH)
    for name, row in members.items():
        assert dig(node, server, *options, "AAAA", f"{name}.{MESH}.smeg") == [row["address"]]
        expected = f"{'web' if name == 'n8' else name}.{MESH}.smeg."
        assert dig(node, server, *options, "-x", row["address"]) == [expected]
    assert dig(node, server, *options, "AAAA", f"web.{MESH}.smeg") == [members["n8"]["address"]]
    assert dig(node, server, *options, "SRV", f"_http._tcp.web.{MESH}.smeg") == [f"0 0 8080 web.{MESH}.smeg."]
    assert dig(node, server, *options, "TXT", f"_http._tcp.web.{MESH}.smeg") == ['"path=/"']
    assert dig(node, server, *options, "AAAA", f"nobody.{MESH}.smeg") == []
    whole = node.host.run(["dig", f"@{server}", *options, "AAAA", f"nobody.{MESH}.smeg"]).stdout
    assert "status: NXDOMAIN" in whole


def example(heading: str, node: Node) -> str:
    """The file of the page, for the mesh of this node."""
    (text,) = re.findall(rf"^## {heading}$.*?^```ini$(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (zone,) = [zone for zone in node.ask("status")["names"]["zones"] if zone != "smeg"]
    assert EXAMPLE in text
    return str(text).replace(EXAMPLE, zone)


@contextmanager
def resolver(node: Node, program: str, text: str, *argv: str) -> Iterator[None]:
    """A program that answers on 127.0.0.1 of a node's host."""
    if shutil.which(program) is None:
        pytest.skip(f"there is no {program} here")
    (node.host.folder / f"{program}.conf").write_text(text)
    process = node.host.start([program, *argv])
    try:
        wait_for(f"{program} answers", lambda: asks(node, "127.0.0.1"), 20)
        yield
    finally:
        process.kill9()


def test_the_daemon_itself_answers_for_all(nodes: list[Node]) -> None:
    for node in (nodes[0], nodes[7]):
        check(node, "::1", "-p", "51753")


def test_dnsmasq_asks_it(nodes: list[Node]) -> None:
    node = nodes[0]
    own = "no-resolv\nlisten-address=127.0.0.1\nbind-interfaces\nno-hosts\nuser=root\ngroup=root\n"
    text = example("dnsmasq", node) + own
    with resolver(node, "dnsmasq", text, "--keep-in-foreground", "--conf-file=dnsmasq.conf", "--log-facility=-"):
        check(node, "127.0.0.1")


def test_unbound_asks_it(nodes: list[Node]) -> None:
    node = nodes[2]
    own = 'server:\n  interface: 127.0.0.1\n  username: ""\n  chroot: ""\n  directory: "/run/home"\n  pidfile: ""\n'
    with resolver(node, "unbound", own + example("unbound", node), "-d", "-c", "unbound.conf"):
        check(node, "127.0.0.1")


def test_resolved_is_told_to_ask_it(nodes: list[Node]) -> None:
    if RESOLVED is None or os.geteuid() != 0:
        pytest.skip("there is no systemd-resolved here, or this is not root, which it needs")
    node = nodes[1]
    wait_for("it asks", lambda: asks(node, "127.0.0.53"), 20)
    check(node, "127.0.0.53")
    assert node.ask("status")["problems"] == []
    assert {row["state"] for row in node.ask("doctor")["checks"] if row["check"] == "dns"} == {"good"}
    told = node.host.run(["resolvectl", "status"]).stdout
    assert "~smeg" in told
    assert "[::1]:51753" in told


def test_who_is_not_in_the_mesh_gets_no_answer_from_a_node_that_serves_its_address_there(
    world: World, nodes: list[Node]
) -> None:
    node, member = nodes[7], nodes[6]
    address = node.address(MESH)
    assert node.daemon is not None
    configuration = node.host.folder / "node.yaml"
    configuration.write_text(configuration.read_text().replace('"::1"', f'["::1", "{address}"]'))
    node.daemon.terminate()
    node.daemon.wait(30 * PATIENCE)
    node.start()
    port = ["-p", "51753"]
    asked = [*port, "AAAA", f"web.{MESH}.smeg"]
    # The server listens there from when the interface has the address, which is after the daemon is ready.
    wait_for("members are answered", lambda: len(dig(member, address, *asked, check=False)) == 1, 30)
    stranger = world.host("stranger")
    stranger.run(["ip", "-6", "route", "add", f"{address}/128", "via", str(node.host.address(6))])
    for how in ("+notcp", "+tcp"):
        question = ["dig", f"@{address}", how, "+time=2", "+tries=1", *asked]
        assert stranger.run(question, check=False).returncode != 0
