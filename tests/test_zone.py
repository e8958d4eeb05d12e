"""What names mean: whom a label leads to, in which order of claims, and what exists although nothing is there."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.addresses import overlay_prefix
from smeg.card import BLANK, Card, Service
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import Member
from smeg.zone import Name, Server, Target, Texts, Zone, reverse_name
from smeg.zone_index import MOST, MeshNames
from tests.builders import QUICK, WALL, MadeMesh
from tests.named_meshes import HOME, SERVER, alias, id_of, labels, members, show, zone_of

WEB = Service("http", 80, text=("path=/",))
few = st.sampled_from(["a", "b", "c", "Not a label", "ns", "_tcp"])
offered = st.lists(st.sampled_from([WEB, Service("http", 81, "udp"), Service("ssh", 22)]), unique=True, max_size=2)


@st.composite
def cards(draw: st.DrawFn) -> Card:
    card = Card(draw(st.sampled_from(["", "", "a", "b", "d"])), draw(st.sampled_from(["", "what it is"])))
    for service in draw(offered):
        card = card.with_service(service)
    return card


known = st.lists(st.tuples(few, cards()), min_size=1, max_size=6).map(members)


@st.composite
def meshes(draw: st.DrawFn) -> tuple[Members, frozenset[NodeKey]]:
    """Some members, some of whom are dead."""
    found = draw(known)
    return found, frozenset(draw(st.sets(st.sampled_from(list(found)))))


def addresses(zone: Zone, text: str) -> list[IPv6Address]:
    found = zone.find(labels(text))
    assert found is not None
    return list(found.records.get("AAAA", ()))  # type: ignore[arg-type]


def meant(everybody: Members, dead: frozenset[NodeKey], label: str) -> list[IPv6Address]:
    """The rules, told otherwise."""
    if own := [one for one in everybody.values() if id_of(one) == label]:
        return [own[0].address]
    if claimed := [one for one in everybody.values() if one.record.card.alias == label]:
        return [claimed[0].address]
    named = [one for one in everybody.values() if one.record.name == label and label in ("a", "b", "c", "ns")]
    return [one.address for one in named if one.key not in dead] or [one.address for one in named]


@QUICK
@given(meshes())
def test_a_label_means_an_id_then_an_alias_then_a_name_and_of_several_the_living(
    mesh: tuple[Members, frozenset[NodeKey]],
) -> None:
    everybody, dead = mesh
    zone = zone_of(everybody, dead)
    for label in ("a", "b", "c", "d", "ns", "_tcp", "e", "Not a label", *map(id_of, everybody.values())):
        expected = meant(everybody, dead, label)
        for mesh_label in ("home", HOME.id):
            assert addresses(zone, f"{label}.{mesh_label}.smeg") == expected


@QUICK
@given(meshes())
def test_every_name_has_records_and_all_names_above_it_exist(mesh: tuple[Members, frozenset[NodeKey]]) -> None:
    zone = zone_of(*mesh)
    for name in zone.names():
        found = zone.find(name)
        assert found is not None
        assert found.exists
        assert any(found.records.values())
        for above in (name[at:] for at in range(1, len(name) - len(found.apex) + 1)):
            higher = zone.find(above)
            assert higher is not None
            assert (higher.exists, higher.apex) == (True, found.apex)


@QUICK
@given(meshes())
def test_the_name_of_an_address_leads_back_to_that_address_alone(mesh: tuple[Members, frozenset[NodeKey]]) -> None:
    zone = zone_of(*mesh)
    for one in mesh[0].values():
        found = zone.find(reverse_name(one.address))
        assert found is not None
        (target,) = found.records["PTR"]
        assert isinstance(target, Target)
        assert addresses(zone, ".".join(target.name)) == [one.address]


def everything(zone: Zone) -> list[tuple[Name, str]]:
    """What is answered for all that exists, and some that does not."""
    names: list[Name] = [*zone.names(), labels("e.home.smeg"), labels("_ssh._tcp.home.smeg"), labels("_udp.home.smeg")]
    return sorted((name, repr(zone.find(name))) for name in names)


@QUICK
@given(st.lists(meshes(), min_size=1, max_size=5))
def test_what_is_indexed_bit_by_bit_is_what_would_be_indexed_at_once(
    states: list[tuple[Members, frozenset[NodeKey]]],
) -> None:
    zone = zone_of(Members())
    for everybody, dead in states:
        before, version = everything(zone), zone.version
        show(zone, everybody, dead)
        assert everything(zone) == everything(zone_of(everybody, dead))
        assert zone.version > version or everything(zone) == before


@QUICK
@given(meshes())
def test_services_are_where_their_nodes_are_and_the_mesh_lists_those_of_the_living(
    mesh: tuple[Members, frozenset[NodeKey]],
) -> None:
    everybody, dead = mesh
    zone = zone_of(everybody, dead)

    def having(place: tuple[str, str]) -> list[Member]:
        return [one for one in everybody.values() if any(each.place == place for each in one.record.card.services)]

    for name, protocol in (("http", "tcp"), ("http", "udp"), ("ssh", "tcp")):
        found = zone.find(labels(f"_{name}._{protocol}.home.smeg"))
        assert found is not None
        offering = having((name, protocol))
        offering = [one for one in offering if one.key not in dead] or offering
        assert found.exists == bool(offering)
        assert sorted(found.besides.values()) == sorted(one.address for one in offering)
        for server in found.records.get("SRV", ()):
            assert isinstance(server, Server)
            assert addresses(zone, ".".join(server.target)) == [found.besides[server.target]]
    for one in everybody.values():
        for service in one.record.card.services:
            found = zone.find(labels(f"_{service.name}._{service.protocol}.{id_of(one)}.home.smeg"))
            assert found is not None
            assert [each.port for each in found.records["SRV"] if isinstance(each, Server)] == [service.port]
            expected = tuple(text.encode() for text in service.text) or (b"",)
            assert found.records["TXT"] == (Texts(expected),)


def test_of_thousands_who_share_a_name_the_first_few_are_answered() -> None:
    everybody = members([("node", BLANK)] * (MOST + 4))
    keys = list(everybody)
    assert addresses(zone_of(everybody), "node.home.smeg") == [everybody[key].address for key in keys[:MOST]]
    zone = zone_of(everybody, keys[1:])
    assert addresses(zone, "node.home.smeg") == [everybody[keys[0]].address]


@pytest.mark.parametrize(
    "text",
    [
        "x.home.smeg",
        "home.smeg.smeg",
        "x.ns.smeg",
        "other.smeg",
        "a.a.home.smeg",
        "_x._y.a.home.smeg",
        "http._tcp.a.home.smeg",
        "_ssh._tcp.a.home.smeg",
        "_udp.a.home.smeg",
        "_udp.home.smeg",
        "_http._tcp.x.home.smeg",
        "1._http._tcp.a.home.smeg",
    ],
)
def test_what_is_nowhere_does_not_exist(text: str) -> None:
    found = zone_of(members([("a", Card(services=(WEB,)))])).find(labels(text))
    assert found is not None
    assert not found.exists
    assert not found.records


@pytest.mark.parametrize("text", ["smeg", "ns.smeg", "home.smeg", "_tcp.home.smeg", "_tcp.a.home.smeg"])
def test_what_others_hang_on_exists(text: str) -> None:
    found = zone_of(members([("a", Card(services=(WEB,)))])).find(labels(text))
    assert found is not None
    assert found.exists


@pytest.mark.parametrize("text", ["", "com", "smeg.com", "home.smeg.net", "arpa", "ip6.arpa", "d.f.ip6.arpa"])
def test_what_is_not_under_the_zone_is_somebody_elses(text: str) -> None:
    assert zone_of(members([("a", BLANK)])).find(labels(text) if text else ()) is None


def test_an_address_of_another_prefix_is_somebody_elses_and_one_of_nobody_does_not_exist() -> None:
    everybody = members([("a", BLANK)])
    zone = zone_of(everybody)
    address = next(iter(everybody.values())).address
    assert zone.find(reverse_name(IPv6Address(int(address) ^ 1 << 64))) is None
    nobody = zone.find(reverse_name(IPv6Address(int(address) ^ 1)))
    assert nobody is not None
    assert not nobody.exists
    whole = reverse_name(address)
    nowhere = (("g", *whole[1:]), ("1", *whole), ("11", *whole[2:]))
    for name, exists in ((whole[8:], True), *((each, False) for each in nowhere)):
        found = zone.find(name)
        assert found is not None
        assert found.exists == exists
        assert found.apex == whole[16:]


def test_members_and_this_host_itself_may_ask_and_nobody_else() -> None:
    everybody = members([("a", BLANK)])
    zone = zone_of(everybody)
    address = next(iter(everybody.values())).address
    assert zone.serves(address)
    assert zone.serves(IPv6Address("::1"))
    assert zone.serves(IPv4Address("127.0.0.7"))
    for other in (IPv6Address("2001:db8::1"), IPv6Address(int(address) ^ 1 << 64), IPv4Address("192.0.2.1")):
        assert not zone.serves(other)


def test_a_mesh_counts_once_it_has_started_and_no_more_when_it_has_stopped() -> None:
    zone = Zone([SERVER], lambda: WALL)
    everybody = members([("a", BLANK)])
    zone.hear(m.MembersChanged(HOME.id, 1, everybody))
    assert addresses(zone, f"a.{HOME.id}.smeg") == []
    zone.hear(m.MeshStarted(HOME.id, "home", "fd00::1", "smeg-home"))
    assert len(addresses(zone, "a.home.smeg")) == 1
    zone.hear(m.MeshStopped(HOME.id))
    assert addresses(zone, "a.home.smeg") == []
    assert zone.find(reverse_name(next(iter(everybody.values())).address)) is None


def test_a_second_mesh_of_one_name_takes_nothing_from_the_first_unsaid_both_have_their_ids() -> None:
    other = MadeMesh("another home")
    zone = zone_of(members([("a", BLANK)]))
    show(zone, members([("a", BLANK)], other.label), (), other)
    assert addresses(zone, "a.home.smeg") == []
    for mesh in (HOME, other):
        (address,) = addresses(zone, f"a.{mesh.id}.smeg")
        assert address in overlay_prefix(mesh.id)
        found = zone.find(reverse_name(address))
        assert found is not None
        assert found.records["PTR"] == (Target(("a", mesh.id, "smeg")),)
    zone.hear(m.MeshStopped(other.id))
    assert len(addresses(zone, "a.home.smeg")) == 1


def test_a_mesh_called_as_another_ones_id_takes_nothing_from_it() -> None:
    other = MadeMesh("another home")
    zone = zone_of(members([("a", BLANK)]))
    show(zone, members([("a", BLANK)], other.label), (), other, HOME.id)
    (address,) = addresses(zone, f"a.{HOME.id}.smeg")
    assert address in overlay_prefix(HOME.id)


def test_an_index_that_learns_nothing_new_says_so() -> None:
    index, everybody = MeshNames(), members([("a", alias("b"))])
    assert index.take(everybody)
    assert not index.take(Members.of(everybody))
    assert index.take(Members())
    assert list(index.labels()) == []
