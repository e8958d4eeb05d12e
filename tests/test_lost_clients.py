"""Clients that lose both of their peers at once, and those in their place too: they live, and learn who does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smeg import refresh as refreshing
from smeg.circle import Circle
from smeg.core import Message
from smeg.doubt import Doubt
from smeg.heartbeat import Detection, Heartbeat, Parts
from smeg.keys import NodeKey
from smeg.verdicts import Claim, Kind
from smeg.watch import Beat, Watch
from smeg.wire import Word, pack
from tests.liveness_bench import CLIENT, EVERYBODY, PEERS, Bench, Watcher, members, refresh

FAST = Detection()
KNOWN = members(60, 6)


class PingsFew(Doubt):
    """As if of a thousand, so that whom it finds by chance are not those that it looks for."""

    def pings(self, members: tuple[NodeKey, ...], now: float) -> list[NodeKey]:
        return super().pings(members, now)[:8]


class GuidesNobody(Heartbeat):
    def _guide(self, sender: NodeKey, beat: Beat, now: float) -> list[Message]:
        return []


class ExcusesItsPeers(Heartbeat):
    def _tells_of_silence(self, sender: NodeKey | None) -> bool:
        return True


def upstream(client: NodeKey, depth: int) -> list[NodeKey]:
    """Its peers, those in their place when they are dead, and so on."""
    found: list[NodeKey] = []
    for _ in range(depth):
        found += KNOWN.rings.upstream(client, frozenset(found))
    return found


def lost_clients(depth: int, core: type[Heartbeat] = Heartbeat) -> tuple[set[NodeKey], bool]:
    """Who was thought dead and lives, and whether all know soon who is dead: of several meshes in which the peers of
    one client die, so many deep."""
    wrongly: set[NodeKey] = set()
    known = True
    for number, client in enumerate(KNOWN.rings.clients[:4]):
        bench = Bench(KNOWN, FAST, seed=number, loss=0.05, core=core, parts=Parts(doubt=PingsFew))
        bench.run(11.0)
        dead = upstream(client, depth)
        bench.kill(*dead)
        known &= bench.run(12.0, lambda bench=bench, dead=dead: bench.agree(*dead))  # type: ignore[misc]
        wrongly |= bench.wrongly()
    return wrongly, known


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_nobody_thinks_a_client_dead_whose_peers_died_and_those_after_them_and_it_learns_of_all(depth: int) -> None:
    assert lost_clients(depth) == (set(), True)


def test_without_guides_it_would_be_thought_dead() -> None:
    assert lost_clients(2, GuidesNobody)[0] | lost_clients(3, GuidesNobody)[0]


def lost(client: Watcher) -> Watcher:
    """Neither of its peers has been heard for a while."""
    own = client.core._circle.observers
    for _ in range(20):
        for peer in own:
            client.hear(Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value), peer)
        client.pass_time(0.5)
    client.pass_time(1.9)
    client.said.clear()
    return client


def beaten_to(client: Watcher) -> set[NodeKey]:
    return {to for to, _ in client.sent(Word.BEAT)}


@pytest.mark.parametrize("core", [Heartbeat, ExcusesItsPeers])
def test_a_client_beats_to_a_few_who_answered_it_as_long_as_its_own_peers_are_silent(core: type[Heartbeat]) -> None:
    client = lost(Watcher(CLIENT, detection=FAST, core=core))
    own = set(EVERYBODY.rings.upstream(CLIENT))
    others = [key for key in PEERS if key not in own]
    for key in others:
        client.hear(pack(Word.PONG, []), key)
    client.pass_time(0.8)
    client.said.clear()
    client.pass_time(0.8)
    assert len(others) >= 4
    assert beaten_to(client) == {*own, *(others[:4] if core is Heartbeat else ())}
    for _ in range(2):
        for key in own:
            client.hear(Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value), key)
        client.pass_time(0.8)
    client.said.clear()
    for key in own:
        client.hear(Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value), key)
    client.pass_time(0.8)
    assert beaten_to(client) == own


class WaitsForItsOwn(Watch):
    def meet_all(self, now: float, is_client: bool) -> None:
        super().meet_all(now, is_client=False)


@pytest.mark.parametrize(("watch", "looks"), [(Watch, True), (WaitsForItsOwn, False)])
def test_a_client_that_starts_looks_around_before_its_own_peers_have_had_their_time(
    watch: type[Watch], looks: bool
) -> None:
    """They may have been dead for long, or behind a partition; it hears others, but these hear nothing of it."""
    client = Watcher(CLIENT, detection=FAST, parts=Parts(watch=watch))
    other = next(key for key in PEERS if key not in EVERYBODY.rings.upstream(CLIENT))
    for _ in range(6):
        client.hear(refresh(1, {1: PEERS}), other)
        client.pass_time(0.6)
    assert client.sent(Word.PING) == []
    client.pass_time(2.0)
    assert bool(client.sent(Word.PING)) == looks


class ThinksItIsHeard(Heartbeat):
    def _alone(self, now: float) -> bool:
        return False


@pytest.mark.parametrize(("core", "kept"), [(Heartbeat, True), (ThinksItIsHeard, False)])
def test_a_client_that_hears_nobody_takes_longer_to_give_the_leader_up(core: type[Heartbeat], kept: bool) -> None:
    client = Watcher(CLIENT, detection=FAST, core=core)
    client.hear(refresh(1, {1: EVERYBODY}))
    client.pass_time(3.5 * FAST.interval)
    assert (client.leader == PEERS[0]) == kept
    client.pass_time(2 * FAST.interval)
    assert client.leader != PEERS[0], "not for ever"


@pytest.mark.parametrize("clients", [Circle.clients, lambda circle: circle.hanging], ids=["those too", "its own"])
def test_a_client_that_was_taken_up_is_told_all_answers_once(
    clients: Callable[[Circle], tuple[NodeKey, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever it goes by is behind a partition; by those that reach it by chance it would take most for dead."""
    monkeypatch.setattr(Circle, "clients", clients)
    client = KNOWN.rings.clients[0]
    peer = next(key for key in KNOWN.rings.peers if key not in KNOWN.rings.upstream(client))
    others = [key for key in KNOWN if key not in (peer, client)]
    watcher = Watcher(peer, KNOWN, detection=FAST)
    for _ in range(20):
        for key in others:
            watcher.hear(Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value), key)
        watcher.pass_time(0.5)
    watcher.pass_time(2.5)
    watcher.hear(pack(Word.PING, []), client)
    watcher.hear(refresh(1, {1: others}, KNOWN), others[0])
    watcher.pass_time(2 * refreshing.WINDOW)
    watcher.said.clear()
    watcher.pass_time(2.0)
    told = [payload for to, payload in watcher.sent(Word.REFRESH) if to == client]
    assert bool(told) == (clients is Circle.clients)
    assert len(told) < 2


