"""Packets between simulated hosts reach whom a WireGuard device would find: at an endpoint, or where it spoke from."""

from __future__ import annotations

from typing import Any

import pytest

from actors.device import DeviceActor
from scenarios.director import Director
from scenarios.players import Player
from scenarios.script_reading import parse
from scenarios.simulated_stage import SimulatedStage
from scenarios.verdicts import Play
from smeg import messages as m

HOSTS = "hosts: {peers: {count: rest}, clients: {count: 1, role: client, nat: yes}}\n"
KEEPALIVE = 25.0
"""seconds; of daemons, unless they are told otherwise."""


def played(text: str, nodes: int = 6) -> Play:
    script = parse(HOSTS + text, "made.yaml")
    return Director(script, SimulatedStage(script, nodes, 1), nodes, 1).play()


def found_after(done: Play, check: str = "reachable") -> float:
    """seconds that a check took to come about."""
    (verdict,) = (one for one in done.verdicts if one.about.startswith(f"eventually: {check}"))
    assert verdict.held, verdict.what
    return verdict.at - verdict.since


def reached(whom: str, event: str, within: str = "60 s", more: str = "") -> str:
    check = f"{{reachable: {{hosts: peers, to: {whom}}}, within: {within}, after: {event}}}"
    return f"expect: {{eventually: [{check}{more}]}}\n"


@pytest.fixture
def sleepy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients wake no tunnels."""
    right = DeviceActor.handle

    def handle(self: DeviceActor, message: Any, now: float) -> Any:
        return () if isinstance(message, m.LinkRestored) else right(self, message, now)

    monkeypatch.setattr(DeviceActor, "handle", handle)


@pytest.mark.parametrize("verb", ["roam", "nat-rebind"])
def test_a_client_is_lost_until_it_has_noticed_and_sends_something(verb: str) -> None:
    text = f"timeline: [{{at: 5 s, {verb}: clients}}]\n"
    lost = ", {unreachable: {hosts: peers, to: clients}, within: 0.1 s}"
    assert 1.0 < found_after(played(text + reached("clients", verb, more=lost))) < 5.0


def test_a_client_reaches_others_from_wherever_it_is() -> None:
    text = "timeline: [{at: 5 s, roam: clients}]\nexpect: {eventually: [{reachable: clients, within: 0.1 s}]}\n"
    assert found_after(played(text)) < 0.1


@pytest.mark.usefixtures("sleepy")
def test_at_the_latest_a_keepalive_shows_where_a_client_is() -> None:
    done = played("timeline: [{at: 5 s, roam: clients}]\n" + reached("clients", "roam"))
    assert 5.0 < found_after(done) <= KEEPALIVE


def test_a_peer_that_moves_is_found_once_its_record_says_where() -> None:
    text = "timeline: [{at: 5 s, roam: peers-3}]\n" + reached("peers-3", "roam")
    assert 0.1 <= found_after(played(text)) < 3.0


def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who moves does not notice it."""
    monkeypatch.setattr(Player, "_find_address", lambda self: None)


def test_a_peer_that_moves_and_does_not_say_so_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    silent(monkeypatch)
    done = played("timeline: [{at: 5 s, roam: peers-3}]\n" + reached("peers-3", "roam", "20 s"))
    assert [one.held for one in done.verdicts] == [False]
    assert "nobody is where it is sent" in done.verdicts[0].what


def test_but_by_those_to_whom_it_has_sent_something(monkeypatch: pytest.MonkeyPatch) -> None:
    silent(monkeypatch)
    done = played("""
timeline: [{at: 5 s, roam: peers-3}, {wait: 1 s, traffic: {hosts: peers-3, to: peers-1, lasts: 1 s}}]
expect:
  at-end:
    - reachable: {hosts: peers-1, to: peers-3}
    - unreachable: {hosts: peers-2, to: peers-3}
    - outage: 0
""")
    assert [one.what for one in done.verdicts if not one.held] == []


def test_a_peer_that_lost_its_power_hears_of_its_clients_anew() -> None:
    text = "timeline: [{power-off: peer of clients-1}, {at: 4 s, start: of power-off, as: back}]\n"
    assert found_after(played(text + reached("clients", "back"))) < 10.0


def test_who_is_told_to_end_has_no_interface_from_then_on() -> None:
    lost = "expect: {eventually: [{unreachable: {hosts: peers-1, to: peers-2}, within: 0.5 s}]}\n"
    assert found_after(played("timeline: [{stop: peers-2}]\n" + lost), "unreachable") < 0.5
