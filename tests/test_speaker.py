"""What a bridge says piece by piece is judged as if it had said it all at once."""

from __future__ import annotations

from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from smeg.addresses import overlay_prefix
from smeg.annexes import Annex
from smeg.certificates import Grant
from smeg.keys import NodeKey
from smeg.records import Member
from smeg.speaker import Speaker
from tests.builders import NOTARY, QUICK, WALL
from tests.routed_meshes import Meshes, annex, chain


@cache
def said() -> tuple[Meshes, Member, list[Annex], list[Annex]]:
    """All that the bridge from a to the other meshes says in a, and some of it as nobody honest would."""
    world = chain()
    mesh, bridge = world["a"].id, world.daemons["ab"]
    true = sorted(world.annexes[mesh][bridge.key].values(), key=lambda one: one.label)
    offers = [one for one in true if one.label.startswith("offer:")]
    false = [
        *(annex(mesh, bridge.key, one.label, one.body[:-1]) for one in offers),
        *(annex(mesh, bridge.key, one.label, b"") for one in true),
        *(annex(mesh, bridge.key, one.label.upper().replace("OFFER", "offer"), one.body) for one in offers),
        annex(mesh, bridge.key, "offer:2001:db8::/32", offers[0].body),
        annex(mesh, bridge.key, "another", b"said"),
    ]
    return world, world.members(mesh)[bridge.key], true, false


@QUICK
@given(st.data())
def test_a_bridge_that_changes_what_it_says_is_judged_as_one_that_says_it_for_the_first_time(
    data: st.DataObject,
) -> None:
    world, member, true, false = said()
    mesh = world["a"].id
    overlays = frozenset([overlay_prefix(mesh)])

    def here(of: str, node: NodeKey) -> Grant | None:
        return member.standing.grant if (of, node) == (mesh, member.key) else None

    before = Speaker(mesh, member.key, NOTARY)
    for moment in range(data.draw(st.integers(1, 6))):
        without = data.draw(st.sets(st.sampled_from(range(len(true))), max_size=2))
        chosen = [one for place, one in enumerate(true) if place not in without]
        stands = {one.label: one for one in chosen + data.draw(st.lists(st.sampled_from(false), max_size=2))}
        anew = Speaker(mesh, member.key, NOTARY)
        for speaker in (before, anew):
            speaker.look(member, stands, overlays, here, WALL, float(moment))
        assert before.offers == anew.offers
        assert before.until == anew.until
        assert before.problem == anew.problem
