"""The refresh: each of its rules alone, and what happens without it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.core import Message
from smeg.epochs import Epochs
from smeg.errors import RemoteError
from smeg.heartbeat import CATCH_UP, Detection, Heartbeat, Parts
from smeg.keys import NodeKey
from smeg.members import Ranks
from smeg.refresh import EPOCHS_AT_ONCE, GRACE, SILENT_EPOCHS, Refresh, read
from smeg.verdicts import Claim, Kind
from smeg.wire import Word, pack, unpack
from tests.builders import QUICK
from tests.liveness_bench import (
    CLIENT,
    EVERYBODY,
    FIRST,
    HB,
    LAST,
    PEERS,
    SECOND,
    SLOW,
    THIRD,
    Bench,
    Watcher,
    all_but,
    changed,
    members,
    ranks,
    refresh,
    refresh_of,
    run_epochs,
)


def watcher_with(parts: type[Refresh], own: NodeKey = SECOND) -> Watcher:
    return Watcher(own, parts=Parts(refresh=parts))


# Bitmaps.


def learned(known: Ranks, payload: bytes, into: Refresh) -> set[NodeKey]:
    epoch, tag, items = read(unpack(payload)[1])
    assert (epoch, tag) == (into.epoch, known.tag)
    return {key for _, bits in into.merge(NodeKey(b"sender".ljust(32)), tag, items) for key in into.keys(bits)}


SIZES = st.integers(1, 300)


@QUICK
@given(SIZES.flatmap(lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1)))))
def test_answers_read_as_they_were_written(case: tuple[int, set[int]]) -> None:
    size, answered = case
    known = ranks(size)
    payload = refresh_of(known, answered).everything()
    assert learned(known, payload, refresh_of(known)) == {known.keys[rank] for rank in answered}


@pytest.mark.parametrize(
    ("answered", "form", "size"),
    [(range(2), 1, 6), (range(298), 2, 6), (range(0, 300, 2), 0, 38), ((), 1, 0), (range(300), 2, 0)],
)
def test_the_shortest_of_three_forms_is_sent(answered: Iterable[int], form: int, size: int) -> None:
    known = ranks(300)
    payload = refresh_of(known, answered).everything()
    (item,) = unpack(payload)[1][1:]
    assert (item[8], len(item) - 9) == (form, size)
    assert learned(known, payload, refresh_of(known)) == {known.keys[rank] for rank in answered}


def test_three_thousand_answers_take_375_bytes() -> None:
    payload = refresh_of(ranks(3000), range(0, 3000, 2)).everything()
    assert len(payload) < 375 + 40


@QUICK
@given(st.lists(st.sets(st.integers(0, 39)), max_size=5), st.data())
def test_answers_merge_in_any_order_and_number(parts: list[set[int]], data: st.DataObject) -> None:
    known = ranks(40)
    payloads = [refresh_of(known, part).everything() for part in parts]
    one, other = refresh_of(known), refresh_of(known)
    for payload in payloads:
        learned(known, payload, one)
    for payload in data.draw(st.permutations(payloads * 2)):
        learned(known, payload, other)
    assert one.everything() == other.everything()
    assert one.everything() == refresh_of(known, set().union(*parts)).everything()


@QUICK
@given(st.lists(st.binary(max_size=60), max_size=8), st.binary(min_size=8, max_size=8))
def test_no_answers_make_it_raise_anything_but_that_they_are_malformed(items: list[bytes], tag: bytes) -> None:
    known = ranks(20)
    made = refresh_of(known)
    for named in (tag, known.tag):
        try:
            made.merge(known.keys[0], named, items)
        except RemoteError:
            continue


def test_a_list_of_ranks_that_nobody_has_or_of_too_many_is_malformed() -> None:
    known = ranks(20)
    made = refresh_of(known)
    for item in (b"\x01\x00\x00\x14", b"\x01" + bytes(9), b"\x02\x00\x00", b"\x00" + bytes(2), b"\x07" + bytes(3)):
        with pytest.raises(RemoteError):
            made.merge(known.keys[0], known.tag, [(7).to_bytes(8, "big") + item])


# Three epochs in a row.


class JumpsCount(Refresh):
    def _seen_all(self, oldest: int, newest: int) -> bool:
        return True

    def _took_their_time(self, oldest: int, newest: int) -> bool:
        return True


@pytest.mark.parametrize(("parts", "pruned"), [(Refresh, 0), (JumpsCount, 5)])
def test_a_jump_of_epochs_starts_the_count_anew(parts: type[Refresh], pruned: int) -> None:
    """A new leader may be far ahead: all that it says at first is its own answer."""
    watcher = watcher_with(parts)
    run_epochs(watcher, (1, 2, 3))
    watcher.hear(refresh(1000, {1000: [FIRST]}))
    watcher.pass_time(GRACE + 0.1)
    assert len(watcher.pruned) == pruned


class ForgetsWhatItKnew(Refresh):
    def merge(self, sender: NodeKey, tag: bytes, items: Iterable[bytes]) -> list[tuple[int, int]]:
        self._answers[self.epoch] = 0
        return super().merge(sender, tag, items)


@pytest.mark.parametrize(("parts", "pruned"), [(Refresh, frozenset()), (ForgetsWhatItKnew, {LAST, CLIENT})])
def test_equal_epochs_merge(parts: type[Refresh], pruned: frozenset[NodeKey]) -> None:
    """Two who lead start the same epoch, and each gathers the answers of some."""
    watcher = watcher_with(parts)
    for epoch in (1, 2, 3):
        watcher.hear(refresh(epoch, {epoch: [LAST, CLIENT]}), FIRST)
        watcher.hear(refresh(epoch, {epoch: [*PEERS[:-1]]}), THIRD)
        watcher.pass_time(HB)
    assert watcher.pruned == pruned


# Newcomers.


class ExcusesNobody(Refresh):
    def _excuses(self, new: int) -> int:
        return 0


@pytest.mark.parametrize(("parts", "pruned"), [(Refresh, frozenset()), (ExcusesNobody, {THIRD})])
def test_a_new_member_is_excused_for_the_epochs_before_it_was_known(
    parts: type[Refresh], pruned: frozenset[NodeKey]
) -> None:
    without = {key: EVERYBODY[key] for key in all_but(THIRD)}
    watcher = Watcher(SECOND, without, parts=Parts(refresh=parts))
    for epoch in (1, 2, 3):
        watcher.hear(refresh(epoch, {epoch: without}, without))
        watcher.pass_time(HB)
    watcher.tell(changed(EVERYBODY))
    run_epochs(watcher, (4,), THIRD)
    assert watcher.pruned == pruned


class HoldsAgainst(Refresh):
    def excuse(self, key: NodeKey) -> None:
        pass


@pytest.mark.parametrize(("parts", "pruned"), [(Refresh, frozenset()), (HoldsAgainst, {LAST})])
def test_who_answers_again_is_excused_for_the_epochs_of_its_absence(
    parts: type[Refresh], pruned: frozenset[NodeKey]
) -> None:
    """Who stood still answers one after another what has come meanwhile: its first answers are old ones."""
    watcher = watcher_with(parts)
    run_epochs(watcher, (5,))
    watcher.hear(pack(Word.CLAIMS, [Claim(LAST, 0, 5, Kind.GONE).raw]))
    run_epochs(watcher, (6, 7, 8), LAST)
    watcher.hear(refresh(9, {9: all_but(LAST)}))
    assert watcher.pruned == {LAST}
    watcher.hear(refresh(9, {6: [LAST]}))
    assert watcher.pruned == frozenset()
    watcher.pass_time(GRACE + 0.1)
    assert watcher.pruned == pruned
    run_epochs(watcher, (10, 11, 12), LAST)
    assert watcher.pruned == {LAST}, "three more are counted"


# Clients.


class NeverFetches(Epochs):
    def _fetch(self, now: float) -> list[Message]:
        self._fetch_at = None
        return []


class LeavesClientsToChance(NeverFetches):
    def _tell_clients(self) -> list[Message]:
        return []


def lacking(kind: type[Epochs]) -> int:
    """How many answers of the living to the epoch before are missing, all in all, where one is judged: 60 members, one
    message in five lost."""
    found: list[int] = []

    class Noted(kind):  # type: ignore[valid-type, misc]
        def judge(self, now: float) -> None:
            if self._refresh.ripe(now) == self._refresh.epoch:
                found.append(self._refresh.missing().bit_count())
            super().judge(now)

    bench = Bench(members(60), SLOW, parts=Parts(epochs=Noted), loss=0.2)
    bench.run(40.0)
    assert len(found) > 200
    return sum(found)


def test_who_lacks_answers_asks_for_them_before_it_judges() -> None:
    """A rumour may die out, and messages are lost."""
    assert lacking(Epochs) == 0
    assert lacking(NeverFetches) > 10


@pytest.mark.parametrize("detection", [SLOW, Detection(0.5, fast=False)])
def test_a_client_hears_of_all_answers_before_it_judges(detection: Detection) -> None:
    for epochs, errs in ((Epochs, False), (LeavesClientsToChance, True)):
        bench = Bench(members(20, 30), detection, parts=Parts(epochs=epochs))
        bench.run(12 * detection.interval)
        assert bool(bench.condemned) is errs


def test_many_clients_of_few_peers_keep_nobody_from_being_heard() -> None:
    bench = Bench(members(5, 100), SLOW)
    bench.run(40.0)
    assert bench.condemned == {}


# Who stood still.


class NeverStoodStill(Heartbeat):
    def _excuse(self, now: float) -> None:
        return


@pytest.mark.parametrize("seconds", [8.0, 13.0, 100.0])
def test_who_stood_still_judges_nobody_by_what_it_missed(seconds: float) -> None:
    def condemned(core: type[Heartbeat]) -> int:
        bench = Bench(members(6), SLOW, core=core)
        bench.run(22.0)
        sleeper = list(bench.known)[-1]
        bench.condemned.clear()
        bench.stop(sleeper, seconds)
        bench.run(seconds + 0.5)
        return sum(observer == sleeper for observer, _ in bench.condemned)

    assert condemned(Heartbeat) == 0
    if seconds > SILENT_EPOCHS * HB:
        assert condemned(NeverStoodStill) > 0


@pytest.mark.parametrize(("core", "kept"), [(Heartbeat, True), (NeverStoodStill, False)])
def test_a_stall_shorter_than_the_leaders_time_is_added_to_it(core: type[Heartbeat], kept: bool) -> None:
    watcher = Watcher(LAST, core=core)
    watcher.hear(refresh(1, {1: EVERYBODY}))
    watcher.pass_time(5.0)
    watcher.now += 13.0
    watcher.pass_time(0.0)
    assert (watcher.leader == FIRST) == kept
    watcher.pass_time(SILENT_EPOCHS * HB)
    assert FIRST in watcher.pruned, "nor is it waited for any longer than that"


class JudgesInHaste(Refresh):
    def _took_their_time(self, oldest: int, newest: int) -> bool:
        return True


@pytest.mark.parametrize(("parts", "pruned"), [(Refresh, frozenset()), (JudgesInHaste, {LAST})])
def test_epochs_that_are_seen_at_once_condemn_nobody(parts: type[Refresh], pruned: frozenset[NodeKey]) -> None:
    """Who stood still, or comes back, reads at once what was said meanwhile, and so may who is slow to answer."""
    watcher = watcher_with(parts)
    for epoch in range(1, EPOCHS_AT_ONCE + 1):
        watcher.hear(refresh(epoch, {epoch: all_but(LAST)}))
    assert watcher.epochs[-1] == EPOCHS_AT_ONCE
    watcher.pass_time(HB)
    assert watcher.pruned == pruned
    run_epochs(watcher, range(EPOCHS_AT_ONCE + 1, EPOCHS_AT_ONCE + 4), LAST)
    assert watcher.pruned == {LAST}, "three that take their time do"


class EntersFew(Refresh):
    def missed(self, seconds: float) -> None:
        pass


@pytest.mark.parametrize(("parts", "newest"), [(Refresh, 13), (EntersFew, 1 + EPOCHS_AT_ONCE)])
def test_who_stood_still_enters_all_that_began_meanwhile(parts: type[Refresh], newest: int) -> None:
    """And so it knows at once that somebody who died meanwhile is back."""
    watcher = watcher_with(parts)
    run_epochs(watcher, (1,))
    watcher.now += 60.0
    watcher.pass_time(0.0)
    watcher.hear(pack(Word.CLAIMS, [Claim(LAST, 0, 7, Kind.GONE).raw]))
    for epoch in range(2, 14):
        watcher.hear(refresh(epoch, {epoch: all_but(LAST) if epoch < 10 else EVERYBODY}))
    watcher.pass_time(CATCH_UP)
    assert watcher.epochs[-1] == newest
    assert watcher.pruned == (frozenset() if newest == 13 else {LAST})


class ActsAtOnce(Heartbeat):
    def _excuse(self, now: float) -> None:
        super()._excuse(now)
        self._caught_up_at = 0.0


@pytest.mark.parametrize(("core", "acted"), [(Heartbeat, False), (ActsAtOnce, True)])
def test_who_stood_still_acts_on_nobodys_death_before_it_has_heard_what_came_after(
    core: type[Heartbeat], acted: bool
) -> None:
    watcher = Watcher(SECOND, core=core)
    run_epochs(watcher, (1,))
    watcher.now += 20.0
    watcher.pass_time(0.0)
    watcher.hear(pack(Word.CLAIMS, [Claim(LAST, 0, 1, Kind.GONE).raw]))
    watcher.pass_time(0.2)
    watcher.hear(pack(Word.CLAIMS, [Claim(LAST, 1, 1, Kind.ALIVE).raw]))
    watcher.pass_time(CATCH_UP)
    assert watcher.pruned == frozenset()
    thought = [message.pruned for message in watcher.said if isinstance(message, m.LivenessChanged)]
    assert ({LAST} in thought) == acted


def test_who_stood_still_acts_on_a_death_that_nobody_denies() -> None:
    watcher = Watcher(SECOND)
    run_epochs(watcher, (1,))
    watcher.now += 20.0
    watcher.pass_time(0.0)
    watcher.hear(pack(Word.CLAIMS, [Claim(LAST, 0, 1, Kind.GONE).raw]))
    watcher.pass_time(CATCH_UP)
    assert watcher.liveness is not None
    assert watcher.liveness.pruned == {LAST}


# Bounds.


def test_epochs_that_come_too_fast_are_not_entered_and_the_honest_next_one_is() -> None:
    watcher = Watcher(SECOND)
    for epoch in range(100, 150):
        watcher.hear(refresh(epoch, {}), LAST)
    assert len(watcher.epochs) == EPOCHS_AT_ONCE
    watcher.pass_time(HB)
    watcher.hear(refresh(150, {}))
    assert watcher.epochs[-1] == 150
