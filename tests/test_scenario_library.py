"""The scenarios of the library: each is read, holds at a small size, and together they find bugs that are put in."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv6Network

import pytest

from actors.device import DeviceActor
from scenarios.actions import VERBS
from scenarios.attempt import Case, Outcome, attempt
from scenarios.planned_runs import Run
from scenarios.players import Player
from scenarios.run import play
from scenarios.script_files import library
from scenarios.script_reading import read
from scenarios.shrinking import Shrinking, Shrunk
from scenarios.verdicts import Play
from smeg.heartbeat import Heartbeat
from smeg.keys import NodeKey
from smeg.path_vector import PathVector, Taken
from smeg.refresh import _HEAD, Refresh, _bits
from smeg.watch import Watch
from smeg.ways import MAX_HOPS

NAMES = [path.stem for path in library()]
SMALL = 14
QUICK = (
    "leader-dies",
    "minority-partition",
    "peer-of-a-client-dies",
    "join-storm",
    "corrupt-state",
    "state-started-twice",
)


def played(name: str, nodes: int = SMALL, seed: int = 1) -> Play:
    path = next(path for path in library() if path.stem == name)
    script, _ = read(path)
    done, _ = play(Run(script, nodes, seed, "simulated"), quiet=True)
    return done


def failed(done: Play) -> list[str]:
    return [f"{verdict.about}: {verdict.what}" for verdict in done.verdicts if not verdict.held]


@pytest.mark.parametrize("name", NAMES)
def test_each_is_a_page_that_says_what_it_plays_and_what_must_hold(name: str) -> None:
    path = next(path for path in library() if path.stem == name)
    script, text = read(path)
    assert len(text.splitlines()) <= 60
    assert text.startswith("# "), "what real life it is from"
    assert script.about
    assert script.timeline
    assert script.expect
    assert script.counts(50)


def test_there_are_twenty_and_they_use_nearly_all_verbs() -> None:
    used = {type(event.action) for path in library() for event in read(path)[0].timeline}
    assert len(NAMES) >= 20
    unused = {word for word, kind in VERBS.items() if kind not in used}
    assert unused <= {"resume"}


@pytest.mark.parametrize("name", QUICK)
def test_what_must_hold_holds(name: str) -> None:
    assert failed(played(name)) == []


# Bugs that are put in on purpose: each is found by the library, and shrunk to a few hosts.


def shrunk(name: str, nodes: int, check: str) -> Shrunk:
    """The smallest run that fails by this check, of one that does."""
    path = next(path for path in library() if path.stem == name)
    script, _ = read(path)
    case = Case(script, nodes, 1)
    outcome = attempt(case)
    assert check in outcome.failures, outcome.failures
    found = Shrinking(case, Outcome({check: outcome.failures[check]}), attempt, tries=90).shrink()
    assert check in found.outcome.failures
    return found


def test_one_observer_that_is_believed_though_it_hears_nobody_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It condemns everybody."""
    monkeypatch.setattr(Heartbeat, "_is_cut_off", lambda self, now: False)
    monkeypatch.setattr(Watch, "_quorum", lambda self, places: 1)
    monkeypatch.setattr(Watch, "_accusers", lambda self: 1)
    small = shrunk("one-way-partition", 20, "no-live-node-pruned").case
    assert small.nodes < 10
    assert len(small.script.timeline) < 4


def test_a_prune_rule_without_its_three_epochs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever did not answer one epoch in time is pruned, whatever it said to those before."""
    monkeypatch.setattr("smeg.refresh.SILENT_EPOCHS", 1)
    small = shrunk("leader-dies", SMALL, "no-live-node-pruned").case
    assert small.nodes < 10
    assert len(small.script.timeline) < 3


def test_a_peer_that_moves_and_does_not_say_where_it_is_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells its daemon, and that does not listen."""
    monkeypatch.setattr(Player, "_find_address", lambda self: None)
    small = shrunk("roaming-peer", SMALL, "reachable").case
    assert small.nodes < 10
    assert len(small.script.timeline) < 3


def test_a_client_that_does_not_wake_its_tunnels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its NAT has forgotten them, and until its next keepalive nothing reaches it."""
    monkeypatch.setattr(DeviceActor, "_is_client", lambda self: False)
    small = shrunk("nat-rebinding", SMALL, "reachable").case
    assert small.nodes < 10
    assert len(small.script.timeline) < 3


def test_a_merge_that_is_not_commutative_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two sets of answers the last to arrive counts, instead of both."""
    right = Refresh.merge

    def wrong(self: Refresh, sender: NodeKey, tag: bytes, items: Iterable[bytes]) -> list[tuple[int, int]]:
        said = list(items)
        news = right(self, sender, tag, said)
        if self._list_named(tag) is self.ranks:
            for item in said:
                epoch, form = _HEAD.unpack_from(item)
                if epoch in self._answers:
                    self._answers[epoch] = _bits(item[_HEAD.size :], form, self.ranks)
        return news

    monkeypatch.setattr(Refresh, "merge", wrong)
    small = shrunk("leader-dies", SMALL, "no-live-node-pruned").case
    assert small.nodes < 10
    assert len(small.script.timeline) < 3


def test_a_route_without_its_loop_check_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge takes a way that crosses one of its own meshes."""

    def wrong(self: PathVector, prefix: IPv6Network) -> list[Taken]:
        if prefix in self._behind or prefix in self._overlays:
            return []
        offers = (
            (mesh, offered[prefix])
            for mesh, side in self._sides.items()
            for offered in side.offers.values()
            if prefix in offered
        )
        return [Taken(mesh, way, way.mask) for mesh, offer in offers for way in offer.ways if len(way.hops) <= MAX_HOPS]

    monkeypatch.setattr(PathVector, "candidates", wrong)
    small = shrunk("slow-bridges", 16, "no-loop").case
    assert small.nodes < 10
    assert len(small.script.timeline) < 4
