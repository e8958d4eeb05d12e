"""Doubt: who hears nothing from half of those that it watches suspects itself, and looks for others; each rule alone,
and what happens without it."""

from __future__ import annotations

from random import Random

import pytest

from smeg import doubt as doubting
from smeg import heartbeat
from smeg.claims import Claims
from smeg.doubt import EAGER_ROUNDS, LATER_PINGS, MOST, PINGS, Doubt
from smeg.epochs import Epochs
from smeg.heartbeat import USUAL, Parts
from smeg.keys import NodeKey
from smeg.refresh import SILENT_EPOCHS
from smeg.verdicts import Claim, Kind
from smeg.watch import Beat
from smeg.wire import Word, pack
from tests.liveness_bench import EVERYBODY, FAST, FIRST, HB, LAST, SECOND, THIRD, Bench, Watcher, members, refresh

KEYS = tuple(NodeKey(number.to_bytes(2, "big") * 16) for number in range(500))


def doubtful() -> Doubt:
    made = Doubt(Random(1))
    made.consider(0.5, 100.0)
    return made


def test_half_silent_is_doubt_and_less_is_not() -> None:
    doubt = Doubt(Random(1))
    doubt.consider(0.49, 100.0)
    assert not doubt
    assert doubt.next_deadline() is None
    doubt.consider(0.5, 101.0)
    assert doubt
    doubt.consider(0.49, 102.0)
    assert not doubt


def test_who_doubts_pings_64_of_all_each_second_and_few_when_that_did_not_help() -> None:
    doubt = doubtful()
    rounds = [doubt.pings(KEYS, 100.0 + second) for second in range(EAGER_ROUNDS + 5)]
    assert PINGS == 64
    assert [len(set(keys)) for keys in rounds] == [PINGS] * EAGER_ROUNDS + [LATER_PINGS] * 5
    assert len({key for keys in rounds for key in keys}) > 400
    assert doubt.pings(KEYS, 100.0 + EAGER_ROUNDS + 4.5) == [], "once a second"


def test_twelve_that_answer_are_enough_and_those_that_ask_are_taken_up_to_a_bound() -> None:
    doubt = doubtful()
    for key in KEYS[:11]:
        assert doubt.adopt(key, 100.0)
    assert doubt.pings(KEYS, 100.0) != []
    doubt.adopt(KEYS[11], 101.0)
    assert doubt.pings(KEYS, 102.0) == []
    for key in KEYS:
        doubt.adopt(key, 103.0)
    assert len(doubt.adopted) == MOST


def look_around(size: int) -> tuple[int, int]:
    """So many of five hundred are cut off and look for each other for half a minute: how many pings that takes, and in
    how many parts they are that know nothing of each other."""
    side = KEYS[:size]
    doubts = {key: Doubt(Random(number)) for number, key in enumerate(side)}
    pinged = 0
    for doubt in doubts.values():
        doubt.consider(1.0, 100.0)
    for second in range(EAGER_ROUNDS):
        for key, doubt in doubts.items():
            keys = doubt.pings(KEYS, 100.0 + second)
            pinged += len(keys)
            for other in doubts.keys() & {*keys} - {key}:
                doubts[other].adopt(key, 100.0 + second)
                doubt.adopt(other, 100.0 + second)
    parts = {key: {key, *doubt.adopted} for key, doubt in doubts.items()}
    for _ in side:
        parts = {key: set().union(*(parts[other] for other in part)) for key, part in parts.items()}
    return pinged, len({frozenset(part) for part in parts.values()})


def test_a_small_side_finds_together_and_a_large_one_soon_pings_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = look_around(8), look_around(40)
    assert small == (8 * PINGS * EAGER_ROUNDS, 1)
    assert large[1] == 1
    assert large[0] < 40 * PINGS * 3
    for name, too_few in (("PINGS", 1), ("ENOUGH", 1)):
        with monkeypatch.context() as bug:
            bug.setattr(doubting, name, too_few)
            assert look_around(8)[1] > 1, "in parts"
    for name, too_many in (("PINGS", len(KEYS)), ("ENOUGH", len(KEYS))):
        with monkeypatch.context() as bug:
            bug.setattr(doubting, name, too_many)
            assert max(look_around(8)[0] / small[0], look_around(40)[0] / large[0]) > 7


def test_who_does_not_doubt_adopts_nobody() -> None:
    doubt = Doubt(Random(1))
    assert not doubt.adopt(KEYS[0], 100.0)
    assert doubt.adopted == []


