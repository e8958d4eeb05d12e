"""Names and addresses: the vectors of docs/addresses.md, and what must hold of any."""

from __future__ import annotations

import json
import pickle
import re
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.addresses import MESH_ID, host_prefix, ids_beginning, mesh_id, node_id, overlay_address, overlay_prefix
from smeg.endpoints import parse_endpoint
from smeg.errors import RemoteError
from smeg.keys import NodeKey, Secret, check_ed25519, from_wireguard_text, node_key
from smeg.naming import interface_name
from tests.builders import QUICK, secret

DOCS = Path(__file__).parent.parent / "docs"
KEYS = st.binary(min_size=32, max_size=32)


def vectors(page: str, name: str) -> Any:
    """The JSON of one fenced block of a page."""
    found = re.search(rf"```json {name}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@QUICK
@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_the_prefix_of_one_address_is_what_any_other_way_of_making_it_gives(address: IPv6Address) -> None:
    prefix = host_prefix(address)
    same = IPv6Network(address)
    assert (prefix, hash(prefix), str(prefix)) == (same, hash(same), f"{address}/128")
    assert prefix.supernet(new_prefix=64) == same.supernet(new_prefix=64)
    assert (prefix.netmask, prefix.prefixlen, list(prefix.subnets())) == (same.netmask, 128, [same])
    assert pickle.loads(pickle.dumps(prefix)) == same


@pytest.mark.parametrize("vector", vectors("addresses.md", "meshes"), ids=lambda vector: vector["mesh_id"][:8])
def test_the_documented_root_key_gives_the_documented_mesh_id_and_prefix(vector: dict[str, str]) -> None:
    root = node_key(Secret(bytes.fromhex(vector["root_seed"])))
    assert root.hex() == vector["root_key"]
    assert mesh_id(root) == vector["mesh_id"]
    assert str(overlay_prefix(vector["mesh_id"])) == vector["prefix"]


@pytest.mark.parametrize("vector", vectors("addresses.md", "addresses"), ids=lambda vector: vector["address"][-9:])
def test_the_documented_wireguard_key_and_collision_give_the_documented_address(vector: dict[str, Any]) -> None:
    key = from_wireguard_text(vector["wireguard"])
    assert str(overlay_address(vector["mesh_id"], key, vector["collision"])) == vector["address"]


@QUICK
@given(KEYS, KEYS, st.integers(0, 255))
def test_every_address_lies_in_its_mesh_and_is_no_anycast_address(root: bytes, key: bytes, collision: int) -> None:
    mesh = mesh_id(root)
    assert MESH_ID.match(mesh)
    prefix, address = overlay_prefix(mesh), overlay_address(mesh, key, collision)
    assert prefix.subnet_of(IPv6Network("fd00::/8"))
    assert prefix.prefixlen == 64
    assert address in prefix
    assert address != prefix.network_address


def test_a_collision_count_changes_the_address_each_time() -> None:
    mesh = mesh_id(node_key(secret("any")))
    assert len({overlay_address(mesh, bytes(32), collision) for collision in range(256)}) == 256


def test_a_node_id_reads_like_a_label() -> None:
    assert re.fullmatch(r"[a-z2-7]{52}", node_id(node_key(secret("any"))))


SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]
NOT_CANONICAL = [
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
]


@pytest.mark.parametrize("key", [*SMALL_ORDER, *NOT_CANONICAL])
def test_a_signing_key_of_small_order_or_in_another_form_is_refused(key: str) -> None:
    with pytest.raises(RemoteError) as refused:
        check_ed25519(bytes.fromhex(key))
    assert refused.value.problem.code == "bad-key"


@QUICK
@given(KEYS)
def test_every_key_that_comes_from_a_seed_is_accepted(seed: bytes) -> None:
    key = node_key(Secret(seed))
    assert check_ed25519(key) == key


@QUICK
@given(st.binary(max_size=40))
def test_bytes_that_are_no_key_raise_only_the_error_about_others(data: bytes) -> None:
    try:
        key: bytes = check_ed25519(data)
    except RemoteError:
        return
    assert key == data


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("192.0.2.1:51800", "192.0.2.1:51800"),
        ("[2001:DB8:0::1]:1", "[2001:db8::1]:1"),
        ("Host.Example:65535", "host.example:65535"),
        ("host.example.:2", "host.example.:2"),
    ],
)
def test_an_endpoint_is_read_into_canonical_form(text: str, canonical: str) -> None:
    assert str(parse_endpoint(text)) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "host:0",
        "host:65536",
        "2001:db8::1:51800",
        "[192.0.2.1]:5",
        "[fe80::1%eth0]:5",
        "1.2.3:5",
        "a..b:5",
        "-a:5",
        "a b:5",
        "host:٣",
        "host:1\n",
        "a" * 64 + ":1",
        "1.2.3.4.5:6",
    ],
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(RemoteError) as refused:
        parse_endpoint(text)
    assert refused.value.problem.code == "bad-endpoint"


@QUICK
@given(st.text(max_size=60) | st.from_regex(r"[\[\]0-9a-fA-F:.%g-]{1,40}:[0-9]{1,6}", fullmatch=True))
def test_any_text_is_an_endpoint_that_reads_back_or_an_error_about_others(text: str) -> None:
    try:
        endpoint = parse_endpoint(text)
    except RemoteError:
        return
    assert parse_endpoint(str(endpoint)) == endpoint


@QUICK
@given(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True), st.integers(0, 12))
def test_an_interface_name_fits_and_is_free_while_there_is_a_free_one(name: str, others: int) -> None:
    mesh, taken = mesh_id(node_key(secret("any"))), set[str]()
    for _ in range(min(others, 6)):
        found = interface_name(name, mesh, taken)
        assert len(found.encode()) <= 15
        assert found not in taken
        taken.add(found)


@QUICK
@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=20), st.integers(0, 60), st.data())
def test_ids_are_found_by_how_they_begin(keys: list[bytes], length: int, data: st.DataObject) -> None:
    ids = {NodeKey(key): node_id(NodeKey(key)) for key in keys}
    text = data.draw(st.one_of(st.sampled_from(sorted(ids.values())), st.text("abz27A18", max_size=60)))[:length]
    begins = ids_beginning(text)
    assert {key for key in ids if begins(key)} == {
        key for key, of in ids.items() if text and of.startswith(text.lower())
    }
