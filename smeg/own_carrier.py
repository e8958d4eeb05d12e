"""What this node's own record says of its tunnels, where it is a client: its carrier, and the peers its routes lead to.

A route through a peer that is not the carrier has a tunnel of its own: which of several bridges or exits a client takes
depends on the client, and the carrier might take another, from which the answers would not come.
"""

from __future__ import annotations

from smeg import messages as m
from smeg.carriers import Choice
from smeg.certificates import Role
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.own_record import OwnRecordWriter


class OwnCarrier:
    """Of the node `own`, in one mesh."""

    def __init__(self, own: NodeKey) -> None:
        self._own = own
        self._members = Members()
        self._dead: frozenset[NodeKey] = frozenset()
        self._down: frozenset[NodeKey] = frozenset()
        self._exits: frozenset[NodeKey] | None = None
        """None until the routes are known."""
        self._choice: Choice | None = None

    def hear(self, message: m.MembersChanged | m.LivenessChanged | m.RoutesChanged) -> None:
        match message:
            case m.MembersChanged():
                self._members = message.members
            case m.LivenessChanged():
                self._dead, self._down = message.pruned, message.down
            case m.RoutesChanged():
                self._exits = frozenset(route.via for route in (*message.routes, *message.own_routes))

    def settle(self, own: OwnRecordWriter, now: float) -> None:
        """Let the record name what is chosen now."""
        if own.standing.role is not Role.CLIENT:
            return
        named = own.wanted.via
        if self._choice is None:
            self._choice = Choice(self._own, next(iter(named), None))
        self._choice.look(self._members, self._dead, now, self._down)
        exits = named[1:] if self._exits is None else self._exits
        own.go_via(self._choice.via(key for key in exits if self._members.rings.is_peer(key)))

    def next_deadline(self) -> float | None:
        return None if self._choice is None else self._choice.next_deadline()
