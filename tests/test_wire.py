"""Gossip payloads as bytes, and whole membership cores that talk by them over a bad line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.core import Message
from smeg.errors import RemoteError
from smeg.keys import NodeKey, possession, x25519_public
from smeg.ledger import Ledger
from smeg.membership import Membership
from smeg.messages import Channel
from smeg.range_digest import DIGEST_BYTES, FAN_OUT
from smeg.switchboard import Switchboard
from smeg.wire import MAX_ITEMS, MAX_PAYLOAD, Word, chunks, expect, pack, unpack
from tests.builders import NOTARY, QUICK, WALL, MadeMesh, Node, universe

ITEMS = st.lists(st.binary(max_size=80), max_size=20)
WORDS = st.sampled_from(Word)
MESH = MadeMesh("wire")
FOUNDER = MESH.founder()
INVITE = MESH.invite("many", uses=50)


@QUICK
@given(WORDS, ITEMS)
def test_what_is_packed_unpacks_the_same(word: Word, items: list[bytes]) -> None:
    assert unpack(pack(word, items)) == (word, items)


@QUICK
@given(st.binary(max_size=200) | st.tuples(WORDS, st.binary(max_size=100)).map(lambda pair: pair[0].value + pair[1]))
@example(b"")
@example(b"D" + b"\0\0" * (MAX_ITEMS + 1))
def test_any_bytes_unpack_or_are_an_error_about_others(payload: bytes) -> None:
    try:
        word, items = unpack(payload)
    except RemoteError as error:
        if error.problem.code != "malformed":
            raise
    else:
        assert pack(word, items) == payload


@QUICK
@given(st.lists(st.integers(0, 30_000), max_size=30))
def test_chunks_hold_everything_in_order_and_none_is_too_large(sizes: list[int]) -> None:
    items = [bytes([index % 256]) * size for index, size in enumerate(sizes)]
    payloads = list(chunks(Word.DOCUMENTS, items))
    assert all(len(payload) <= MAX_PAYLOAD for payload in payloads)
    assert [item for payload in payloads for item in unpack(payload)[1]] == items


def test_chunks_have_no_more_items_than_are_read() -> None:
    assert [len(unpack(payload)[1]) for payload in chunks(Word.NEED, [b""] * (MAX_ITEMS + 1))] == [MAX_ITEMS, 1]


@QUICK
@given(ITEMS, st.lists(st.none() | st.integers(0, 80), max_size=5))
def test_items_are_what_was_expected_or_an_error_about_others(items: list[bytes], sizes: list[int | None]) -> None:
    fits = [size in (None, len(item)) for item, size in zip(items, sizes, strict=False)]
    try:
        assert expect(items, *sizes) == items
        assert len(items) == len(sizes)
        assert all(fits)
    except RemoteError:
        assert len(items) != len(sizes) or not all(fits)


def core(node: Node, documents: Iterable[bytes], seed: int = 1) -> Membership:
    """A membership core of `node`, which knows these documents from its disk."""
    made = Membership(
        node.mesh,
        node.key,
        node.identity,
        node.curve,
        Ledger(node.mesh, NOTARY),
        Random(seed),
        lambda: WALL,
        1.0,
        tuple(documents),
    )
    made.handle(m.Countersign(node.mesh, node.credential), 0.0)
    return made


class Line:
    """Membership cores, each behind a switchboard, and between them a network that loses and doubles and disorders."""

    def __init__(
        self,
        random: Random,
        loss: float,
        cores: dict[NodeKey, tuple[Node, Membership]],
        absent: frozenset[NodeKey] = frozenset(),
    ) -> None:
        """`absent` are members that do not run."""
        self.random = random
        self.loss = loss
        self.cores = cores
        self.boards = {key: Switchboard() for key in cores}
        self.by_curve = {x25519_public(node.curve): key for key, (node, _) in cores.items()}
        self.delivered: Counter[Word] = Counter()
        self.waiting: list[tuple[NodeKey, bytes, m.SendMember | m.SendGuest]] = []
        self.now = 0.0
        for key, (node, membership) in cores.items():
            self.sent(key, membership.begin(0.0))
            self.sent(key, membership.handle(m.LivenessChanged(node.mesh, 1, 1, None, absent), 0.0))
            self.sent(key, membership.settle(0.0))

    def sent(self, source: NodeKey, out: Iterable[Message]) -> None:
        for message in out:
            if isinstance(message, m.MembersChanged):
                self.boards[source].members_changed(message)
            elif isinstance(message, m.Spread):
                said = (message.mesh, message.channel)
                self.sent(source, [m.SendMember(*said, to, message.payload) for to in message.to])
            elif isinstance(message, (m.SendMember, m.SendGuest)):
                try:
                    target = self.boards[source].line(message).curve
                except RemoteError:
                    continue
                copies = 0 if self.random.random() < self.loss else self.random.choice([1, 1, 1, 2])
                self.waiting += [(source, target, message)] * copies

    def deliver(self) -> None:
        while self.waiting:
            source, target, message = self.waiting.pop(self.random.randrange(len(self.waiting)))
            if target not in self.by_curve:
                continue
            key = self.by_curve[target]
            curve = x25519_public(self.cores[source][0].curve)
            self.delivered[unpack(message.payload)[0]] += 1
            assert sum(self.delivered.values()) < 50_000
            try:
                received = self.boards[key].receive(curve, message.mesh, message.channel.value, message.payload)
            except RemoteError:
                continue
            self.sent(key, self.cores[key][1].handle(received, self.now))
            self.sent(key, self.cores[key][1].settle(self.now))

    def run(self, seconds: float, until_equal: bool = False) -> float:
        """Let time go on, at most so long; how long it went."""
        start = self.now
        while self.now < start + seconds:
            self.deliver()
            if until_equal and self.equal():
                break
            self.now = min(membership.next_deadline() or 1e9 for _, membership in self.cores.values())
            for key, (_, membership) in self.cores.items():
                if (membership.next_deadline() or 1e9) <= self.now:
                    self.sent(key, membership.handle(m.Tick(), self.now))
                    self.sent(key, membership.settle(self.now))
        return self.now - start

    def equal(self) -> bool:
        first, *others = [membership for _, membership in self.cores.values()]
        return all(other.ledger.replica == first.ledger.replica for other in others)


PAIR = (universe().mesh.founder("watcher"), universe().mesh.founder("other watcher"))


@QUICK
@given(
    st.lists(st.sampled_from(range(len(universe().statements))), max_size=40),
    st.lists(st.sampled_from(range(len(universe().statements))), max_size=40),
    st.integers(0, 2**32),
    st.sampled_from([0.0, 0.3, 0.6]),
)
def test_two_cores_over_a_bad_line_come_to_the_same(one: list[int], two: list[int], seed: int, loss: float) -> None:
    random = Random(seed)
    cores = {}
    for node, known in zip(PAIR, (one, two), strict=True):
        statements = [universe().statements[index] for index in known]
        documents = [raw for document, papers in statements for raw in (*papers, document.raw)]
        # Each knows the other, or they would have to be introduced.
        basics = [raw for member in PAIR for raw in member.documents()]
        cores[node.key] = (node, core(node, [*basics, *documents], seed))
    line = Line(random, loss, cores, frozenset(node.key for node in universe().nodes))
    assert line.run(300.0, until_equal=True) < 300.0
    first, second = (membership for _, membership in cores.values())
    assert first.ledger.roster.members == second.ledger.roster.members
    assert set(first.ledger.roster.quarantined) == set(second.ledger.roster.quarantined)


def crowd(count: int) -> list[Node]:
    return [FOUNDER, *(MESH.joined(f"node {index}", INVITE, FOUNDER) for index in range(count - 1))]


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_crowd_of_which_each_knows_only_the_founder_comes_together(loss: float) -> None:
    nodes = crowd(12)
    cores = {
        node.key: (node, core(node, [*FOUNDER.documents(), *node.documents()], index))
        for index, node in enumerate(nodes)
    }
    line = Line(Random(3), loss, cores)
    assert line.run(120.0, until_equal=True) < 60.0
    assert all(len(membership.ledger.roster.members) == 12 for _, membership in cores.values())


def test_one_update_among_equals_spreads_as_a_rumour_and_then_there_is_silence() -> None:
    nodes = crowd(12)
    everything = [raw for node in nodes for raw in node.documents()]
    cores = {node.key: (node, core(node, everything, index)) for index, node in enumerate(nodes)}
    line = Line(Random(3), 0.0, cores)
    update = nodes[5].record(2)
    publish = m.Publish(MESH.id, (update.raw,))
    line.sent(nodes[5].key, cores[nodes[5].key][1].handle(publish, line.now))
    assert line.run(10.0, until_equal=True) < 1.0
    held = {membership.ledger.replica.records[nodes[5].key].document.raw for _, membership in cores.values()}
    assert held == {update.raw}
    line.run(3.0)
    line.delivered.clear()
    line.run(20.0)
    assert set(line.delivered) <= {Word.ROOT, Word.PRESENT}


def test_an_invalid_message_causes_no_outbound_byte_and_no_change() -> None:
    membership = core(FOUNDER, [raw for node in crowd(3) for raw in node.documents()])
    membership.begin(0.0)
    before = membership.ledger.replica.digest.of()
    sender = crowd(3)[1]
    altered = bytearray(sender.record(9).raw)
    altered[70] ^= 1
    for payload in (b"", b"?", pack(Word.DOCUMENTS, [bytes(altered)]), pack(Word.PARTS, [b"zz", bytes(128)])):
        for channel, who in ((Channel.MEMBERSHIP, sender.key), (Channel.JOIN, None)):
            received = m.Received(MESH.id, channel, who, x25519_public(sender.curve), payload)
            out = [*membership.handle(received, 0.0), *membership.settle(0.0)]
            assert [message for message in out if channel is Channel.MEMBERSHIP] == []
    assert membership.ledger.replica.digest.of() == before


PAYLOADS = st.binary(max_size=100) | st.builds(
    pack,
    WORDS,
    st.lists(
        st.binary(max_size=80)
        | st.sampled_from([FOUNDER.key, b"", b"f", b"ff", bytes(DIGEST_BYTES), bytes(FAN_OUT * DIGEST_BYTES)])
        | st.sampled_from([raw for node in crowd(3) for raw in node.documents(3)]),
        max_size=6,
    ),
)


@QUICK
@given(st.lists(st.tuples(PAYLOADS, st.sampled_from([Channel.MEMBERSHIP, Channel.JOIN]), st.booleans()), max_size=10))
def test_no_message_of_a_member_or_a_guest_raises_anything(messages: list[tuple[bytes, Channel, bool]]) -> None:
    membership = core(FOUNDER, [raw for node in crowd(2) for raw in node.documents()])
    membership.begin(0.0)
    sender = crowd(2)[1]
    for payload, channel, known in messages:
        who = sender.key if known else None
        membership.handle(m.Received(MESH.id, channel, who, x25519_public(sender.curve), payload), 1.0)
        for message in membership.settle(1.0):
            assert message.mesh == MESH.id


def test_a_stranger_cannot_compare_replicas() -> None:
    membership = core(FOUNDER, FOUNDER.documents())
    membership.begin(0.0)
    for payload in (pack(Word.ROOT, [bytes(8)]), pack(Word.NEED, [FOUNDER.key]), pack(Word.LISTING, [b"", b""])):
        received = m.Received(MESH.id, Channel.MEMBERSHIP, None, bytes(32), payload)
        assert membership.handle(received, 1.0) == []


def test_a_refused_guest_is_told_why_and_an_admitted_one_gets_its_whole_chain() -> None:
    membership = core(FOUNDER, FOUNDER.documents())
    membership.begin(0.0)
    keys = MESH._bare("guest", 1)
    raw = MESH.certificate("guest", INVITE).raw
    proof = possession(keys.wireguard, x25519_public(FOUNDER.curve), raw)
    for items, word in (
        ([MESH.admin.raw, INVITE.document.raw, raw, bytes(32)], Word.REFUSED),
        ([MESH.admin.raw, INVITE.document.raw, raw, proof], Word.ADMITTED),
    ):
        received = m.Received(MESH.id, Channel.JOIN, None, x25519_public(keys.curve), pack(Word.ASK, items))
        (answer,) = membership.handle(received, 1.0)
        assert isinstance(answer, m.SendGuest)
        assert (answer.channel, answer.to) == (Channel.WELCOME, x25519_public(keys.curve))
        found, said = unpack(answer.payload)
        assert found is word
        if word is Word.REFUSED:
            assert said[0] == b"no-possession"
        else:
            assert {MESH.admin.raw, INVITE.document.raw, raw, *FOUNDER.certificates} < set(said)
