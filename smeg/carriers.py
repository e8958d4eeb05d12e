"""Through whom a client is reached: its carrier, a warm second, and peers with which it keeps direct tunnels.

Everybody works this out alike, from the members and who is alive: peers, other clients, the client itself. So when a
carrier dies all of them move its clients at once, each for itself, and nobody has to be told. The client's record only
keeps it where it is: what it names first carries it for as long as that peer lives.

Packets between two clients take the same way in both directions, because WireGuard takes a packet only from the peer to
which it would send the answer. And each device takes packets from one address from one neighbour only. So whatever
devices may believe of each other, no packet passes one of them twice.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from smeg.certificates import Role
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import MAX_VIA, Member

RETURN_AFTER = 60.0
"""seconds for which a better peer has to be alive before a client moves to it from one that serves it well."""


@dataclass(frozen=True, slots=True)
class Tunnels:
    """With which live peers a client has WireGuard tunnels."""

    carrier: NodeKey
    warm: NodeKey | None
    """Carries nothing until the carrier dies; then it is the next."""
    direct: frozenset[NodeKey]
    """Those that the client's record names beside its carrier."""

    def all(self) -> frozenset[NodeKey]:
        return self.direct | {key for key in (self.carrier, self.warm) if key is not None}

    def leads(self, peer: NodeKey) -> bool:
        """Whether packets between this peer and the client take a tunnel of their own."""
        return peer == self.carrier or peer in self.direct


def tunnels(client: Member, members: Members, dead: Container[NodeKey]) -> Tunnels | None:
    """Those of a client; None while no peer lives."""
    rings = members.rings
    favourites = rings.favourites(client.key, dead)
    if not favourites:
        return None
    via = client.record.via
    named = [key for key in via if key not in dead and rings.is_peer(key)]
    carrier = named[0] if named and named[0] == via[0] else favourites[0]
    warm = next((key for key in favourites if key != carrier), None)
    return Tunnels(carrier, warm, frozenset(named) - {carrier})


@dataclass(frozen=True, slots=True)
class Hops:
    """How a node reaches the others of its mesh, as far as they live."""

    neighbours: AbstractSet[NodeKey]
    """With whom it has tunnels. Of those that are thought dead only clients, which get nothing."""
    to: Mapping[NodeKey, NodeKey]
    """Member → the neighbour that gets the packets to it."""
    default: NodeKey | None
    """Of a client: who gets all others."""

    def via(self, member: NodeKey) -> NodeKey | None:
        """The neighbour that gets what goes to or through a member."""
        return self.to.get(member, self.default)


def hops(own: Member, members: Members, dead: Container[NodeKey]) -> Hops:
    return _of_client(own, members, dead) if own.role is Role.CLIENT else _of_peer(own.key, members, dead)


def _of_peer(own: NodeKey, members: Members, dead: Container[NodeKey]) -> Hops:
    to = {key: key for key in members.rings.peers if key != own and key not in dead}
    neighbours = set(to)
    for key in members.rings.clients:
        found = tunnels(members[key], members, dead)
        if found is None:
            continue
        if key not in dead:
            to[key] = key if found.leads(own) else found.carrier
        if found.leads(own) or own == found.warm:
            # Also of one that is thought dead: where it is now, WireGuard can only learn by what it sends.
            neighbours.add(key)
    # Of thousands without a client among them it is a view: a set of as many takes half a megabyte.
    return Hops(to.keys() if neighbours == to.keys() else frozenset(neighbours), to, None)


def _of_client(own: Member, members: Members, dead: Container[NodeKey]) -> Hops:
    mine = tunnels(own, members, dead)
    if mine is None:
        return Hops(frozenset(), {}, None)
    to = {peer: peer for peer in mine.direct}
    # Without direct tunnels all others are behind the carrier, whoever carries them.
    others = members.rings.clients if mine.direct else ()
    for key in others:
        theirs = tunnels(members[key], members, dead) if key != own.key and key not in dead else None
        if theirs is not None and (through := _between(mine, theirs)) != mine.carrier:
            to[key] = through
    return Hops(mine.all(), to, mine.carrier)


def _between(mine: Tunnels, theirs: Tunnels) -> NodeKey:
    """To which of one's own tunnels packets to another client go. One peer with tunnels to both does, if it carries one
    of them; of two that do both ends take the lower."""
    whole = [peer for peer in {mine.carrier, theirs.carrier} if mine.leads(peer) and theirs.leads(peer)]
    return min(whole, default=mine.carrier)


class Choice:
    """Which carrier a client's own record should name. It stays with the one that it has as long as that lives, but for
    a better one that has been alive for `RETURN_AFTER`."""

    def __init__(self, own: NodeKey, carrier: NodeKey | None = None) -> None:
        """`carrier` is what the last record named."""
        self._own = own
        self.carrier = carrier
        self._better: NodeKey | None = None
        self._returns_at: float | None = None

    def look(
        self, members: Members, dead: frozenset[NodeKey], now: float, down: frozenset[NodeKey] = frozenset()
    ) -> None:
        """Choose by what is known now. Without a living peer all stays as it is.

        `down` are those whose daemon is down while their host lives: they carry whom they carried, and take on nobody.
        """
        rings = members.rings
        best = next(iter(rings.favourites(self._own, dead | down) or rings.favourites(self._own, dead)), None)
        if best is None:
            return
        if not self.holds(members, dead):
            self.carrier = best
        if best == self.carrier:
            self._better = self._returns_at = None
        elif best != self._better:
            self._better, self._returns_at = best, now + RETURN_AFTER
        elif self._returns_at is not None and now >= self._returns_at:
            self.carrier, self._better, self._returns_at = best, None, None

    def holds(self, members: Members, dead: Container[NodeKey]) -> bool:
        """Whether the carrier is a peer and lives."""
        return self.carrier is not None and self.carrier not in dead and members.rings.is_peer(self.carrier)

    def via(self, exits: Iterable[NodeKey]) -> tuple[NodeKey, ...]:
        """What the record should say, if these are peers through which routes lead that the client takes."""
        if self.carrier is None:
            return ()
        return (self.carrier, *sorted({*exits} - {self.carrier, self._own}))[:MAX_VIA]

    def next_deadline(self) -> float | None:
        return self._returns_at
