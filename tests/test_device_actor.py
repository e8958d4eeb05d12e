"""The actor of one interface in virtual time: how often it plans, when it looks, and what a look finds.

Plans are counted by what the backend is told to apply: each ends there, also one that changes nothing. New peers are
nudged by that way too, so what is counted changes only peers that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from ipaddress import IPv6Address, IPv6Network
from itertools import pairwise

import pytest

from actors.base import Actor, Address
from actors.device import (
    LOOK_AGAIN,
    MOST_REST,
    NUDGE_KEEPALIVE,
    REST_A_MEMBER,
    STANDS,
    TRY_AGAIN,
    DeviceActor,
    DeviceSettings,
)
from actors.runtime import Runtime
from actors.virtual import VirtualRuntime
from actors.wiring import Directory, Role
from smeg import messages as m
from smeg.certificates import Role as NodeRole
from smeg.core import Message
from smeg.device import (
    AddRoute,
    Backend,
    DeviceState,
    Endpoint,
    InterfaceSpec,
    Operation,
    RemovePeer,
    SetPeer,
    Table,
    WgPeer,
)
from smeg.edges.dry_run import DryRunBackend
from smeg.errors import LocalError
from smeg.forwarding import Forwarding, Mode, Setting
from smeg.keys import NodeKey, x25519_public
from smeg.members import Members
from smeg.records import OwnRecord, Route
from tests.builders import Desk, MadeMesh

HOME = MadeMesh("home")
OWN, OTHER = HOME.founder("own"), HOME.founder("other", serial=2)
HERE, THERE = Endpoint("192.0.2.1", 51820), Endpoint("192.0.2.2", 51820)
NAMED = Endpoint("other.example", 51820)
FEW, MANY = 50, 6000
PLAIN = DeviceSettings((51820,), 1420, 25, 0.0)
NEW = 60.0
"""seconds until all peers have been nudged."""


@cache
def members(count: int, place: Endpoint = HERE) -> Members:
    """This node and others, so many together, all with one endpoint."""
    desk = Desk(HOME.id)
    for node in (OWN, OTHER):
        desk.take([*node.certificates, node.record(1, OwnRecord(node.label, (), (place,))).raw])
    table = dict(desk.members.items())
    pattern = table[OTHER.key]
    for number in range(count - len(table)):
        # Nobody signs for these: a device asks for no signature.
        key = NodeKey(number.to_bytes(32, "big"))
        standing = replace(pattern.standing, wireguard=key)
        table[key] = replace(pattern, key=key, standing=standing, address=IPv6Address(2**125 + number))
    return Members.of(table)


class Device(DryRunBackend):
    """In memory; tells when it was planned and looked at, and cannot be read when the test says so."""

    def __init__(self, runtime: VirtualRuntime) -> None:
        super().__init__()
        self.planned: list[float] = []
        self.looked: list[float] = []
        self.set: list[WgPeer] = []
        self.broken = False
        self.forwards = Forwarding(host=False, interface=False)
        self.turned_on: list[Setting] = []
        self._runtime = runtime

    def read(self) -> DeviceState:
        self.looked.append(self._runtime.time)
        if self.broken:
            raise LocalError("device-failed", "it cannot be read")
        return super().read()

    def forwarding(self) -> Forwarding:
        return self.forwards

    def turn_on(self, setting: Setting) -> None:
        self.turned_on.append(setting)
        self.forwards = Forwarding(setting is Setting.HOST, True)

    def apply(self, operations: tuple[Operation, ...]) -> None:
        self.planned.append(self._runtime.time)
        self.set += [operation.peer for operation in operations if isinstance(operation, SetPeer)]
        super().apply(operations)


class Names:
    """An underlay: where each endpoint leads by now, and who was asked for."""

    def __init__(self) -> None:
        self.leads: dict[Endpoint, Endpoint] = {HERE: HERE, THERE: THERE}
        self.asked: list[Endpoint] = []

    def choose(self, endpoints: tuple[Endpoint, ...], now: float) -> Endpoint | None:
        self.asked += endpoints
        return next((self.leads[endpoint] for endpoint in endpoints if endpoint in self.leads), None)

    def listen(self, resolved: Callable[[], None]) -> None:
        pass

    def close(self) -> None:
        pass


class Hearer(Actor):
    """Plays everybody who hears a device."""

    role = Role.CONTROL

    def __init__(self, runtime: Runtime) -> None:
        super().__init__(runtime)
        self.heard: list[Message] = []

    def handle(self, message: Message, now: float) -> Iterable[Message]:
        self.heard.append(message)
        return []


class Bench:
    """A device actor, alone but for a hearer, whose members stand on its device and have been nudged."""

    def __init__(
        self,
        count: int,
        place: Endpoint = HERE,
        client: bool = False,
        settings: DeviceSettings = PLAIN,
        runs: float = NEW,
    ) -> None:
        self.client = client
        self.runtime = VirtualRuntime(1)
        self.runtime.tracing = False
        self.device, self.names = Device(self.runtime), Names()
        self.count = count
        host = self.runtime.host("here")
        hearer = Hearer(host)
        self.heard = hearer.heard
        spec = InterfaceSpec("smeg-home", OWN.wireguard, 51820, 1420)
        actor = DeviceActor(host, HOME.id, 1, Address(hearer), OWN.key, spec, settings, self._open, self.names)
        self._address = Address(actor)
        for each in (hearer, actor):
            each._start_actor_loop()
            Address(each).tell(Directory(1, {(Role.CONTROL, ""): Address(hearer)}))
        self.say(place)
        self.runtime.run(runs)
        self.warned = warnings(self)
        self.forget()

    def _open(self, spec: InterfaceSpec) -> Backend:
        self.device.open(spec)
        return self.device

    def forget(self) -> None:
        """Count anew."""
        for counted in (self.device.planned, self.device.set, self.device.looked, self.names.asked, self.heard):
            counted.clear()

    def say(self, place: Endpoint) -> None:
        """All members are at another endpoint."""
        found = members(self.count, place)
        if self.client:
            own = found[OWN.key]
            grant = replace(own.standing.grant, role=NodeRole.CLIENT)
            found = found.change({OWN.key: replace(own, standing=replace(own.standing, grant=grant))})
        self.hear(m.MembersChanged(HOME.id, 1, found))

    def hear(self, message: Message) -> None:
        self._address.tell(message)

    def run(self, seconds: float) -> None:
        self.runtime.run(self.runtime.time + seconds)

    def places(self) -> set[Endpoint | None]:
        return {peer.endpoint for peer in self.device.read().peers.values()}

    @property
    def failures(self) -> list[str]:
        return [message.problem.code for message in self.heard if isinstance(message, m.DeviceFailed)]


# Rest.


@pytest.mark.parametrize(("count", "rest"), [(FEW, FEW * REST_A_MEMBER), (MANY, MOST_REST)])
def test_between_two_plans_it_rests_longer_for_more_members_and_then_plans_the_last_that_it_heard(
    count: int, rest: float
) -> None:
    bench = Bench(count)
    for number in range(1, 101):
        place = HERE if number % 2 else THERE
        bench.runtime.call(bench.runtime.time + number * rest / 20, bench.say, place)
    bench.run(6 * rest)
    planned = bench.device.planned
    waits = [after - before for before, after in pairwise(planned)]
    assert rest - 1e-6 <= min(waits) <= max(waits) <= 1.1 * rest
    assert len(planned) <= 7, "a hundred changes in five rests"
    assert bench.places() == {THERE}


def test_the_first_change_after_a_rest_is_planned_at_once() -> None:
    bench = Bench(FEW)
    bench.run(1.0)
    bench.say(THERE)
    bench.run(0.0)
    assert bench.places() == {THERE}


def test_routes_are_planned_at_once_also_while_it_rests() -> None:
    bench = Bench(FEW)
    bench.run(1.0)
    bench.say(HERE)
    bench.run(0.0)
    before = len(bench.device.planned)
    bench.say(THERE)
    bench.run(0.0)
    assert len(bench.device.planned) == before, "it rests"
    bench.hear(m.RoutesChanged(HOME.id, 2, (), ()))
    bench.run(0.0)
    assert len(bench.device.planned) == before + 1


def test_while_nothing_happens_it_only_looks_twice_a_minute() -> None:
    bench = Bench(FEW)
    before = bench.runtime.delivered
    bench.run(600.0)
    assert len(bench.device.looked) == 600 / LOOK_AGAIN
    assert bench.device.planned == []
    assert bench.heard == []
    assert bench.runtime.delivered - before == 600 / LOOK_AGAIN, "it wakes for nothing else"


# What keeps traffic from passing.


def warnings(bench: Bench) -> list[list[str]]:
    found = [message for message in bench.heard if isinstance(message, m.DeviceWarned)]
    return [[problem.code for problem in message.problems] for message in found]


def with_a_client(count: int) -> Members:
    table = dict(members(count).items())
    last = table[max(table)]
    grant = replace(last.standing.grant, role=NodeRole.CLIENT)
    return Members.of({**table, last.key: replace(last, standing=replace(last.standing, grant=grant))})


def test_nothing_is_turned_on_while_nobody_relies_on_it() -> None:
    bench = Bench(FEW)
    assert bench.device.turned_on == []
    bench.run(LOOK_AGAIN)
    assert warnings(bench) == []


def test_for_the_clients_of_a_mesh_the_interface_passes_packets_on() -> None:
    bench = Bench(FEW)
    bench.hear(m.MembersChanged(HOME.id, 2, with_a_client(FEW)))
    bench.run(1.0)
    assert bench.device.turned_on == [Setting.INTERFACE]
    assert warnings(bench) == []


def test_what_may_not_be_turned_on_is_a_problem_until_somebody_does() -> None:
    bench = Bench(FEW, settings=DeviceSettings((51820,), 1420, 25, 0.0, Mode.NONE, leads_beyond=True))
    assert bench.warned == [["no-forwarding"]]
    bench.device.forwards = Forwarding(host=True, interface=False)
    bench.run(LOOK_AGAIN)
    assert warnings(bench) == [[]]
    assert bench.device.turned_on == []


def test_what_somebody_turned_off_is_on_again_after_the_next_look() -> None:
    bench = Bench(FEW, settings=DeviceSettings((51820,), 1420, 25, 0.0, Mode.HOST, leads_beyond=True))
    assert bench.warned == [[]]
    bench.device.forwards = Forwarding(host=False, interface=False)
    bench.run(LOOK_AGAIN)
    assert bench.device.turned_on == [Setting.HOST] * 2


# What a look finds.


def test_what_somebody_else_took_from_the_device_is_back_after_the_next_look() -> None:
    bench = Bench(FEW)
    before = bench.device.read()
    robbed = next(iter(before.peers))
    DryRunBackend.apply(bench.device, (RemovePeer(robbed),))
    bench.run(LOOK_AGAIN)
    assert bench.device.read() == before
    bench.run(NEW)
    bench.forget()
    bench.run(10 * LOOK_AGAIN)
    assert bench.device.planned == [], "and that is all"


def test_an_endpoint_that_a_peer_roamed_to_is_left_to_wireguard() -> None:
    bench = Bench(FEW)
    peer = bench.device.read().peers[x25519_public(OTHER.wireguard)]
    DryRunBackend.apply(bench.device, (SetPeer(replace(peer, endpoint=THERE)),))
    bench.run(LOOK_AGAIN)
    assert bench.device.read().peers[peer.public_key].endpoint == THERE
    assert not any(isinstance(message, m.DeviceApplied) for message in bench.heard)


def test_an_endpoint_that_leads_elsewhere_by_now_is_set_at_the_next_look() -> None:
    bench = Bench(FEW)
    bench.names.leads[HERE] = THERE
    bench.run(LOOK_AGAIN)
    assert bench.places() == {THERE}


def test_a_client_that_is_connected_with_again_sends_something_over_every_tunnel_and_moves_no_endpoint() -> None:
    bench = Bench(4, client=True)
    tunnels = bench.device.read().peers
    assert len(tunnels) == 2
    roamed = {key: replace(peer, endpoint=THERE) for key, peer in tunnels.items()}
    bench.device.apply(tuple(map(SetPeer, roamed.values())))
    bench.forget()
    bench.hear(m.LinkRestored(HOME.id, OTHER.key))
    bench.run(1.0)
    for key in tunnels:
        # WireGuard sends at once when the keep-alive goes on, not when it stays.
        assert [peer.keepalive for peer in bench.device.set if peer.public_key == key] == [0, NUDGE_KEEPALIVE, 25]
        # Told where it is anew, wireguard-go forgets from which address it sent, which may be gone.
        assert next(peer for peer in bench.device.set if peer.public_key == key).endpoint == THERE
    assert bench.device.read().peers == roamed


def test_a_peer_that_is_connected_with_again_sends_nothing_for_that() -> None:
    bench = Bench(4)
    bench.hear(m.LinkRestored(HOME.id, OTHER.key))
    bench.run(1.0)
    assert bench.device.set == []


def test_a_name_that_had_no_address_is_asked_for_again_at_every_look() -> None:
    bench = Bench(2, NAMED)
    assert bench.places() == {None}
    bench.run(2 * LOOK_AGAIN)
    assert len(bench.names.asked) == 2
    bench.names.leads[NAMED] = HERE
    bench.run(LOOK_AGAIN)
    assert bench.places() == {HERE}


def test_a_device_that_cannot_be_read_is_told_and_tried_again_until_it_can() -> None:
    bench = Bench(FEW)
    bench.device.broken = True
    bench.run(LOOK_AGAIN + 2 * TRY_AGAIN)
    assert bench.failures == ["device-failed"] * 3
    bench.device.broken = False
    bench.say(THERE)
    bench.run(TRY_AGAIN)
    assert bench.places() == {THERE}


# What an earlier daemon left.


BEYOND = IPv6Network("2001:db8:9::/48")
WAY = (Route(BEYOND, OTHER.key),)


class Restarted(Bench):
    """A bench whose device was left with a route into elsewhere by one that was killed."""

    def _open(self, spec: InterfaceSpec) -> Backend:
        opened = super()._open(spec)
        peer = WgPeer(OTHER.wireguard_key, (BEYOND,), HERE)
        DryRunBackend.apply(self.device, (SetPeer(peer), AddRoute(BEYOND, Table.UNMARKED)))
        return opened


def begun_again() -> Restarted:
    """It knows its members, and nothing else."""
    return Restarted(2, runs=STANDS / 2)


def leads_beyond(bench: Bench) -> bool:
    state = bench.device.read()
    return state.unmarked_routes == (BEYOND,) and any(BEYOND in peer.allowed_ips for peer in state.peers.values())


def test_what_an_earlier_daemon_left_stands_until_routes_and_devices_are_known() -> None:
    bench = begun_again()
    assert bench.device.planned == []
    assert leads_beyond(bench)
    bench.hear(m.RoutesChanged(HOME.id, 1, WAY))
    bench.run(1.0)
    assert bench.device.planned == [], "the tunnels of devices would go"
    bench.hear(m.StaticsServed(HOME.id, 1, ()))
    bench.run(0.0)
    assert len(bench.device.planned) == 1
    assert leads_beyond(bench)
    assert bench.device.read().addresses


def test_what_leads_nowhere_by_now_goes_once_that_is_known() -> None:
    bench = begun_again()
    bench.hear(m.StaticsServed(HOME.id, 1, ()))
    bench.hear(m.RoutesChanged(HOME.id, 1, ()))
    bench.run(0.0)
    assert bench.device.read().unmarked_routes == ()
    assert not leads_beyond(bench)


def test_what_an_earlier_daemon_left_does_not_stand_for_ever() -> None:
    bench = begun_again()
    bench.run(STANDS)
    assert bench.device.read().unmarked_routes == ()
