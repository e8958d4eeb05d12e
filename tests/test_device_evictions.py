"""Devices without a daemon that an admin evicts: who is believed, who is meant, and that they are gone everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg import messages as m
from smeg.addresses import overlay_address
from smeg.annexes import Annex
from smeg.card import BLANK
from smeg.certificates import AdminCertificate
from smeg.device_evictions import LABEL, MAX_EVICTED, NOBODY, evicted, evictions, read_evictions
from smeg.device_names import find_device
from smeg.errors import LocalError
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.notary import Notary
from smeg.own_devices import OwnDevices
from smeg.static_clients import LABEL as STATIC
from smeg.static_clients import StaticClient, body, static_clients
from tests.builders import DAY, QUICK, WALL, MadeMesh, secret
from tests.loopback import end_at_last, form_mesh
from tests.named_meshes import HOME, alias, members
from tests.nodes import wait_for
from tests.routed_meshes import annex

OTHER = MadeMesh("another mesh")
keys = st.sets(st.binary(min_size=32, max_size=32), min_size=1, max_size=MAX_EVICTED).map(frozenset)
PHONE = StaticClient("phone", b"\1" * 32, WALL + 100)
LAPTOP = StaticClient("laptop", b"\2" * 32, WALL + 100)
Said = dict[NodeKey, dict[str, bytes]]


def said_by(mesh: MadeMesh, devices: frozenset[bytes], mesh_id: str = HOME.id) -> bytes:
    """What the admin of `mesh` says about a mesh."""
    admin = Notary().read(mesh.admin.raw)
    assert isinstance(admin, AdminCertificate)
    return evictions(mesh_id, admin, mesh.admin_seed, devices)


def annexes(said: Said) -> dict[NodeKey, dict[str, Annex]]:
    return {node: {label: annex(HOME.id, node, label, text) for label, text in by.items()} for node, by in said.items()}


# Who is believed.


@QUICK
@given(keys)
def test_what_an_admin_says_is_read_by_all(devices: frozenset[bytes]) -> None:
    assert read_evictions(HOME.id, said_by(HOME, devices))[0] == devices


@QUICK
@given(st.data())
def test_nothing_of_it_can_be_changed(data: st.DataObject) -> None:
    said = said_by(HOME, frozenset({PHONE.wireguard, LAPTOP.wireguard}))
    fields = orjson.loads(said)
    wrong = data.draw(
        st.sampled_from(
            [
                {**fields, "devices": fields["devices"][:1]},
                {**fields, "devices": fields["devices"][::-1]},
                {**fields, "devices": fields["devices"] * 2},
                {**fields, "devices": []},
                {**fields, "devices": [1]},
                {**fields, "signature": fields["signature"][::-1]},
                {**fields, "admin": orjson.loads(said_by(OTHER, NOBODY | {PHONE.wireguard}))["admin"]},
                {"devices": fields["devices"]},
                [],
            ]
        )
    )
    assert read_evictions(HOME.id, orjson.dumps(wrong))[0] == NOBODY


@QUICK
@given(st.binary(max_size=300))
def test_what_makes_no_sense_evicts_nobody(said: bytes) -> None:
    assert read_evictions(HOME.id, said)[0] == NOBODY


def test_an_admin_of_another_mesh_and_one_that_the_root_does_not_know_evict_nobody() -> None:
    gone = frozenset({PHONE.wireguard})
    assert read_evictions(HOME.id, said_by(OTHER, gone))[0] == NOBODY
    assert read_evictions(HOME.id, said_by(HOME, gone, OTHER.id))[0] == NOBODY
    admin = Notary().read(HOME.admin.raw)
    assert isinstance(admin, AdminCertificate)
    assert read_evictions(HOME.id, evictions(HOME.id, admin, secret("somebody"), gone))[0] == NOBODY


def test_it_counts_by_whichever_member_it_is_said_until_the_admin_is_none_any_more() -> None:
    everybody = members([("one", BLANK), ("two", BLANK)])
    one, two = everybody
    gone = frozenset({PHONE.wireguard})
    said = annexes({one: {STATIC: body((PHONE, LAPTOP))}, two: {LABEL: said_by(HOME, gone)}})

    def left(known: Members, wall: int) -> set[str]:
        return {client.name for _, client in static_clients(HOME.id, known, said, wall).values()}

    assert left(everybody, WALL) == {"laptop"}
    assert left(Members.of({one: everybody[one]}), WALL) == {"phone", "laptop"}
    assert evicted(HOME.id, everybody, said, WALL) == gone
    assert evicted(HOME.id, everybody, said, WALL + 3001 * DAY) == NOBODY


# Who is meant.


def test_a_device_is_named_by_its_name_its_peer_too_or_its_address() -> None:
    everybody = members([("one", alias("web")), ("two", BLANK)])
    one, two = everybody
    by_name = {everybody[key].record.name: key for key in (one, two)}
    again = replace(PHONE, wireguard=b"\3" * 32)
    said = annexes({by_name["one"]: {STATIC: body((PHONE, LAPTOP))}, by_name["two"]: {STATIC: body((again,))}})
    devices = static_clients(HOME.id, everybody, said, WALL)
    at = {client: overlay_address(HOME.id, client.wireguard) for client in (PHONE, LAPTOP, again)}
    assert find_device(devices, everybody, "laptop") == find_device(devices, everybody, "Laptop") == at[LAPTOP]
    assert find_device(devices, everybody, "phone.one") == find_device(devices, everybody, "phone.web") == at[PHONE]
    assert find_device(devices, everybody, "phone.two") == at[again]
    assert find_device(devices, everybody, str(at[again])) == at[again]
    for nobody in ("", "one", "web", "lap", "laptop.two"):
        assert find_device(devices, everybody, nobody) is None
    with pytest.raises(LocalError) as caught:
        find_device(devices, everybody, "phone")
    assert caught.value.problem.code == "ambiguous-node"
    assert "phone.two" in caught.value.problem.message


def test_a_member_goes_before_a_device_of_its_name() -> None:
    everybody = members([("one", BLANK), ("phone", BLANK)])
    one, _ = everybody
    said = annexes({one: {STATIC: body((PHONE,))}})
    devices = static_clients(HOME.id, everybody, said, WALL)
    assert find_device(devices, everybody, "phone") is None
    name = everybody[one].record.name
    if name == "one":
        assert find_device(devices, everybody, "phone.one") is not None


# What this node does about it.


def test_its_own_devices_are_forgotten_once_and_others_stay() -> None:
    everybody = members([("one", BLANK), ("two", BLANK)])
    one, two = everybody
    own = OwnDevices(HOME.id, lambda: WALL)
    clients = (PHONE, LAPTOP)
    assert own.left(clients) == clients
    own.hear(m.MembersChanged(HOME.id, 1, everybody))
    gone = annexes({one: {STATIC: body(clients)}, two: {LABEL: said_by(HOME, frozenset({PHONE.wireguard}))}})
    own.hear(m.AnnexesChanged(HOME.id, 1, gone))
    assert own.left(clients) == (LAPTOP,)
    assert own.left((LAPTOP,)) == (LAPTOP,)
    assert own.find("phone") is None
    assert own.find("laptop") == LAPTOP


def test_those_for_whom_nobody_vouches_make_room() -> None:
    everybody = members([("one", BLANK)])
    (one,) = everybody
    own = OwnDevices(HOME.id, lambda: WALL)
    own.hear(m.MembersChanged(HOME.id, 1, everybody))
    many = [StaticClient(f"c{n}", n.to_bytes(32, "big"), WALL + 9) for n in range(1, MAX_EVICTED + 1)]
    before = frozenset(client.wireguard for client in many)
    own.hear(m.AnnexesChanged(HOME.id, 1, annexes({one: {STATIC: body(many[:3])}})))
    assert own.evicting(NOBODY, PHONE) == {PHONE.wireguard}
    assert own.evicting(before, PHONE) == {PHONE.wireguard, *(client.wireguard for client in many[:3])}
    own.hear(m.AnnexesChanged(HOME.id, 2, annexes({one: {STATIC: body(many)}})))
    with pytest.raises(LocalError) as caught:
        own.evicting(before, PHONE)
    assert caught.value.problem.code == "too-many-evicted"


# Whole daemons.


def test_an_admin_evicts_a_device_of_another_peer_for_ever(tmp_path: Path) -> None:
    with end_at_last() as make:
        one, two, three = (make(tmp_path / name) for name in ("one", "two", "three"))
        nodes = (one, two, three)
        for node in nodes:
            node.start()
        form_mesh("home", *nodes)

        def devices() -> list[list[str]]:
            return [[row["name"] for row in each.ask("members", mesh="home").get("statics", [])] for each in nodes]

        two.does("export", "home", "--static", "phone", "--output", str(tmp_path / "phone.conf"))
        two.does("export", "home", "--static", "tv", "--output", str(tmp_path / "tv.conf"))
        wait_for("all know of both", lambda: [sorted(each) for each in devices()] == [["phone", "tv"]] * 3, 20)
        assert three.ask("why", destination="phone")["name"] == "phone of two in home"
        assert three.refuses("evict", "home", "phone").code == "not-an-admin"
        assert one.does("evict", "home", "phone.two") == {"evicted": "phone"}
        wait_for("all know that it is gone", lambda: devices() == [["tv"]] * 3, 20)
        wait_for("its peer has forgotten it", lambda: '"phone"' not in stored(two.state), 20)
        for node in (one, two):
            assert node.stop() == 0
            node.start()
        wait_for("it is gone still", lambda: devices() == [["tv"]] * 3, 20)
        assert three.refuses("why", "phone").code == "unknown-node"
        two.does("export", "home", "--static", "phone", "--output", str(tmp_path / "again.conf"))
        wait_for("another of its name comes", lambda: sorted(devices()[2]) == ["phone", "tv"], 20)


def stored(state: Path) -> str:
    return "".join(path.read_text() for path in state.glob("meshes/*/mesh.json"))
