"""A ring of four meshes: when the bridge on the short way dies packets take the long one, and none goes in a circle."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from scenarios.hosts import Host, Process
from tests.capture import OURS, READY, Seen
from tests.nodes import make_world, wait_for
from tests.real_meshes import GENEROUS, SOON, Meshes

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[1]
RING = {"east": ("a", "se", "ne"), "north": ("n", "ne", "nw"), "west": ("nw", "sw"), "south": ("sw", "se")}
SHORT, LONG = ["ne"], ["se", "sw", "nw"]
SETTLES = 30.0
OFTEN = 0.05
"""seconds between two pings, while the way changes."""
HELD = 1.0
"""seconds for which a bridge has no way before it takes a longer one."""


class Watched:
    """Hosts with a capture on each."""

    def __init__(self, hosts: Mapping[str, Host]) -> None:
        self._taps: dict[str, Process] = {}
        for name, host in hosts.items():
            argv = [sys.executable, "-m", "tests.capture"]
            self._taps[name] = host.start(argv, env={"PYTHONPATH": str(ROOT)}, log=host.folder / "capture.log")
        for name, tap in self._taps.items():
            wait_for(f"{name} captures", lambda tap=tap: tap.log.read_text().startswith(READY), 20)  # type: ignore[misc]

    def seen(self, name: str) -> list[Seen]:
        assert self._taps[name].running
        return Seen.read(self._taps[name].log.read_text())

    def circles(self) -> list[str]:
        """Packets that passed an interface twice in one direction, and packets that ended on the way."""
        found: list[str] = []
        for name in self._taps:
            seen = self.seen(name)
            twice = Counter(one.passage for one in seen)
            found += [f"{name}: {passage}" for passage, times in twice.items() if times > 1]
            found += [f"{name}: {one}" for one in seen if one.kind == "exceeded"]
        return found


@pytest.fixture(scope="module")
def ring() -> Iterator[Meshes]:
    with make_world() as world:
        made = Meshes(world, RING)
        made.form()
        made.all_reached(("a", "n"), SETTLES)
        yield made


def test_a_circle_would_be_seen() -> None:
    with make_world() as world:
        hosts = {name: world.host(name) for name in ("one", "other")}
        one, other = hosts.values()
        for host in (one, other):
            host.run(["ip", "link", "set", "eth0", "down"])
            host.run(["ip", "link", "set", "eth0", "name", f"{OURS}0", "up"])
            host.run(["ip", "address", "replace", f"{host.address(6)}/64", "dev", f"{OURS}0", "nodad"])
            host.run(["sysctl", "-qw", "net.ipv6.conf.all.forwarding=1"])
        for host, to in ((one, other), (other, one)):
            host.run(["ip", "-6", "route", "add", "2001:db8::/32", "via", str(to.address(6))])
        watched = Watched(hosts)
        one.run(["ping", "-c1", "-W1", "2001:db8::1"], check=False)
        wait_for("the capture shows it", lambda: any("'request'" in each for each in watched.circles()), 10)


def test_traffic_takes_the_long_way_when_the_short_one_dies_and_the_short_one_again_and_never_a_circle(
    ring: Meshes,
) -> None:
    meshes, watched = ring, Watched({name: node.host for name, node in ring.nodes.items()})
    end = meshes.home("n")
    wait_for("the short way is taken", lambda: meshes.way("a", end) == [*SHORT, end], SETTLES)
    wait_for("both directions", lambda: meshes.way("n", meshes.home("a")) == [*SHORT, meshes.home("a")], SETTLES)
    meshes.all_reached(("a", "n"), SOON)
    streams = [meshes.stream("a", end, OFTEN), meshes.stream("n", meshes.home("a"), OFTEN)]

    meshes.power_off(*SHORT)
    took = meshes.reached("a", "n", GENEROUS * (SOON + HELD))
    print(f"\nreached by the long way {took:.1f} s after the short one had died")
    assert meshes.way("a", end) == [*LONG, end]
    carried = [one for one in watched.seen("sw") if one.kind == "reply" and one.destination == meshes.home("a")]
    assert carried, "answers come back by the long way"

    meshes.power_on(*SHORT)
    took = wait_for("the short way is taken again", lambda: meshes.way("a", end) == [*SHORT, end], SETTLES)
    meshes.reached("a", "n", SETTLES)
    print(f"the short way is taken again {took:.1f} s after its bridge had been started")

    lost = [stream.lost() for stream in streams]
    print(f"{lost} packets lost in each direction, one sent every {OFTEN} s")
    counted = sum(len(watched.seen(name)) for name in meshes.nodes)
    assert counted > 100, "captures see something"
    print(f"{counted} passages captured")
    assert watched.circles() == []