def adopted_after(seconds: float) -> list[NodeKey]:
    """By one whose doubt has been over for so long."""
    doubt = doubtful()
    doubt.adopt(KEYS[0], 100.0)
    doubt.consider(0.0, 110.0)
    doubt.consider(0.0, 110.0 + seconds)
    return doubt.adopted


def test_the_adopted_are_kept_for_a_while_after_the_doubt_for_they_may_need_this_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert adopted_after(29.9) == [KEYS[0]]
    assert adopted_after(30.1) == []
    monkeypatch.setattr(doubting, "KEPT", 0.0)
    assert adopted_after(0.1) == [], "one that still doubts hears nothing more of it"


def test_a_member_that_left_is_adopted_no_longer() -> None:
    doubt = doubtful()
    doubt.adopt(KEYS[0], 100.0)
    doubt.forget(KEYS[0])
    assert doubt.adopted == []


def hear_beats(watcher: Watcher, seconds: float, *senders: NodeKey) -> None:
    for _ in range(int(seconds / 0.5)):
        for sender in senders:
            watcher.hear(Beat(watcher.core._refresh.epoch, bytes(8), 0, 0.0).pack(Word.BEAT.value), sender)
        watcher.pass_time(0.5)


def test_a_ping_is_answered_and_who_answers_a_doubtful_one_is_told_everything() -> None:
    watcher = Watcher(SECOND, detection=FAST)
    watcher.hear(pack(Word.PING, []), LAST)
    assert watcher.sent() == [(LAST, pack(Word.PONG, []))]
    hear_beats(watcher, 1.0, *EVERYBODY)
    watcher.pass_time(2.9)
    assert watcher.core._doubt
    watcher.said.clear()
    watcher.hear(pack(Word.PONG, []), LAST)
    assert [to for to, _ in watcher.sent(Word.REFRESH)] == [LAST]
    watcher.said.clear()
    watcher.hear(pack(Word.PONG, []), LAST)
    assert watcher.sent() == [], "once"


def accused_before_doubting() -> int:
    """How many one accuses that suddenly hears nobody, before it looks for others."""
    known = members(30)
    watcher = Watcher(list(known)[4], known, detection=FAST)
    hear_beats(watcher, 1.0, *known)
    accused = set[bytes]()
    while not watcher.sent(Word.PING):
        watcher.pass_time(0.1)
        accused |= {payload for _, payload in watcher.sent(Word.ACCUSE)}
    return len(accused)


def test_who_hears_nobody_doubts_before_it_accuses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accused_before_doubting() == 0
    monkeypatch.setattr(heartbeat, "DOUBT_PATIENCE", 1.0)
    assert accused_before_doubting() > 4, "of the living, with others that were cut off too"


class NeverHurries(Epochs):
    def _silence_ends(self) -> float:
        return self._heard_at + SILENT_EPOCHS * HB


@pytest.mark.parametrize(("epochs", "hurries"), [(Epochs, True), (NeverHurries, False)])
def test_who_doubts_starts_an_epoch_itself_a_little_after_the_interval(epochs: type[Epochs], hurries: bool) -> None:
    """The leader may be on the other side, and those on this side need answers to know each other by."""
    watcher = Watcher(THIRD, detection=FAST, parts=Parts(epochs=epochs))
    hear_beats(watcher, 1.0, *EVERYBODY)
    watcher.hear(refresh(1, {1: EVERYBODY}))
    watcher.pass_time(1.1 * HB - 0.1)
    assert watcher.epochs == [1]
    watcher.pass_time(0.2 * HB + 0.1)
    assert (watcher.epochs == [1, 2]) == hurries
    assert watcher.leader == FIRST, "it is not given up"


class Confident(Doubt):
    def _doubtful(self, silent_share: float) -> bool:
        return False


def seconds_until_known(parts: Parts, seed: int, most: float, size: int = 30, small: int = 4) -> float:
    """How long a small side needs to know that it is cut off from all the others, at most so long; nobody errs."""
    known = members(size)
    bench = Bench(known, FAST, seed=seed, parts=parts)
    bench.run(22.0)
    side = set(bench.random.sample(list(known), small))
    bench.part(side)
    others = frozenset(known) - side
    began = bench.now
    bench.run(most, lambda: all(bench.silent(key) == others for key in side))
    within = [(one, other) for one, other in bench.condemned if (one in side) == (other in side)]
    assert within == [] or parts != USUAL
    return bench.now - began


