"""With whom this node speaks of who lives, in one mesh: its observers, its neighbours, and the clients that hang on it.

All of it follows from the rings and from who is thought dead; `arrange` works it out anew when either changed.
"""

from __future__ import annotations

from collections.abc import Iterable

from smeg import messages as m
from smeg.core import Message
from smeg.doubt import Doubt
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.verdicts import Verdicts
from smeg.watch import Watch

TELL_AGAIN = 1.0
"""seconds between two hints to one member that it is behind, or thought dead."""
GUIDES = 4
"""of those that a client has adopted, to whom it beats as long as its own peers are silent."""


class Circle:
    def __init__(self, mesh: str, own: NodeKey, verdicts: Verdicts, doubt: Doubt) -> None:
        self._mesh = mesh
        self._own = own
        self._verdicts = verdicts
        self._doubt = doubt
        self.members = Members()
        self.is_peer = False
        self.observers: tuple[NodeKey, ...] = ()
        """Who judges of this node, and the clients that hang on it."""
        self.links: list[NodeKey] = []
        """Whom news is flooded to."""
        self.hanging: tuple[NodeKey, ...] = ()
        """The clients that dial this node."""
        self._beside: list[NodeKey] = []
        self._beyond: list[NodeKey] = []
        """Peers: neighbours, and others that it watches or is watched by."""
        self._hinted: dict[NodeKey, float] = {}

    def meet(self, members: Members) -> None:
        self.members = members
        self.is_peer = members.rings.is_peer(self._own)

    def forget(self, key: NodeKey) -> None:
        """It is no member any more."""
        self._hinted.pop(key, None)

    def arrange(self, watch: Watch, shunned: frozenset[NodeKey]) -> None:
        """`shunned` are a client's own peers that are silent."""
        rings, dead, own = self.members.rings, self._verdicts.dead, self._own
        self.hanging = tuple(rings.hanging(own, dead)) if self.is_peer else ()
        # Clients hear the beats of their peers, or they could not tell when to go to others.
        near, observers = rings.neighbours(own, dead), rings.observers(own, dead)
        if shunned:
            others = rings.upstream(own, dead | shunned)
            near = [key for key in near if key not in shunned] + others
            # Who watches a client in place of its dead peers may know of their death before it does.
            observers = [*observers, *others]
        self.observers = tuple(dict.fromkeys([*observers, *self.hanging]))
        self.links = list(dict.fromkeys(near))
        clients = frozenset(self.hanging)
        self._beside = [key for key in self.links if key not in clients]
        self._beyond = [key for key in (*self.observers, *watch.edges) if key not in clients]

    def near(self) -> list[NodeKey]:
        """Neighbours on the rings, the clients that hang on this node, and those that were adopted."""
        adopted = self._doubt.adopted
        return list(dict.fromkeys([*self.links, *adopted])) if adopted else self.links

    def around(self) -> list[NodeKey]:
        """All peers that this node has to do with; for a client its own."""
        return list(dict.fromkeys([*self._beside, *self._doubt.adopted, *self._beyond]))

    def clients(self) -> tuple[NodeKey, ...]:
        """Those that hang on this node, and those that it has taken up: their own peers may be behind a partition, and
        who is told few answers takes the others for dead."""
        adopted = [key for key in self._doubt.adopted if not self.members.rings.is_peer(key)] if self.is_peer else ()
        return tuple(dict.fromkeys([*self.hanging, *adopted])) if adopted else self.hanging

    def audience(self) -> tuple[NodeKey, ...]:
        """To whom this node beats. Where many died at once those in the place of a client's peers are dead as well, of
        which it hears nothing: whoever answered it tells it who is dead, and so who watches it by now."""
        guides = self._doubt.adopted[:GUIDES] if self._doubt and not self.is_peer else ()
        return tuple(dict.fromkeys([*self.observers, *guides])) if guides else self.observers

    def may_hint(self, key: NodeKey, now: float) -> bool:
        """Whether to tell a member something that it should know already; counts as done."""
        if key not in self.members or now < self._hinted.get(key, -TELL_AGAIN) + TELL_AGAIN:
            return False
        self._hinted[key] = now
        return True

    def send(self, to: NodeKey, payload: bytes) -> m.SendMember:
        return m.SendMember(self._mesh, m.Channel.HEARTBEAT, to, payload)

    def spread(self, to: Iterable[NodeKey], payload: bytes) -> list[Message]:
        receivers = tuple(to)
        return [m.Spread(self._mesh, m.Channel.HEARTBEAT, receivers, payload)] if receivers else []
