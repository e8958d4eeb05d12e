"""Two bridges between two meshes, twenty nodes on one side: who takes which, and what moves when one dies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from ipaddress import IPv6Address, IPv6Network

import pytest

from smeg.addresses import overlay_prefix
from smeg.shares import PARTS, links, part_of
from tests.nodes import all_at_once, make_world, showconf, wait_for
from tests.real_meshes import GENEROUS, SOON, Meshes

pytestmark = pytest.mark.timeout(400)
LEFT, RIGHT = "lima", "riga"
BRIDGES = ("north", "south")
ENDS = tuple(f"a{number:02}" for number in range(1, 21))
FAR = "b"
SETTLES = 60.0
"""seconds until all have tunnels with all."""

ENOUGH = 3
"""Ends that take a bridge to the far one: with fewer there is little to see, and a bridge is given another address."""
OFTEN = 0.2
"""seconds between two packets of those whose bridge lives."""
LOST = 1
"""What is on its way when packets are counted."""

Shares = Mapping[str, Mapping[int, str]]
"""Of each end and each part of the distant mesh: which bridge."""


@pytest.fixture(scope="module")
def meshes() -> Iterator[Meshes]:
    with make_world() as world:
        made = Meshes(world, {LEFT: (*ENDS, *BRIDGES), RIGHT: (FAR, *BRIDGES)})
        made.form()
        while min(first_bridges(made).values()) < ENOUGH:
            made.rejoin(LEFT, BRIDGES[1])
        yield made


class Prediction:
    """What the hash says, of the addresses of all and nothing else."""

    def __init__(self, meshes: Meshes) -> None:
        self._meshes = meshes
        self._ids = {
            row["name"]: row["id"] for name in (ENDS[0], FAR) for row in meshes.nodes[name].ask("list-meshes")["meshes"]
        }
        self.prefix = overlay_prefix(self._ids[RIGHT])

    def _place(self, mesh: str, name: str) -> int:
        return part_of(IPv6Address(self._meshes.addresses[mesh, name]))

    def of(self, end: str, part: int, bridges: tuple[str, ...] = BRIDGES) -> str:
        def cost(bridge: str) -> int:
            near = links(self._ids[LEFT], self._place(LEFT, bridge))[self._place(LEFT, end)]
            return near + links(self._ids[RIGHT], self._place(RIGHT, bridge))[part]

        costs = {bridge: cost(bridge) for bridge in bridges}
        assert len(set(costs.values())) == len(bridges), "two bridges at the same places: by their keys, then"
        return min(costs, key=costs.__getitem__)

    def to_far(self) -> dict[str, str]:
        """Of each end: by which bridge it reaches the far one."""
        part = part_of(IPv6Address(self._meshes.home(FAR)))
        return {end: self.of(end, part) for end in ENDS}

    def shares(self, bridges: tuple[str, ...] = BRIDGES) -> Shares:
        return {end: {part: self.of(end, part, bridges) for part in range(PARTS)} for end in ENDS}


def first_bridges(meshes: Meshes) -> Counter[str]:
    counts = Counter(Prediction(meshes).to_far().values())
    return Counter({bridge: counts[bridge] for bridge in BRIDGES})


def real_shares(meshes: Meshes, prediction: Prediction) -> Shares:
    """As WireGuard on each host says by its allowed IPs."""
    keys = {row["wireguard"]: row["name"] for row in meshes.nodes[FAR].members(RIGHT).values()}
    keys |= {row["wireguard"]: row["name"] for row in meshes.nodes[ENDS[0]].members(LEFT).values()}
    found: dict[str, dict[int, str]] = {}

    def look(end: str) -> None:
        node = meshes.nodes[end]
        (interface,) = node.interfaces()
        held = [
            (IPv6Network(text), keys[key])
            for key, peer in showconf(node.host.run(["wg", "showconf", interface]).stdout).items()
            for text in peer.get("AllowedIPs", "").split(", ")
            if text and IPv6Network(text).subnet_of(prediction.prefix)
        ]
        parts = {part: IPv6Address(int(prediction.prefix.network_address) | part << 59) for part in range(PARTS)}
        found[end] = {part: name for part, at in parts.items() for prefix, name in held if at in prefix}

    all_at_once(partial(look, end) for end in ENDS)
    return found


def first_hops(meshes: Meshes) -> dict[str, str]:
    """Who it is that a packet of each end to the far one really meets first."""
    found: dict[str, str] = {}

    def look(end: str) -> None:
        found[end] = meshes.names(meshes.trace(end, meshes.home(FAR)))[0]

    all_at_once(partial(look, end) for end in ENDS)
    return found


def allowed(meshes: Meshes, end: str) -> dict[str, set[str]]:
    """By name of the peer: its allowed IPs, as `plan` says."""
    return {peer["name"]: set(peer["allowed_ips"]) for peer in meshes.nodes[end].ask("plan", LEFT)["peers"]}


def without(meshes: Meshes, end: str, lost: str) -> dict[str, set[str]]:
    """What they would be if somebody was gone, as `plan --without` says."""
    found = allowed(meshes, end)
    for change in meshes.nodes[end].ask("plan", LEFT, "--without", lost)["changes"]:
        if change["operation"] == "remove-peer":
            del found[change["subject"]]
        elif change["operation"] == "set-peer":
            found[change["subject"]] |= set(change["gains"])
            found[change["subject"]] -= set(change["loses"])
    return found


def test_every_end_reaches_the_other_mesh_and_is_reached(meshes: Meshes) -> None:
    all_at_once(partial(meshes.reached, end, FAR, SETTLES) for end in ENDS)
    all_at_once(partial(meshes.reached, FAR, end, SETTLES) for end in ENDS)


def test_the_shares_are_what_the_hash_predicts_and_packets_go_there(meshes: Meshes) -> None:
    prediction = Prediction(meshes)
    expected = prediction.shares()
    wait_for("shares are as predicted", lambda: real_shares(meshes, prediction) == expected, SETTLES)
    counts = Counter(bridge for of_end in expected.values() for bridge in of_end.values())
    print(f"\nshares of {len(ENDS)} nodes, by {PARTS} parts: {dict(counts)}")
    first = prediction.to_far()
    wait_for("packets go as predicted", lambda: first_hops(meshes) == first, 30)


def test_when_a_bridge_dies_its_share_moves_and_no_other_and_returns_when_it_is_back(meshes: Meshes) -> None:
    prediction = Prediction(meshes)
    before = prediction.shares()
    lost, left = BRIDGES
    to_far = prediction.to_far()
    moving = [end for end in ENDS if to_far[end] == lost]
    staying = [end for end in ENDS if to_far[end] == left]
    wait_for("shares are as predicted", lambda: real_shares(meshes, prediction) == before, SETTLES)

    forecast = without(meshes, moving[0], lost)
    streams = {end: meshes.stream(end, meshes.home(FAR), OFTEN) for end in staying}
    meshes.power_off(lost)
    took: dict[str, float] = {}

    def move(end: str) -> None:
        took[end] = meshes.reached(end, FAR, GENEROUS * SOON)

    all_at_once(partial(move, end) for end in moving)
    print(f"\n{len(moving)} nodes have moved after {max(took.values()):.1f} s, {len(staying)} have stayed")
    after = prediction.shares((left,))
    wait_for("all is the other's", lambda: real_shares(meshes, prediction) == after, 10)
    assert allowed(meshes, moving[0]) == forecast, "what `plan --without` said before"
    meshes.power_on(lost)
    wait_for("the shares return", lambda: real_shares(meshes, prediction) == before, SETTLES)
    all_at_once(partial(meshes.reached, end, FAR, SETTLES) for end in ENDS)
    for end, stream in streams.items():
        assert stream.lost() <= LOST, f"{end}, whose bridge lived all the while, lost packets"
