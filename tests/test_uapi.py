"""The userspace interface's text: what is rendered reads back the same, and nonsense is refused as such."""

from __future__ import annotations

import errno
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.device import Endpoint, Handshake, RemovePeer, SetPeer, WgPeer
from smeg.edges.uapi import parse_get, parse_status, render_key, render_peers, render_port
from smeg.errors import LocalError
from smeg.keys import Secret, x25519_public

NOW = 1_800_000_000.0

keys = st.binary(min_size=32, max_size=32)
prefixes = st.builds(
    lambda number, length: IPv6Network((number, length), strict=False),
    st.integers(0, (1 << 128) - 1),
    st.integers(0, 128),
)
hosts = st.integers(0, (1 << 32) - 1).map(IPv4Address) | st.integers(0, (1 << 128) - 1).map(IPv6Address)
endpoints = st.builds(Endpoint, hosts.map(str), st.integers(0, 0xFFFF))
peers = st.builds(
    WgPeer,
    public_key=keys,
    allowed_ips=st.sets(prefixes, max_size=5).map(lambda found: tuple(sorted(found))),
    endpoint=st.none() | endpoints,
    keepalive=st.integers(0, 0xFFFF),
)


def as_answer(request: bytes) -> bytes:
    """The answer of a device that was given `request`: the same words, less those that only a request has."""
    lines = request.decode().strip().split("\n")
    kept = [line for line in lines if line not in ("set=1", "replace_allowed_ips=true")]
    return "\n".join([*kept, "errno=0", "", ""]).encode()


@given(st.lists(peers, unique_by=lambda peer: peer.public_key))
def test_peers_read_back_as_they_were_rendered(devices: list[WgPeer]) -> None:
    answer = as_answer(render_peers([SetPeer(peer) for peer in devices]))
    assert parse_get(answer, NOW).peers == {peer.public_key: peer for peer in devices}


@given(keys.filter(any), st.integers(0, 0xFFFF))
def test_the_key_reads_back_as_its_public_half_only(private: bytes, port: int) -> None:
    request = render_key(Secret(private)).replace(b"\n\n", b"\n") + render_port(port).replace(b"set=1\n", b"")
    device = parse_get(as_answer(request), NOW)
    assert device.public_key == x25519_public(Secret(private))
    assert device.listen_port == port
    assert private.hex() not in repr(device)


def test_a_removed_peer_is_named_and_marked() -> None:
    assert render_peers([RemovePeer(b"\xab" * 32)]) == b"set=1\npublic_key=" + b"ab" * 32 + b"\nremove=true\n\n"


def test_a_peer_without_a_new_endpoint_keeps_its_own() -> None:
    assert b"endpoint" not in render_peers([SetPeer(WgPeer(b"\xab" * 32))])


def test_handshakes_tell_their_age_and_traffic() -> None:
    answer = (
        b"private_key=" + b"00" * 32 + b"\npublic_key=" + b"ab" * 32 + b"\nendpoint=[2001:db8::1]:51820\n"
        b"last_handshake_time_sec=1799999990\nlast_handshake_time_nsec=500000000\nrx_bytes=5\ntx_bytes=7\n"
        b"public_key=" + b"cd" * 32 + b"\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\nerrno=0\n\n"
    )
    device = parse_get(answer, NOW)
    assert device.public_key == b""
    assert device.handshakes == {
        b"\xab" * 32: Handshake(Endpoint("2001:db8::1", 51820), 9.5, 5, 7),
        b"\xcd" * 32: Handshake(None, None, 0, 0),
    }


def test_a_handshake_that_seems_to_lie_ahead_happened_just_now() -> None:
    answer = b"public_key=" + b"ab" * 32 + b"\nlast_handshake_time_sec=1900000000\nerrno=0\n\n"
    assert parse_get(answer, NOW).handshakes[b"\xab" * 32].age == 0.0


def test_words_of_newer_programs_are_passed_over() -> None:
    answer = b"fwmark=3\nnovelty=yes\npublic_key=" + b"ab" * 32 + b"\nprotocol_version=1\nnovelty=a=b\nerrno=0\n\n"
    assert set(parse_get(answer, NOW).peers) == {b"\xab" * 32}


def test_prefixes_of_ipv4_are_left_out() -> None:
    answer = b"public_key=" + b"ab" * 32 + b"\nallowed_ip=192.0.2.0/24\nallowed_ip=fd00::/64\nerrno=0\n\n"
    assert parse_get(answer, NOW).peers[b"\xab" * 32].allowed_ips == (IPv6Network("fd00::/64"),)


def test_the_error_number_is_positive_however_it_is_told() -> None:
    assert parse_status(b"errno=-98\n\n") == parse_status(b"errno=98\n\n") == errno.EADDRINUSE


def test_a_failed_get_is_no_empty_device() -> None:
    with pytest.raises(LocalError) as caught:
        parse_get(b"errno=-5\n\n", NOW)
    assert caught.value.problem.code == "device-failed"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\n\n",
        b"errno=\n\n",
        b"errno=--1\n\n",
        b"\xff\nerrno=0\n\n",
        "errno=\N{SUPERSCRIPT TWO}\n\n".encode(),
        b"public_key=ab\nerrno=0\n\n",
        b"public_key=" + b" ab" * 32 + b"\nerrno=0\n\n",
        b"public_key=" + b"zz" * 32 + b"\nerrno=0\n\n",
        b"listen_port=65536\nerrno=0\n\n",
        b"listen_port=-1\nerrno=0\n\n",
        b"listen_port\nerrno=0\n\n",
        b"private_key=00\nerrno=0\n\n",
        b"public_key=" + b"ab" * 32 + b"\nendpoint=2001:db8::1:51820\nerrno=0\n\n",
        b"public_key=" + b"ab" * 32 + b"\nendpoint=[192.0.2.1]:51820\nerrno=0\n\n",
        b"public_key=" + b"ab" * 32 + b"\nendpoint=host:51820\nerrno=0\n\n",
        b"public_key=" + b"ab" * 32 + b"\nallowed_ip=fd00::1/64\nerrno=0\n\n",
        b"public_key=" + b"ab" * 32 + b"\npublic_key=" + b"ab" * 32 + b"\nerrno=0\n\n",
        b"public_key=" + b"ab" * 32 + b"\nrx_bytes=99999999999999999999999\nerrno=0\n\n",
    ],
)
def test_nonsense_is_refused(answer: bytes) -> None:
    with pytest.raises(LocalError) as caught:
        parse_get(answer, NOW)
    assert caught.value.problem.code == "uapi-garbled"


words = st.sampled_from(["public_key", "private_key", "endpoint", "allowed_ip", "listen_port", "rx_bytes", "errno"])
lines = st.builds("{}={}".format, words, st.text(max_size=70) | keys.map(bytes.hex) | st.just("0"))


@given(st.binary(max_size=200) | st.lists(lines).map(lambda found: "\n".join([*found, "errno=0\n\n"]).encode()))
def test_garbage_raises_nothing_but_a_local_error(answer: bytes) -> None:
    with suppress(LocalError):
        parse_get(answer, NOW)
    with suppress(LocalError):
        parse_status(answer)
