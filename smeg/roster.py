"""From statements to members: the one place that says who belongs, and why somebody does not.

The answer is a function of the replica, the certificates and the wall clock (for expiry) alone, so replicas that are
equal agree. It is kept up to date by what changed, because a mesh has thousands of members and most changes touch
one; and its maps are persistent, so that a fork shares them until one side changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from itertools import chain

from immutables import Map

from smeg.addresses import overlay_address
from smeg.certificates import InviteCertificate
from smeg.chain import Chain
from smeg.keys import NodeKey
from smeg.members import Members
from smeg.records import PREFIX_BYTES, Action, Member, Record, Standing
from smeg.replica import Replica


class Verdict(Enum):
    """Why a node is a member, or is not."""

    MEMBER = "member"
    UNKNOWN = "unknown"
    REMOVED = "removed"
    """A leave or an evict covers its record."""
    ORPHANED = "orphaned"
    """Who countersigned it, or somebody above, was evicted, and the evict does not keep what it had let in."""
    QUARANTINED = "quarantined"
    """Its invite has more users than uses; an admin decides by evicting."""
    EXPIRED = "expired"
    """It would be a member by a clock that is behind."""


class Roster:
    __slots__ = (
        "_chain",
        "_changed",
        "_counting",
        "_evicts",
        "_expired",
        "_members",
        "_mesh",
        "_next_expiry",
        "_orphans",
        "_others",
        "_out",
        "_overdrawn_before",
        "_quarantined",
        "_replica",
        "version",
    )

    def __init__(self, mesh: str, replica: Replica, chain: Chain) -> None:
        self._mesh = mesh
        self._replica = replica
        self._chain = chain
        self._members = Members()
        self._changed: dict[NodeKey, Member | None] = {}
        """What `_members` lacks: many updates in a row, as when everything is new, make one table."""
        self._quarantined = Members()
        self._others: Map[NodeKey, Standing] = Map()
        """By which standing those were judged who are neither members nor in quarantine."""
        self._out: Map[NodeKey, None] = Map()
        """Who was evicted or orphaned: it takes no place of its invite."""
        self._counting: Map[bytes, int] = Map()
        """How many users of each invite take one."""
        self._overdrawn_before: frozenset[bytes] = frozenset()
        self._evicts = replica.evicts
        """Those by which everybody was judged."""
        self._orphans: Map[bytes, bool] = Map()
        self._expired: frozenset[NodeKey] = frozenset()
        self._next_expiry: float = float("inf")
        self.version = 0
        """Grows with every change of the members, of `quarantined` and of `expired`."""

    def fork(self, replica: Replica, chain: Chain) -> Roster:
        """Another over forks of its replica and chain, which changes on its own."""
        made = Roster(self._mesh, replica, chain)
        made._members, made._quarantined = self.members, self._quarantined
        made._others, made._out, made._counting = self._others, self._out, self._counting
        made._overdrawn_before, made._evicts, made._orphans = self._overdrawn_before, self._evicts, self._orphans
        made._expired, made._next_expiry, made.version = self._expired, self._next_expiry, self.version
        return made

    @property
    def members(self) -> Members:
        """In key order."""
        if self._changed:
            self._members = self._members.change(self._changed)
            self._changed = {}
        return self._members

    @property
    def quarantined(self) -> Members:
        """Who would be a member if its invite were not overdrawn, in key order."""
        return self._quarantined

    @property
    def expired(self) -> frozenset[NodeKey]:
        """Who would be a member if its certificate had not expired. Replicas that are equal agree on these and the
        members together, whatever their clocks say."""
        return self._expired

    @property
    def next_expiry(self) -> float:
        """Seconds since 1970 of the first certificate of a member to expire."""
        return self._next_expiry

    def get(self, node: NodeKey) -> Member | None:
        return self._changed[node] if node in self._changed else self._members.get(node)

    def void(self, invite: bytes) -> bool:
        """Whether an evict ended an invite: whoever holds its token would only come back under another name."""
        evicts = self._replica.evicts
        return bool(evicts) and any(node in evicts for node in self._chain.users(invite))

    def update(self, nodes: Iterable[NodeKey], wall: int) -> bool:
        """Judge these nodes, and whoever depends on them, again; whether `version` grew. `wall`: s since 1970."""
        touched = set(nodes)
        evicts = self._replica.evicts
        evicted = [node for node in touched if evicts.get(node) is not self._evicts.get(node)]
        if evicted:
            # Whoever rests on an evicted countersigner, however far below, even by way of nodes without a record.
            touched |= self._chain.resting_on(evicted)
            self._orphans = Map()
            for node in evicted:
                self._evicts = self._evicts.set(node, evicts[node])
        for node in list(touched):
            touched |= self._file(node)
        return self._judge(touched, wall)

    def expire(self, wall: int) -> bool:
        """Judge whoever may have expired by now, or is back because the clock was set back."""
        back = [node for node in self._expired if self._others[node].expires > wall]
        if wall < self._next_expiry and not back:
            return False
        members = self.members.values()
        late = [member.key for member in members if member.standing.expires <= wall]
        later = (member.standing.expires for member in members if member.standing.expires > wall)
        self._next_expiry = min(later, default=float("inf"))
        return self.update([*late, *back], wall)

    def verdict(self, node: NodeKey, wall: int) -> Verdict:
        """Whether a node belongs, and else why not."""
        record, standing = self._replica.records.get(node), self._standing(node)
        if record is None or standing is None:
            return Verdict.UNKNOWN
        evict = self._replica.evicts.get(node)
        if not self._replica.present(node, self._serial) or (evict and evict.ends_invite(standing.invite)):
            return Verdict.REMOVED
        if self._orphaned(standing):
            return Verdict.ORPHANED
        if standing.invite is not None and self._overdrawn(standing.invite):
            return Verdict.QUARANTINED
        return Verdict.EXPIRED if standing.expires <= wall else Verdict.MEMBER

    def gone(self, before: Members, wall: int) -> tuple[tuple[NodeKey, str], ...]:
        """Who was a member before and is none now, and why: by which remove, or which verdict."""
        if before.ranks is self.members.ranks or not before:
            return ()
        nodes = (before.ranks.keys[rank] for rank in self.members.ranks.since(before.ranks).gone)
        return tuple((node, self._why(node, wall)) for node in nodes)

    def _why(self, node: NodeKey, wall: int) -> str:
        verdict = self.verdict(node, wall)
        if verdict is not Verdict.REMOVED:
            return str(verdict.value)
        return Action.EVICT.value if node in self._replica.evicts else Action.LEAVE.value

    def _file(self, node: NodeKey) -> set[NodeKey]:
        """Keep the look-ups to what counts now; the users of invites that are overdrawn since, or no more."""
        before, now = self._judged_by(node), self._standing(node)
        if now is None:
            return set()
        took = before.invite if before is not None and node not in self._out else None
        # Who is out anyway takes nobody's place: evicting who let in a straw man undoes the harm.
        out = self._evicted(node) or self._orphaned(now)
        takes = None if out else now.invite
        if out != (node in self._out):
            self._out = self._out.set(node, None) if out else self._out.delete(node)
        affected: set[NodeKey] = set()
        if took != takes:
            for invite, step in ((took, -1), (takes, 1)):
                if invite is not None:
                    self._counting = self._counting.set(invite, self._counting.get(invite, 0) + step)
                    affected |= self._turned(invite)
        return affected

    def _turned(self, invite: bytes) -> set[NodeKey]:
        """All users of an invite if it is overdrawn since, or no more."""
        if self._overdrawn(invite) == (invite in self._overdrawn_before):
            return set()
        self._overdrawn_before ^= frozenset({invite})
        judged = chain.from_iterable(
            (
                ((member.key, member.standing) for member in self.members.values()),
                ((member.key, member.standing) for member in self._quarantined.values()),
                self._others.items(),
            )
        )
        return {node for node, standing in judged if standing.invite == invite}

    def _judged_by(self, node: NodeKey) -> Standing | None:
        known = self.get(node) or self._quarantined.get(node)
        return self._others.get(node) if known is None else known.standing

    def _judge(self, nodes: Iterable[NodeKey], wall: int) -> bool:
        """Put everybody where it belongs; whether that changed anything."""
        members: dict[NodeKey, Member | None] = {}
        quarantined: dict[NodeKey, Member | None] = {}
        turned: set[NodeKey] = set()
        for node in nodes:
            verdict = self.verdict(node, wall)
            before = self.get(node), self._quarantined.get(node)
            known = before[0] or before[1]
            now = (
                self._member(node, known) if verdict is Verdict.MEMBER else None,
                self._member(node, known) if verdict is Verdict.QUARANTINED else None,
            )
            if now[0] != before[0]:
                members[node] = now[0]
            if now[1] != before[1]:
                quarantined[node] = now[1]
            if (verdict is Verdict.EXPIRED) != (node in self._expired):
                turned.add(node)
            standing = self._standing(node) if now == (None, None) else None
            if standing is not None:
                self._others = self._others.set(node, standing)
            elif node in self._others:
                self._others = self._others.delete(node)
        self._expired ^= frozenset(turned)
        self._changed.update(members)
        if quarantined:
            self._quarantined = self._quarantined.change(quarantined)
        changed = bool(members or quarantined or turned)
        self.version += changed
        return changed

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
        if not self._replica.evicts:
            return False
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
            self._orphans = self._orphans.set(at.credential, orphaned)
        return orphaned

    def _cut_off(self, standing: Standing) -> bool:
        """Whether an evict of its countersigner, under the serial or invite that signed, does not keep it."""
        above = standing.above
        evict = self._replica.evicts.get(above.node) if above is not None else None
        if evict is None or above is None:
            return False
        if above.serial > evict.serial and not evict.ends_invite(above.invite):
            return False
        return standing.node[:PREFIX_BYTES] not in evict.admitted

    def _overdrawn(self, invite: bytes) -> bool:
        certificate = self._chain.issuer(invite)
        return isinstance(certificate, InviteCertificate) and self._counting.get(invite, 0) > certificate.uses
