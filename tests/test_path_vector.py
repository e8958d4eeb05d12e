"""Routing between meshes: the shortest way, both ways the same, and never in a circle."""

from __future__ import annotations

from ipaddress import IPv6Network
from itertools import pairwise
from random import Random

import networkx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smeg import path_vector
from smeg.addresses import overlay_prefix
from smeg.path_vector import PathVector
from smeg.ways import MAX_HOPS
from tests.bridged_meshes import Box, World, mesh

SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=12, deadline=None)


def random_world(seed: int, meshes: int = 8, boxes: int = 40) -> World:
    """Some meshes, and nodes of which a quarter is in two or three."""
    chance = Random(seed)
    ids = [mesh(number) for number in range(chance.randint(2, meshes))]
    count = [1 if chance.random() < 0.75 else chance.choice([2, 2, 3]) for _ in range(chance.randint(2, boxes))]
    drawn = [(chance.sample(ids, min(k, len(ids))), chance.choice([1, 1, 2, 5])) for k in count]
    return World(seed, [Box(n, within, weight=weight) for n, (within, weight) in enumerate(drawn)])


def ring(seed: int, meshes: int, spur: bool = False) -> World:
    """Meshes in a ring, joined by one bridge each, with two nodes in every mesh; with a spur one mesh more hangs on the
    first."""
    ids = [mesh(number) for number in range(meshes + spur)]
    bridges = [(ids[n], ids[(n + 1) % meshes]) for n in range(meshes)] + ([(ids[0], ids[meshes])] if spur else [])
    leaves = [(each,) for each in ids for _ in range(2)]
    return World(seed, [Box(1000 * seed + n, within) for n, within in enumerate([*bridges, *leaves])])


