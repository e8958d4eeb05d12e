"""The planner says what `wanted` says, whatever happened before, and keeps what has not changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Network

from hypothesis import example, given
from hypothesis import strategies as st

from smeg.device import DeviceState, Endpoint
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.planner import Planner
from smeg.records import Member, Route
from smeg.wanted import View, wanted
from tests.builders import QUICK
from tests.test_wanted import INDEXES, MESH, PREFIXES, members, nodes

routes = st.lists(st.tuples(st.sampled_from([*PREFIXES, IPv6Network("::/0")]), INDEXES), max_size=4)


@dataclass(frozen=True)
class Moment:
    """What becomes of the mesh."""

    dead: frozenset[int]
    gone: frozenset[int]
    moved: int
    """Who has another endpoint."""
    via: tuple[int, int]
    """Whom somebody names as its carrier."""
    thefts: tuple[tuple[str, int, int], ...]
    """Who claims what of whom."""
    forwarded: list[tuple[IPv6Network, int]]
    sent: list[tuple[IPv6Network, int]]


thefts = st.tuples(st.sampled_from(["address", "wireguard"]), INDEXES, INDEXES)
moments = st.builds(
    Moment,
    st.frozensets(INDEXES, max_size=3),
    st.frozensets(INDEXES, max_size=3),
    INDEXES,
    st.tuples(INDEXES, INDEXES),
    st.lists(thefts, max_size=1).map(tuple),
    routes,
    routes,
)


def first_place(found: Sequence[Member]) -> list[Endpoint | None]:
    return [next(iter(member.record.wireguard), None) for member in found]


def changed(known: dict[NodeKey, Member], moment: Moment, number: int) -> dict[NodeKey, Member]:
    keys = [node.key for node in nodes()]
    mover, (client, carrier) = known[keys[moment.moved]], moment.via
    known[mover.key] = replace(mover, record=replace(mover.record, wireguard=(Endpoint("192.0.2.1", number + 1),)))
    named = known[keys[client]]
    known[named.key] = replace(named, record=replace(named.record, via=(keys[carrier],)))
    found = dict(known)
    for what, thief, victim in moment.thefts:
        member, robbed = found[keys[thief]], found[keys[victim]]
        if what == "address":
            found[member.key] = replace(member, address=robbed.address)
        else:
            standing = replace(member.standing, wireguard=robbed.standing.wireguard)
            found[member.key] = replace(member, standing=standing)
    return {key: member for key, member in found.items() if key not in {keys[index] for index in moment.gone}}


STILL = Moment(frozenset(), frozenset(), 0, (0, 0), (), [], [])


@QUICK
@given(INDEXES, st.lists(moments, max_size=6))
# A client of which one has the warm tunnel dies, and names another endpoint.
@example(1, [STILL, STILL, replace(STILL, dead=frozenset({2}), moved=2)])
def test_it_says_what_would_be_said_without_a_past(me: int, history: list[Moment]) -> None:
    own, known, planner = nodes()[me].key, dict(members()), Planner()
    before: DeviceState | None = None
    for number, moment in enumerate(history):
        now = Members.of(changed(known, moment, number))
        pruned = frozenset(nodes()[index].key for index in moment.dead - {me})
        forwarded, sent = (
            tuple(Route(prefix, nodes()[via].key) for prefix, via in dict(found).items())
            for found in (moment.forwarded, moment.sent)
        )
        view = View(MESH.id, own, now, pruned, forwarded, 51820, 1420, 25, sent)
        expected, found = wanted(view, first_place), planner.wanted(view, first_place)
        assert found == expected
        if found is not None and before is not None and not moment.thefts:
            same = [key for key, peer in found.peers.items() if before.peers.get(key) == peer]
            assert all(found.peers[key] is before.peers[key] for key in same)
        before = found if not moment.thefts else None


def test_only_who_changed_is_asked_where_it_is_reached_until_all_is_forgotten() -> None:
    known, asked = dict(members()), list[list[NodeKey]]()
    own, other = _two_peers()

    def choose(found: Sequence[Member]) -> list[Endpoint | None]:
        asked.append([member.key for member in found])
        return first_place(found)

    planner = Planner()
    for pruned in (frozenset[NodeKey](), frozenset({other}), frozenset[NodeKey]()):
        planner.wanted(View(MESH.id, own, Members.of(known), pruned, (), 51820, 1420, 25), choose)
    planner.forget()
    planner.wanted(View(MESH.id, own, Members.of(known), frozenset(), (), 51820, 1420, 25), choose)
    assert len(asked[0]) >= 5
    assert other not in asked[1]
    assert other in asked[2]
    assert len(asked[1]) < len(asked[0]) > len(asked[2])
    assert sorted(asked[3]) == sorted(asked[0])


def _two_peers() -> list[NodeKey]:
    return [node.key for node in nodes() if node.label.startswith("peer")][:2]
