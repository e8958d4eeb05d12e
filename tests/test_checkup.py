"""What the doctor says: everything that is looked at, and of all that is wrong what to do."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from smeg import __version__
from smeg.checkup import CHECKS, Daemon, Facts, State, findings
from smeg.cli.main import main
from smeg.config import Config, defaults, parse
from smeg.edges.host import facts
from smeg.errors import Problem
from smeg.firewall import read_iptables
from tests.canned_daemon import CannedDaemon, canned_daemon
from tests.typed import typed

CONFIG = defaults("host", True, {})
DROPPING = read_iptables("*filter\n:INPUT DROP [0:0]\n-A INPUT -p udp --dport 51820 -j ACCEPT\n")
UNCLEAR = read_iptables("*filter\n:INPUT DROP [0:0]\n-A INPUT -s 192.0.2.0/24 -j ACCEPT\n")
WELL = Facts(
    version="1.0",
    release="6.18",
    root=True,
    net_admin=True,
    module="loaded",
    program=None,
    tun="",
    ipv6=True,
    ipv6_disabled=False,
    forwarding=False,
    forced=True,
    listening={("tcp", 51800): "", ("udp", 51820): ""},
    synchronised=True,
    wall=2.0,
    installed=1.0,
    link=("eth0", 1500),
    addresses=("2600::1",),
    filters={"iptables": {}},
    names={"a.example": ""},
    daemon=Daemon("1.0", 51800),
)


def config(text: str) -> Config:
    return parse(text, "file", CONFIG)


def said(found: Facts, text: str = "") -> dict[str, State]:
    """The worst state by topic."""
    order = list(State)
    worst: dict[str, State] = {}
    for one in findings(found, config(text)):
        worst[one.topic] = max(worst.get(one.topic, State.GOOD), one.state, key=order.index)
    return worst


def test_what_a_daemon_has_made_works_whatever_is_seen_from_here() -> None:
    blind = replace(WELL, module=None, tun=None)
    assert said(blind)["wireguard"] is State.WRONG
    working = replace(blind, daemon=Daemon("1.0", 51800, backends=frozenset({"userspace"})))
    assert said(working)["wireguard"] is State.GOOD
    idle = replace(blind, daemon=Daemon("1.0", 51800, backends=frozenset({"dry-run"})))
    assert said(idle)["wireguard"] is State.WRONG


def test_of_a_host_where_all_is_well_every_check_says_so() -> None:
    found = findings(WELL, CONFIG)
    assert {one.state for one in found} == {State.GOOD}
    assert len({one.topic for one in found}) == len(CHECKS)


@pytest.mark.parametrize(
    ("changes", "text", "topic", "state"),
    [
        ({"daemon": None, "silent": ("nobody", "start it")}, "", "daemon", State.WARNING),
        ({"daemon": Daemon("0.9", 51800)}, "", "version", State.WARNING),
        ({"daemon": Daemon("1.0", 1, (("no device", ""),))}, "", "daemon", State.WRONG),
        ({"module": None}, "", "wireguard", State.WRONG),
        ({"module": None, "program": "/bin/wireguard-go", "tun": None}, "", "wireguard", State.WRONG),
        ({"module": None, "program": "/bin/wireguard-go"}, "", "wireguard", State.GOOD),
        ({"module": None, "program": "/bin/wireguard-go"}, "backend: kernel", "wireguard", State.WRONG),
        ({}, "backend: userspace", "wireguard", State.WRONG),
        ({}, "backend: dry-run", "wireguard", State.WARNING),
        ({"daemon": None, "net_admin": False}, "", "permission", State.WARNING),
        ({"ipv6": False}, "", "ipv6", State.WRONG),
        ({"ipv6_disabled": True}, "", "ipv6", State.WRONG),
        ({"forced": False}, "", "forwarding", State.WARNING),
        ({"forced": False}, "advertiseRoutes: true", "forwarding", State.WRONG),
        ({"forced": False}, "meshes: {a: {advertiseRoutes: true}}", "forwarding", State.WRONG),
        ({}, "advertiseDefaults: true", "forwarding", State.WRONG),
        ({}, "advertiseDefaults: true\nforwarding: host", "forwarding", State.GOOD),
        ({"forwarding": True}, "advertiseDefaults: true", "forwarding", State.GOOD),
        ({"forced": False}, "role: client", "forwarding", State.GOOD),
        ({"daemon": None, "listening": {("tcp", 51800): "in use"}}, "", "ports", State.WRONG),
        ({"daemon": None, "listening": {("udp", 51820): "in use"}}, "", "ports", State.WARNING),
        ({"listening": {("tcp", 51800): "in use"}}, "", "ports", State.GOOD),
        ({"addresses": ()}, "", "endpoint", State.WRONG),
        ({"addresses": ("10.0.0.1", "fd00::1")}, "", "endpoint", State.WARNING),
        ({"synchronised": False}, "", "clock", State.WARNING),
        ({"synchronised": None}, "", "clock", State.UNKNOWN),
        ({"wall": 0.0}, "", "clock", State.WRONG),
        ({"link": ("ppp0", 1492)}, "", "mtu", State.WARNING),
        ({"link": ("ppp0", 1492)}, "mtu: 1412", "mtu", State.GOOD),
        ({"link": ("tiny", 1300)}, "", "mtu", State.WRONG),
        ({"link": None}, "", "mtu", State.UNKNOWN),
        ({"filters": {"iptables": DROPPING}}, "", "firewall", State.WRONG),
        ({"filters": {"iptables": UNCLEAR}}, "", "firewall", State.WARNING),
        ({"filters": {}, "unreadable": ("nft",)}, "", "firewall", State.UNKNOWN),
        ({"filters": {}}, "", "firewall", State.GOOD),
        ({"names": {"a.example": "no such name", "b.example": ""}}, "", "dns", State.WRONG),
        ({"unasked": "no such name", "daemon": Daemon("1.0", 1, serves=("[::1]:53",))}, "", "dns", State.WARNING),
        ({"unasked": "", "daemon": Daemon("1.0", 1, serves=("[::1]:53",)), "names": {}}, "", "dns", State.GOOD),
    ],
)
def test_what_is_wrong_is_found(changes: dict[str, Any], text: str, topic: str, state: State) -> None:
    assert said(replace(WELL, **changes), text)[topic] is state


def test_the_port_that_the_filter_drops_is_named_and_the_other_is_not() -> None:
    found = findings(replace(WELL, filters={"iptables": DROPPING}), CONFIG)
    (finding,) = [one for one in found if one.topic == "firewall"]
    assert "TCP port 51800" in finding.message
    assert finding.hint == "let it in: iptables -I INPUT -p tcp --dport 51800 -j ACCEPT"


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {
            "module": st.sampled_from(["loaded", "there", None]),
            "program": st.sampled_from(["/bin/wireguard-go", None]),
            "tun": st.sampled_from(["", "denied", None]),
            "ipv6": st.booleans(),
            "forwarding": st.booleans(),
            "forced": st.booleans(),
            "synchronised": st.sampled_from([True, False, None]),
            "link": st.none() | st.tuples(st.just("eth0"), st.integers(576, 9000)),
            "addresses": st.sampled_from([(), ("10.0.0.1",), ("2600::1",)]),
            "daemon": st.sampled_from([None, Daemon("1.0", 0), Daemon("2.0", 5, (("p", ""),))]),
            "filters": st.sampled_from([{}, {"nft": DROPPING}, {"iptables": UNCLEAR}]),
            "names": st.dictionaries(st.text(max_size=3), st.sampled_from(["", "gone"]), max_size=2),
        }
    ),
    st.sampled_from(["", "role: client", "backend: userspace", "advertiseRoutes: true", "gossipPort: 0"]),
)
def test_what_is_not_good_always_comes_with_what_to_do(changes: dict[str, Any], text: str) -> None:
    for one in findings(replace(WELL, **changes), config(text)):
        assert one.message
        assert one.hint or one.state in (State.GOOD, State.UNKNOWN)


def test_a_port_that_is_taken_is_seen_on_this_host() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = facts(config(f'gossipPort: {port}\ngossipAddress: "::1"'), None, ("", ""), [])
    assert found.listening["tcp", port]
    assert found.version == __version__
    assert found.wall > found.installed


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CannedDaemon]:
    with canned_daemon(tmp_path / "run" / "control.sock") as daemon:
        yield daemon


def test_the_doctor_tells_by_its_exit_status_whether_something_is_wrong(daemon: CannedDaemon, tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("role: client\nbackend: dry-run\n")
    status = {"version": __version__, "problems": [], "meshes": [], "gossip": {"port": 1}}
    daemon.answers["status"] = status
    result = typed(daemon, "doctor", "--config", str(file), "--json")
    answer = orjson.loads(result.stdout)
    assert (result.exit_code, answer["healthy"]) == (0, True), answer
    daemon.answers["status"] = {**status, "problems": [{"message": "no \x1b device", "hint": "look"}]}
    result = typed(daemon, "doctor", "--config", str(file))
    assert result.exit_code == 3
    assert "no \\x1b device" in result.stdout
    assert "do: look" in result.stdout


def test_the_doctor_needs_no_daemon_and_names_mistakes_of_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("role: boss\nmtu: 3\n")
    arguments = ["--socket", str(tmp_path / "none"), "doctor", "--config", str(file)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 3
    assert ":1: role" in result.stdout
    assert ":2: mtu" in result.stdout
    assert "not running" in result.stdout


def test_the_names_of_members_endpoints_are_looked_up(daemon: CannedDaemon) -> None:
    daemon.answers["status"] = {"version": __version__, "problems": [], "meshes": [{"id": "a"}]}
    daemon.answers["members"] = {"members": [{"endpoints": ["localhost:1", "192.0.2.1:5", "[2001:db8::1]:7"]}]}
    answer = orjson.loads(typed(daemon, "doctor", "--json").stdout)
    (dns,) = [row for row in answer["checks"] if row["check"] == "dns"]
    assert dns["message"].endswith("localhost")
    daemon.answers["members"] = Problem("busy", "busy", "")
    assert typed(daemon, "doctor").exit_code in (0, 3)
