"""From statements to members: the one place that says who belongs, and why somebody does not.

The answer is a function of the replica, the certificates and the wall clock (for expiry) alone, so replicas that are
equal agree. It is kept up to date by what changed, because a mesh has thousands of members and most changes touch
one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from smeg.addresses import overlay_address
from smeg.certificates import InviteCertificate
from smeg.chain import Chain
from smeg.keys import NodeKey
from smeg.records import PREFIX_BYTES, Action, Member, Record, Standing
from smeg.replica import Replica


class Verdict(Enum):
    """Why a node is a member, or is not."""

    MEMBER = "member"
    UNKNOWN = "unknown"
    REMOVED = "removed"
    """A leave or an evict covers its record."""
    EXPIRED = "expired"
    ORPHANED = "orphaned"
    """Who countersigned it was evicted, and the evict does not keep it."""
    QUARANTINED = "quarantined"
    """Its invite has more users than uses; an admin decides by evicting."""


class Roster:
    def __init__(self, mesh: str, replica: Replica, chain: Chain) -> None:
        self._mesh = mesh
        self._replica = replica
        self._chain = chain
        self._members: dict[NodeKey, Member] = {}
        self._quarantined: set[NodeKey] = set()
        self._filed: dict[NodeKey, Standing] = {}
        self._users: dict[bytes, set[NodeKey]] = {}
        self._admitted: dict[NodeKey, set[NodeKey]] = {}
        self._next_expiry: float = float("inf")
        self.version = 0
        """Grows with every change of the members."""

    @property
    def members(self) -> dict[NodeKey, Member]:
        """A copy, in key order."""
        return dict(sorted(self._members.items()))

    @property
    def quarantined(self) -> frozenset[NodeKey]:
        return frozenset(self._quarantined)

    @property
    def next_expiry(self) -> float:
        """Seconds since 1970 of the first certificate of a member to expire."""
        return self._next_expiry

    def get(self, node: NodeKey) -> Member | None:
        return self._members.get(node)

    def admitted_by(self, node: NodeKey) -> frozenset[NodeKey]:
        """Members that are in by this node's countersignature."""
        return frozenset(key for key in self._admitted.get(node, ()) if key in self._members)

    def void(self, invite: bytes) -> bool:
        """Whether an evict ended an invite: whoever holds its token would only come back under another name."""
        return any(self._evicted(node) for node in self._chain.users(invite))

    def update(self, nodes: Iterable[NodeKey], wall: int) -> bool:
        """Judge these nodes, and whoever depends on them, again; whether any member changed. `wall`: s since 1970."""
        touched: set[NodeKey] = set()
        for node in nodes:
            touched.add(node)
            touched |= self._admitted.get(node, set())
            standing = self._standing(node)
            before = self._filed.get(node)
            if before is not standing:
                touched |= self._file(node, before, standing)
            if standing is not None and standing.invite is not None:
                touched |= self._users[standing.invite]
        changed = False
        for node in touched:
            changed |= self._judge(node, wall)
        if changed:
            self.version += 1
        return changed

    def expire(self, wall: int) -> bool:
        """Judge whoever may have expired by now."""
        if wall < self._next_expiry:
            return False
        late = [key for key, member in self._members.items() if member.standing.expires <= wall]
        self._next_expiry = min(
            (member.standing.expires for member in self._members.values() if member.standing.expires > wall),
            default=float("inf"),
        )
        return self.update(late, wall)

    def verdict(self, node: NodeKey, wall: int) -> Verdict:
        """Whether a node belongs, and else why not."""
        record, standing = self._replica.records.get(node), self._standing(node)
        if record is None or standing is None:
            return Verdict.UNKNOWN
        if not self._replica.present(node, self._serial):
            return Verdict.REMOVED
        if standing.expires <= wall:
            return Verdict.EXPIRED
        if self._orphaned(standing):
            return Verdict.ORPHANED
        if standing.invite is not None and self._overdrawn(standing.invite):
            return Verdict.QUARANTINED
        return Verdict.MEMBER

    def _file(self, node: NodeKey, before: Standing | None, now: Standing | None) -> set[NodeKey]:
        """Keep the look-ups by invite and countersigner to what counts now; who shared the invite that it left."""
        shared: set[NodeKey] = set()
        if before is not None and before.invite is not None:
            shared = self._users[before.invite]
            shared.discard(node)
        if before is not None and before.countersigner is not None:
            self._admitted[before.countersigner].discard(node)
        if now is not None:
            self._filed[node] = now
            if now.invite is not None:
                self._users.setdefault(now.invite, set()).add(node)
            if now.countersigner is not None:
                self._admitted.setdefault(now.countersigner, set()).add(node)
        return set(shared)

    def _judge(self, node: NodeKey, wall: int) -> bool:
        verdict = self.verdict(node, wall)
        before = self._members.get(node), node in self._quarantined
        self._members.pop(node, None)
        self._quarantined.discard(node)
        if verdict is Verdict.MEMBER:
            record = self._replica.records[node]
            if before[0] is not None and before[0].record is record:
                self._members[node] = before[0]
            else:
                standing = self._chain.standing(record.credential)
                assert standing is not None, "verdict looked it up"
                address = overlay_address(self._mesh, standing.wireguard, record.collision)
                self._members[node] = Member(node, record, standing, address)
                self._next_expiry = min(self._next_expiry, standing.expires)
        elif verdict is Verdict.QUARANTINED:
            self._quarantined.add(node)
        return before != (self._members.get(node), node in self._quarantined)

    def _standing(self, node: NodeKey) -> Standing | None:
        record = self._replica.records.get(node)
        return None if record is None else self._chain.standing(record.credential)

    def _serial(self, record: Record) -> int:
        standing = self._chain.standing(record.credential)
        return -1 if standing is None else standing.serial

    def _evicted(self, node: NodeKey) -> bool:
        remove = self._replica.removes.get(node)
        return remove is not None and remove.action is Action.EVICT

    def _orphaned(self, standing: Standing) -> bool:
        if standing.countersigner is None:
            return False
        remove = self._replica.removes.get(standing.countersigner)
        if remove is None or remove.action is not Action.EVICT or standing.countersigner_serial > remove.serial:
            return False
        return standing.node[:PREFIX_BYTES] not in remove.admitted

    def _overdrawn(self, invite: bytes) -> bool:
        certificate = self._chain.certificate(invite)
        users = sum(not self._evicted(node) for node in self._users.get(invite, ()))
        return isinstance(certificate, InviteCertificate) and users > certificate.uses
