"""Devices without a daemon: who is let in by whose word, what a peer cannot claim, and that all members reach them."""

from __future__ import annotations

import io
import os
from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.hosts import World
from smeg import messages as m
from smeg.addresses import host_prefix, overlay_address
from smeg.annexes import Annex
from smeg.authority import found
from smeg.edges.mesh_description import encode, parse
from smeg.errors import LocalError
from smeg.keys import NodeKey, Secret, from_wireguard_text, wireguard_text, x25519_public
from smeg.records import Route
from smeg.static_clients import (
    LABEL,
    LIFETIME,
    MAX_STATIC,
    StaticClient,
    body,
    read_clients,
    revised,
    static_clients,
    still_valid,
)
from smeg.wg_quick import static_client
from tests.builders import QUICK, WALL
from tests.canned_daemon import CannedDaemon, canned_daemon
from tests.loopback import end_at_last, form_mesh
from tests.nodes import Node, make_world, wait_for
from tests.nodes import form_mesh as form_real_mesh
from tests.routed_meshes import PLAIN, Daemon, Meshes, annex
from tests.typed import typed

PHONE = StaticClient("phone", b"\1" * 32, WALL + 100)
LAPTOP = StaticClient("laptop", b"\2" * 32, WALL + 200)

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
clients = st.builds(StaticClient, names, st.binary(min_size=32, max_size=32).filter(any), st.integers(0, 2**40))
lists = st.lists(clients, max_size=8, unique_by=(lambda each: each.name, lambda each: each.wireguard)).map(tuple)


@QUICK
@given(lists)
def test_what_is_said_of_them_is_read_as_it_was_written(said: tuple[StaticClient, ...]) -> None:
    assert read_clients([client.fields() for client in said]) == said
    world = Meshes("a")
    peer = world.add("peer", "a")
    mesh = world["a"].id
    found = static_clients(mesh, world.members(mesh), {peer.key: labelled(mesh, peer.key, body(said))}, WALL)
    assert {client for _, client in found.values()} == set(still_valid(said, WALL))
    assert all(overlay_address(mesh, client.wireguard) == address for address, (_, client) in found.items())


@QUICK
@given(st.binary(max_size=200))
def test_what_makes_no_sense_lets_nobody_in(said: bytes) -> None:
    world = Meshes("a")
    peer = world.add("peer", "a")
    mesh = world["a"].id
    assert static_clients(mesh, world.members(mesh), {peer.key: labelled(mesh, peer.key, said)}, WALL) == {}


