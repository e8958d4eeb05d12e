"""A few dozen simulated nodes and all that may befall them: who comes to know what, within which bound, and who errs.

Bounds are in virtual seconds, so they hold on any machine.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from scenarios.at_size import Node
from scenarios.chronicle import Event
from smeg.refresh import SILENT_EPOCHS
from tests.masses import Checked, made

HB = 5.0
CRASH = 4.5
"""seconds in which a crash is known to all: the patience of 3 s, a tick, an accusation, a flood."""
KILL = 1.5
"""seconds in which a killed daemon is known to all, by its host's refusals."""
REFRESH = 17.5
"""seconds in which the refresh alone finds the dead: three epochs of 5 s, the grace, a flood."""
APART = 25.0
"""seconds until both sides of a partition know of it: the smaller one has to find out who is left."""
HEALED = 5.0
"""seconds from the end of a partition until all are together again."""


def know(mass: Checked, event: Event, within: float) -> bool:
    """Whether all the living come to know it in time, and are whole for long after."""
    known = mass.run(within, lambda: mass.is_known(event))
    mass.run(20.0)
    return known and mass.whole()


def in_order(mass: Checked) -> list[Node]:
    """As they would lead."""
    return sorted(mass.nodes, key=lambda node: node.key)


def others(mass: Checked, side: Iterable[Node]) -> list[Node]:
    those = set(side)
    return [node for node in mass.living if node not in those]


# Deaths.


@pytest.mark.parametrize("seed", [1, 2])
def test_crashes_of_a_tenth_are_known_to_all_in_seconds_and_nobody_else_is_thought_dead(seed: int) -> None:
    mass = made(60, seed=seed)
    assert know(mass, mass.crash(mass.sample(0.1)), CRASH)
    assert mass.chronicle.false == []


def test_killed_daemons_are_known_to_all_at_once_and_are_pruned_after_the_grace() -> None:
    mass = made(60)
    event = mass.kill(mass.sample(0.1))
    assert know(mass, event, KILL)
    assert all(node.witness.down == event.subjects for node in mass.living)
    mass.run(30.0)
    assert all(node.witness.down == frozenset() for node in mass.living)
    assert mass.whole()
    assert mass.chronicle.false == []


def test_one_that_is_killed_and_started_again_is_soon_alive_to_all_and_was_pruned_by_nobody() -> None:
    mass = made()
    victims = mass.sample(0.05)
    event = mass.kill(victims)
    assert mass.run(KILL, lambda: mass.is_known(event))
    back = mass.restart(victims)
    assert mass.run(3.0, lambda: mass.is_known(back) and mass.whole())
    mass.run(45.0)
    assert mass.whole()
    assert mass.chronicle.false == []


def test_a_daemon_that_is_down_and_whose_host_dies_too_is_pruned_before_its_grace() -> None:
    mass = made()
    victims = mass.sample(0.05)
    event = mass.kill(victims)
    assert mass.run(KILL, lambda: mass.is_known(event))
    for victim in victims:
        victim.crash()
    assert mass.run(10.0, lambda: all(not node.witness.down for node in mass.living))
    mass.run(20.0)
    assert mass.whole()
    assert mass.chronicle.false == []


def test_when_the_leader_and_the_next_two_die_the_fourth_leads_in_seconds() -> None:
    mass = made()
    *dead, fourth = in_order(mass)[:4]
    event = mass.crash(dead)
    assert mass.run(CRASH, lambda: mass.one_leader() == fourth.key)
    assert know(mass, event, 1.0)
    assert mass.chronicle.false == []


# The refresh alone.


def test_the_refresh_alone_finds_the_dead() -> None:
    mass = made(fast_detection=False)
    assert know(mass, mass.crash(mass.sample(0.1)), REFRESH)
    assert mass.chronicle.false == []


def test_the_refresh_alone_follows_dead_leaders() -> None:
    mass = made(fast_detection=False)
    *dead, fourth = in_order(mass)[:4]
    event = mass.crash(dead)
    assert mass.run(3 * SILENT_EPOCHS * HB + HB, lambda: mass.one_leader() == fourth.key)
    assert know(mass, event, REFRESH)
    assert mass.chronicle.false == []


# Partitions.


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_both_sides_of_a_partition_see_it_err_about_nobody_of_their_own_and_are_whole_after_it(share: float) -> None:
    mass = made()
    side = mass.sample(share)
    sides = (side, others(mass, side))
    events = mass.part(*sides)

    def seen() -> bool:
        return all(event.complete(set(mass.keys(each))) for event, each in zip(events, sides, strict=True))

    assert mass.run(APART, seen)
    for each in sides:
        assert {node.witness.leader for node in each} == {min(mass.keys(each))}, "each has one leader"
    mass.change_record(side[0])
    mass.change_record(sides[1][0])
    mass.run(20.0)
    assert len(mass.roots()) == 2
    mass.heal()
    assert mass.run(HEALED, mass.whole)
    mass.run(20.0)
    assert mass.whole()
    assert (mass.chronicle.false, mass.removes()) == ([], 0)


