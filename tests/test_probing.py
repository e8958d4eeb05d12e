"""An exit offers what is behind it while it reaches beyond itself: lost soon, found again slowly."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.config_values import PublicEndpoint
from smeg.edges.dialling import Dialling
from smeg.probing import EVERY, FOUND_AFTER, LOST_AFTER, PATIENCE, Probing
from smeg.route_policy import MeshPolicy, RoutePolicy
from smeg.shares import DEFAULT
from tests.builders import QUICK
from tests.nodes import wait_for
from tests.routed_meshes import Meshes

REFUSING = PublicEndpoint("::1", 1)


@QUICK
@given(st.lists(st.booleans(), max_size=60))
def test_the_verdict_follows_from_the_last_attempts_alone(outcomes: list[bool]) -> None:
    probing, verdict = Probing(), None
    for number, outcome in enumerate(outcomes):
        changed = probing.attempted(outcome, number * EVERY)
        assert changed == (probing.reached is not verdict)
        verdict = probing.reached
        last = outcomes[: number + 1]
        if number == 0 or not any(last[-LOST_AFTER:]):
            assert verdict is outcome
        good = int(FOUND_AFTER / EVERY) + 1
        if len(last) >= good and all(last[-good:]):
            assert verdict is True
        if verdict and not outcome:
            assert last[-2], "one failure withdraws nothing"


def test_an_uplink_that_comes_and_goes_stays_lost() -> None:
    probing = Probing()
    probing.attempted(True, 0.0)
    for number in range(1, 90):
        probing.attempted(number % 3 == 0, number * EVERY)
    assert probing.reached is False


def test_an_exit_that_lost_its_uplink_offers_nothing_until_it_is_back() -> None:
    world = Meshes("a")
    gate = world.add("exit", "a", RoutePolicy(behind=frozenset({DEFAULT}), probed=True))
    keen = world.add("keen", "a", RoutePolicy(general=MeshPolicy(accept_defaults=True)))
    world.settle()
    assert keen.vias(world["a"]) == {}
    for version, reached in enumerate((True, False, True)):
        gate.table.handle(m.UplinkChanged(version, reached), world.now)
        world.settle()
        assert keen.vias(world["a"]) == ({DEFAULT: gate.key} if reached else {})


def reaches(*targets: PublicEndpoint) -> bool:
    attempt = Dialling(targets, 0)
    wait_for("the attempt ends", attempt.look, PATIENCE)
    attempt.close()
    return attempt.reached


def test_one_target_that_accepts_is_enough() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        accepting = PublicEndpoint("::1", server.getsockname()[1])
        assert reaches(accepting)
        assert reaches(REFUSING, accepting)


def test_targets_that_refuse_or_have_no_route_are_not_reached() -> None:
    assert not reaches(REFUSING)
    assert not reaches(REFUSING, PublicEndpoint("ff02::1", 9))
