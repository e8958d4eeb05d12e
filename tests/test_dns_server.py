"""The sockets of the DNS server on loopback: UDP and TCP at one port, bounded in all that somebody could fill."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address

import pytest

from smeg.edges.dns_server import IDLE, MAX_CONNECTIONS, MAX_QUERY, MAX_UNREAD, DnsServer, Source
from smeg.errors import LocalError
from tests.nodes import wait_for

HERE = IPv6Address("::1")


def doubled(query: bytes, tcp: bool, now: float) -> bytes | None:
    """Twice what was asked; nothing for `silence`."""
    return None if query == b"silence" else (b"tcp " if tcp else b"udp ") + query + query


def everybody(_: Source) -> bool:
    return True


def nobody(_: Source) -> bool:
    return False


class Bench:
    """A server, and a clock that only a test moves."""

    def __init__(self, server: DnsServer) -> None:
        self.server = server
        self.now = 0.0
        self.may_ask: Callable[[Source], bool] = everybody
        self.clients: list[socket.socket] = []

    def serve(self) -> None:
        if select.select([self.server.descriptor], [], [], 0)[0]:
            self.server.serve(doubled, self.may_ask, self.now)

    def connections(self) -> int:
        self.serve()
        return len(self.server._connections)

    def client(self, kind: socket.SocketKind) -> socket.socket:
        family = socket.AF_INET6 if self.server.address.version == 6 else socket.AF_INET
        one = socket.socket(family, kind)
        self.clients.append(one)
        one.connect((str(self.server.address), self.server.port))
        one.setblocking(False)
        return one

    def udp(self) -> socket.socket:
        return self.client(socket.SOCK_DGRAM)

    def tcp(self) -> socket.socket:
        return self.client(socket.SOCK_STREAM)

    def receive(self, one: socket.socket, size: int = 65536) -> bytes:
        """What comes next, while the server serves; empty at the end of a connection."""
        found: list[bytes] = []

        def came() -> bool:
            self.serve()
            try:
                found.append(one.recv(size))
            except BlockingIOError:
                return False
            except ConnectionResetError:
                found.append(b"")
            return True

        wait_for("something is received", came, 10)
        return found[0]


@contextmanager
def bench(address: IPv4Address | IPv6Address = HERE) -> Iterator[Bench]:
    server = DnsServer(address, 0)
    made = Bench(server)
    try:
        yield made
    finally:
        for one in made.clients:
            one.close()
        server.close()


def framed(*queries: bytes) -> bytes:
    return b"".join(len(query).to_bytes(2, "big") + query for query in queries)


@pytest.mark.parametrize("address", [HERE, IPv4Address("127.0.0.1")])
def test_both_protocols_are_answered_at_one_port(address: Source) -> None:
    with bench(address) as made:
        udp, tcp = made.udp(), made.tcp()
        udp.send(b"ab")
        assert made.receive(udp) == b"udp abab"
        tcp.send(framed(b"cd"))
        assert made.receive(tcp) == framed(b"tcp cdcd")


def test_queries_in_one_stream_are_answered_in_order_however_they_are_cut() -> None:
    with bench() as made:
        tcp, expected, got = made.tcp(), b"", b""
        queries = [bytes([number]) * (number + 1) for number in range(40)]
        stream = framed(*queries)
        for at in range(0, len(stream), 7):
            tcp.send(stream[at : at + 7])
            made.serve()
        expected = framed(*(b"tcp " + query + query for query in queries))
        while len(got) < len(expected):
            got += made.receive(tcp)
        assert got == expected


def test_a_connection_that_is_done_is_closed_after_its_answer() -> None:
    with bench() as made:
        tcp = made.tcp()
        tcp.send(framed(b"last"))
        tcp.shutdown(socket.SHUT_WR)
        assert made.receive(tcp) == framed(b"tcp lastlast")
        assert made.receive(tcp) == b""
        assert made.server.next_deadline() is None


@pytest.mark.parametrize("said", [framed(b"silence"), (MAX_QUERY + 1).to_bytes(2, "big")])
def test_what_is_no_query_ends_a_connection_and_gets_no_answer_by_udp(said: bytes) -> None:
    with bench() as made:
        tcp, udp = made.tcp(), made.udp()
        tcp.send(said)
        assert made.receive(tcp) == b""
        udp.send(b"silence")
        udp.send(b"a")
        assert made.receive(udp) == b"udp aa", "the first one was passed over"


def test_who_may_not_ask_is_not_answered() -> None:
    with bench() as made:
        made.may_ask = nobody
        tcp, udp = made.tcp(), made.udp()
        assert made.receive(tcp) == b""
        udp.send(b"a")
        wait_for("the query is there", lambda: bool(select.select([made.server.descriptor], [], [], 0)[0]), 10)
        made.serve()
        made.may_ask = everybody
        udp.send(b"b")
        assert made.receive(udp) == b"udp bb"


def test_a_connection_that_brings_no_query_for_some_time_ends() -> None:
    with bench() as made:
        slow, fast = made.tcp(), made.tcp()
        wait_for("both are accepted", lambda: made.connections() == 2, 10)
        assert made.server.next_deadline() == IDLE
        made.now = IDLE - 1
        slow.send(b"\0")
        fast.send(framed(b"a"))
        assert made.receive(fast) == framed(b"tcp aa")
        made.now = IDLE
        made.server.tick(made.now)
        assert made.receive(slow) == b""
        fast.send(framed(b"b"))
        assert made.receive(fast) == framed(b"tcp bb")


def test_one_connection_too_many_ends_the_quietest() -> None:
    with bench() as made:
        first = made.tcp()
        wait_for("it is accepted", lambda: made.connections() == 1, 10)
        made.now = 1.0
        for _ in range(MAX_CONNECTIONS):
            made.tcp()
        assert made.receive(first) == b""
        last = made.clients[-1]
        last.send(framed(b"a"))
        assert made.receive(last) == framed(b"tcp aa")
        assert len(made.server._connections) == MAX_CONNECTIONS


def test_who_does_not_read_is_not_read_and_holds_no_more_than_so_much() -> None:
    with bench() as made:
        tcp = made.tcp()
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        query, stuck = framed(b"x" * 1000), 0
        while stuck < 200:
            try:
                tcp.send(query)
                stuck = 0
            except BlockingIOError:
                stuck += 1
            made.serve()
            (connection,) = made.server._connections.values()
            assert len(connection.unsent) <= MAX_UNREAD + 4096
            assert len(connection.unread) <= 2 * MAX_QUERY
        assert not select.select([made.server.descriptor], [], [], 0)[0], "it is not woken in vain"
        answer = framed(b"tcp " + b"x" * 2000)
        got = made.receive(tcp)
        assert got[: len(answer)] == answer[: len(got)]


def test_a_port_that_is_taken_is_said_to_be() -> None:
    with bench() as made, pytest.raises(LocalError) as caught:
        DnsServer(HERE, made.server.port)
    assert caught.value.problem.code == "dns-unusable"
    assert str(made.server.port) in caught.value.problem.message
