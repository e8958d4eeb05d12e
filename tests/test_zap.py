"""Who is let in: verdicts, allowances and frames as values, and ZAP with real CURVE handshakes on loopback."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from smeg.allowance import Allowance, Allowances
from smeg.edges import frames
from smeg.edges.routers import ZAP_DOMAIN, Limits, make_server
from smeg.edges.zap import VERSION, Decide, Door, Verdict, ZapHandler, answer
from smeg.errors import RemoteError
from smeg.keys import Secret, new_secret, x25519_public

KEY = bytes(range(32))


def request(key: bytes = KEY, domain: bytes = ZAP_DOMAIN, mechanism: bytes = b"CURVE") -> list[bytes]:
    return [VERSION, b"7", domain, b"::1", b"", mechanism, key]


def allow(_curve: bytes, _now: float) -> Verdict:
    return Verdict.ALLOW


def test_an_allowed_key_becomes_the_user_id() -> None:
    assert answer(request(), ZAP_DOMAIN, allow, 0.0) == (
        Verdict.ALLOW,
        [VERSION, b"7", b"200", b"ALLOW", KEY.hex().encode(), b""],
    )


@pytest.mark.parametrize(
    "bad",
    [
        request(key=KEY[:31]),
        request(key=b""),
        request(domain=b"other"),
        request(mechanism=b"NULL"),
        [*request(), b"more"],
        request()[:-1],
        [b"2.0", *request()[1:]],
    ],
)
def test_a_request_that_is_not_quite_right_is_denied_with_an_answer(bad: list[bytes]) -> None:
    verdict, reply = answer(bad, ZAP_DOMAIN, allow, 0.0)

    assert verdict is Verdict.DENY
    assert reply[1:3] == [b"7", b"400"]
    assert reply[4] == b""


@given(st.lists(st.binary(max_size=40), max_size=9))
def test_no_garbage_is_let_in_or_raises(garbage: list[bytes]) -> None:
    verdict, reply = answer(garbage, ZAP_DOMAIN, allow, 0.0)

    assert verdict is Verdict.DENY
    assert len(reply) in (0, 6)


def test_a_policy_that_raises_denies() -> None:
    def broken(_curve: bytes, _now: float) -> Verdict:
        raise RuntimeError("a bug")

    verdict, reply = answer(request(), ZAP_DOMAIN, broken, 0.0)

    assert verdict is Verdict.BROKEN
    assert reply[2:5] == [b"500", b"BROKEN", b""]


def door(rate: float = 1.0, burst: float = 2.0, room: int = 100, guest_room: int = 50) -> Door:
    return Door(Allowance(rate, burst), room, guest_room)


def test_the_door_lets_members_in_and_never_the_evicted() -> None:
    policy = door(burst=0.0)
    policy.members = frozenset({KEY})
    assert policy.decide(KEY, 0.0) is Verdict.ALLOW

    policy.evicted = frozenset({KEY})
    assert policy.decide(KEY, 0.0) is Verdict.DENY


def test_guests_come_in_at_a_rate_and_are_otherwise_put_off() -> None:
    policy = door(rate=1.0, burst=2.0)

    assert [policy.decide(KEY, 0.0) for _ in range(3)] == [Verdict.ALLOW, Verdict.ALLOW, Verdict.LATER]
    assert policy.decide(KEY, 1.0) is Verdict.ALLOW
    policy.guests_welcome = False
    assert policy.decide(KEY, 100.0) is Verdict.LATER


def test_a_crowd_keeps_guests_out_before_members() -> None:
    policy = door()
    policy.members = frozenset({KEY})
    policy.crowd = 60
    assert policy.decide(KEY, 0.0) is Verdict.ALLOW
    assert policy.decide(bytes(32), 0.0) is Verdict.LATER
    policy.crowd = 101
    assert policy.decide(KEY, 0.0) is Verdict.LATER


@given(st.floats(0.1, 100), st.floats(1, 50), st.lists(st.floats(0, 10), max_size=60))
def test_an_allowance_never_gives_more_than_its_burst_and_rate(rate: float, burst: float, gaps: list[float]) -> None:
    allowance = Allowance(rate, burst)
    now, taken = 1000.0, 0
    for gap in gaps:
        now += gap
        taken += allowance.take(now)

    assert taken <= burst + rate * (now - 1000.0) + 1e-6


def test_what_is_granted_is_kept_until_it_is_taken_and_is_bounded() -> None:
    allowance = Allowance(1.0, 3.0)
    for _ in range(5):
        allowance.grant(4.0, 10.0)
    assert sum(allowance.take(now) for now in (100.0, *[200.0] * 20)) == 10
    assert not allowance.take(200.0)
    allowance.grant(1.0, 10.0)
    assert sum(allowance.take(300.0) for _ in range(20)) == 3, "what it has saved up, as ever"


def test_one_key_cannot_use_up_the_allowance_of_others_and_few_keys_are_remembered() -> None:
    allowances = Allowances(rate=1.0, burst=1.0, total=Allowance(1.0, 3.0), most=2)

    assert [allowances.take(b"a", 0.0) for _ in range(9)] == [True] + [False] * 8
    assert allowances.take(b"b", 0.0)
    assert allowances.take(b"c", 0.0)
    assert not allowances.take(b"d", 0.0), "the total is used up"


def test_a_key_that_rested_until_its_allowance_was_full_again_is_forgotten_when_others_come() -> None:
    allowances = Allowances(rate=1.0, burst=5.0, total=None, most=99)
    for key in (b"a", b"b"):
        assert allowances.take(key, 0.0, 5.0)
        assert not allowances.holds(key, 0.0)
    assert allowances.take(b"c", 4.0)
    assert len(allowances) == 3
    assert allowances.take(b"d", 5.0)
    assert len(allowances) == 1
    assert allowances.take(b"a", 5.0, 5.0)


meshes = st.text("abcdefghijklmnopqrstuvwxyz234567", min_size=1, max_size=64)
channels = st.binary(min_size=1, max_size=1).filter(lambda channel: channel not in b"?!")


@given(meshes, channels, st.binary(max_size=200))
def test_what_is_packed_is_parsed_as_it_was(mesh: str, channel: bytes, payload: bytes) -> None:
    assert frames.parse(frames.pack(mesh, channel, payload)) == frames.Frames(mesh, channel, payload)


@given(st.lists(st.binary(max_size=70), max_size=5))
def test_garbage_frames_raise_remote_errors_only(parts: list[bytes]) -> None:
    with contextlib.suppress(RemoteError):
        parsed = frames.parse(parts)
        assert [parsed.mesh.encode(), parsed.channel, parsed.payload] == parts


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([b"abc", b"M"], "wrong-parts"),
        ([b"abc", b"M", b"", b""], "wrong-parts"),
        ([b"abc", b"MM", b""], "bad-channel"),
        ([b"ABC", b"M", b""], "bad-mesh-id"),
        ([b"abc\n", b"M", b""], "bad-mesh-id"),
        ([b"", b"M", b""], "bad-mesh-id"),
        ([b"a" * 65, b"M", b""], "bad-mesh-id"),
        ([b"abc", b"M", bytes(frames.MAX_PAYLOAD + 1)], "too-large"),
        ([b"abc", b"?", b""], "bad-hello"),
        ([b"", b"!", b"x"], "bad-hello"),
    ],
)
def test_each_fault_of_a_message_has_its_name(parts: list[bytes], code: str) -> None:
    with pytest.raises(RemoteError) as raised:
        frames.parse(parts)
    assert raised.value.problem.code == code


class Server:
    """A real CURVE server with ZAP as the transport sets it up, and clients that try to get in."""

    def __init__(self, decide: Decide | None) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.zap = ZapHandler(self.context, ZAP_DOMAIN, decide) if decide else None
        curve = new_secret(os.urandom)
        self.key = x25519_public(curve)
        self.socket = make_server(self.context, curve, Limits())
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.outside: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.clients: list[zmq.Socket[bytes]] = []

    def client(self, curve: Secret) -> zmq.Socket[bytes]:
        """Connects, sends one message, and tells by a monitor how its handshake ended."""
        client = self.outside.socket(zmq.DEALER)
        client.linger = 0
        client.setsockopt(zmq.CURVE_SECRETKEY, curve.reveal())
        client.setsockopt(zmq.CURVE_PUBLICKEY, x25519_public(curve))
        client.setsockopt(zmq.CURVE_SERVERKEY, self.key)
        monitor = client.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        client.connect(f"tcp://127.0.0.1:{self.port}")
        client.send(b"in")
        self.clients.append(client)
        return monitor

    def ended(self, monitor: zmq.Socket[bytes], seconds: float = 5.0) -> int | None:
        """The event that ended a handshake, served meanwhile."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.zap:
                self.zap.socket.poll(5)
                self.zap.serve(time.monotonic(), 10)
            if monitor.poll(5):
                return int.from_bytes(monitor.recv_multipart()[0][:2], "little")
        return None

    def close(self) -> None:
        self.outside.destroy(linger=0)
        self.context.destroy(linger=0)


