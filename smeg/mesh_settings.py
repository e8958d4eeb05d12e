"""What a daemon hands to each of its meshes: how the node comes into it, what its record should say, the secrets.

Values only; `mesh` acts on them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum

from smeg.card import BLANK, Card
from smeg.certificates import Grant, Role
from smeg.device import Endpoint
from smeg.endpoints import MAX_ENDPOINTS
from smeg.keys import Secret
from smeg.records import OwnRecord


class Origin(Enum):
    """How this node comes to be in a mesh at this start."""

    FOUNDED = "founded"
    JOINED = "joined"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """What the daemon's configuration says for a mesh's own record."""

    name: str
    """The node's name, as others see it."""
    role: Role
    """What the node wants to be; an invitation may allow less."""
    gossip: tuple[Endpoint, ...]
    """Where others dial this host: literal addresses or DNS names."""
    keepalive: int = 0
    """seconds; counts for clients."""
    provisional: bool = False
    """Whether `gossip` is a guess: what an earlier record says of that counts for more."""

    def ask_for(self, offered: Grant) -> Grant:
        """What a joiner wants of what an invitation offers."""
        return replace(offered, role=Role.CLIENT) if self.role is Role.CLIENT else offered

    def own_record(self, role: Role, port: int, card: Card = BLANK) -> OwnRecord:
        """What the node's record should say where it has this role and listens on this WireGuard port."""
        gossip = self.gossip[:MAX_ENDPOINTS]
        wireguard = tuple(dict.fromkeys(Endpoint(place.host, port) for place in gossip))
        return OwnRecord(self.name, gossip, wireguard, self.keepalive if role is Role.CLIENT else 0, card=card)


@dataclass(frozen=True, slots=True)
class Keys:
    """The daemon's secrets that a mesh needs."""

    identity: Secret = field(repr=False)
    curve: Secret = field(repr=False)
