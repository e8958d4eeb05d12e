"""What becomes of connections with watched members, as values: what of it is evidence, and who is dialled when;
each rule alone, and what happens without it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from smeg import messages as m
from smeg import watched_links
from smeg.core import Message
from smeg.device import Endpoint
from smeg.keys import x25519_public
from smeg.switchboard import Switchboard
from smeg.watched_links import AGAIN, SOON, SOON_TRIES, Outcome, Redial, WatchedLinks
from tests.builders import Node
from tests.test_watched_links import CLIENT, HOME, PEER, REFUSED, SILENT, members

A, B = Endpoint("192.0.2.1", 1), Endpoint("192.0.2.2", 2)
KEY = x25519_public(PEER.curve)
Links = type[WatchedLinks]
Evidence = list[m.LinkRefused | m.LinkSilent]


def core(
    *endpoints: Endpoint, links: Links = WatchedLinks, node: Node = PEER, board: type[Switchboard] = Switchboard
) -> WatchedLinks:
    """Of one that watches `node`, whose record names these places."""
    made = board()
    made.members_changed(members(HOME, {node: endpoints}))
    watching = links(made, random.Random(1))
    watching.watch(m.Watched(HOME.id, 1, (node.key,)))
    return watching


def outcomes(made: WatchedLinks, *tried: tuple[Endpoint, Outcome]) -> list[Message]:
    return [message for place, outcome in tried for message in made.tried(KEY, place, outcome, 10.0)]


def parted(*endpoints: Endpoint, links: Links = WatchedLinks, reached: Endpoint | None = None) -> WatchedLinks:
    """The last connection has ended, and these places are dialled; it was `reached` at one of them, or never by us."""
    made = core(*endpoints, links=links)
    if reached is not None:
        made.connected(KEY, reached)
    made.parted(KEY, 10.0)
    assert made.due(10.0) == [Redial(KEY, endpoints, reached)]
    made.trying(KEY, endpoints)
    return made


# What is evidence.


class AnEndIsProof(WatchedLinks):
    def tried(self, curve: bytes, place: Endpoint, outcome: Outcome, now: float) -> Evidence:
        return super().tried(curve, place, Outcome.REFUSED, now)


@pytest.mark.parametrize(("links", "said"), [(WatchedLinks, []), (AnEndIsProof, [REFUSED])])
@pytest.mark.parametrize("outcome", [Outcome.TAKEN, Outcome.UNTRIED])
def test_an_end_by_itself_proves_nothing(links: Links, said: Evidence, outcome: Outcome) -> None:
    """A daemon that cut a connection, or that this host has no socket left for, would be called down."""
    assert outcomes(parted(A, links=links, reached=A), (A, outcome)) == said


def test_a_refusal_and_silence_are_evidence() -> None:
    assert outcomes(parted(A, reached=A), (A, Outcome.REFUSED)) == [REFUSED]
    assert outcomes(parted(A, reached=A), (A, Outcome.SILENT)) == [SILENT]


class AnyPlaceCounts(WatchedLinks):
    def tried(self, curve: bytes, place: Endpoint, outcome: Outcome, now: float) -> Evidence:
        self._memory(curve).place = place
        return super().tried(curve, place, outcome, now)


@pytest.mark.parametrize(("links", "said"), [(WatchedLinks, []), (AnyPlaceCounts, [REFUSED, SILENT])])
def test_only_the_place_where_it_was_reached_counts(links: Links, said: Evidence) -> None:
    """At a private address somebody else may answer, and from here nobody."""
    made = parted(A, B, links=links, reached=B)
    assert outcomes(made, (A, Outcome.REFUSED), (A, Outcome.SILENT), (B, Outcome.TAKEN)) == said
    assert outcomes(made, (B, Outcome.SILENT), (B, Outcome.REFUSED)) == [SILENT, REFUSED]


@pytest.mark.parametrize(
    ("links", "first", "others"),
    [
        (WatchedLinks, [], {Outcome.REFUSED: [REFUSED], Outcome.SILENT: [REFUSED], Outcome.UNTRIED: [REFUSED]}),
        (AnyPlaceCounts, [REFUSED], {Outcome.REFUSED: [REFUSED], Outcome.SILENT: [SILENT]}),
    ],
)
def test_of_one_that_we_never_reached_all_places_that_answer_have_to_refuse(
    links: Links, first: Evidence, others: dict[Outcome, Evidence]
) -> None:
    for outcome in Outcome:
        made = parted(A, B, links=links)
        assert outcomes(made, (A, Outcome.REFUSED)) == first
        assert outcomes(made, (B, outcome)) == others.get(outcome, [])


@pytest.mark.parametrize(("links", "said"), [(WatchedLinks, []), (AnyPlaceCounts, [SILENT, SILENT])])
def test_of_one_that_we_never_reached_silence_everywhere_says_nothing(links: Links, said: Evidence) -> None:
    """It may be where only it can dial."""
    assert outcomes(parted(A, B, links=links), (A, Outcome.SILENT), (B, Outcome.SILENT)) == said


class KeepsToTheOldPlace(WatchedLinks):
    def trying(self, curve: bytes, endpoints: tuple[Endpoint, ...]) -> None:
        place = self._memory(curve).place
        super().trying(curve, endpoints)
        self._memory(curve).place = place


@pytest.mark.parametrize(("links", "old", "new"), [(WatchedLinks, [], [REFUSED]), (KeepsToTheOldPlace, [REFUSED], [])])
def test_what_the_old_place_of_one_that_moved_says_is_not_about_it(links: Links, old: Evidence, new: Evidence) -> None:
    made = core(A, links=links)
    made.connected(KEY, B)
    made.parted(KEY, 10.0)
    made.due(10.0)
    made.trying(KEY, (A,))
    assert outcomes(made, (B, Outcome.REFUSED)) == old
    assert outcomes(made, (A, Outcome.REFUSED)) == new


class NeverComesToRest(WatchedLinks):
    def reached(self, curve: bytes) -> None:
        return


@pytest.mark.parametrize(("links", "said"), [(WatchedLinks, []), (NeverComesToRest, [REFUSED])])
def test_of_one_to_which_another_connection_stands_nothing_is_said(links: Links, said: Evidence) -> None:
    made = parted(A, links=links, reached=A)
    made.reached(KEY)
    assert outcomes(made, (A, Outcome.REFUSED)) == said
    assert (made.next_deadline() is None) == (links is WatchedLinks)


class TellsOfEachConnection(WatchedLinks):
    def connected(self, curve: bytes, place: Endpoint) -> list[m.LinkRestored]:
        self.parted(curve, 0.0)
        return super().connected(curve, place)


@pytest.mark.parametrize(("links", "said"), [(WatchedLinks, 1), (TellsOfEachConnection, 3)])
def test_who_is_reached_again_by_our_dialling_is_told_of_once_and_only_after_an_end(links: Links, said: int) -> None:
    """The device begins a handshake for each."""
    made = core(A, B, links=links)
    told = made.connected(KEY, A)
    made.parted(KEY, 10.0)
    told += made.connected(KEY, B)
    told += made.connected(KEY, B)
    assert told == [m.LinkRestored(HOME.id, PEER.key)] * said
    made.parted(KEY, 11.0)
    made.watch(m.Watched(HOME.id, 2, ()))
    assert made.connected(KEY, A) == []


# Who is dialled, and when.


class TriesOnce(WatchedLinks):
    def due(self, now: float) -> list[Redial]:
        found = super().due(now)
        for redial in found:
            self.reached(redial.curve)
        return found


@pytest.mark.parametrize(("links", "tries"), [(WatchedLinks, 6), (TriesOnce, 1)])
def test_one_that_is_away_is_tried_every_second_or_two_until_it_is_back(links: Links, tries: int) -> None:
    made = core(A, links=links)
    made.parted(KEY, 10.0)
    times = list[float]()
    while (due := made.next_deadline()) is not None and len(times) < 6:
        assert made.due(due - 0.01) == []
        assert len(made.due(due)) == 1
        times.append(due)
    assert len(times) == tries
    assert all(1.0 <= later - earlier <= 2.0 for earlier, later in pairwise(times))


class DialsAtEveryEnd(WatchedLinks):
    def parted(self, curve: bytes, now: float) -> None:
        self._memory(curve).tried = None
        super().parted(curve, now)


@pytest.mark.parametrize(("links", "least", "most"), [(WatchedLinks, 2, 4), (DialsAtEveryEnd, 60, 60)])
def test_who_takes_connections_and_drops_them_is_not_dialled_in_a_circle(links: Links, least: int, most: int) -> None:
    """Each lasts for 50 ms, for three seconds."""
    made, dialled = core(A, links=links), 0
    made.parted(KEY, 10.0)
    for step in range(60):
        now = 10.0 + step / 20
        if made.due(now):
            dialled += 1
            made.connected(KEY, A)
            made.parted(KEY, now + 0.049)
    assert least <= dialled <= most


def seconds_until_refused() -> float:
    """From the end of the connections with a process that is being killed, and listens for 50 ms more."""
    made = parted(A, reached=A)
    made.tried(KEY, A, Outcome.TAKEN, 10.0)
    while (now := made.next_deadline()) is not None:
        assert made.due(now)
        if made.tried(KEY, A, Outcome.TAKEN if now < 10.05 else Outcome.REFUSED, now):
            return now - 10.0
    raise AssertionError("it is not tried again")


def test_a_process_that_is_being_killed_is_tried_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seconds_until_refused() < 0.2
    monkeypatch.setattr(watched_links, "SOON", AGAIN)
    assert seconds_until_refused() >= AGAIN[0]


class SoonForEver(WatchedLinks):
    def tried(self, curve: bytes, place: Endpoint, outcome: Outcome, now: float) -> Evidence:
        self._trials[curve].soon = SOON_TRIES
        return super().tried(curve, place, outcome, now)


@pytest.mark.parametrize(("links", "patient"), [(WatchedLinks, True), (SoonForEver, False)])
def test_where_a_connection_is_taken_and_comes_to_nothing_it_is_tried_again_soon_a_few_times(
    links: Links, patient: bool
) -> None:
    made = core(A, links=links)
    made.connected(KEY, A)
    made.parted(KEY, 10.0)
    now, waits = 10.0, list[float]()
    for _ in range(SOON_TRIES + 1):
        assert made.due(now)
        assert made.tried(KEY, A, Outcome.TAKEN, now) == []
        again = made.next_deadline()
        assert again is not None
        waits.append(again - now)
        now = again
    assert all(SOON[0] - 1e-6 <= wait <= SOON[1] + 1e-6 for wait in waits[:-1])
    assert (waits[-1] >= AGAIN[0] - 1e-6) == patient
    made.due(now)
    assert made.tried(KEY, A, Outcome.REFUSED, now) == [REFUSED]


class NeverLetsGo(WatchedLinks):
    def watch(self, message: m.Watched) -> None:
        before = self._watched.get(message.mesh, frozenset())
        super().watch(replace(message, members=(*before, *message.members)))

    def mesh_stopped(self, mesh: str) -> None:
        return


@pytest.mark.parametrize(("links", "dialled"), [(WatchedLinks, False), (NeverLetsGo, True)])
def test_who_is_watched_no_more_or_in_no_mesh_is_let_be(links: Links, dialled: bool) -> None:
    ends: list[Callable[[WatchedLinks], None]] = [
        lambda made: made.watch(m.Watched(HOME.id, 1, ())),
        lambda made: made.mesh_stopped(HOME.id),
    ]
    for end in ends:
        made = core(A, links=links)
        made.parted(KEY, 10.0)
        end(made)
        assert (made.next_deadline() is not None) == dialled
        made.parted(KEY, 11.0)
        assert bool(made.due(11.0)) == dialled


class KnowsNoRoles(Switchboard):
    def places(self, curve: bytes) -> tuple[Endpoint, ...]:
        return (A,)


@pytest.mark.parametrize(("board", "dialled"), [(Switchboard, False), (KnowsNoRoles, True)])
def test_a_client_is_not_dialled_whatever_its_record_names(board: type[Switchboard], dialled: bool) -> None:
    """What is before it would refuse, and it would be called down."""
    made = core(A, node=CLIENT, board=board)
    curve = x25519_public(CLIENT.curve)
    made.parted(curve, 10.0)
    assert bool(made.due(10.0)) == dialled
    made.trying(curve, (A,))
    assert bool(made.tried(curve, A, Outcome.REFUSED, 10.0)) == dialled
