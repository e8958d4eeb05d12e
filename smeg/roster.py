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
from smeg.records import PREFIX_BYTES, Member, Record, Remove, Standing
from smeg.replica import Replica


class Verdict(Enum):
    """Why a node is a member, or is not."""

    MEMBER = "member"
    UNKNOWN = "unknown"
    REMOVED = "removed"
    """A leave or an evict covers its record."""
    EXPIRED = "expired"
    ORPHANED = "orphaned"
    """Who countersigned it, or somebody above, was evicted, and the evict does not keep what it had let in."""
    QUARANTINED = "quarantined"
    """Its invite has more users than uses; an admin decides by evicting."""


class Roster:
    def __init__(self, mesh: str, replica: Replica, chain: Chain) -> None:
        self._mesh = mesh
        self._replica = replica
        self._chain = chain
        self._members: dict[NodeKey, Member] = {}
        self._quarantined: dict[NodeKey, Member] = {}
        self._filed: dict[NodeKey, Standing] = {}
        self._users: dict[bytes, set[NodeKey]] = {}
        self._counting: dict[bytes, set[NodeKey]] = {}
        """Users of an invite who were not evicted."""
        self._overdrawn_before: set[bytes] = set()
        self._evicts: dict[NodeKey, Remove] = {}
        self._orphans: dict[bytes, bool] = {}
        self._expired: set[NodeKey] = set()
        self._next_expiry: float = float("inf")
        self.version = 0
        """Grows with every change of the members."""

    @property
    def members(self) -> dict[NodeKey, Member]:
        """A copy, in key order."""
        return dict(sorted(self._members.items()))

    @property
    def quarantined(self) -> dict[NodeKey, Member]:
        """Who would be a member if its invite were not overdrawn, in key order."""
        return dict(sorted(self._quarantined.items()))

    @property
    def next_expiry(self) -> float:
        """Seconds since 1970 of the first certificate of a member to expire."""
        return self._next_expiry

    def get(self, node: NodeKey) -> Member | None:
        return self._members.get(node)

    def void(self, invite: bytes) -> bool:
        """Whether an evict ended an invite: whoever holds its token would only come back under another name."""
        return any(self._evicted(node) for node in self._chain.users(invite))

    def update(self, nodes: Iterable[NodeKey], wall: int) -> bool:
        """Judge these nodes, and whoever depends on them, again; whether any member changed. `wall`: s since 1970."""
        touched: set[NodeKey] = set()
        evicts = False
        for node in nodes:
            touched.add(node)
            evict = self._replica.evicts.get(node)
            if self._evicts.get(node) is not evict and evict is not None:
                self._evicts[node] = evict
                evicts = True
            touched |= self._file(node)
        if evicts:
            # Whoever rests on an evicted countersigner, however far below, even by way of nodes without a record.
            self._orphans.clear()
            for node in list(self._filed):
                self._file(node)
            touched.update(self._filed)
        changed = False
        for node in touched:
            changed |= self._judge(node, wall)
        if changed:
            self.version += 1
        return changed

    def expire(self, wall: int) -> bool:
        """Judge whoever may have expired by now, or is back because the clock was set back."""
        back = [node for node in self._expired if self._filed[node].expires > wall]
        if wall < self._next_expiry and not back:
            return False
        late = [key for key, member in self._members.items() if member.standing.expires <= wall]
        self._next_expiry = min(
            (member.standing.expires for member in self._members.values() if member.standing.expires > wall),
            default=float("inf"),
        )
        return self.update([*late, *back], wall)

    def verdict(self, node: NodeKey, wall: int) -> Verdict:
        """Whether a node belongs, and else why not."""
        record, standing = self._replica.records.get(node), self._standing(node)
        if record is None or standing is None:
            return Verdict.UNKNOWN
        evict = self._replica.evicts.get(node)
        if not self._replica.present(node, self._serial) or (evict and evict.ends_invite(standing.invite)):
            return Verdict.REMOVED
        if standing.expires <= wall:
            return Verdict.EXPIRED
        if self._orphaned(standing):
            return Verdict.ORPHANED
        if standing.invite is not None and self._overdrawn(standing.invite):
            return Verdict.QUARANTINED
        return Verdict.MEMBER

    def _file(self, node: NodeKey) -> set[NodeKey]:
        """Keep the look-ups to what counts now; the users of invites that are overdrawn since, or no more."""
        before, now = self._filed.get(node), self._standing(node)
        if before is not None and before is not now:
            del self._filed[node]
            if before.invite is not None:
                self._users[before.invite].discard(node)
                self._counting[before.invite].discard(node)
        if now is not None:
            self._filed[node] = now
            if now.invite is not None:
                self._users.setdefault(now.invite, set()).add(node)
                counting = self._counting.setdefault(now.invite, set())
                # Who is out anyway takes nobody's place: evicting who let in a straw man undoes the harm.
                out = self._evicted(node) or self._orphaned(now)
                counting.discard(node) if out else counting.add(node)
        affected: set[NodeKey] = set()
        for invite in {standing.invite for standing in (before, now) if standing is not None} - {None}:
            assert invite is not None
            overdrawn = self._overdrawn(invite)
            if overdrawn != (invite in self._overdrawn_before):
                self._overdrawn_before ^= {invite}
                affected |= self._users[invite]
        return affected

    def _judge(self, node: NodeKey, wall: int) -> bool:
        verdict = self.verdict(node, wall)
        before = self._members.pop(node, None), self._quarantined.pop(node, None)
        self._expired.discard(node)
        if verdict is Verdict.MEMBER:
            self._members[node] = self._member(node, before[0] or before[1])
        elif verdict is Verdict.QUARANTINED:
            self._quarantined[node] = self._member(node, before[1] or before[0])
        elif verdict is Verdict.EXPIRED:
            self._expired.add(node)
        return before != (self._members.get(node), self._quarantined.get(node))

    def _member(self, node: NodeKey, before: Member | None) -> Member:
        record = self._replica.records[node]
        if before is not None and before.record is record:
            return before
        standing = self._chain.standing(record.credential)
        assert standing is not None, "verdict looked it up"
        self._next_expiry = min(self._next_expiry, standing.expires)
        return Member(node, record, standing, overlay_address(self._mesh, standing.wireguard, record.collision))

    def _standing(self, node: NodeKey) -> Standing | None:
        record = self._replica.records.get(node)
        return None if record is None else self._chain.standing(record.credential)

    def _serial(self, record: Record) -> int:
        standing = self._chain.standing(record.credential)
        return -1 if standing is None else standing.serial

    def _evicted(self, node: NodeKey) -> bool:
        return node in self._replica.evicts

    def _orphaned(self, standing: Standing) -> bool:
        """Whether anybody that it rests on was cut off by an evict. Kept by credential until the next evict."""
        open_ones: list[Standing] = []
        orphaned = False
        for at in standing.line():
            known = self._orphans.get(at.credential)
            if known is not None:
                orphaned = known
                break
            open_ones.append(at)
        for at in reversed(open_ones):
            orphaned = orphaned or self._cut_off(at)
            self._orphans[at.credential] = orphaned
        return orphaned

    def _cut_off(self, standing: Standing) -> bool:
        """Whether an evict of its countersigner, under the serial or invite that signed, does not keep it."""
        evict = self._replica.evicts.get(standing.countersigner) if standing.countersigner is not None else None
        if evict is None or standing.above is None:
            return False
        if standing.countersigner_serial > evict.serial and not evict.ends_invite(standing.above.invite):
            return False
        return standing.node[:PREFIX_BYTES] not in evict.admitted

    def _overdrawn(self, invite: bytes) -> bool:
        certificate = self._chain.certificate(invite)
        users = len(self._counting.get(invite, ()))
        return isinstance(certificate, InviteCertificate) and users > certificate.uses
