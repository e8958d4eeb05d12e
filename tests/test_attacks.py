"""What strangers, members, peers and the evicted try on purpose, and that it costs the others little and gains nothing.

Handcrafted bytes against transports and cores, and against real daemons over their real sockets.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

import pytest

from smeg import messages as m
from smeg.annexes import MAX_ANNEXES, MAX_LABEL, seal_annex
from smeg.device import Endpoint
from smeg.documents import Kind, encode, seal
from smeg.edges.connections import Connections
from smeg.edges.routers import Limits
from smeg.intake import RECORDS_BURST
from smeg.joining import Joining, JoinKeys
from smeg.keys import Secret, node_key, x25519_public
from smeg.messages import Channel
from smeg.notary import Notary
from smeg.records import OwnRecord
from smeg.refresh import EPOCHS_AT_ONCE
from smeg.stored import Contact
from smeg.tokens import read_token, write_token
from smeg.wire import Word, pack, unpack
from tests.builders import DAY, WALL, Desk, MadeMesh, grant, secret
from tests.liveness_bench import EVERYBODY, FIRST, HB, Watcher, refresh
from tests.loopback import Daemon, end_at_last, form_mesh
from tests.nodes import wait_for
from tests.test_transport import MESH, QUICK, Outside, until

TIGHT = replace(QUICK, member_bytes_rate=0.001, member_bytes_burst=100_000.0, member_message_bytes=1000)


@pytest.fixture
def outside() -> Iterator[Outside]:
    with ExitStack() as stack:
        yield Outside(stack)


# A member that floods.


def test_of_one_members_flood_a_bounded_part_is_taken_in_and_another_member_is_heard(outside: Outside) -> None:
    server = outside.node(TIGHT)
    loud, quiet = outside.member(server), outside.member(server)
    for _ in range(50):
        loud.send_multipart([MESH.encode(), b"M", bytes(9_000)])
    assert until(lambda: server.count("dropped-member-rate") == 40, server)
    quiet.send_multipart([MESH.encode(), b"M", b"honest"])
    assert until(lambda: server.messages[-1].payload == b"honest", server)
    assert len(server.messages) == 11


def test_empty_messages_count_too(outside: Outside) -> None:
    server = outside.node(TIGHT)
    loud = outside.member(server)
    for _ in range(300):
        loud.send_multipart([MESH.encode(), b"H", b""])
    assert until(lambda: server.count("dropped-member-rate") == 200, server)


def test_whoever_asks_little_for_much_draws_a_bounded_amount(outside: Outside) -> None:
    server, asker = outside.pair(TIGHT)
    assert [server.transport.send(asker.key, MESH, b"M", bytes(49_000)) for _ in range(5)] == [True] * 2 + [False] * 3
    assert server.count("dropped-receiver-rate") == 3


def test_a_strangers_large_message_counts_as_many(outside: Outside) -> None:
    server = outside.node(replace(QUICK, guest_messages_rate=0.001, guest_messages_burst=20.0))
    dealer = outside.dealer(server)
    for _ in range(5):
        dealer.send_multipart([MESH.encode(), b"J", bytes(60_000)])
    assert until(lambda: server.count("dropped-guest-rate") == 4, server)
    assert len(server.messages) == 1


def test_whose_membership_ended_has_a_guests_time_on_its_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as one:
        connections = Connections(Limits(guest_seconds=10.0))
        connections.opened(one.fileno(), 0.0)
        connections.delivered(one.fileno(), 1)
        connections.proved(one.fileno(), b"evicted", b"link", frozenset({b"evicted"}))
        for now in range(100):
            connections.only_members(frozenset({b"evicted"}))
            connections.sweep(float(now))
        connections.only_members(frozenset())
        connections.sweep(105.0)
        assert connections.cuts == 0
        connections.sweep(115.0)
        assert connections.cuts == 1


def test_of_a_storm_of_epochs_a_few_are_entered_and_the_leaders_next_one_is() -> None:
    watcher = Watcher(max(EVERYBODY))
    watcher.pass_time(0.1)
    before = len(watcher.epochs)
    for epoch in range(1000, 1400):
        watcher.hear(refresh(epoch, {epoch: [FIRST]}))
    assert len(watcher.epochs) - before <= EPOCHS_AT_ONCE
    watcher.pass_time(HB)
    watcher.hear(refresh(1401, {1401: EVERYBODY}))
    assert watcher.epochs[-1] == 1401


def test_who_says_it_is_behind_again_and_again_is_told_once() -> None:
    watcher = Watcher(max(EVERYBODY))
    watcher.hear(refresh(9, {9: EVERYBODY}))
    watcher.pass_time(0.5)
    watcher.said.clear()
    for _ in range(100):
        watcher.hear(refresh(2, {}))
    assert len(watcher.sent()) == 1


def test_who_stood_still_condemns_nobody() -> None:
    watcher = Watcher(max(EVERYBODY))
    watcher.pass_time(HB)
    watcher.hear(refresh(5, {5: EVERYBODY}))
    watcher.pass_time(HB)
    leader = watcher.leader
    watcher.now += 60.0
    watcher.tell(m.Tick())
    assert watcher.pruned == frozenset()
    assert watcher.leader == leader


# Documents.

HOME = MadeMesh("attacked")
FOUNDER = HOME.founder()


def desk() -> Desk:
    made = Desk(HOME.id, Notary())
    made.take(FOUNDER.documents())
    return made


def test_of_ten_thousand_records_of_one_author_the_newest_alone_is_verified_and_passed_on() -> None:
    made, records = desk(), [FOUNDER.record(counter).raw for counter in range(2, 400)]
    verified = made.notary.verified
    taken = made.take(records)
    assert made.notary.verified == verified + 1
    assert [statement.document.raw for statement in taken.changed[FOUNDER.key]] == [records[-1]]
    assert made.take(records).changed == {}
    assert made.notary.verified == verified + 1


def test_of_a_thousand_annexes_of_one_label_the_newest_alone_is_verified_and_passed_on() -> None:
    made, annexes = desk(), [FOUNDER.annex("x", counter).raw for counter in range(2, 1002)]
    verified = made.notary.verified
    assert [annex.raw for annex in made.take(annexes).annexes] == [annexes[-1]]
    assert made.notary.verified == verified + 1


def test_annexes_that_are_forged_or_out_of_bounds_cost_their_author_and_others_nothing() -> None:
    made, other = desk(), HOME.founder("other")
    made.take(other.documents())
    fields = {"node": encode(FOUNDER.key), "counter": 2}
    label = seal(Kind.ANNEX, HOME.id, {**fields, "label": "x" * (MAX_LABEL + 1), "body": ""}, FOUNDER.identity)
    large = seal(Kind.ANNEX, HOME.id, {**fields, "label": "x", "body": encode(bytes(7000))}, FOUNDER.identity)
    forged = [seal_annex(HOME.id, FOUNDER.key, f"x{n}", 9, b"lie", other.identity) for n in range(1500)]
    for document in (label, large, *forged):
        assert made.intake.take([document.raw], 0.0).annexes == []
    assert made.intake.refused == {"malformed": 2, "bad-signature": len(forged)}
    honest = FOUNDER.annex("x", 2).raw
    assert [annex.raw for annex in made.intake.take([honest], 0.0).annexes] == [honest]


def test_a_member_that_floods_its_mesh_with_annexes_fills_a_bounded_place_and_is_found_complete_later() -> None:
    made, other, honest = desk(), desk(), HOME.founder("other")
    flood = [FOUNDER.annex(f"label {counter}", counter).raw for counter in range(2, 1600)]
    for each in (made, other):
        each.take(honest.documents())
    for raw in flood:
        made.intake.take([raw], 0.0)
    for raw in reversed(flood):
        other.take([raw])
    assert len(made.replica.said(FOUNDER.key)) == len(other.replica.said(FOUNDER.key)) == MAX_ANNEXES
    assert made.replica != other.replica
    assert made.intake.take([honest.annex("x", 2).raw], 0.0).annexes
    other.take([honest.annex("x", 2).raw])
    for now in range(1, 20):
        for payload in other.ledger.repair.documents([FOUNDER.key]):
            made.ledger.take(unpack(payload)[1], WALL, float(now))
    assert made.replica == other.replica


def test_an_author_without_pause_is_slowed_down_and_forgeries_in_its_name_slow_nobody() -> None:
    made = desk()
    victim = HOME.founder("victim")
    made.take(victim.documents())
    forged = [raw[:40] + b"?" + raw[41:] for raw in (victim.record(counter).raw for counter in range(2, 60))]
    for raw in forged:
        assert made.intake.take([raw], 0.0).changed == {}
    assert made.intake.take([victim.record(60).raw], 0.0).changed
    counted = [counter for counter in range(2, 100) if made.intake.take([FOUNDER.record(counter).raw], 0.0).changed]
    assert len(counted) == RECORDS_BURST
    assert made.intake.take([victim.record(61).raw], 0.0).changed, "others are not slowed down"
    assert made.intake.take([FOUNDER.record(100).raw], 1.0).changed, "nor is it for ever"


def test_two_records_with_one_counter_are_reported_once_however_often_they_are_repeated() -> None:
    made = desk()
    twins = [FOUNDER.record(5).raw, FOUNDER.record(5, OwnRecord("twin")).raw]
    alarms = [alarm.code for _ in range(50) for raw in twins for alarm in made.take([raw]).alarms]
    assert alarms == ["double-counter"]


def test_a_countersignature_by_somebody_whose_membership_has_expired_admits_nobody() -> None:
    invite = HOME.invite("late", deadline=WALL + 9 * DAY)
    short = HOME.joined("short", HOME.invite("short"), FOUNDER, given=grant(expires=WALL + DAY))
    for at, admitted in ((WALL + DAY - 1, True), (WALL + DAY, False)):
        late = HOME.joined(f"late {at}", invite, short, at=at)
        made = desk()
        made.take(late.documents())
        assert (late.key in made.replica.records) == admitted


def test_a_refusal_cannot_write_on_the_joiners_terminal() -> None:
    invite = HOME.invite("terminal")
    contact = Contact(x25519_public(FOUNDER.curve), (Endpoint("192.0.2.1", 51800),))
    token = read_token(write_token("home", HOME.admin, invite.document, invite.seed, (contact,)).reveal().decode())
    keys = JoinKeys(node_key(secret("guest")), secret("guest wireguard"), secret("guest curve"))
    joining = Joining(token, keys, grant(), Notary(), 0.0, WALL)
    evil = [b"bad\x1b[2J", b"\x1b]0;owned\x07 text\r\n", b"hint\x9b31m"]
    joining.answer(m.Received(HOME.id, m.Channel.WELCOME, None, joining.contact_curve, pack(Word.REFUSED, evil)), 0.0)
    problem = joining.problem
    assert problem is not None
    assert (problem.code + problem.message + problem.hint).isprintable()


# Real daemons.


@pytest.fixture(scope="module")
def trio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Daemon, Daemon, Daemon, str]]:
    folder = tmp_path_factory.mktemp("d")
    with end_at_last() as make:
        first, second, third = (make(folder / name) for name in ("first", "second", "third"))
        for daemon in (first, second, third):
            daemon.launch()
        for daemon in (first, second, third):
            wait_for("it answers", daemon.answers, 20)
        mesh = form_mesh("paris", first, second, third)
        wait_for("all know all", lambda: all(len(d.members("paris")) == 3 for d in (first, second, third)), 15)
        yield first, second, third, mesh


def stolen(daemon: Daemon, name: str) -> Secret:
    """A key of a daemon, as its owner reads it."""
    return Secret(b64decode((daemon.state / name).read_text()))


class Attacker(Outside):
    """A client of a daemon that holds some CURVE key and says what it likes."""

    def __init__(self, stack: ExitStack, victim: Daemon, curve: Secret) -> None:
        super().__init__(stack)
        self.node_ = self.node(Limits(), "127.0.0.1", 0, curve)
        self.victim = x25519_public(stolen(victim, "curve.key"))
        self.node_.transport.admit(frozenset({self.victim}))
        self.node_.transport.dial(self.victim, (Endpoint(victim.address, 51800),), time.monotonic())

    def connects(self, seconds: float = 6.0) -> bool:
        return until(lambda: self.node_.transport.reaches(self.victim), self.node_, seconds=seconds)

    def say(self, mesh: str, channel: Channel, payload: bytes) -> None:
        def sent() -> bool:
            return self.node_.transport.send(self.victim, mesh, channel.value, payload)

        assert until(sent, self.node_)

    def answered(self) -> bool:
        return until(lambda: self.node_.messages, self.node_)


def states(daemon: Daemon) -> dict[str, str]:
    return {name: row["state"] for name, row in daemon.members("paris").items()}


ALL_ALIVE = dict.fromkeys(("first", "second", "third"), "alive")


def nonsense(rng: random.Random) -> Iterator[bytes]:
    """Of every word: nothing, too little, too much, of the wrong sizes."""
    for word in Word:
        yield word.value
        yield pack(word, [b""])
        yield pack(word, [b"", b""])
        yield pack(word, [rng.randbytes(8)])
        yield pack(word, [b"f" * 64, rng.randbytes(128)])
        yield pack(word, [rng.randbytes(32)] * 300)
        yield pack(word, [b"\xff" * 16, *(rng.randbytes(12) for _ in range(50))])
        yield word.value + b"\xff\xff"
    yield b""
    yield rng.randbytes(60_000)


def test_a_member_that_says_nonsense_on_every_channel_changes_nothing(
    trio: tuple[Daemon, Daemon, Daemon, str],
) -> None:
    first, second, third, mesh = trio
    third.kill9()
    with ExitStack() as stack:
        attacker = Attacker(stack, first, stolen(third, "curve.key"))
        assert attacker.connects()
        for channel in Channel:
            for payload in nonsense(random.Random(7)):
                attacker.say(mesh, channel, payload)
                attacker.say("a" * 32, channel, payload)
        attacker.node_.messages.clear()
        attacker.say(mesh, Channel.MEMBERSHIP, pack(Word.ROOT, [bytes(8)]))
        assert attacker.answered()
    third.start()
    wait_for("all is as before", lambda: [states(d) for d in trio[:3]] == [ALL_ALIVE] * 3, 15)
    assert all(daemon.is_whole("paris") for daemon in (first, second, third))


def test_a_stranger_reaches_no_mesh_and_is_counted(trio: tuple[Daemon, Daemon, Daemon, str]) -> None:
    first, _, _, mesh = trio

    def refused() -> int:
        return int(first.ask("status")["gossip"]["dropped"].get("guest-channel", 0))

    before = refused()
    with ExitStack() as stack:
        attacker = Attacker(stack, first, secret("a stranger"))
        assert attacker.connects()
        for channel in (Channel.MEMBERSHIP, Channel.HEARTBEAT, Channel.WELCOME):
            attacker.say(mesh, channel, pack(Word.ROOT, [bytes(8)]))
        wait_for("they are counted", lambda: refused() == before + 3, 10)
        attacker.node_.step()
        assert attacker.node_.messages == []
    # On a busy machine somebody may be missed for a moment, by nobody's doing.
    wait_for("all are alive", lambda: states(first) == ALL_ALIVE, 15)


def test_a_daemon_that_was_stopped_for_long_condemns_nobody_and_is_back(
    trio: tuple[Daemon, Daemon, Daemon, str],
) -> None:
    first, second, third, _ = trio
    wait_for("all are alive", lambda: [states(d) for d in trio[:3]] == [ALL_ALIVE] * 3, 15)
    assert third.process is not None
    logged = len(third.log())
    os.kill(third.process.pid, signal.SIGSTOP)
    try:
        wait_for("it is suspected", lambda: states(first)["third"] == states(second)["third"] == "pruned", 15)
    finally:
        os.kill(third.process.pid, signal.SIGCONT)
    wait_for("it is back", lambda: [states(d) for d in trio[:3]] == [ALL_ALIVE] * 3, 15)
    said = [line for line in third.log()[logged:].splitlines() if "liveness" in line]
    assert not [line for line in said if "pruned=0" not in line], said


def test_the_evicted_gains_nothing_by_trying_on(trio: tuple[Daemon, Daemon, Daemon, str]) -> None:
    first, second, third, mesh = trio
    curve = stolen(third, "curve.key")
    first.ask("evict", mesh="paris", node="third")
    wait_for("it is gone", lambda: all("third" not in d.members("paris") for d in (first, second)), 10)
    wait_for("its own mesh has ended", lambda: third.meshes() == {}, 10)
    third.kill9()
    with ExitStack() as stack:
        attacker = Attacker(stack, first, curve)
        assert attacker.connects()
        for _ in range(200):
            for channel in Channel:
                attacker.say(mesh, channel, pack(Word.ROOT, [bytes(8)]))
        attacker.node_.step()
        assert [message.channel for message in attacker.node_.messages if message.channel != b"W"] == []
    assert first.members("paris").keys() == second.members("paris").keys() == {"first", "second"}
    assert first.problems() == second.problems() == []
