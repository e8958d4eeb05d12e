"""The made-up network, by itself: what of two or three stations reaches whom, when, and what its verbs do to it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from actors.virtual import VirtualRuntime
from scenarios.network import HANDSHAKE, MEDIAN_LATENCY, OVERHEAD, STRAGGLE, Network, State, Station
from smeg.device import Endpoint
from smeg.messages import Channel

MANY = 2000
"""messages; enough that a share of them is near what it should be, for every seed."""


class Inbox:
    """What arrives at one station, and when."""

    def __init__(self, line: Line, name: str) -> None:
        self.line = line
        self.came: list[bytes] = []
        self.at: list[float] = []
        self.resets: list[bytes] = []
        self.station: Station = line.network.station(name.encode(), name, f"address of {name}")
        line.network.listen(self.station, self)

    def arrive(self, curve: bytes, mesh: str, channel: Channel, payload: bytes) -> None:
        self.came.append(payload)
        self.at.append(self.line.runtime.time)

    def connection_reset(self, curve: bytes) -> None:
        self.resets.append(curve)


class Line:
    def __init__(self, *names: str, seed: int = 1, sigma: float = 0.5) -> None:
        self.runtime = VirtualRuntime(seed)
        self.network = Network(self.runtime, sigma=sigma)
        self.ends = [Inbox(self, name) for name in names]

    def send(self, source: Inbox, target: Inbox, *payloads: bytes) -> None:
        for payload in payloads:
            self.network.send(source.station, target.station, "mesh", Channel.HEARTBEAT, payload)

    def acquaint(self) -> None:
        """Every two have spoken already."""
        for one in self.ends:
            one.station.heard.update((other.station.curve, other.station.starts) for other in self.ends)

    def run(self, seconds: float = 60.0) -> None:
        self.runtime.run(self.runtime.time + seconds)

    def heard(self, source: Inbox, target: Inbox) -> bool:
        """Whether a message gets there now."""
        before = len(target.came)
        self.send(source, target, b"?")
        self.run()
        return len(target.came) > before

    def reach(self) -> set[tuple[str, str]]:
        """Who reaches whom, by the first letters of names."""
        pairs = [(one, other) for one in self.ends for other in self.ends if one is not other]
        return {(one.station.name, other.station.name) for one, other in pairs if self.heard(one, other)}


def curves(*ends: Inbox) -> Iterable[bytes]:
    return [end.station.curve for end in ends]


def test_one_way_takes_a_lognormal_time_and_later_messages_may_overtake() -> None:
    line = Line("a", "b")
    a, b = line.ends
    line.acquaint()
    payloads = [str(number).encode() for number in range(MANY)]
    line.send(a, b, *payloads)
    line.run()
    assert sorted(b.came) == sorted(payloads)
    assert b.came != payloads
    assert b.at[MANY // 2] == pytest.approx(MEDIAN_LATENCY, rel=0.1)
    assert b.at[int(MANY * 0.84)] == pytest.approx(MEDIAN_LATENCY * 1.65, rel=0.15), "a deviation of half in the log"


def test_what_is_sent_is_counted_with_what_each_message_costs_besides() -> None:
    line = Line("a", "b")
    a, b = line.ends
    line.network.loss = 1.0
    line.send(a, b, bytes(100), bytes(20))
    assert (a.station.messages, a.station.volume) == (2, 120 + 2 * OVERHEAD)
    assert (line.network.messages, line.network.volume) == (2, 120 + 2 * OVERHEAD)


def test_the_first_message_to_somebody_waits_for_the_handshake_in_either_direction() -> None:
    line = Line("a", "b", sigma=1e-9)
    a, b = line.ends
    line.send(a, b, b"first")
    line.run()
    line.send(a, b, b"second")
    line.send(b, a, b"back")
    start = line.runtime.time
    line.run()
    assert b.at[0] == pytest.approx((1 + HANDSHAKE) * MEDIAN_LATENCY)
    assert b.at[1] - start == pytest.approx(MEDIAN_LATENCY)
    assert a.at[0] - start == pytest.approx(MEDIAN_LATENCY), "the other way on the same connection"


def test_all_that_is_said_while_a_connection_is_made_waits_for_it_from_either_end() -> None:
    line = Line("a", "b", sigma=0.0)
    a, b = line.ends
    line.send(a, b, b"first", b"second")
    line.send(b, a, b"back")
    line.run()
    assert [*a.at, *b.at] == pytest.approx([(1 + HANDSHAKE) * MEDIAN_LATENCY] * 3)


def test_through_a_cut_of_one_way_only_connections_that_stand_carry_something() -> None:
    line = Line("a", "b", "c")
    a, b, c = line.ends
    line.send(a, b, b"hello")
    line.run()
    line.network.cut(curves(b, c), curves(a))
    assert line.heard(a, b)
    assert not line.heard(a, c)
    line.network.heal()
    assert line.heard(a, c)


@pytest.mark.parametrize("share", [0.05, 0.3])
def test_about_the_share_of_messages_is_lost_or_doubled(share: float) -> None:
    for lost, doubled in ((share, 0.0), (0.0, share)):
        line = Line("a", "b")
        a, b = line.ends
        line.acquaint()
        line.network.loss, line.network.duplicate = lost, doubled
        line.send(a, b, *(str(number).encode() for number in range(MANY)))
        line.run()
        assert len(b.came) / MANY == pytest.approx(1 + doubled - lost, abs=0.03)
        assert len(set(b.came)) / MANY == pytest.approx(1 - lost, abs=0.03)


def test_stragglers_take_many_times_as_long() -> None:
    line = Line("a", "b", sigma=1e-9)
    a, b = line.ends
    line.acquaint()
    line.network.straggle = 0.2
    line.send(a, b, *(str(number).encode() for number in range(MANY)))
    line.run()
    late = [at for at in b.at if at > 1.01 * MEDIAN_LATENCY]
    assert len(b.came) == MANY
    assert len(late) / MANY == pytest.approx(0.2, abs=0.03)
    assert 0.9 * STRAGGLE * MEDIAN_LATENCY < max(late) <= (1 + STRAGGLE) * MEDIAN_LATENCY


# Partitions.


def test_a_partition_lets_nothing_pass_between_its_groups_nor_to_those_in_none_until_it_heals() -> None:
    line = Line("a", "b", "c", "d")
    a, b, c, _ = line.ends
    everything = line.reach()
    assert len(everything) == 12
    line.network.partition(curves(a, b), curves(c))
    assert line.reach() == {("a", "b"), ("b", "a")}
    line.network.heal()
    assert line.reach() == everything


def test_a_cut_is_of_one_way_only() -> None:
    line = Line("a", "b", "c")
    a, b, c = line.ends
    everything = line.reach()
    line.network.cut(curves(a), curves(b, c))
    assert line.reach() == everything - {("a", "b"), ("a", "c")}
    line.network.heal()
    assert line.reach() == everything


def test_a_pair_can_be_blocked_one_way() -> None:
    line = Line("a", "b")
    line.acquaint()
    line.network.blocked.add(("a", "b"))
    assert line.reach() == {("b", "a")}
    line.network.heal()
    assert len(line.reach()) == 2


def test_who_cannot_be_reached_both_ways_seems_to_be_off() -> None:
    line = Line("a", "b")
    a, b = line.ends

    def probe() -> State:
        return line.network.probe(a.station, b.station.curve, (Endpoint("address of b", 1),))

    assert probe() is State.LISTENING
    for one, other in ((a, b), (b, a)):
        line.network.cut(curves(one), curves(other))
        assert probe() is State.OFF
        line.network.heal()
    assert probe() is State.LISTENING
    assert line.network.probe(a.station, b.station.curve, (Endpoint("another address", 1),)) is State.OFF
    assert line.network.probe(a.station, b"nobody's key", (Endpoint("address of b", 1),)) is State.OFF


# Hosts.


def test_a_daemon_that_is_gone_resets_the_connections_of_who_watches_it_and_refuses_others() -> None:
    line = Line("a", "b", "c")
    a, b, c = line.ends
    for end in (a, c):
        b.station.watchers[end.station.name] = end
    line.network.partition(curves(a, b), curves(c))
    line.network.refuse(b.station)
    assert a.resets == [], "the news is on its way like everything"
    line.run()
    assert (a.resets, c.resets) == ([b.station.curve], []), "who is cut off hears of nothing"
    line.network.heal()
    assert line.network.probe(a.station, b.station.curve, (Endpoint("address of b", 1),)) is State.REFUSING
    assert not line.heard(a, b)
    line.network.listen(b.station, b)
    assert line.heard(a, b)


def test_a_host_that_is_off_says_nothing() -> None:
    line = Line("a", "b")
    a, b = line.ends
    b.station.watchers["a"] = a
    line.network.power_off(b.station)
    line.run()
    assert a.resets == []
    assert line.network.probe(a.station, b.station.curve, (Endpoint("address of b", 1),)) is State.OFF
    assert not line.heard(a, b)


def test_what_was_on_its_way_to_a_daemon_that_ends_is_gone() -> None:
    for end in (Network.refuse, Network.power_off):
        line = Line("a", "b")
        a, b = line.ends
        line.send(a, b, b"on its way")
        end(line.network, b.station)
        line.run()
        assert b.came == []
        line.network.listen(b.station, b)
        assert line.heard(a, b)


def test_after_a_restart_there_is_a_handshake_again() -> None:
    line = Line("a", "b", sigma=1e-9)
    a, b = line.ends
    line.acquaint()
    line.network.refuse(b.station)
    line.network.listen(b.station, b)
    for sender, receiver in ((a, b), (b, a)):
        line.network.listen(b.station, b)
        start = line.runtime.time
        line.send(sender, receiver, b"hello again")
        line.run()
        assert receiver.at[-1] - start == pytest.approx((1 + HANDSHAKE) * MEDIAN_LATENCY)


def test_equal_seeds_draw_equal_fates() -> None:
    def fate(seed: int) -> list[tuple[bytes, float]]:
        line = Line("a", "b", seed=seed)
        a, b = line.ends
        line.network.loss, line.network.duplicate, line.network.straggle = 0.1, 0.1, 0.1
        line.send(a, b, *(str(number).encode() for number in range(50)))
        line.run()
        return list(zip(b.came, b.at, strict=True))

    assert fate(1) == fate(1)
    assert fate(1) != fate(2)
