"""Names of a mesh, asked of whole daemons on loopback by dnspython's own resolver and by dig."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.resolver
import dns.reversename
import pytest

from tests.loopback import Daemon, end_at_last, form_mesh
from tests.nodes import wait_for

Make = Callable[..., Daemon]
MESH = "home"


@pytest.fixture(scope="module")
def daemons() -> Iterator[Make]:
    with end_at_last() as made:
        yield made


@pytest.fixture(scope="module")
def nodes(daemons: Make, tmp_path_factory: pytest.TempPathFactory) -> list[Daemon]:
    """Three, of which the first serves names."""
    folder = tmp_path_factory.mktemp("d")
    made = [
        daemons(folder / "one", dnsAddress=["::1", "127.0.0.1"], dnsPort=0),
        daemons(folder / "two"),
        daemons(folder / "three"),
    ]
    for node in made:
        node.start()
    form_mesh(MESH, *made)
    wait_for("all know all", lambda: all(len(node.members(MESH)) == 3 for node in made), 20)
    return made


def places(node: Daemon) -> list[tuple[str, int]]:
    """Where it serves names."""
    served = [place.rpartition(":") for place in node.ask("status")["names"]["served"]]
    return [(address.strip("[]"), int(port)) for address, _, port in served]


def resolvers(node: Daemon) -> list[dns.resolver.Resolver]:
    found = []
    for address, port in places(node):
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = [address], port, 20.0
        found.append(resolver)
    return found


def addresses(resolver: dns.resolver.Resolver, name: str, tcp: bool = False) -> list[str]:
    try:
        return sorted(rdata.address for rdata in resolver.resolve(name, "AAAA", tcp=tcp))
    except dns.resolver.NXDOMAIN:
        return []


def test_each_node_is_found_by_its_name_and_its_id_and_its_address_leads_back(nodes: list[Daemon]) -> None:
    for resolver in resolvers(nodes[0]):
        for name, row in nodes[0].members(MESH).items():
            for tcp in (False, True):
                assert addresses(resolver, f"{name.upper()}.{MESH}.smeg", tcp) == [row["address"]]
            assert addresses(resolver, f"{row['node']}.{MESH}.smeg") == [row["address"]]
            back = resolver.resolve(dns.reversename.from_address(row["address"]), "PTR")
            assert [rdata.target.to_text() for rdata in back] == [f"{name}.{MESH}.smeg."]


def test_a_device_without_a_daemon_is_found_by_its_name_while_it_is_let_in(nodes: list[Daemon], tmp_path: Path) -> None:
    resolver, two = resolvers(nodes[0])[0], nodes[1]
    made = two.does("export", MESH, "--static", "phone", "--output", str(tmp_path / "phone.conf"))
    for name in ("phone", "phone.two"):
        full = f"{name}.{MESH}.smeg"
        wait_for("its name is known", lambda full=full: addresses(resolver, full) == [made["address"]], 20)  # type: ignore[misc]
    back = resolver.resolve(dns.reversename.from_address(made["address"]), "PTR")
    assert [rdata.target.to_text() for rdata in back] == [f"phone.{MESH}.smeg."]
    two.does("delete-static", MESH, "phone")
    wait_for("it is gone", lambda: addresses(resolver, f"phone.{MESH}.smeg") == [], 20)


def test_what_another_node_says_of_itself_is_answered_within_seconds(nodes: list[Daemon]) -> None:
    resolver, two = resolvers(nodes[0])[0], nodes[1]
    with pytest.raises(dns.resolver.NXDOMAIN):
        resolver.resolve(f"www.{MESH}.smeg", "AAAA")
    two.does("put-alias", MESH, "www")
    two.does("put-description", MESH, "the site")
    two.does("set-service", MESH, "http", "--port", "8080", "--text", "path=/")
    address = two.meshes()[MESH]["address"]
    wait_for("the alias is known", lambda: addresses(resolver, f"www.{MESH}.smeg") == [address], 20)
    wait_for("so is the service", lambda: len(nodes[0].members(MESH)["two"]["services"]) == 1, 20)
    (server,) = resolver.resolve(f"_http._tcp.www.{MESH}.smeg", "SRV")
    assert (server.port, server.target.to_text()) == (8080, f"www.{MESH}.smeg.")
    (found,) = resolver.resolve(f"_http._tcp.www.{MESH}.smeg", "TXT")
    assert found.strings == (b"path=/",)
    with pytest.raises(dns.resolver.NoAnswer):
        resolver.resolve(f"www.{MESH}.smeg", "A")
    two.does("put-alias", MESH, "")
    wait_for("the alias is gone", lambda: addresses(resolver, f"www.{MESH}.smeg") == [], 20)


def test_what_was_said_is_there_again_after_a_restart_of_who_said_it_and_of_who_answers(nodes: list[Daemon]) -> None:
    nodes[2].does("put-alias", MESH, "db")
    address = nodes[2].meshes()[MESH]["address"]
    for node in (nodes[2], nodes[0]):
        node.kill9()
        node.start()
    wait_for("names are served", lambda: len(places(nodes[0])) == 2, 20)
    wait_for("the alias is there", lambda: addresses(resolvers(nodes[0])[0], f"db.{MESH}.smeg") == [address], 20)


def test_whatever_is_sent_the_daemon_answers_the_next_question(nodes: list[Daemon]) -> None:
    chance = random.Random(7)
    query = dns.message.make_query(f"two.{MESH}.smeg.", "AAAA", use_edns=0).to_wire()
    for address, port in places(nodes[0]):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.connect((address, port))
            for number in range(500):
                damaged = bytearray(query)
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
                udp.send(chance.randbytes(number) if number % 2 else bytes(damaged))
        for number in range(20):
            with socket.create_connection((address, port), 10) as tcp:
                tcp.sendall(chance.randbytes(number * 40) if number % 2 else len(query).to_bytes(2, "big"))
    for resolver in resolvers(nodes[0]):
        for tcp_too in (False, True):
            assert len(addresses(resolver, f"two.{MESH}.smeg", tcp_too)) == 1
    actors = {row["name"]: row for row in nodes[0].ask("status")["actors"]}
    assert (actors["dns"]["state"], actors["dns"]["restarts"]) == ("running", 0)


def test_dig_agrees(nodes: list[Daemon]) -> None:
    dig = shutil.which("dig")
    if dig is None:
        pytest.skip("there is no dig here")
    for address, port in places(nodes[0]):

        def ask(*question: str, at: str = address, port: int = port) -> str:
            command = [dig, f"@{at}", "-p", str(port), "+tries=3", *question]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

        row = nodes[0].members(MESH)["two"]
        assert ask("+short", "AAAA", f"two.{MESH}.smeg").split() == [row["address"]]
        assert ask("+short", "+tcp", "AAAA", f"two.{MESH}.smeg").split() == [row["address"]]
        assert ask("+short", "-x", row["address"]).split() == [f"two.{MESH}.smeg."]
        nowhere = ask("AAAA", f"nobody.{MESH}.smeg")
        assert "status: NXDOMAIN" in nowhere
        assert "\tSOA\t" in nowhere
        assert "status: REFUSED" in ask("AAAA", "example.org")
        assert "status: NOERROR" in ask("A", f"two.{MESH}.smeg")


def test_an_address_that_is_taken_is_a_problem_and_no_obstacle(
    nodes: list[Daemon], daemons: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address, port = places(nodes[0])[0]
    late = daemons(tmp_path_factory.mktemp("d") / "late", dnsAddress=address, dnsPort=port)
    late.start()
    form_mesh("late", late)
    wait_for("it says so", lambda: late.problems() == ["dns-unusable"], 20)
    assert nodes[0].stop() == 0
    wait_for("it takes over", lambda: late.problems() == [] and places(late) == [(address, port)], 20)
    assert addresses(resolvers(late)[0], "late.late.smeg") == [late.meshes()["late"]["address"]]
    nodes[0].start()


def test_a_node_serves_no_names_unasked(nodes: list[Daemon]) -> None:
    assert "names" not in nodes[1].ask("status")
    program = "import actors.daemon, sys; print('dns' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n", "nor does it pay for what only that needs"