def labelled(mesh: str, node: NodeKey, said: bytes) -> dict[str, Annex]:
    return {LABEL: annex(mesh, node, LABEL, said)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "-a"}, {"name": "A"}, {"name": ""}, {"name": "a" * 64}, {"wireguard": ""}, {"wireguard": "AAAA"},
        {"wireguard": wireguard_text(bytes(32))}, {"expires": -1}, {"expires": 2**41}, {"expires": "1"},
        {"expires": True}, {"name": None},
    ],
)  # fmt: skip
def test_a_client_that_cannot_be_is_refused_and_all_with_it(wrong: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_clients([LAPTOP.fields(), {**PHONE.fields(), **wrong}])


def test_no_two_have_one_name_or_key_and_there_are_not_too_many() -> None:
    for other in (replace(LAPTOP, name="phone"), replace(LAPTOP, wireguard=PHONE.wireguard)):
        with pytest.raises(ValueError, match="one name or one key"):
            read_clients([PHONE.fields(), other.fields()])
    many = [StaticClient(f"c{n}", n.to_bytes(32, "big"), 1).fields() for n in range(1, MAX_STATIC + 2)]
    assert len(read_clients(many[:-1])) == MAX_STATIC
    with pytest.raises(ValueError, match="at most"):
        read_clients(many)


# Who is believed.


def heard(world: Meshes, said: Mapping[str, tuple[StaticClient, ...]], wall: int = WALL) -> dict[str, str]:
    """Name of each client that counts → its peer."""
    mesh = world["a"].id
    keys = {label: daemon.key for label, daemon in world.daemons.items()}
    annexes = {keys[label]: labelled(mesh, keys[label], body(them)) for label, them in said.items()}
    found = static_clients(mesh, world.members(mesh), annexes, wall)
    return {client.name: next(label for label in keys if keys[label] == via) for via, client in found.values()}


def test_a_peer_cannot_claim_the_address_of_a_member() -> None:
    world = Meshes("a")
    world.add("liar", "a")
    victim = world.add("victim", "a")
    key = victim.papers[world["a"].id].wireguard_key
    assert heard(world, {"liar": (PHONE, StaticClient("victim", key, WALL + 100))}) == {"phone": "liar"}


def test_of_two_peers_that_name_one_key_the_lower_counts_and_nobody_else_counts_at_all() -> None:
    world = Meshes("a", "b")
    lower, _ = sorted((world.add("one", "a"), world.add("two", "a")), key=lambda daemon: daemon.key)
    world.add("stranger", "b")
    said = {"one": (PHONE,), "two": (replace(PHONE, name="again"),), "stranger": (LAPTOP,)}
    (name,) = heard(world, said)
    assert heard(world, said)[name] == lower.label
    assert heard(world, {"stranger": (LAPTOP,)}) == {}


def test_it_ends_when_it_was_said_to() -> None:
    world = Meshes("a")
    world.add("peer", "a")
    said = {"peer": (PHONE, LAPTOP)}
    assert heard(world, said, WALL + 99) == {"phone": "peer", "laptop": "peer"}
    assert heard(world, said, WALL + 100) == {"laptop": "peer"}
    assert heard(world, said, WALL + 200) == {}


def test_others_go_through_the_peer_while_it_says_so() -> None:
    world = Meshes("a")
    peer, other = world.add("peer", "a", PLAIN), world.add("other", "a", PLAIN)
    mesh = world["a"]
    world.wait()

    def routes(daemon: Daemon, *said: StaticClient) -> list[Route]:
        annexes = {peer.key: labelled(mesh.id, peer.key, body(said))}
        daemon.table.handle(m.AnnexesChanged(mesh.id, 9, annexes), world.now)
        return [route for message in daemon.table.settle(world.now) for route in getattr(message, "routes", ())]

    address = host_prefix(overlay_address(mesh.id, PHONE.wireguard))
    assert routes(other, PHONE) == [Route(address, peer.key, True)]
    assert routes(other) == []
    assert routes(peer, PHONE) == []


# What a user asks for.


def added(clients: tuple[StaticClient, ...], name: str, **more: object) -> tuple[StaticClient, ...]:
    key = wireguard_text(name.encode().ljust(32, b"x"))
    return revised(clients, "add-static", {"name": name, "wireguard": key, **more}, WALL, WALL + 50 * LIFETIME)


def test_they_come_and_go_by_name() -> None:
    both = added(added((), "phone"), "laptop", expires=60)
    assert [(each.name, each.expires) for each in both] == [("phone", WALL + LIFETIME), ("laptop", WALL + 60)]
    assert [each.name for each in revised(both, "delete-static", {"name": "phone"}, WALL, 0)] == ["laptop"]


def test_none_outlives_the_membership_of_its_peer() -> None:
    arguments = {"name": "phone", "wireguard": wireguard_text(b"\1" * 32)}
    (client,) = revised((), "add-static", arguments, WALL, WALL + 5)
    assert client.expires == WALL + 5


def test_those_that_have_expired_make_room() -> None:
    full: tuple[StaticClient, ...] = ()
    for number in range(MAX_STATIC):
        full = added(full, f"c{number}", expires=10)
    with pytest.raises(LocalError) as caught:
        added(full, "more")
    assert caught.value.problem.code == "too-many-static"
    expired = tuple(replace(client, expires=WALL) for client in full)
    assert len(added(expired, "more")) == 1


@pytest.mark.parametrize(
    ("command", "arguments", "code"),
    [
        ("add-static", {"name": "phone"}, "bad-argument"),
        ("add-static", {"name": "Ph one", "wireguard": wireguard_text(b"\1" * 32)}, "bad-argument"),
        ("add-static", {"name": "new", "wireguard": wireguard_text(b"\1" * 32), "expires": 0}, "bad-argument"),
        ("add-static", {"name": "new", "wireguard": wireguard_text(b"\1" * 32), "expires": "1"}, "bad-argument"),
        ("add-static", {"name": "phone", "wireguard": wireguard_text(b"\3" * 32)}, "name-taken"),
        ("delete-static", {"name": "nobody"}, "unknown-static"),
        ("delete-static", {}, "unknown-static"),
    ],
)
def test_what_cannot_be_done_is_said(command: str, arguments: dict[str, object], code: str) -> None:
    with pytest.raises(LocalError) as caught:
        revised((PHONE,), command, arguments, WALL, WALL + 10 * LIFETIME)
    assert caught.value.problem.code == code
    assert caught.value.problem.hint


# Whole daemons.


def test_export_lets_a_device_in_and_delete_takes_it_out(tmp_path: Path) -> None:
    with end_at_last() as make:
        one, two = make(tmp_path / "one"), make(tmp_path / "two")
        for node in (one, two):
            node.start()
        form_mesh("home", one, two)
        file = tmp_path / "phone.conf"
        done = one.does("export", "home", "--static", "phone", "--output", str(file))
        assert file.stat().st_mode & 0o777 == 0o600
        text = file.read_text()
        key = next(line for line in text.splitlines() if line.startswith("PrivateKey")).partition(" = ")[2]
        assert f"Address = {done['address']}/128" in text
        assert f"PublicKey = {one.ask('plan', mesh='home')['public_key']}" in text

        def seen(node: object = None) -> list[str]:
            return [row["address"] for row in two.ask("members", mesh="home").get("statics", [])]

        wait_for("the other knows of it", lambda: seen() == [done["address"]], 20)
        plan = {row["name"]: row for row in two.ask("plan", mesh="home")["peers"]}
        wait_for(
            "it goes there through the peer",
            lambda: f"{done['address']}/128" in str(two.ask("plan", mesh="home")["peers"]),
            20,
        )
        assert set(plan) == {"one"}
        why = two.ask("why", destination=done["address"])
        assert [(step["from"], step["to"]) for step in why["steps"]] == [("here", "one"), ("one", done["address"])]
        own = one.ask("why", destination=done["address"])
        assert [(step["from"], step["to"]) for step in own["steps"]] == [("here", done["address"])]
        nobody = two.ask("why", destination=done["address"][:-1] + ("1" if done["address"][-1] != "1" else "2"))
        assert nobody["reached"] is False
        # The key is nowhere but in its file.
        assert key not in one.log() + two.log() + str(one.ask("status")) + str(one.ask("members", mesh="home"))
        assert not [path for path in one.state.rglob("*") if path.is_file() and key.encode() in path.read_bytes()]
        assert one.refuses("export", "home", "--static", "phone", "--output", str(tmp_path / "b")).code == "name-taken"
        assert not (tmp_path / "b").exists()
        assert one.stop() == 0
        one.start()
        wait_for("it is still let in", lambda: seen() == [done["address"]], 20)
        wait_for("its peer works", lambda: one.meshes()["home"]["state"] == "active", 20)
        one.does("delete-static", "home", "phone")
        wait_for("nobody knows of it", lambda: seen() == [], 20)


def test_they_are_kept_with_the_mesh() -> None:
    identity, curve, wireguard = (Secret(bytes([number]) * 32) for number in (1, 2, 3))
    stored = found("home", identity, curve, wireguard, "smeg-home", 1, os.urandom, WALL)
    assert parse(encode(stored), stored.id).statics == ()
    kept = replace(stored, statics=(PHONE, LAPTOP))
    assert parse(encode(kept), stored.id).statics == (PHONE, LAPTOP)


def test_a_code_holds_the_whole_file() -> None:
    segno = pytest.importorskip("segno")
    plan = {"mesh": {"name": "m" * 63}, "mtu": 1420, "public_key": wireguard_text(b"\2" * 32), "routes": ["fd00::/64"]}
    peer = {"name": "n" * 63, "address": "fd00::1", "prefix": "fd00::/64", "endpoints": ["[2001:db8::1]:51820"]}
    key = Secret(b"\3" * 32)
    text = static_client(peer, plan, wireguard_text(key.reveal()))
    assert wireguard_text(x25519_public(key)) not in text
    code = segno.make(text, error="l", micro=False)
    out = io.StringIO()
    code.terminal(out, compact=True)
    assert len(out.getvalue().splitlines()) < 60
    assert b64encode(key.reveal()).decode() in text


PLAN = {"mesh": {"name": "home", "id": "abc"}, "mtu": 1420, "public_key": wireguard_text(b"\2" * 32),
        "routes": ["fd00::/64", "fd01::/64"]}  # fmt: skip
ADDED = {"name": "phone", "address": "fd00::9", "prefix": "fd00::/64", "expires": 1, "endpoints": ["192.0.2.1:51820"]}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CannedDaemon]:
    with canned_daemon(tmp_path / "run" / "control.sock") as made:
        made.answers |= {"plan": PLAN, "add-static": ADDED, "delete-static": {"name": "phone"}}
        yield made