def test_who_has_forgotten_who_is_dead_hears_it_from_a_client_that_it_does_not_watch() -> None:
    """It started anew, and nobody but the client is left."""
    upstream = EVERYBODY.rings.upstream(CLIENT)
    peer = next(key for key in PEERS if key not in upstream)
    claims = pack(Word.CLAIMS, [Claim(key, 0, 0, Kind.GONE).raw for key in PEERS if key != peer])
    watchers = {peer: Watcher(peer, detection=FAST), CLIENT: Watcher(CLIENT, detection=FAST)}
    watchers[CLIENT].hear(claims, peer)
    watchers[CLIENT].pass_time(3.0)
    # What it told when this was news is lost.
    watchers[CLIENT].said.clear()
    for _ in range(60):
        for key, watcher in watchers.items():
            other = peer if key == CLIENT else CLIENT
            said = [payload for to, payload in watcher.sent() if to == other]
            watcher.said.clear()
            for payload in said:
                watchers[other].hear(payload, key)
            watcher.pass_time(0.1)
    assert watchers[peer].pruned == {key for key in PEERS if key != peer}
    assert watchers[peer].leader == peer


def test_a_client_that_beats_to_who_does_not_watch_it_is_told_who_is_dead_and_not_at_every_beat() -> None:
    rings = EVERYBODY.rings
    peer, gone, *_ = (key for key in PEERS if key not in rings.upstream(CLIENT))
    claim = Claim(gone, 0, 0, Kind.GONE).raw
    watcher = Watcher(peer, detection=FAST)
    watcher.hear(pack(Word.CLAIMS, [claim]), next(key for key in PEERS if key not in (peer, gone)))
    watcher.pass_time(0.3)
    watcher.said.clear()
    beat = Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value)
    for _ in range(3):
        watcher.hear(beat, CLIENT)
    assert [to for to, _ in watcher.sent(Word.CLAIMS)] == [CLIENT]
    watcher.pass_time(0.7)
    watcher.hear(beat, CLIENT)
    assert [to for to, _ in watcher.sent(Word.CLAIMS)].count(CLIENT) == 2
    watcher.said.clear()
    watcher.pass_time(0.7)
    watcher.hear(Beat(0, bytes(8), watcher.core._verdicts.tag, 0.0).pack(Word.BEAT.value), CLIENT)
    assert watcher.sent(Word.CLAIMS) == [], "it knows"