@pytest.mark.parametrize("mute", [True, False])
def test_a_cut_of_one_way_costs_nobody_the_membership_and_is_over_when_it_heals(mute: bool) -> None:
    """A quarter is heard by nobody else, or hears nobody else."""
    mass = made(24)
    side = mass.sample(0.25)
    rest = others(mass, side)
    one, other = ([node.station.curve for node in each] for each in (side, rest))
    mass.network.cut(one, other) if mute else mass.network.cut(other, one)
    mass.run(40.0)
    mass.change_record(side[0])
    mass.change_record(rest[0])
    mass.run(5.0)
    mass.network.heal()
    assert mass.run(HEALED, mass.whole)
    mass.run(20.0)
    assert mass.whole()
    assert mass.removes() == 0


# Hosts and lines that are not what they should be.


def test_hosts_that_stand_still_now_and_then_condemn_nobody_and_are_back() -> None:
    mass = made()
    mass.deep = 5_000
    mass.stall_now_and_then(mass.sample(0.2), every=20.0, median=4.0, sigma=1.0, seconds=60.0)
    mass.run(90.0)
    assert mass.chronicle.false == []
    assert mass.chronicle.excused_deaths, "those that stood still for long were thought dead meanwhile"


def test_clocks_that_drift_by_a_hundredth_change_nothing() -> None:
    mass = made()
    for number, node in enumerate(mass.nodes):
        node.runtime.drift(0.99 if number % 2 else 1.01)
    assert know(mass, mass.crash(mass.sample(0.1)), CRASH)
    assert mass.chronicle.false == []


def test_one_message_of_twenty_that_is_lost_costs_nobody_the_name_of_living() -> None:
    mass = made()
    mass.network.loss = 0.05
    mass.run(60.0)
    event = mass.crash(mass.sample(0.05))
    assert mass.run(CRASH, lambda: mass.is_known(event))
    mass.run(20.0)
    assert mass.at_rest()
    assert mass.chronicle.false == []


def test_all_that_start_again_at_once_are_a_mesh_at_once() -> None:
    mass = made()
    mass.restart_all()
    for _ in range(10):
        mass.run(3.0)
        assert mass.at_rest()
    assert mass.whole()
    assert mass.chronicle.false == []


def test_an_update_reaches_all_in_half_a_second() -> None:
    mass = made(80)
    event = mass.change_record(mass.nodes[7])
    assert mass.run(0.5, lambda: mass.is_known(event))
    mass.run(2.0)
    assert mass.whole()


# Clients.


def reached(mass: Checked) -> set[str]:
    """Clients to whom somebody sent who had no connection with them."""
    clients = {node.name for node in mass.clients}
    return {target for _, target in mass.strangers if target in clients}


def test_the_death_of_a_client_is_known_to_all_and_nobody_ever_dials_one() -> None:
    mass = made(30, 20)
    assert know(mass, mass.crash(mass.clients[:2]), CRASH)
    back = mass.restart(mass.clients[:2])
    assert mass.run(5.0, lambda: mass.is_known(back) and mass.whole())
    # Nobody dials a client, so no host's refusal tells of its daemon: it is found by its silence.
    assert know(mass, mass.kill(mass.clients[3:5]), CRASH)
    assert mass.chronicle.false == []
    assert reached(mass) == set()


def test_a_client_whose_peers_both_die_goes_to_others_and_is_never_thought_dead_for_it() -> None:
    mass = made(30, 20)
    client = mass.clients[5]
    members = client.witness.members
    assert members is not None
    peers = [mass.by_key[key] for key in members.members.rings.upstream(client.key)]
    assert len(peers) == 2
    assert know(mass, mass.crash(peers), CRASH)
    mass.run(40.0)
    assert mass.whole()
    event = mass.change_record(client)
    assert mass.run(2.0, lambda: mass.is_known(event)), "it is heard through its new ones"
    assert mass.chronicle.false == []
    assert reached(mass) == set()


def test_with_the_refresh_alone_clients_err_about_nobody_and_find_the_dead() -> None:
    mass = made(10, 40, fast_detection=False)
    mass.run(60.0)
    assert mass.chronicle.false == []
    assert know(mass, mass.crash([*mass.clients[:1], mass.nodes[3]]), REFRESH)
    assert mass.chronicle.false == []
