"""Verdicts: claims of death and life merge in any order to one result, and what is cleared by what."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.claims import MANY, RECENT_NEWS, Claims
from smeg.core import Message
from smeg.errors import RemoteError
from smeg.heartbeat import ARRANGE_AGAIN, Parts
from smeg.keys import NodeKey
from smeg.refresh import KEPT_EPOCHS
from smeg.rings import Rings
from smeg.verdicts import (
    CLAIM_BYTES,
    FIRST_INCARNATION,
    MAX_INCARNATION,
    MAX_STEP,
    RECENT,
    Claim,
    Kind,
    Verdicts,
    read_claim,
)
from smeg.watch import ACCUSE_AGAIN
from smeg.wire import Word, pack, unpack
from tests.builders import QUICK
from tests.liveness_bench import (
    EVERYBODY,
    FIRST,
    HB,
    LAST,
    SECOND,
    THIRD,
    Bench,
    Watcher,
    all_but,
    members,
    received,
    refresh,
    run_epochs,
)

GRACE = 30.0
KEYS = [NodeKey(bytes([number]) * 32) for number in range(3)]
ONE, OTHER, _ = KEYS

News = Claim | tuple[NodeKey, int]
"""A claim, or that somebody answered an epoch."""
CLAIMS = st.builds(Claim, st.sampled_from(KEYS), st.integers(0, 3), st.integers(0, 6), st.sampled_from(Kind))
ANSWERS = st.tuples(st.sampled_from(KEYS), st.integers(0, 8))


class Knower:
    """Verdicts, and which epochs everybody is known to have answered."""

    def __init__(self) -> None:
        self.verdicts = Verdicts(GRACE)
        self.answers: set[tuple[NodeKey, int]] = set()

    def learn(self, news: News) -> None:
        if isinstance(news, Claim):
            later = any(who == news.member and self.verdicts.outlives(at, news) for who, at in self.answers)
            self.verdicts.take(news, 0.0, later)
        else:
            self.answers.add(news)
            self.verdicts.answered(*news)


@QUICK
@given(st.lists(CLAIMS | ANSWERS, max_size=12), st.data())
def test_claims_and_answers_in_any_order_and_number_give_one_result(news: list[News], data: st.DataObject) -> None:
    one, other = Knower(), Knower()
    for item in news:
        one.learn(item)
    for item in data.draw(st.permutations(news * 2)):
        other.learn(item)
    assert one.verdicts.held() == other.verdicts.held()
    assert one.verdicts.tag == other.verdicts.tag
    assert one.verdicts.everybody() == other.verdicts.everybody()
    assert one.verdicts.down == other.verdicts.down


def thought_of(*news: Claim) -> frozenset[NodeKey]:
    verdicts = Verdicts(GRACE)
    for claim in news:
        verdicts.take(claim, 0.0, answered=False)
    return verdicts.pruned


@pytest.mark.parametrize(
    "other", [Claim(ONE, 1, 5, Kind.ALIVE), Claim(ONE, 0, 5, Kind.DOWN), Claim(ONE, 0, 6, Kind.DOWN)]
)
def test_if_what_is_heard_last_counted_two_would_differ_for_ever(other: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = Claim(ONE, 0, 5, Kind.GONE)
    assert thought_of(claim, other) == thought_of(other, claim)
    heard = count()
    monkeypatch.setattr(Claim, "order", property(lambda claim: (next(heard), 0, 0)))
    assert thought_of(claim, other) != thought_of(other, claim)


@QUICK
@given(st.lists(CLAIMS | ANSWERS, max_size=12))
def test_the_tag_names_what_is_held_and_the_version_grows_with_what_is_thought(
    news: list[News],
) -> None:
    knower = Knower()
    verdicts = knower.verdicts
    for item in news:
        before = verdicts.version, verdicts.pruned, verdicts.down
        knower.learn(item)
        assert (verdicts.version > before[0]) == ((verdicts.pruned, verdicts.down) != before[1:])
        marks = 0
        for claim in verdicts.held():
            marks ^= claim.mark()
        assert verdicts.tag == marks
        assert set(verdicts.everybody()) == verdicts.pruned | verdicts.down


@given(
    st.builds(Claim, st.sampled_from(KEYS), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.sampled_from(Kind))
)
def test_a_claim_reads_as_it_was_written(claim: Claim) -> None:
    packed = claim.raw
    assert len(packed) == CLAIM_BYTES
    assert read_claim(packed) == claim


def test_thousands_that_think_alike_in_one_process_hold_one_object_of_it() -> None:
    packed = Claim(ONE, 1, 5, Kind.GONE).raw
    assert read_claim(packed) is read_claim(bytes(bytearray(packed)))
    first, second = Verdicts(60.0), Verdicts(60.0)
    for verdicts in (first, second):
        verdicts.take(read_claim(packed), 0.0, answered=False)
    assert first.pruned == {ONE}
    assert first.pruned is second.pruned


@given(st.binary(max_size=60))
def test_what_is_no_claim_raises_nothing_but_that(raw: bytes) -> None:
    try:
        assert read_claim(raw).raw == raw
    except RemoteError:
        return


def test_gone_is_cleared_by_an_answer_to_a_later_epoch_and_not_by_that_of_the_claim() -> None:
    verdicts = Verdicts(GRACE)
    verdicts.take(Claim(ONE, 0, 5, Kind.GONE), 0.0, answered=False)
    assert not verdicts.answered(ONE, 5)
    assert verdicts.pruned == {ONE}
    assert verdicts.answered(ONE, 6)
    assert verdicts.pruned == frozenset()


def test_down_is_cleared_only_later_than_the_epoch_after_the_claim() -> None:
    """Who is killed may just have answered an epoch that its observers had not seen."""
    verdicts = Verdicts(GRACE)
    verdicts.take(Claim(ONE, 0, 5, Kind.DOWN), 0.0, answered=False)
    assert not verdicts.answered(ONE, 6)
    assert verdicts.answered(ONE, 7)
    assert verdicts.down == frozenset()


class AnyAnswerClears(Verdicts):
    def outlives(self, epoch: int, claim: Claim) -> bool:
        return True


class NoAnswerClears(Verdicts):
    def outlives(self, epoch: int, claim: Claim) -> bool:
        return False


def claims(*said: Claim) -> bytes:
    return pack(Word.CLAIMS, [claim.raw for claim in said])


@pytest.mark.parametrize(("verdicts", "found"), [(Verdicts, True), (AnyAnswerClears, False)])
def test_a_late_answer_of_the_dead_does_not_raise_them(verdicts: type[Verdicts], found: bool) -> None:
    watcher = Watcher(SECOND, parts=Parts(verdicts=verdicts))
    watcher.hear(refresh(5, {5: all_but(LAST)}))
    watcher.hear(claims(Claim(LAST, 0, 5, Kind.GONE)))
    watcher.hear(refresh(5, {5: [LAST]}), THIRD)
    assert (watcher.pruned == {LAST}) == found


@pytest.mark.parametrize(("verdicts", "back"), [(Verdicts, True), (NoAnswerClears, False)])
def test_who_answers_a_later_epoch_is_back(verdicts: type[Verdicts], back: bool) -> None:
    watcher = Watcher(SECOND, parts=Parts(verdicts=verdicts))
    watcher.hear(refresh(5, {5: all_but(LAST)}))
    watcher.hear(claims(Claim(LAST, 0, 5, Kind.GONE)))
    watcher.hear(refresh(6, {6: EVERYBODY}), THIRD)
    assert (watcher.pruned == frozenset()) == back


def test_an_old_claim_about_somebody_who_answered_since_is_not_believed() -> None:
    watcher = Watcher(SECOND)
    watcher.hear(refresh(6, {6: EVERYBODY}))
    watcher.hear(claims(Claim(LAST, 0, 5, Kind.GONE)))
    assert watcher.pruned == frozenset()


def test_silence_of_its_host_prunes_who_is_down_and_life_clears_either() -> None:
    verdicts = Verdicts(GRACE)
    verdicts.take(Claim(ONE, 0, 5, Kind.DOWN), 0.0, answered=False)
    assert verdicts.take(Claim(ONE, 0, 5, Kind.GONE), 1.0, answered=False)
    assert (verdicts.pruned, verdicts.down) == (frozenset({ONE}), frozenset())
    assert verdicts.take(Claim(ONE, 1, 5, Kind.ALIVE), 2.0, answered=False)
    assert (verdicts.pruned, verdicts.down) == (frozenset(), frozenset())


def test_another_refusal_does_not_begin_the_grace_anew() -> None:
    verdicts = Verdicts(GRACE)
    verdicts.take(Claim(ONE, 0, 5, Kind.DOWN), 0.0, answered=False)
    verdicts.take(Claim(ONE, 0, 6, Kind.DOWN), GRACE - 1.0, answered=False)
    assert verdicts.next_deadline() == GRACE
    verdicts.lapse(GRACE)
    verdicts.take(Claim(ONE, 0, 7, Kind.DOWN), GRACE, answered=False)
    assert ONE in verdicts.pruned


def test_the_word_of_the_living_outweighs_older_claims_and_not_newer_ones() -> None:
    verdicts = Verdicts(GRACE)
    verdicts.take(Claim(ONE, 4, 9, Kind.ALIVE), 0.0, answered=False)
    assert not verdicts.take(Claim(ONE, 3, 12, Kind.GONE), 0.0, answered=False)
    assert verdicts.take(Claim(ONE, 4, 10, Kind.GONE), 0.0, answered=False)
    assert verdicts.pruned == {ONE}


def test_who_died_lately_is_not_settled_and_who_died_long_ago_is() -> None:
    verdicts = Verdicts(GRACE)
    verdicts.take(Claim(ONE, 0, 1, Kind.GONE), 0.0, answered=False)
    verdicts.take(Claim(OTHER, 0, 1, Kind.GONE), 10.0, answered=False)
    assert set(verdicts.settled(RECENT + 1.0)) == {ONE}


def test_a_member_that_left_leaves_nothing_behind() -> None:
    verdicts = Verdicts(GRACE)
    for kind in Kind:
        verdicts.take(Claim(ONE, 0, 1, kind), 0.0, answered=False)
    verdicts.prune(ONE, 1, 0.0)
    verdicts.forget(ONE)
    assert (verdicts.tag, len(verdicts), verdicts.newest(ONE)) == (0, 0, None)


# Refutations.


def alive(watcher: Watcher) -> set[Claim]:
    said = {raw for _, payload in watcher.sent(Word.CLAIMS) for raw in unpack(payload)[1]}
    return {claim for claim in map(read_claim, said) if claim.kind is Kind.ALIVE}


@pytest.mark.parametrize("kind", [Kind.DOWN, Kind.GONE])
def test_who_hears_that_it_is_dead_says_so_of_the_next_incarnation(kind: Kind) -> None:
    watcher = Watcher(SECOND)
    watcher.hear(claims(Claim(SECOND, 6, 2, kind)))
    assert alive(watcher) == {Claim(SECOND, 7, 2, Kind.ALIVE)}
    watcher.pass_time(0.1)
    watcher.said.clear()
    watcher.hear(claims(Claim(SECOND, 6, 2, kind)), LAST)
    assert [to for to, _ in watcher.sent(Word.CLAIMS)] == [LAST], "one did not hear it; the others did"


def test_who_has_answered_since_says_nothing() -> None:
    watcher = Watcher(SECOND)
    watcher.hear(refresh(9, {9: EVERYBODY}))
    watcher.hear(claims(Claim(SECOND, 0, 7, Kind.DOWN), Claim(SECOND, 0, 8, Kind.GONE)))
    assert alive(watcher) == set()


class HoldsItsDeathAgainstIt(Claims):
    def _forgive(self, member: NodeKey) -> None:
        return


@pytest.mark.parametrize(("parts", "pruned"), [(Claims, set()), (HoldsItsDeathAgainstIt, {THIRD})])
def test_who_says_that_it_is_back_is_not_judged_by_the_epochs_in_which_it_was_down(
    parts: type[Claims], pruned: set[NodeKey]
) -> None:
    watcher = Watcher(SECOND, parts=Parts(claims=parts))
    run_epochs(watcher, (1, 2, 3))
    watcher.hear(claims(Claim(THIRD, 0, 3, Kind.DOWN)))
    run_epochs(watcher, (4, 5), THIRD)
    watcher.hear(refresh(6, {6: all_but(THIRD)}))
    watcher.hear(claims(Claim(THIRD, 1, 6, Kind.ALIVE)))
    watcher.pass_time(HB / 2)
    assert watcher.pruned == pruned


class AlwaysRefutes(Claims):
    def _answers_refute(self, claim: Claim) -> bool:
        return False

    def _after_partition(self, now: float) -> bool:
        return False


class RefutesEachByItself(Claims):
    def _after_partition(self, now: float) -> bool:
        return False


def refutations(claims: type[Claims], seconds: float) -> int:
    """In meshes that were in two halves for so long; all are whole soon."""
    return sum(refutations_in_one(claims, seconds, seed) for seed in (4, 5))


def refutations_in_one(claims: type[Claims], seconds: float, seed: int) -> int:
    bench = Bench(members(24), parts=Parts(claims=claims), seed=seed)
    bench.run(23.0)
    bench.part(bench.random.sample(list(bench.known), 12))
    bench.run(seconds)
    bench.heal()
    before = len(bench.heard)
    assert bench.run(5.0, bench.agree)
    bench.run(3.0)
    raw = [item for _, _, payload in bench.heard[before:] if payload[:1] == b"V" for item in unpack(payload)[1]]
    return sum(read_claim(item).kind is Kind.ALIVE for item in raw)


def test_a_healed_partition_is_whole_in_five_seconds_without_a_storm_of_refutations() -> None:
    assert refutations(Claims, 30.0) < 24
    assert refutations(AlwaysRefutes, 30.0) > 200


def test_nor_is_there_one_when_it_heals_in_the_epoch_that_still_ran() -> None:
    assert MANY < 12
    assert refutations(Claims, 5.0) < 24
    assert refutations(RefutesEachByItself, 5.0) > 100


# Bounds.


def test_nobody_can_use_up_the_incarnations() -> None:
    verdicts = Verdicts(GRACE)
    assert not verdicts.take(Claim(ONE, FIRST_INCARNATION + 1, 0, Kind.GONE), 0.0, answered=False)
    verdicts.take(Claim(ONE, 7, 0, Kind.ALIVE), 0.0, answered=False)
    assert not verdicts.take(Claim(ONE, 7 + MAX_STEP + 1, 0, Kind.GONE), 0.0, answered=False)
    assert MAX_INCARNATION // MAX_STEP > 10**12, "so many messages it would take"


@pytest.mark.parametrize("incarnation", [MAX_STEP + 1, FIRST_INCARNATION, MAX_INCARNATION, 2**64 - 1])
def test_a_claim_of_any_incarnation_breaks_nothing_and_hides_no_death(incarnation: int) -> None:
    watcher = Watcher(SECOND)
    watcher.hear(refresh(9, {9: all_but(LAST)}))
    for member in (SECOND, THIRD):
        watcher.hear(claims(Claim(member, incarnation, 9, Kind.GONE)))
        watcher.hear(claims(Claim(member, incarnation, 9, Kind.ALIVE)))
    watcher.pass_time(1.0)
    watcher.hear(claims(Claim(LAST, 0, 9, Kind.GONE)))
    assert watcher.pruned >= {LAST}


def test_a_claim_of_an_epoch_far_ahead_does_not_bar_the_true_ones() -> None:
    watcher = Watcher(SECOND)
    watcher.hear(refresh(9, {9: all_but(LAST)}))
    watcher.hear(claims(Claim(LAST, 0, 9 + KEPT_EPOCHS + 1, Kind.ALIVE), Claim(LAST, 0, 2**31, Kind.ALIVE)))
    watcher.hear(claims(Claim(LAST, 0, 9, Kind.GONE)))
    assert watcher.pruned == {LAST}


# The flood.


def test_news_is_flooded_once_and_what_is_known_goes_nowhere() -> None:
    watcher = Watcher(SECOND)
    watcher.hear(claims(Claim(LAST, 0, 0, Kind.GONE)), FIRST)
    first = watcher.sent(Word.CLAIMS)
    assert first
    assert FIRST not in {to for to, _ in first}, "it brought the news"
    for sender in all_but(SECOND, LAST):
        watcher.hear(claims(Claim(LAST, 0, 0, Kind.GONE)), sender)
    watcher.pass_time(1.0)
    assert watcher.sent(Word.CLAIMS) == first


def test_news_that_comes_together_goes_together() -> None:
    watcher = Watcher(SECOND)
    watcher.hear(claims(Claim(LAST, 0, 0, Kind.GONE)))
    watcher.said.clear()
    watcher.tell(*(received(FIRST, claims(Claim(dead, 0, 0, Kind.GONE))) for dead in (THIRD, FIRST)))
    assert watcher.sent(Word.CLAIMS) == []
    watcher.pass_time(0.06)
    told = [len(unpack(payload)[1]) for _, payload in watcher.sent(Word.CLAIMS)]
    assert set(told) <= {2, 3}, "or those who are neighbours now would not hear of the first"
    assert 2 in told


def test_what_follows_from_many_deaths_at_once_is_worked_out_together() -> None:
    watcher = Watcher(SECOND)
    dead = all_but(SECOND, FIRST)
    watcher.said.clear()
    for key in dead:
        watcher.now += ARRANGE_AGAIN / 100
        watcher.tell(received(FIRST, claims(Claim(key, 0, 0, Kind.GONE))))
    watcher.pass_time(ARRANGE_AGAIN)
    told = [message for message in watcher.said if isinstance(message, m.LivenessChanged)]
    assert watcher.pruned == set(dead)
    assert len(told) <= 2 < len(dead)


# Who missed it.


class TellsNewNeighboursNothing(Claims):
    def tell_recent(self, to: Iterable[NodeKey], now: float) -> list[Message]:
        return []


@pytest.mark.parametrize(("parts", "told"), [(Claims, True), (TellsNewNeighboursNothing, False)])
def test_who_takes_the_place_of_a_dead_neighbour_is_told_what_was_news_lately(parts: type[Claims], told: bool) -> None:
    known = members(40)
    watcher = Watcher(SECOND, known, parts=Parts(claims=parts))
    rings = Rings.of(tuple(sorted(known)))
    near = rings.neighbours(SECOND)
    far, far_too, *_ = sorted(set(known) - {*near, SECOND})
    for news, pause in ((far, RECENT_NEWS), (far_too, 0.5), (near[0], 1.0)):
        watcher.hear(claims(Claim(news, 0, 0, Kind.GONE)), near[1])
        watcher.pass_time(pause)
    after = set(rings.neighbours(SECOND, {far, far_too, near[0]})) - {*near}
    assert after
    heard = {to: unpack(payload)[1] for to, payload in watcher.sent(Word.CLAIMS) if to in after}
    recent = [Claim(dead, 0, 0, Kind.GONE).raw for dead in (far_too, near[0])]
    assert (heard == dict.fromkeys(after, recent)) == told


class LeavesAccusersAlone(Claims):
    def inform(self, accuser: NodeKey, subject: NodeKey, kind: Kind, now: float) -> list[Message]:
        return []


def seconds_until_both_know(claims: type[Claims]) -> float:
    """Of three one dies, and what the second says of it to the third is lost until it knows; how long after that the
    third knows."""
    one, other, dead = known = members(3)
    bench = Bench(known, parts=Parts(claims=claims))
    bench.run(23.0)
    bench.kill(dead)
    bench.lost[one, other] = (Word.ACCUSE, Word.CLAIMS)
    assert bench.run(4.5, lambda: bench.silent(one) == {dead})
    bench.run(0.1)
    assert not bench.silent(other), "one accuser is not enough"
    bench.lost.clear()
    began = bench.now
    assert bench.run(5.0, lambda: bench.agree(dead))
    return bench.now - began


def test_who_still_accuses_one_that_is_known_to_be_dead_is_told_so() -> None:
    assert seconds_until_both_know(Claims) < ACCUSE_AGAIN + 0.2
    assert seconds_until_both_know(LeavesAccusersAlone) > 1.5


def test_who_accuses_of_less_or_of_the_same_is_told_and_who_knows_worse_is_not() -> None:
    accuse = {kind: pack(Word.ACCUSE, [LAST, bytes([kind])]) for kind in (Kind.DOWN, Kind.GONE)}
    for held, accused, told in (
        (Kind.DOWN, Kind.DOWN, True),
        (Kind.GONE, Kind.DOWN, True),
        (Kind.GONE, Kind.GONE, True),
        (Kind.DOWN, Kind.GONE, False),
    ):
        watcher = Watcher(SECOND)
        watcher.hear(claims(Claim(LAST, 0, 0, held)))
        watcher.pass_time(0.1)
        watcher.said.clear()
        watcher.hear(accuse[accused], THIRD)
        assert watcher.sent(Word.CLAIMS) == ([(THIRD, claims(Claim(LAST, 0, 0, held)))] if told else [])