def test_the_code_on_the_terminal_is_of_the_file_and_nothing_else_is_shown(daemon: CannedDaemon) -> None:
    shown = typed(daemon, "export", "home", "--static", "Phone", "--qr")
    assert shown.exit_code == 0
    assert "\u2588" in shown.stdout or "\u2580" in shown.stdout
    assert "PrivateKey" not in shown.output
    asked = daemon.last()
    assert asked["name"] == "phone"
    assert len(from_wireguard_text(asked["wireguard"])) == 32


def test_through_a_pipe_goes_the_whole_file(daemon: CannedDaemon) -> None:
    text = typed(daemon, "export", "home", "--static", "phone", "--expires", "12h").stdout
    assert daemon.last()["expires"] == 12 * 3600
    fields = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    assert fields["AllowedIPs"] == "fd00::/64, fd01::/64"
    assert fields["Endpoint"] == "192.0.2.1:51820"
    # Whose key was told is whose key is in the file.
    key = Secret(from_wireguard_text(fields["PrivateKey"]))
    assert wireguard_text(x25519_public(key)) == daemon.last()["wireguard"]


def test_what_belongs_to_a_device_is_refused_without_one(daemon: CannedDaemon) -> None:
    assert typed(daemon, "export", "home", "--qr").exit_code == 2
    assert typed(daemon, "export", "home", "--expires", "1d").exit_code == 2
    assert typed(daemon, "delete-static", "home", "phone").exit_code == 0


