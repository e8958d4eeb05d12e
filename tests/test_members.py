"""The table of members: what follows from it is the same, however it came about."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv6Network

from hypothesis import given
from hypothesis import strategies as st

from smeg.keys import NodeKey
from smeg.members import Members, Ranks
from smeg.records import Member, OwnRecord
from tests.builders import QUICK, Desk, MadeMesh

KEYS = st.sets(st.integers(0, 60).map(lambda number: NodeKey(bytes([number]) * 32)), max_size=30)


def ranks(keys: set[NodeKey]) -> Ranks:
    return Ranks.of(tuple(sorted(keys)))


def bits(of: set[NodeKey], among: Ranks) -> int:
    return sum(1 << rank for rank, key in enumerate(among.keys) if key in of)


@QUICK
@given(KEYS, KEYS, KEYS)
def test_a_set_of_ranks_means_the_same_members_in_another_list(
    before: set[NodeKey], after: set[NodeKey], chosen: set[NodeKey]
) -> None:
    old, new = ranks(before), ranks(after)
    assert new.since(old).translate(bits(chosen & before, old)) == bits(chosen & before & after, new)


@QUICK
@given(KEYS, KEYS)
def test_a_list_that_was_changed_step_by_step_is_the_list_of_the_same_keys(
    before: set[NodeKey], after: set[NodeKey]
) -> None:
    assert ranks(before).change(sorted(after - before), before - after) is ranks(after)


@cache
def versions() -> list[tuple[Member, Member]]:
    """Some members, each as it is when it offers nothing and when it offers a prefix."""
    mesh = MadeMesh("members")
    nodes = [mesh.founder(f"node {number}") for number in range(6)]
    plain, offering = Desk(mesh.id), Desk(mesh.id)
    for node in nodes:
        plain.take([*node.certificates, node.record(1).raw])
        offering.take(
            [*node.certificates, node.record(2, OwnRecord(node.label, routes=(IPv6Network("2001:db8::/48"),))).raw]
        )
    return [(plain.members[node.key], offering.members[node.key]) for node in nodes]


@QUICK
@given(st.lists(st.dictionaries(st.integers(0, 5), st.sampled_from(["plain", "offering", "gone"])), max_size=6))
def test_who_offers_prefixes_is_known_after_every_change(steps: list[dict[int, str]]) -> None:
    members = Members()
    for step in steps:
        changed: dict[NodeKey, Member | None] = {}
        for number, what in step.items():
            plain, offering = versions()[number]
            changed[plain.key] = {"plain": plain, "offering": offering, "gone": None}[what]
        members = members.change(changed)
        assert [*members.routed] == [member for member in members.values() if member.record.routes]