@pytest.fixture
def serve() -> Iterator[Callable[[Decide | None], Server]]:
    servers: list[Server] = []

    def start(decide: Decide | None) -> Server:
        servers.append(Server(decide))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def test_every_frame_names_the_key_that_the_handshake_proved(serve: Callable[[Decide | None], Server]) -> None:
    server = serve(allow)
    curve = new_secret(os.urandom)

    assert server.ended(server.client(curve)) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert server.socket.poll(3000)
    received = server.socket.recv_multipart(copy=False)
    assert [frame.get("User-Id") for frame in received] == [x25519_public(curve).hex()] * 2


def test_a_policy_that_raises_denies_one_handshake_and_the_next_works(
    serve: Callable[[Decide | None], Server],
) -> None:
    unlucky = new_secret(os.urandom)

    def moody(curve: bytes, _now: float) -> Verdict:
        if curve == x25519_public(unlucky):
            raise RuntimeError("a bug")
        return Verdict.ALLOW

    server = serve(moody)
    assert server.ended(server.client(unlucky)) == zmq.EVENT_HANDSHAKE_FAILED_AUTH
    assert server.ended(server.client(new_secret(os.urandom))) == zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert server.zap is not None
    assert server.zap.counts == {Verdict.BROKEN: 1, Verdict.ALLOW: 1}


def test_without_a_handler_nobody_gets_in(serve: Callable[[Decide | None], Server]) -> None:
    server = serve(None)

    assert server.ended(server.client(new_secret(os.urandom)), seconds=1.0) != zmq.EVENT_HANDSHAKE_SUCCEEDED
    assert not server.socket.poll(0)
