"""Liveness by hand: one core, or a few, and every refresh put into their hands; no actor and no network in between."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smeg import messages as m
from smeg.certificates import Role
from smeg.core import Message
from smeg.heartbeat import FIRST_EPOCH, GRACE, MAX_JUMP, SILENT_EPOCHS, Heartbeat
from smeg.keys import NodeKey
from smeg.records import Member
from smeg.wire import Word, pack
from tests.builders import Desk, MadeMesh, grant

MESH = MadeMesh("heartbeat")
HB = 5.0


def _members() -> dict[NodeKey, Member]:
    desk = Desk(MESH.id)
    for number in range(6):
        desk.take(MESH.founder(f"peer {number}").documents())
    desk.take(MESH.founder("a client", given=grant(Role.CLIENT)).documents())
    return dict(sorted(desk.members.items()))


EVERYBODY = _members()
PEERS = [key for key, member in EVERYBODY.items() if member.role is Role.PEER]
CLIENT = next(key for key, member in EVERYBODY.items() if member.role is Role.CLIENT)
FIRST, SECOND, THIRD, *_, LAST = PEERS


def changed(members: Mapping[NodeKey, Member]) -> m.MembersChanged:
    return m.MembersChanged(MESH.id, 1, members)


def refresh(epoch: int, answers: Mapping[int, Iterable[NodeKey]], keys: Iterable[NodeKey] = EVERYBODY) -> bytes:
    """What somebody says who sees `keys` as the members and knows who answered which epoch."""
    ranked = sorted(keys)
    tag = blake2b(b"".join(ranked), digest_size=8).digest()
    size = (len(ranked) + 7) // 8
    items = [struct.pack(">Q", epoch) + tag]
    for answered, who in answers.items():
        bits = sum(1 << ranked.index(key) for key in who)
        items.append(struct.pack(">Q", answered) + bits.to_bytes(size, "little"))
    return pack(Word.REFRESH, items)


class Watcher:
    """One core, that of `own`, and what it has said last."""

    def __init__(self, own: NodeKey, members: Mapping[NodeKey, Member] = EVERYBODY, interval: float = HB) -> None:
        self.core = Heartbeat(MESH.id, own, interval, Random(1))
        self.now = 100.0
        self.said: list[Message] = []
        self.liveness: m.LivenessChanged | None = None
        self._take(self.core.begin(self.now))
        self.tell(changed(members))

    def _take(self, out: Iterable[Message]) -> None:
        for message in out:
            self.said.append(message)
            if isinstance(message, m.LivenessChanged):
                self.liveness = message

    def tell(self, message: Message) -> None:
        self._take(self.core.handle(message, self.now))
        self._take(self.core.settle(self.now))

    def hear(self, payload: bytes, sender: NodeKey = FIRST) -> None:
        self.tell(m.Received(MESH.id, m.Channel.HEARTBEAT, sender, b"", payload))

    def pass_time(self, seconds: float) -> None:
        """Ring at every deadline, as an actor does."""
        end, rings = self.now + seconds, 0
        while (due := self.core.next_deadline()) is not None and due <= end:
            rings += 1
            assert rings < 10_000, "a deadline stays in the past"
            self.now = max(self.now, due)
            self.tell(m.Tick())
        self.now = end

    @property
    def pruned(self) -> frozenset[NodeKey]:
        assert self.liveness is not None
        return self.liveness.pruned

    @property
    def leader(self) -> NodeKey | None:
        assert self.liveness is not None
        return self.liveness.leader

    @property
    def epochs(self) -> list[int]:
        return [message.epoch for message in self.said if isinstance(message, m.EpochSeen)]

    def sent_to(self) -> set[NodeKey]:
        return {message.to for message in self.said if isinstance(message, m.SendMember)}


def all_but(*silent: NodeKey) -> list[NodeKey]:
    return [key for key in EVERYBODY if key not in silent]


def run_epochs(watcher: Watcher, epochs: Iterable[int], *silent: NodeKey) -> None:
    """These epochs come, an interval apart, and all but the silent answer each."""
    for epoch in epochs:
        watcher.hear(refresh(epoch, {epoch: all_but(*silent)}))
        watcher.pass_time(HB)


def test_the_leader_is_the_lowest_key_among_the_peers_and_never_a_client() -> None:
    assert Watcher(LAST).leader == FIRST
    only_last = {key: EVERYBODY[key] for key in (CLIENT, LAST)}
    assert Watcher(LAST, only_last).leader == LAST
    assert Watcher(CLIENT, {CLIENT: EVERYBODY[CLIENT]}).leader is None


def test_the_leader_starts_an_epoch_each_interval_and_others_start_none() -> None:
    leader, other = Watcher(FIRST, {key: EVERYBODY[key] for key in (FIRST,)}), Watcher(LAST)
    leader.pass_time(10 * HB)
    other.pass_time(2.9 * HB)
    assert leader.epochs == list(range(1, 12))
    assert other.epochs == []


def test_a_member_is_pruned_at_the_third_seen_epoch_without_its_answer_and_not_before() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5), THIRD)
    assert watcher.pruned == frozenset()
    watcher.hear(refresh(6, {6: all_but(THIRD)}))
    watcher.pass_time(GRACE - 0.1)
    assert watcher.pruned == frozenset(), "an answer may still come"
    watcher.pass_time(0.2)
    assert watcher.pruned == {THIRD}


def test_an_answer_in_the_grace_of_the_third_epoch_is_in_time() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5), THIRD)
    watcher.hear(refresh(6, {6: all_but(THIRD)}))
    watcher.pass_time(GRACE - 0.1)
    watcher.hear(refresh(6, {6: [THIRD]}), LAST)
    watcher.pass_time(HB)
    assert watcher.pruned == frozenset()


def test_a_jump_of_epochs_starts_the_count_anew() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    # One epoch in the middle was never seen here, so nobody can be blamed for it.
    run_epochs(watcher, (4, 5, 7, 8), THIRD)
    assert watcher.pruned == frozenset()
    run_epochs(watcher, (9,), THIRD)
    assert watcher.pruned == {THIRD}


def test_a_great_jump_prunes_nobody() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (1_000_000,), *[key for key in EVERYBODY if key != SECOND])
    assert watcher.pruned == frozenset()


def test_a_silent_leader_is_followed_by_the_next_and_the_next() -> None:
    watcher = Watcher(THIRD)
    run_epochs(watcher, (1, 2))
    watcher.pass_time((SILENT_EPOCHS - 1) * HB - 0.1)
    assert watcher.leader == FIRST, "three intervals have not passed since the last epoch"
    watcher.pass_time(0.2)
    assert (watcher.leader, watcher.pruned) == (SECOND, frozenset({FIRST}))
    watcher.pass_time(SILENT_EPOCHS * HB)
    assert (watcher.leader, watcher.pruned) == (THIRD, frozenset({FIRST, SECOND}))
    assert watcher.epochs == [1, 2]
    watcher.pass_time(HB)
    assert watcher.epochs == [1, 2, 3], "who finds itself next starts the next epoch within an interval"


def test_when_the_leader_dies_nobody_else_is_pruned() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    watcher.pass_time(SILENT_EPOCHS * HB)
    for _ in range(8):
        # All the others answer what this one starts now.
        watcher.pass_time(HB)
        watcher.hear(refresh(watcher.epochs[-1], {watcher.epochs[-1]: all_but(FIRST)}), THIRD)
        assert watcher.pruned == {FIRST}
    assert watcher.epochs[-1] > 8


def test_an_answer_to_a_later_epoch_clears_the_pruning_and_an_earlier_one_does_not() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5, 6), THIRD)
    assert watcher.pruned == {THIRD}
    watcher.hear(refresh(6, {4: [THIRD], 5: [THIRD], 6: [THIRD]}), LAST)
    assert watcher.pruned == {THIRD}
    watcher.hear(refresh(7, {7: [THIRD]}), LAST)
    assert watcher.pruned == frozenset()


def test_a_pruned_leader_that_answers_again_leads_again() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1,))
    watcher.pass_time(4 * HB)
    assert watcher.leader == SECOND
    epoch = watcher.epochs[-1] + 1
    watcher.hear(refresh(epoch, {epoch: [FIRST]}))
    assert (watcher.leader, watcher.pruned) == (FIRST, frozenset())
    before = len(watcher.epochs)
    watcher.pass_time(2 * HB)
    assert len(watcher.epochs) == before, "who leads no more starts nothing"


def test_nobody_takes_over_what_others_think_of_a_member() -> None:
    """A refresh holds answers only; there is no way to say in it that somebody is dead."""
    believer, doubter = Watcher(SECOND), Watcher(THIRD)
    run_epochs(believer, (1, 2, 3))
    run_epochs(doubter, (1, 2, 3), LAST)
    run_epochs(doubter, (4, 5, 6), LAST)
    assert doubter.pruned == {LAST}
    run_epochs(believer, (4, 5, 6))
    for message in [said for said in doubter.said if isinstance(said, m.SendMember)]:
        believer.hear(message.payload, THIRD)
    assert believer.pruned == frozenset()


def test_a_new_member_counts_as_having_answered_the_epoch_in_which_it_became_known() -> None:
    without = {key: member for key, member in EVERYBODY.items() if key != THIRD}
    watcher = Watcher(SECOND, without)
    for epoch in (1, 2, 3, 4, 5):
        watcher.hear(refresh(epoch, {epoch: without}, without))
        watcher.pass_time(HB)
    watcher.tell(changed(EVERYBODY))
    run_epochs(watcher, (6, 7), THIRD)
    assert watcher.pruned == frozenset(), "it has had two epochs, and three are what it takes"
    run_epochs(watcher, (8,), THIRD)
    assert watcher.pruned == {THIRD}


def test_who_needed_long_to_join_gives_the_leader_its_full_time() -> None:
    watcher = Watcher(LAST, {})
    watcher.pass_time(20 * HB)
    watcher.tell(changed(EVERYBODY))
    watcher.pass_time(SILENT_EPOCHS * HB - 0.1)
    assert (watcher.leader, watcher.pruned) == (FIRST, frozenset())


def test_a_member_that_is_removed_is_forgotten_and_comes_back_unblamed() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5, 6), THIRD)
    watcher.tell(changed({key: member for key, member in EVERYBODY.items() if key != THIRD}))
    assert watcher.pruned == frozenset()
    watcher.tell(changed(EVERYBODY))
    assert watcher.pruned == frozenset()


def test_answers_by_a_list_one_change_behind_count_and_by_an_unknown_list_do_not() -> None:
    older = {key: member for key, member in EVERYBODY.items() if key != CLIENT}
    watcher = Watcher(SECOND, older)
    watcher.tell(changed(EVERYBODY))
    strange = [*older, NodeKey(bytes(32))]
    for epoch in (1, 2, 3):
        watcher.hear(refresh(epoch, {epoch: all_but(CLIENT, LAST)}, older), THIRD)
        watcher.hear(refresh(epoch, {epoch: [LAST]}, strange), THIRD)
        watcher.pass_time(HB)
    # The client's first epoch was that in which it became known, before any: it has missed three by now.
    assert watcher.pruned == {LAST, CLIENT}


def test_equal_epochs_of_two_leaders_merge_into_one() -> None:
    watcher = Watcher(LAST)
    watcher.hear(refresh(1, {1: [FIRST, SECOND]}), FIRST)
    watcher.hear(refresh(1, {1: [THIRD]}), SECOND)
    watcher.said.clear()
    watcher.pass_time(0.3)
    told = [message.payload for message in watcher.said if isinstance(message, m.SendMember)]
    assert told
    assert set(told) == {refresh(1, {1: [FIRST, SECOND, THIRD, LAST]})}


def test_what_is_not_new_is_not_passed_on() -> None:
    watcher = Watcher(LAST)
    watcher.hear(refresh(1, {1: [FIRST]}))
    watcher.pass_time(0.3)
    watcher.said.clear()
    for _ in range(5):
        watcher.hear(refresh(1, {1: [FIRST]}), SECOND)
    watcher.pass_time(0.3)
    assert not watcher.said


def test_who_is_behind_gets_the_newest_and_nobody_else_is_troubled() -> None:
    watcher = Watcher(LAST)
    run_epochs(watcher, (1, 2, 3))
    watcher.said.clear()
    watcher.hear(refresh(1, {1: [SECOND]}), SECOND)
    assert [message.to for message in watcher.said if isinstance(message, m.SendMember)] == [SECOND]
    assert watcher.epochs == []


def test_the_pruned_are_told_the_newest_for_ever() -> None:
    """Two halves that have pruned each other come together by this alone."""
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5, 6), THIRD)
    for epoch in range(7, 12):
        watcher.said.clear()
        run_epochs(watcher, (epoch,), THIRD)
        assert THIRD in watcher.sent_to()


def test_a_pruned_client_is_not_written_to_because_nobody_can_dial_it() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2, 3))
    run_epochs(watcher, (4, 5, 6), CLIENT)
    assert watcher.pruned == {CLIENT}
    watcher.said.clear()
    run_epochs(watcher, range(7, 12), CLIENT)
    assert CLIENT not in watcher.sent_to()


TAG = blake2b(b"".join(sorted(EVERYBODY)), digest_size=8).digest()
HEAD = struct.pack(">Q", 9)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"?",
        Word.REFRESH.value,
        pack(Word.ROOT, [bytes(8)]),
        pack(Word.REFRESH, [b""]),
        pack(Word.REFRESH, [HEAD]),
        pack(Word.REFRESH, [HEAD + TAG + b"more"]),
        pack(Word.REFRESH, [HEAD + TAG, b""]),
        pack(Word.REFRESH, [HEAD + TAG, b"short"]),
        pack(Word.REFRESH, [HEAD + TAG, HEAD]),
        pack(Word.REFRESH, [HEAD + TAG, HEAD + bytes(500)]),
        pack(Word.REFRESH, [HEAD + TAG] + [HEAD + b"\xff"] * 50),
        pack(Word.REFRESH, [struct.pack(">Q", FIRST_EPOCH + 1) + TAG]),
        pack(Word.REFRESH, [HEAD + TAG, HEAD + b"\xff"])[:-1],
    ],
)
def test_a_malformed_refresh_breaks_nothing(payload: bytes) -> None:
    watcher = Watcher(SECOND)
    watcher.hear(payload)
    watcher.pass_time(HB)
    run_epochs(watcher, (10, 11, 12, 13))
    assert watcher.pruned == frozenset()


def test_no_member_can_use_up_the_numbers_of_the_epochs() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1, 2))
    for leap in (MAX_JUMP + 3, FIRST_EPOCH, 2**62, 2**64 - 1):
        watcher.hear(refresh(leap, {}), sender=LAST)
    run_epochs(watcher, (3, 4))
    assert watcher.epochs == [1, 2, 3, 4]


def test_bits_beyond_the_list_of_members_mean_nothing() -> None:
    watcher = Watcher(SECOND)
    watcher.hear(pack(Word.REFRESH, [HEAD + TAG, HEAD + b"\xff"]))
    assert watcher.pruned == frozenset()
    assert watcher.epochs == [9]


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.lists(st.binary(max_size=30), max_size=9), st.sampled_from(PEERS))
def test_no_bytes_from_a_member_make_the_core_raise(raw: bytes, items: list[bytes], sender: NodeKey) -> None:
    watcher = Watcher(SECOND)
    for payload in (raw, pack(Word.REFRESH, items), pack(Word.REFRESH, [HEAD + TAG, *items])):
        watcher.hear(payload, sender)
    watcher.pass_time(1.0)


@pytest.mark.parametrize("interval", [0.2, 5.0])
def test_fast_and_slow_hearts_both_prune_who_is_silent_and_only_them(interval: float) -> None:
    """All peers' cores, with their refreshes carried at once; one of them hears and says nothing."""
    watchers = {key: Watcher(key, interval=interval) for key in all_but(LAST)}
    for _ in range(int(6 / 0.05)):
        for key, watcher in watchers.items():
            watcher.pass_time(interval * 0.05)
            said, watcher.said = watcher.said, []
            for message in said:
                if isinstance(message, m.SendMember) and message.to in watchers:
                    watchers[message.to].now = max(watchers[message.to].now, watcher.now)
                    watchers[message.to].hear(message.payload, key)
    assert {watcher.pruned for watcher in watchers.values()} == {frozenset({LAST})}
    assert {watcher.leader for watcher in watchers.values()} == {FIRST}
