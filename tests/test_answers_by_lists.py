"""Answers by lists that differ: which can be read, and who judges nobody because it cannot."""

from __future__ import annotations

import pytest

from smeg.heartbeat import Parts
from smeg.keys import NodeKey
from smeg.members import Members, Ranks
from smeg.refresh import GRACE, Refresh, read
from smeg.wire import unpack
from tests.liveness_bench import (
    CLIENT,
    EVERYBODY,
    FIRST,
    HB,
    LAST,
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


class OneListOnly(Refresh):
    def _list_named(self, tag: bytes) -> Ranks | None:
        return self.ranks if self.ranks.tag == tag else None

    def _could_not_read(self, oldest: int, heard: int) -> bool:
        return False


@pytest.mark.parametrize(("parts", "pruned"), [(Refresh, frozenset()), (OneListOnly, {LAST})])
def test_answers_by_an_older_list_count(parts: type[Refresh], pruned: frozenset[NodeKey]) -> None:
    older = {key: EVERYBODY[key] for key in all_but(CLIENT)}
    watcher = Watcher(SECOND, older, parts=Parts(refresh=parts))
    watcher.tell(changed(EVERYBODY))
    for epoch in (1, 2, 3):
        watcher.hear(refresh(epoch, {epoch: all_but(LAST)}), FIRST)
        watcher.hear(refresh(epoch, {epoch: [LAST]}, older), THIRD)
        watcher.pass_time(HB)
    assert watcher.pruned == pruned


class ReadsAnyList(Refresh):
    def _list_named(self, tag: bytes) -> Ranks | None:
        return self.ranks


@pytest.mark.parametrize(("parts", "pruned"), [(Refresh, {LAST}), (ReadsAnyList, frozenset())])
def test_answers_by_an_unknown_list_do_not_count(parts: type[Refresh], pruned: frozenset[NodeKey]) -> None:
    """The same bit is another's: the dead would seem to answer."""
    watcher = Watcher(SECOND, parts=Parts(refresh=parts))
    stranger = NodeKey(b"\xff" * 32)
    strange = [*(key for key in EVERYBODY if key != FIRST), stranger]
    for epoch in (1, 2, 3):
        watcher.hear(refresh(epoch, {epoch: all_but(LAST)}), FIRST)
        watcher.hear(refresh(epoch, {epoch: strange}, strange), THIRD)
        watcher.pass_time(HB)
    assert watcher.pruned == pruned


class Unvouched(Refresh):
    def vouch(self, sender: NodeKey, epoch: int) -> list[tuple[int, int]]:
        return []


class BelievesItself(Refresh):
    def _could_not_read(self, oldest: int, heard: int) -> bool:
        return False


def condemned_around_an_odd_one(parts: type[Refresh]) -> set[tuple[bool, bool]]:
    """One of twelve sees another list, say because its clock is off. Whether it condemned, and whether it was."""
    known = members(12)
    bench = Bench(known, SLOW, parts=Parts(refresh=parts))
    odd, unseen = list(known)[3], list(known)[7]
    bench.start(odd, Members.of({key: member for key, member in known.items() if key != unseen}))
    bench.run(60.0)
    return {(observer == odd, subject == odd) for observer, subject in bench.condemned}


def test_whose_list_differs_for_long_neither_prunes_the_others_nor_is_pruned() -> None:
    assert condemned_around_an_odd_one(Refresh) == set()
    assert (False, True) in condemned_around_an_odd_one(Unvouched)
    assert (True, False) in condemned_around_an_odd_one(BelievesItself)


class ListsMembersOnly(Refresh):
    def meet(self, ranks: Ranks, members: Ranks) -> None:
        super().meet(members, members)


@pytest.mark.parametrize(
    ("parts", "ahead", "condemns"),
    [(Refresh, 0.2, False), (Refresh, 0.5, False), (Refresh, 0.8, False), (ListsMembersOnly, 0.8, True)],
)
def test_nobody_is_condemned_because_somebody_has_expired_by_some_clocks(
    parts: type[Refresh], ahead: float, condemns: bool
) -> None:
    known = members(100)
    bench = Bench(known, SLOW, parts=Parts(refresh=parts))
    bench.run(12.0)
    *others, expired = known
    bench.kill(expired)
    for key in bench.random.sample(others, int(ahead * len(others))):
        bench.tell(key, changed(known, [expired]))
    bench.run(60.0)
    assert any(subject != expired for _, subject in bench.condemned) is condemns


def test_who_has_expired_need_not_answer_and_is_new_when_the_clock_is_set_back() -> None:
    watcher = Watcher(SECOND)
    watcher.tell(changed(EVERYBODY, [LAST]))
    run_epochs(watcher, (1, 2, 3), LAST)
    watcher.tell(changed(EVERYBODY))
    watcher.pass_time(GRACE + 0.1)
    assert watcher.pruned == frozenset()
    run_epochs(watcher, (4, 5), LAST)
    assert watcher.pruned == frozenset()
    run_epochs(watcher, (6,), LAST)
    assert watcher.pruned == {LAST}


def test_the_answers_of_those_who_have_expired_are_neither_missed_nor_make_the_others_heard() -> None:
    listed = ranks(10)
    living = listed.keys[:4]
    made = refresh_of(listed, own=living[0])
    made.meet(listed, Ranks.of(living))
    for epoch in (8, 9, 10):
        made.enter(epoch, HB * epoch)
        assert made.keys(made.missing()) == [*living[1:]]
        answers = refresh_of(listed, range(4, 10), epoch).everything()
        for tag in (listed.tag, b"another."):
            _, _, items = read(unpack(answers)[1])
            made.merge(living[1], tag, items)
    assert made.silent(10) == [], "it hears few of the members, and others have a list that it cannot read"
