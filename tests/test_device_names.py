"""Names of devices without a daemon: whom they mean, that they take no member's, and that they end with the device."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Address

from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.addresses import overlay_address
from smeg.card import BLANK
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.static_clients import LABEL, StaticClient, body
from smeg.zone import Target, Zone, reverse_name
from tests.builders import QUICK, WALL
from tests.named_meshes import HOME, SERVER, alias, id_of, labels, members, show
from tests.routed_meshes import annex

NAMES = ("a", "b", "phone", "printer")
known = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from([BLANK, alias("b"), alias("phone")])),
                 min_size=1, max_size=4).map(members)  # fmt: skip
Said = Mapping[NodeKey, tuple[StaticClient, ...]]


def device(name: str, number: int, expires: int = WALL + 100) -> StaticClient:
    return StaticClient(name, bytes([number]) * 32, expires)


def address_of(client: StaticClient) -> IPv6Address:
    return overlay_address(HOME.id, client.wireguard)


@st.composite
def meshes(draw: st.DrawFn) -> tuple[Members, frozenset[NodeKey], Said]:
    """Members, some of them dead, each with devices; all devices have keys of their own."""
    everybody = draw(known)
    said = {
        key: tuple(device(name, 1 + 8 * at + number) for number, name in enumerate(draw(called)))
        for at, key in enumerate(everybody)
    }
    return everybody, frozenset(draw(st.sets(st.sampled_from(list(everybody))))), said


called = st.lists(st.sampled_from(NAMES), unique=True, max_size=3)


def zone_with(
    everybody: Members, said: Said, dead: frozenset[NodeKey] = frozenset(), wall: list[int] | None = None
) -> Zone:
    now = wall if wall is not None else [WALL]
    zone = Zone([SERVER], lambda: now[0])
    show(zone, everybody, dead)
    tell(zone, said)
    return zone


def tell(zone: Zone, said: Said) -> None:
    annexes = {key: {LABEL: annex(HOME.id, key, LABEL, body(clients))} for key, clients in said.items()}
    zone.hear(m.AnnexesChanged(HOME.id, 1, annexes))


def found(zone: Zone, name: str) -> set[IPv6Address]:
    answer = zone.find(labels(f"{name}.home.smeg"))
    assert answer is not None
    assert answer.exists == bool(answer.records)
    return set(answer.records.get("AAAA", ()))  # type: ignore[arg-type]


@QUICK
@given(meshes())
def test_a_name_means_members_or_all_devices_of_that_name_whose_peers_live(
    mesh: tuple[Members, frozenset[NodeKey], Said],
) -> None:
    everybody, dead, said = mesh
    zone, without = zone_with(everybody, said, dead), zone_with(everybody, {}, dead)
    for name in NAMES:
        having = {key: address_of(each) for key, clients in said.items() for each in clients if each.name == name}
        living = {key: address for key, address in having.items() if key not in dead} or having
        assert found(zone, name) == (found(without, name) or set(living.values()))


@QUICK
@given(meshes())
def test_before_the_label_of_its_peer_a_name_means_that_device_alone(
    mesh: tuple[Members, frozenset[NodeKey], Said],
) -> None:
    everybody, dead, said = mesh
    zone = zone_with(everybody, said, dead)
    for key, clients in said.items():
        for name in NAMES:
            own = {address_of(each) for each in clients if each.name == name}
            assert found(zone, f"{name}.{id_of(everybody[key])}") == own


@QUICK
@given(meshes())
def test_the_address_of_a_device_leads_back_to_it_alone(mesh: tuple[Members, frozenset[NodeKey], Said]) -> None:
    everybody, dead, said = mesh
    zone = zone_with(everybody, said, dead)
    for client in (each for clients in said.values() for each in clients):
        answer = zone.find(reverse_name(address_of(client)))
        assert answer is not None
        (target,) = answer.records["PTR"]
        assert isinstance(target, Target)
        assert found(zone, ".".join(target.name[:-2])) == {address_of(client)}
        assert target.name in zone.names()
    assert all(zone.find(name).records for name in zone.names())  # type: ignore[union-attr]


def test_a_device_has_its_name_until_its_time_is_over_or_its_peer_is_gone() -> None:
    everybody, wall = members([("one", BLANK), ("two", BLANK)]), [WALL]
    one, two = everybody
    said = {one: (device("phone", 1, WALL + 5),), two: (device("printer", 2),)}
    zone = zone_with(everybody, said, wall=wall)
    assert found(zone, "phone")
    assert found(zone, "printer")
    version = zone.version
    zone.look()
    assert zone.version == version
    wall[0] += 5
    zone.look()
    assert not found(zone, "phone")
    assert zone.version > version
    show(zone, Members.of({one: everybody[one]}))
    assert not found(zone, "printer")
    assert not zone.has_devices()
    show(zone, everybody)
    assert found(zone, "printer")
    tell(zone, {})
    assert not found(zone, "printer")


def test_a_device_takes_no_name_from_a_member_that_comes_later() -> None:
    everybody = members([("one", BLANK), ("phone", BLANK)])
    one, late = everybody
    zone = zone_with(Members.of({one: everybody[one]}), {one: (device("phone", 1),)})
    address = address_of(device("phone", 1))
    assert found(zone, "phone") == {address}
    show(zone, everybody)
    assert found(zone, "phone") == {everybody[late].address}
    assert found(zone, "phone.one") == {address}
    answer = zone.find(reverse_name(address))
    assert answer is not None
    assert answer.records["PTR"] == (Target(("phone", "one", "home", "smeg")),)
