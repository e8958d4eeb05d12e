"""What a node's user says of it: which words fit into a record, and that all members know them, also after a crash."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.simulation import Host, World
from scenarios.stand_ins import MemoryDisk
from smeg.card import BLANK, MAX_SERVICES, MAX_TEXTS, Card, Service, read_card
from smeg.card_requests import revised
from smeg.documents import Kind, encode, seal
from smeg.errors import LocalError, RemoteError
from smeg.keys import NodeKey
from smeg.messages import Request
from smeg.records import OwnRecord, read_record
from smeg.stored import StoredMesh
from tests.builders import QUICK, MadeMesh, record_of

MESH = "demo"
FOUNDER = MadeMesh("cards").founder()

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
printable = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20)
names = st.from_regex(r"[a-z]{1,6}(-[a-z0-9]{1,7})?", fullmatch=True)
texts = st.lists(st.builds(lambda key, value: f"{key}={value}", labels, printable), max_size=3)
services = st.builds(
    Service, names, st.integers(1, 65535), st.sampled_from(["tcp", "udp"]), texts.map(lambda each: tuple(each))
)


@st.composite
def cards(draw: st.DrawFn) -> Card:
    card = Card(draw(labels | st.just("")), draw(printable))
    for service in draw(st.lists(services, max_size=4)):
        card = card.with_service(service)
    return card


def sealed(fields: dict[str, Any]) -> Any:
    common = {"node": encode(FOUNDER.key), "counter": 1, "credential": encode(FOUNDER.credential), "name": "one"}
    return seal(Kind.RECORD, FOUNDER.mesh, {**common, **fields}, FOUNDER.identity)


@QUICK
@given(cards())
def test_a_card_comes_out_of_a_record_as_it_was_put_in(card: Card) -> None:
    assert record_of(FOUNDER.record(own=OwnRecord("one", card=card))).card == card
    assert read_card(card.fields()) == card


def test_a_record_that_says_nothing_has_the_bytes_that_it_had_before_there_were_cards() -> None:
    raw = FOUNDER.record().raw
    assert not any(name in raw for name in (b"alias", b"description", b"services", b"card"))
    assert record_of(FOUNDER.record()).card is BLANK


json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 70000) | st.text(max_size=8) | labels,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "port", "text"]), inner),
    max_leaves=8,
)


@QUICK
@given(st.dictionaries(st.sampled_from(["alias", "description", "services"]), json))
def test_of_whatever_stands_in_their_place_comes_a_card_or_a_malformed_record(fields: dict[str, Any]) -> None:
    try:
        card = read_record(sealed(fields)).card
    except RemoteError as error:
        code = error.problem.code
    else:
        code = "malformed"
        assert read_card(card.fields()) == card
    assert code == "malformed"


@pytest.mark.parametrize(
    "fields",
    [
        {"alias": "Paris"},
        {"alias": "a.b"},
        {"alias": "-a"},
        {"alias": "a" * 64},
        {"alias": "a\n"},
        {"alias": None},
        {"description": "x" * 257},
        {"description": "a\x1b[2Jb"},
        {"services": {"http": 80}},
        {"services": [{"name": "http"}]},
        {"services": [{"name": "http", "port": 0}]},
        {"services": [{"name": "http", "port": True}]},
        {"services": [{"name": "80", "port": 80}]},
        {"services": [{"name": "a--b", "port": 80}]},
        {"services": [{"name": "http", "port": 80, "protocol": "sctp"}]},
        {"services": [{"name": "http", "port": 80, "text": ["=x"]}]},
        {"services": [{"name": "http", "port": 80, "text": ["k=" + "x" * 254]}]},
        {"services": [{"name": "http", "port": 80, "text": ["k=v"] * (MAX_TEXTS + 1)}]},
        {"services": [{"name": "http", "port": 80}, {"name": "http", "port": 81}]},
        {"services": [{"name": "b", "port": 80}, {"name": "a", "port": 81}]},
        {"services": [{"name": f"a{n:02}", "port": 80} for n in range(MAX_SERVICES + 1)]},
        {"services": [{"name": f"a{n:02}", "port": 80, "text": ["k=" + "x" * 200]} for n in range(8)]},
    ],
)
def test_what_is_out_of_bounds_makes_a_record_malformed(fields: dict[str, Any]) -> None:
    with pytest.raises(RemoteError) as caught:
        read_record(sealed(fields))
    assert caught.value.problem.code == "malformed"
    assert len(caught.value.problem.message) < 200


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("put-alias", {}),
        ("put-alias", {"alias": 5}),
        ("put-alias", {"alias": "a.b"}),
        ("put-description", {"description": "x" * 300}),
        ("set-service", {"service": None}),
        ("set-service", {"service": {"name": "http", "port": "80"}}),
        ("set-service", {"service": {"name": "http", "port": 80, "text": "k=v"}}),
        ("delete-service", {}),
    ],
)
def test_what_is_asked_wrongly_changes_nothing_and_says_where_help_is(command: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(LocalError) as caught:
        revised(BLANK, command, arguments)
    assert caught.value.problem.code == "bad-argument"
    assert command in caught.value.problem.hint


def test_a_service_is_named_by_its_protocol_too_and_deleted_with_or_without_it() -> None:
    card = BLANK
    for protocol in ("tcp", "udp"):
        card = revised(card, "set-service", {"service": {"name": "domain", "port": 53, "protocol": protocol}})
    card = revised(card, "set-service", {"service": {"name": "domain", "port": 54}})
    assert [(each.protocol, each.port) for each in card.services] == [("tcp", 54), ("udp", 53)]
    assert revised(card, "delete-service", {"name": "domain", "protocol": "udp"}).services == card.services[:1]
    assert revised(card, "delete-service", {"name": "Domain"}) == BLANK
    with pytest.raises(LocalError, match="http"):
        revised(card, "delete-service", {"name": "http"})


# With whole daemons, in virtual time.


class SmallDisk(MemoryDisk):
    """One on which there is no room for a mesh, at times."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.identity, host.curve)
        self._meshes, self._documents = host.disk._meshes, host.disk._documents
        self.full = False

    def save_mesh(self, mesh: StoredMesh) -> None:
        if self.full:
            raise LocalError("store-failed", "no space left", "make room")
        super().save_mesh(mesh)