# With real WireGuard, and nothing else on the device.


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with make_world() as made:
        yield made


def test_a_device_with_nothing_but_the_file_reaches_all_and_is_reached(world: World) -> None:
    backend = world.wireguard()
    peers = [Node(world.host(f"s{number}"), backend) for number in (1, 2)]
    client = Node(world.host("s3"), backend, role="client", publicEndpoint=[])
    for node in (*peers, client):
        node.start()
    form_real_mesh([*peers, client], "paris")
    nodes = [*peers, client]
    wait_for("all know all", lambda: all(len(node.members("paris")) == 3 for node in nodes), 20)

    phone = world.host("phone")
    peers[0].cli("export", "paris", "--static", "phone", "--output", "phone.conf")
    text = (peers[0].host.folder / "phone.conf").read_text()
    fields = dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)
    plain = "\n".join(line for line in text.splitlines() if not line.startswith(("Address", "MTU")))
    if backend == "kernel":
        phone.run(["ip", "link", "add", "wg0", "type", "wireguard"])
    else:
        phone.run(["wireguard-go", "wg0"])
    phone.run(["wg", "setconf", "wg0", "/dev/stdin"], input=plain + "\n")
    phone.run(["ip", "address", "add", fields["Address"], "dev", "wg0"])
    phone.run(["ip", "link", "set", "wg0", "mtu", fields["MTU"], "up"])
    for prefix in fields["AllowedIPs"].split(", "):
        phone.run(["ip", "-6", "route", "add", prefix, "dev", "wg0"])

    address = fields["Address"].partition("/")[0]
    for node in nodes:
        own = node.address("paris")
        wait_for(
            f"the phone reaches {node.name}",
            lambda own=own: phone.run(["ping", "-c1", "-W1", own], check=False).returncode == 0,  # type: ignore[misc]
            30,
        )
        wait_for(f"{node.name} reaches the phone", lambda node=node: node.pings(address), 20)  # type: ignore[misc]
    peers[0].ask("delete-static", "paris", "phone")
    wait_for("it is let in no more", lambda: not peers[1].pings(address), 30)
    assert phone.run(["ping", "-c1", "-W1", peers[0].address("paris")], check=False).returncode != 0