def distances(world: World) -> dict[tuple[int, str], int]:
    """By node and mesh: how many meshes lie between, by another's algorithm; no entry where there is no way."""
    graph = networkx.Graph((box.number, each) for box in world.boxes if box.alive for each in box.meshes)
    found: dict[tuple[int, str], int] = {}
    for each in world.members:
        if each in graph:
            lengths = networkx.single_source_shortest_path_length(graph, each)
            found |= {(node, each): (length - 1) // 2 for node, length in lengths.items() if isinstance(node, int)}
    return found


def check_shortest(world: World) -> None:
    """Every node's way to every mesh is a shortest, and there is one exactly where there can be one."""
    known = distances(world)
    for box in world.boxes:
        for each in world.members if box.alive else ():
            taken = box.table.taken(overlay_prefix(each))
            found = 0 if each in box.meshes else len(taken[0].way.hops) if taken else None
            assert found == known.get((box.number, each)), f"{box.number} to {each}"


def check_symmetric(world: World) -> None:
    """Whatever one node sends to another comes back over the same nodes: WireGuard would not take it otherwise."""
    ends = [box for box in world.boxes if box.alive and len(box.meshes) == 1]
    for here in ends:
        for there in ends:
            (a,), (b,) = here.meshes, there.meshes
            forth, back = world.walk(here, b, there.place(b)), world.walk(there, a, here.place(a))
            if a != b and world.arrives(forth, b):
                assert [*forth, there] == [*back, here][::-1]


@FEW
@given(SEEDS)
def test_every_way_is_a_shortest_and_the_same_in_both_directions(seed: int) -> None:
    world = random_world(seed)
    world.rest()
    check_shortest(world)
    check_symmetric(world)


@FEW
@given(SEEDS)
def test_deaths_and_returns_never_make_a_circle_and_end_in_shortest_ways(seed: int) -> None:
    world, chance = random_world(seed), Random(seed)
    world.rest()
    for _ in range(4):
        dead = [box for box in world.boxes if not box.alive]
        if dead and chance.random() < 0.4:
            world.start(chance.choice(dead))
        else:
            living = [box for box in world.boxes if box.alive]
            for box in living and chance.sample(living, 1):
                world.kill(box)
        world.run(chance.choice([1.0, 10.0]))
    world.rest()
    assert world.loops == []
    check_shortest(world)
    check_symmetric(world)


class Hasty(PathVector):
    """Takes a longer way as soon as it hears of one."""

    def _is_followed(self) -> bool:
        return False


def lose_a_spur(seed: int) -> World:
    """A mesh that hangs on a ring is cut off: everybody around the ring hears of it from two sides."""
    world = ring(seed, 6, spur=True)
    world.rest()
    world.kill(world.boxes[6])
    world.rest()
    return world


def test_news_that_comes_from_two_sides_makes_no_circle() -> None:
    for seed in range(20):
        world = lose_a_spur(seed)
        assert world.loops == []
        check_shortest(world)


def test_without_waiting_it_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.bridged_meshes.PathVector", Hasty)
    assert any(lose_a_spur(seed).loops for seed in range(20))


def test_the_long_way_around_is_taken_soon_after_the_short_one_is_known_to_be_gone() -> None:
    for seed in range(10):
        world = ring(seed, 4)
        world.rest()
        began = world.now
        world.kill(world.boxes[0])
        world.rest()
        assert world.loops == []
        check_shortest(world)
        # Known, then held, then told from mesh to mesh.
        assert world.moved_at - began < 4.0 + path_vector.HOLD + 1.0


def test_of_two_bridges_only_the_share_of_the_dead_one_moves_and_comes_back() -> None:
    a, b = mesh(1), mesh(2)
    bridges = [Box(n, (a, b)) for n in range(3)]
    world = World(1, [*bridges, *(Box(10 + n, (a,)) for n in range(60)), *(Box(100 + n, (b,)) for n in range(60))])
    world.rest()
    ends = world.boxes[3:]
    before = {box.number: box.table.taken(overlay_prefix(b if a in box.meshes else a)) for box in ends}
    assert {one.via for taken in before.values() for one in taken} == {bridge.key for bridge in bridges}
    world.kill(bridges[0])
    world.rest()
    for box in ends:
        now = box.table.taken(overlay_prefix(b if a in box.meshes else a))
        kept = {one.via: one.mask for one in now}
        for one in before[box.number]:
            assert one.via == bridges[0].key or kept[one.via] & one.mask == one.mask
        assert bridges[0].key not in kept
    check_symmetric(world)
    world.start(bridges[0])
    world.rest()
    assert before == {box.number: box.table.taken(overlay_prefix(b if a in box.meshes else a)) for box in ends}


def test_a_prefix_behind_a_node_is_reached_from_every_mesh() -> None:
    lan = IPv6Network("2001:db8:1::/48")
    world = ring(1, 4)
    gateway = world.boxes[-1]
    gateway.behind = (lan,)
    gateway.start()
    world.start(gateway)
    world.rest()
    for box in world.boxes:
        if box is not gateway:
            (taken,) = box.table.taken(lan)
            between = distances(world)[box.number, gateway.meshes[0]]
            assert len(taken.way.hops) == between + 1
            assert taken.way.hops[0].node == gateway.key


def exit_of(world: World, box: Box, to: IPv6Network) -> list[Box]:
    """Where a packet from here to a prefix behind somebody goes."""
    passed = [box]
    while to not in passed[-1].behind:
        taken = passed[-1].table.taken(to)
        passed.append(world.by_key[taken[0].via])
    return passed


@FEW
@given(SEEDS)
def test_what_comes_from_behind_an_exit_comes_the_way_that_led_there(seed: int) -> None:
    lan, chance = IPv6Network("2001:db8:1::/48"), Random(seed)
    world = random_world(seed)
    ends = [box for box in world.boxes if len(box.meshes) == 1]
    for gateway in chance.sample(ends, min(3, len(ends))):
        gateway.behind = (lan,)
        gateway.start()
        world.start(gateway)
    world.rest()
    for box in ends:
        if lan in box.behind or not box.table.taken(lan):
            continue
        forth = exit_of(world, box, lan)
        if box.meshes != forth[-1].meshes:
            back = world.walk(forth[-1], box.meshes[0], box.place(box.meshes[0]))
            assert [*back, box] == forth[::-1]


def test_of_exits_in_the_own_mesh_all_are_given_to_choose_from() -> None:
    lan, a = IPv6Network("2001:db8:1::/48"), mesh(1)
    exits = [Box(n, (a,), (lan,), weight=n + 1) for n in range(3)]
    world = World(1, [*exits, Box(9, (a,))])
    world.rest()
    taken = world.boxes[-1].table.taken(lan)
    assert {(one.via, one.way.hops[0].weight) for one in taken} == {(box.key, box.weight) for box in exits}


def test_what_is_not_bridged_is_not_offered() -> None:
    a, b, c = mesh(1), mesh(2), mesh(3)
    table = PathVector(Box(1, (a,)).key)
    table.join(a, 1, bridged=True)
    table.join(b, 2, bridged=True)
    table.join(c, 3, bridged=False)
    table.settle(0.0)
    assert table.offer(a, overlay_prefix(b)) is not None
    assert table.offer(a, overlay_prefix(c)) is None
    assert table.offer(c, overlay_prefix(a)) is None
    assert table.offer(a, overlay_prefix(a)) is None


def test_a_way_that_is_as_long_as_one_can_be_is_taken_but_not_offered_on() -> None:
    ids = [mesh(number) for number in range(MAX_HOPS + 4)]
    bridges = [Box(number, pair) for number, pair in enumerate(pairwise(ids))]
    world = World(1, bridges)
    world.rest()
    reached = [len(taken[0].way.hops) for box in bridges if (taken := box.table.taken(overlay_prefix(ids[0])))]
    assert max(reached) == MAX_HOPS
    offers = [offer for box in bridges for said in box.said.values() for offer in said.values()]
    assert max(offer.length for offer in offers) == MAX_HOPS
