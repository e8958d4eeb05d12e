"""Who talks to whom: rings that everybody derives from the list of members, so that nobody has to negotiate.

Each ring orders the peers by a hash of its number and their key; a peer's neighbours are next to it on some ring.
That gives every node a bounded number of them, and the graph of all is an expander: a flood reaches everybody in
about log N hops. A client, which nobody can dial, hangs on the peers that follow its own place on the first rings,
which can be derived too.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable
from hashlib import blake2b

from smeg.keys import NodeKey

RINGS = 3
CLIENT_PEERS = 2


def place(ring: int, key: NodeKey) -> bytes:
    """Where a key stands on a ring: 8 bytes, ordered."""
    return blake2b(bytes([ring]) + key, digest_size=8, person=b"smeg-ring").digest()


class Rings:
    """The rings of one set of members. Immutable; made anew when the members change."""

    def __init__(self, peers: Iterable[NodeKey], clients: Iterable[NodeKey] = (), rings: int = RINGS) -> None:
        self._peers = frozenset(peers)
        self._clients = frozenset(clients)
        self._rings = [sorted((place(ring, key), key) for key in self._peers) for ring in range(rings)]
        self._hanging: dict[NodeKey, list[NodeKey]] = {}
        for client in sorted(self._clients):
            for peer in self.upstream(client):
                self._hanging.setdefault(peer, []).append(client)

    def upstream(self, key: NodeKey) -> list[NodeKey]:
        """The peers that a client dials: the first after its place on each ring, distinct, at most `CLIENT_PEERS`."""
        found: list[NodeKey] = []
        for ring, order in enumerate(self._rings):
            if order and len(found) < CLIENT_PEERS:
                start = bisect(order, (place(ring, key), key))
                for step in range(min(len(order), CLIENT_PEERS + 1)):
                    peer = order[(start + step) % len(order)][1]
                    if peer not in found and peer != key:
                        found.append(peer)
                        break
        return found

    def neighbours(self, key: NodeKey) -> list[NodeKey]:
        """Whom `key` exchanges gossip with, in a fixed order, without itself."""
        if key not in self._peers:
            return self.upstream(key)
        found: list[NodeKey] = []
        for ring, order in enumerate(self._rings):
            at = bisect(order, (place(ring, key), key))
            for neighbour in (order[at % len(order)][1], order[at - 2][1]):
                if neighbour != key and neighbour not in found:
                    found.append(neighbour)
        return found + [client for client in self._hanging.get(key, ()) if client not in found]
