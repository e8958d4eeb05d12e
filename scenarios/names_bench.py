"""How many names a second are answered: the zone of a large mesh behind real sockets, asked by dnsperf.

First every name is asked for once and its answer compared with the member's address; then dnsperf asks for them at
random, with one in ten that does not exist. The server is a process of its own, as in a daemon, without the other
actors.
"""

from __future__ import annotations

import os
import platform
import random
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import IO

import click
import dns.message
import dns.query

from scenarios.papers import Papers
from smeg import messages as m
from smeg.certificates import Role
from smeg.dns_messages import Responder
from smeg.edges.dns_server import DnsServer
from smeg.keys import new_secret, node_key, x25519_public
from smeg.ledger import Ledger
from smeg.members import Members
from smeg.notary import Notary
from smeg.zone import Zone

MESH = "bench"
HERE = IPv6Address("::1")
GUARD = 120.0
"""seconds after which the server ends by itself, should nobody end it."""
PACE = 1000
"""names a second when all of them are asked for once: fewer than a server makes answers to."""


def made(count: int) -> tuple[str, Members]:
    """The id and the members of a mesh; a seed makes it the same in both processes."""
    chance = random.Random(count)
    identity, curve = new_secret(chance.randbytes), new_secret(chance.randbytes)
    papers = Papers(MESH, identity, curve, count, wall := int(time.time()), chance.randbytes)
    documents = list(papers.shared)
    for number in range(count):
        own, wireguard, curve = (new_secret(chance.randbytes) for _ in range(3))
        public = x25519_public(wireguard), x25519_public(curve)
        certificate, credential = papers.admit(node_key(own), *public, Role.PEER)
        record = papers.record(f"node-{number}", "192.0.2.1", credential.hash, own, Role.PEER)
        documents += [certificate.raw, credential.raw, record]
    ledger = Ledger(papers.mesh.id, Notary())
    ledger.take(documents, wall)
    return papers.mesh.id, ledger.roster.members


def serve(count: int) -> None:
    """Be the server; say at which port, and which name has which address, on standard output."""
    mesh, members = made(count)
    zone = Zone([HERE], lambda: 0)
    zone.hear(m.MeshStarted(mesh, MESH, "", ""))
    zone.hear(m.MembersChanged(mesh, 1, members))
    responder, server = Responder(zone), DnsServer(HERE, 0)
    for member in members.values():
        print(member.record.name, member.address)
    print("port", server.port, flush=True)
    end = time.monotonic() + GUARD
    while (now := time.monotonic()) < end:
        select.select([server.descriptor], [], [], 1.0)
        server.serve(responder.answer, zone.serves, now)
        server.tick(now)


def check(port: int, addresses: dict[str, str]) -> tuple[int, float]:
    """Ask for each name once: how many answers were right, and how many seconds one took."""
    right, spent = 0, 0.0
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asking:
        for name, address in addresses.items():
            began = time.monotonic()
            query = dns.message.make_query(f"{name}.{MESH}.smeg.", "AAAA")
            response = dns.query.udp(query, str(HERE), 5.0, port, sock=asking)
            right += [rdata.to_text() for rrset in response.answer for rdata in rrset] == [address]
            took = time.monotonic() - began
            spent += took
            time.sleep(max(0.0, 1 / PACE - took))
    return right, spent / len(addresses)


def questions(addresses: dict[str, str]) -> Iterator[str]:
    """What dnsperf asks, in its own form."""
    chance = random.Random(1)
    for name in chance.sample(sorted(addresses), len(addresses)):
        yield f"{name}.{MESH}.smeg AAAA"
        if chance.random() < 0.1:
            yield f"{name}x.{MESH}.smeg AAAA"


def perform(port: int, addresses: dict[str, str], seconds: int) -> dict[str, str]:
    """What dnsperf says, by its own words."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "questions"
        file.write_text("\n".join(questions(addresses)) + "\n")
        command = ["dnsperf", "-s", str(HERE), "-p", str(port), "-d", str(file), "-l", str(seconds), "-c", "4"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True)
    lines = (line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    return {label.strip(): value.strip() for label, value in lines}


@click.command()
@click.option("--members", "count", type=click.IntRange(1, 10_000), default=3000, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 60), default=10, show_default=True)
@click.option("--serve", "serving", is_flag=True, hidden=True)
def main(count: int, seconds: int, serving: bool) -> None:
    """Measure how fast the names of a mesh are answered."""
    if serving:
        serve(count)
        return
    if shutil.which("dnsperf") is None:
        raise click.ClickException("there is no dnsperf here: install it (on Debian: apt-get install dnsperf)")
    command = [sys.executable, "-m", "scenarios.names_bench", "--serve", "--members", str(count)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            addresses, port = _said(server.stdout)
            right, took = check(port, addresses)
            found = perform(port, addresses, seconds)
        finally:
            server.terminate()
    click.echo(f"machine: {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}")
    click.echo(f"load: {os.getloadavg()[0]:.1f} when it ended")
    click.echo(f"names asked for once: {len(addresses)}, right: {right}, each {1000 * took:.2f} ms")
    for label in ("Queries per second", "Queries completed", "Queries lost", "Response codes", "Average Latency (s)"):
        click.echo(f"{label}: {found.get(label, 'not said')}")
    if right != len(addresses):
        sys.exit(1)


def _said(lines: IO[str]) -> tuple[dict[str, str], int]:
    """Which name has which address, and the port."""
    addresses: dict[str, str] = {}
    for line in lines:
        name, value = line.split()
        if name == "port":
            return addresses, int(value)
        addresses[name] = value
    raise click.ClickException("the server ended before it served anything")


if __name__ == "__main__":
    main()
