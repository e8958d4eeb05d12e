"""Beats that tell of other knowledge: what has differed for a while is repaired; each rule alone, and what happens
without it."""

from __future__ import annotations

import pytest

from smeg import messages as m
from smeg import watch as watching
from smeg.core import Message
from smeg.heartbeat import Heartbeat, Parts
from smeg.keys import NodeKey
from smeg.verdicts import Claim, Kind
from smeg.watch import DIFFERS, REPAIR_AGAIN, Beat, Watch
from smeg.wire import Word, pack
from tests.liveness_bench import FAST, FIRST, LAST, MESH, PEERS, SECOND, Watcher, members
from tests.masses import made


class NeverRepairs(Watch):
    def differs(self, since: float | None, same: bool, now: float) -> tuple[float | None, bool]:
        return None, False


@pytest.mark.parametrize(("watch", "repaired"), [(Watch, True), (NeverRepairs, False)])
def test_a_subject_that_has_known_other_claims_for_a_while_is_told_ones_own(watch: type[Watch], repaired: bool) -> None:
    watcher = Watcher(SECOND, detection=FAST, parts=Parts(watch=watch))
    claim = Claim(LAST, 0, 0, Kind.GONE)
    watcher.hear(pack(Word.CLAIMS, [claim.raw]))
    watcher.said.clear()
    for _ in range(4):
        watcher.hear(Beat(0, bytes(8), 0, 0.0).pack(Word.BEAT.value), PEERS[2])
        watcher.pass_time(0.5)
    assert ((PEERS[2], pack(Word.CLAIMS, [claim.raw])) in watcher.sent()) == repaired


def repaired_with(watcher: Watcher, sender: NodeKey, *roots: bytes) -> list[float]:
    """When a repair begins with somebody that is not watched and beats so, every half second."""
    began = []
    for root in roots:
        watcher.said.clear()
        watcher.hear(Beat(watcher.core._refresh.epoch, root, 0, 0.0).pack(Word.BEAT.value), sender)
        began += [watcher.now for message in watcher.said if message == m.RootDiffers(MESH.id, sender)]
        watcher.pass_time(0.5)
    return began


class ComparesWithItsOwn(Heartbeat):
    def _guide(self, sender: NodeKey, beat: Beat, now: float) -> list[Message]:
        return []


@pytest.mark.parametrize(("core", "compares"), [(Heartbeat, True), (ComparesWithItsOwn, False)])
def test_who_beats_to_one_that_does_not_watch_it_and_holds_other_documents_is_compared_with(
    core: type[Heartbeat], compares: bool
) -> None:
    """One that knows only a part of the mesh beats to the wrong ones, and these alone hear of it."""
    known = members(30)
    stranger = next(key for key in known if key not in (FIRST, *known.rings.subjects(FIRST)))
    watcher = Watcher(FIRST, known, detection=FAST, core=core)
    own, others = bytes(8), b"\1" * 8
    assert repaired_with(watcher, stranger, *[own] * 4) == []
    watcher.tell(m.RootChanged(MESH.id, b"\2" * 8))
    began = watcher.now
    times = repaired_with(watcher, stranger, *[others] * 18)
    assert len(times) == (2 if compares else 0)
    if compares:
        assert times[0] > began + DIFFERS
        assert times[1] >= times[0] + REPAIR_AGAIN


def repairs(watch: type[Watch], *differing: bytes) -> list[float]:
    """When, in seconds, a repair begins with one that is watched and whose beats, every half second, tell of these."""
    watcher = Watcher(SECOND, detection=FAST, parts=Parts(watch=watch))
    watcher.tell(m.RootChanged(MESH.id, OWN_ROOT))
    watched = next(message for message in watcher.said if isinstance(message, m.Watched)).members
    began = []
    for root in differing:
        watcher.said.clear()
        watcher.hear(Beat(0, root, 0, 0.0).pack(Word.BEAT.value), watched[0])
        began += [watcher.now - 100.0 for message in watcher.said if isinstance(message, m.RootDiffers)]
        watcher.pass_time(0.5)
    return began


OWN_ROOT, OTHER = b"the same", b"otherone"


def test_whose_replica_has_differed_for_longer_than_news_takes_is_repaired_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    news = [OTHER, OTHER, OTHER, OWN_ROOT] * 3
    assert repairs(Watch, *[OTHER] * 30) == [1.5, 6.5, 11.5]
    assert repairs(Watch, *news) == []
    assert repairs(NeverRepairs, *[OTHER] * 30) == []
    monkeypatch.setattr(watching, "DIFFERS", 0.0)
    assert repairs(Watch, *news), "though it is on its way"


RARELY = 3600.0
"""seconds between the repairs that nothing gives rise to."""


def missed_is_repaired() -> bool:
    """One of twelve did not hear what another says of itself: whether it knows three seconds later."""
    mass = made(12, repair_interval=RARELY)
    mass.network.partition([mass.nodes[7].station.curve])
    mass.change_record(mass.nodes[3])
    mass.run(2.0)
    mass.network.heal()
    assert len(mass.roots()) == 2
    return mass.run(3.0, lambda: len(mass.roots()) == 1)


def test_what_one_has_missed_it_is_told_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert missed_is_repaired()
    monkeypatch.setattr(Watch, "differs", NeverRepairs.differs)
    assert not missed_is_repaired()