@pytest.mark.parametrize("seed", [1, 3])
def test_the_smaller_side_of_a_partition_sees_it_and_keeps_together(seed: int) -> None:
    found = seconds_until_known(USUAL, seed, 22.0)
    assert found < 22.0
    assert seconds_until_known(Parts(doubt=Confident), seed, 2 * found) >= 1.5 * found


@pytest.mark.parametrize("seed", [1, 3])
def test_a_side_whose_leader_is_on_the_other_sees_it_sooner_for_its_hurry(seed: int) -> None:
    found = seconds_until_known(USUAL, seed, 22.0, size=10, small=2)
    assert found < 22.0
    assert seconds_until_known(Parts(epochs=NeverHurries), seed, 2 * found, size=10, small=2) > 1.2 * found


def spoken_to(quiet: float, word: Word) -> bool:
    """Whether one who hears only somebody far on the rings say this, so often, tells it of a new epoch."""
    known = members(60)
    watcher = Watcher(FIRST, known, detection=FAST)
    far = next(key for key in known if key not in watcher.core._circle.around())
    said = pack(word, []) if word is Word.PING else Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value)
    for _ in range(3):
        watcher.pass_time(quiet)
        watcher.hear(said, far)
    watcher.said.clear()
    watcher.hear(refresh(9, {9: [far]}, known), far)
    return far in {to for to, _ in watcher.sent(Word.REFRESH)}


def test_who_hears_only_one_that_looks_around_takes_it_up() -> None:
    """They may be cut off from all others; and each would else excuse everybody anew at each word of the other."""
    assert spoken_to(2.0, Word.PING)
    assert not spoken_to(2.0, Word.BEAT)
    assert not spoken_to(1.0, Word.PING), "others may be heard as well"


# Who is heard by nobody and hears all.


class LooksAtItsNeighboursOnly(Claims):
    def _look_around(self, alive: Claim) -> None:
        return


def errs_among_the_muted(claims: type[Claims], seed: int) -> float:
    """For how many seconds each of those who are heard by nobody else takes another of them for dead, on average."""
    known = members(40)
    bench = Bench(known, FAST, seed=seed, parts=Parts(claims=claims))
    bench.run(22.0)
    side = frozenset(bench.random.sample(list(known), 10))
    others = frozenset(known) - side
    bench.mute(side)
    erred = 0
    for _ in range(100):
        bench.run(0.1)
        erred += sum(len(bench.silent(key) & side) for key in side)
    assert all(side <= bench.silent(key) for key in others)
    assert all(not bench.silent(key) & side for key in side), "it is over"
    return 0.1 * erred / (len(side) * (len(side) - 1))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_the_others_say_of_the_muted_is_refuted_among_these_before_most_believe_it(seed: int) -> None:
    assert errs_among_the_muted(Claims, seed) < 0.1
    assert errs_among_the_muted(LooksAtItsNeighboursOnly, seed) > 0.2


def test_who_is_told_that_it_is_dead_says_to_64_that_it_lives_and_pings_them_once() -> None:
    watcher = Watcher(SECOND, members(100), detection=FAST)
    hear_beats(watcher, 1.0, *members(100))
    watcher.said.clear()
    watcher.hear(pack(Word.CLAIMS, [Claim(SECOND, 0, watcher.core._refresh.epoch, Kind.GONE).raw]))
    watcher.pass_time(0.0)
    pinged = {to for to, _ in watcher.sent(Word.PING)}
    assert PINGS - 1 <= len(pinged) <= PINGS
    assert pinged <= {to for to, _ in watcher.sent(Word.CLAIMS)}
    watcher.said.clear()
    hear_beats(watcher, 3.0, *members(100))
    assert watcher.sent(Word.PING) == []


@pytest.mark.parametrize("share", [0.5, 0.25])
@pytest.mark.parametrize("seconds", [5.0, 40.0])
def test_both_sides_err_about_nobody_of_their_own_and_are_whole_in_five_seconds(share: float, seconds: float) -> None:
    known = members(24)
    bench = Bench(known, FAST, seed=7, loss=0.02)
    bench.run(22.0)
    side = set(bench.random.sample(list(known), int(24 * share)))
    bench.part(side)
    bench.run(seconds)
    assert [pair for pair in bench.condemned if (pair[0] in side) == (pair[1] in side)] == []
    bench.heal()
    assert bench.run(5.0, bench.agree)
    bench.condemned.clear()
    bench.run(20.0)
    assert bench.condemned == {}