def make(hosts: int, seed: int = 1) -> World:
    world = World(seed, hosts, heartbeat_interval=1.0, repair_interval=1.0)
    world.start()
    world.form(MESH)
    everybody = {host.name: "alive" for host in world.hosts}
    assert world.run(30.0, lambda: all(host.members(MESH) == everybody for host in world.hosts))
    return world


def seen(host: Host, of: Host) -> dict[str, Any]:
    """What one host shows of another's card."""
    rows = {row["name"]: row for row in host.dashboard.members(MESH)["members"]}
    return {name: rows[of.name][name] for name in ("alias", "description", "services")}


def problems(host: Host) -> list[str]:
    return [problem["code"] for problem in host.dashboard.status(None, 0.0)["problems"]]


def key(host: Host) -> NodeKey:
    return host.key


def test_all_members_know_at_once_what_a_node_says_and_it_survives_a_crash_and_a_lost_database() -> None:
    world = make(3)
    one, two, _ = world.hosts
    service = {"name": "http", "port": 8080, "protocol": "tcp", "text": ["path=/"]}
    assert one.ask("put-alias", mesh=MESH, alias="Web")["alias"] == "web"
    one.ask("put-description", mesh=MESH, description="the site")
    answer = one.ask("set-service", mesh=MESH, service=service)
    expected = {"alias": "web", "description": "the site", "services": [service]}
    assert answer == expected
    assert world.run(0.5, lambda: all(seen(host, one) == expected for host in world.hosts))
    one.crash()
    one.disk._documents[next(iter(one.disk._documents))].clear()
    one.start()
    assert world.run(30.0, lambda: seen(one, one) == expected and len(one.members(MESH)) == 3)
    assert one.ask("put-alias", mesh=MESH, alias="") == {**expected, "alias": ""}
    assert world.run(0.5, lambda: seen(two, one)["alias"] == "")


def test_an_alias_that_somebody_has_is_refused_and_free_when_it_is_given_up() -> None:
    world = make(2)
    one, two = world.hosts
    one.ask("put-alias", mesh=MESH, alias="db")
    world.run(0.5)
    with pytest.raises(LocalError) as caught:
        two.ask("put-alias", mesh=MESH, alias="db")
    assert caught.value.problem.code == "alias-taken"
    assert one.name in caught.value.problem.message
    one.ask("put-alias", mesh=MESH, alias="")
    world.run(0.5)
    two.ask("put-alias", mesh=MESH, alias="db")
    assert problems(two) == []


def test_what_another_is_called_is_no_alias_and_who_comes_later_to_a_name_that_is_one_is_told() -> None:
    world = make(2)
    one, two = world.hosts
    with pytest.raises(LocalError) as caught:
        one.ask("put-alias", mesh=MESH, alias=two.name)
    assert caught.value.problem.code == "alias-taken"
    one.ask("put-alias", mesh=MESH, alias=one.name)
    assert problems(one) == []
    one.ask("put-alias", mesh=MESH, alias="host3")
    third = world.make_host(3)
    third.start()
    world.run(1.0)
    third.ask("join-mesh", token=one.ask("invite", mesh=MESH)["token"])
    assert world.run(5.0, lambda: problems(third) == ["name-taken"])
    assert problems(one) == []


def test_of_two_who_claim_an_alias_at_once_the_higher_key_is_told_until_one_gives_it_up() -> None:
    world = make(3)
    low, high = sorted(world.hosts[:2], key=key)
    for host in (low, high):
        assert host.console is not None
        host.console.tell(Request(900, "put-alias", {"mesh": MESH, "alias": "db"}))
    assert world.run(5.0, lambda: problems(high) == ["alias-taken"])
    assert problems(low) == problems(world.hosts[2]) == []
    low.ask("put-alias", mesh=MESH, alias="")
    assert world.run(1.0, lambda: problems(high) == [])


def test_a_change_that_the_disk_refuses_is_refused_and_never_said() -> None:
    world = make(2)
    one, two = world.hosts
    one.crash()
    disk = one.disk = SmallDisk(one)
    one.start()
    assert world.run(30.0, lambda: one.dashboard.list_meshes()["meshes"][0]["state"] == "active")
    assert world.run(30.0, lambda: two.members(MESH) == one.members(MESH) == {one.name: "alive", two.name: "alive"})
    disk.full = True
    with pytest.raises(LocalError, match="no space left"):
        one.ask("put-alias", mesh=MESH, alias="db")
    disk.full = False
    world.run(10.0)
    assert seen(two, one)["alias"] == seen(one, one)["alias"] == ""
    one.ask("put-description", mesh=MESH, description="fine")
    assert world.run(1.0, lambda: seen(two, one) == {"alias": "", "description": "fine", "services": []})
