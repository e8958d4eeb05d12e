"""What has really befallen the hosts of a run, by the script's own doing: against this daemons' beliefs are held.

It knows deeds and times, and no world; the same in all of them.
"""

from __future__ import annotations

from enum import Enum
from math import inf

from scenarios import actions as a
from scenarios.script import Begins, Script
from scenarios.stage import Deed, original_of

SETTLES = 5.0
"""seconds after somebody came back, or a link did, in which others may still think it dead."""
FINDS_OTHERS = 5.0
"""seconds more if it is a client: those that it went by may be gone, and others are tried only then."""
WAKES = 10.0
"""seconds after it stood still for which a host's own word does not count."""


class Standing(Enum):
    UP = "up"
    PAUSED = "paused"
    DOWN = "daemon down"
    OFF = "off"


_ENDED = frozenset({Standing.DOWN, Standing.OFF})
_ALIVE = frozenset({Standing.UP, Standing.PAUSED})
_MAKES: dict[type[a.Action], tuple[frozenset[Standing], Standing]] = {
    a.Start: (_ENDED, Standing.UP),
    a.Resume: (frozenset({Standing.PAUSED}), Standing.UP),
    a.Stop: (frozenset({Standing.UP}), Standing.DOWN),
    a.Kill: (_ALIVE, Standing.DOWN),
    a.PowerOff: (_ALIVE | _ENDED, Standing.OFF),
    a.Pause: (frozenset({Standing.UP}), Standing.PAUSED),
}
"""What becomes of a host, from which states; of others nothing does."""


class Truth:
    def __init__(self, script: Script, nodes: int, patience: float = 1.0) -> None:
        """`patience` stretches the times in which others may still be wrong."""
        self._settles, self._wakes = SETTLES * patience, WAKES * patience
        self._finds_others = FINDS_OTHERS * patience
        self.groups = {name: group.name for name, group in script.names(nodes)}
        self.roles = {name: group.role for name, group in script.names(nodes)}
        self.hosts = tuple(self.groups)
        self.bridges: dict[str, tuple[str, ...]] = {}
        """By host: the meshes that it bridges."""
        self._first = next(iter(script.meshes))
        self.members: dict[str, set[str]] = {mesh: set() for mesh in script.meshes}
        self.standing: dict[str, Standing] = {}
        for name, group in script.names(nodes):
            self.standing[name] = Standing.OFF if group.begins is Begins.OFF else Standing.UP
            for mesh in script.meshes_of(group):
                self.members[mesh].add(name)
            if group.name in script.bridges:
                self.bridges[name] = script.bridges[group.name]
        self.sides: dict[str, int] = {}
        """Of a partition; empty when there is none."""
        self.mute: set[str] = set()
        """Whom nobody hears."""
        self._deaf: set[str] = set()
        """Who hear nobody."""
        self._cut: set[str] = set()
        """Whose link is down for a moment."""
        self._lost: set[str] = set()
        """Of whose messages all are lost, either way."""
        self._told_to_end: dict[str, bool] = {}
        """Who will end as soon as it does not stand still any more; and whether it is started again then."""
        self.copies: dict[str, str] = {}
        """Hosts that run with a copy of another's state, and whose."""
        founders = script.founders(nodes).values()
        self._certified = {
            name: group.certified for name, group in script.names(nodes) if group.certified and name not in founders
        }
        self._jumped: dict[str, float] = dict.fromkeys(self.hosts, 0.0)
        """By how many seconds each wall clock is ahead."""
        self._returned: dict[str, float] = {}
        """When somebody was last to be thought alive again."""
        self._began: dict[str, float] = {}
        """When somebody last began to hear the others."""
        self._woke: dict[str, float] = {}

    # What happens.

    def note(self, deed: Deed, now: float) -> None:
        """Take in a deed that was done."""
        action = deed.action
        verb = a.Resume if isinstance(action, a.Pause) and deed.undo else type(action)
        for host in deed.hosts if verb in _MAKES else ():
            self._befalls(host, verb, now)
        match action:
            case a.Partition():
                # From another partition before this one some come back to each other.
                # Clients may be cut off from those that they go by.
                clients = [host for host, role in self.roles.items() if role == "client"]
                for host in (*self.sides, *clients):
                    self._returned[host] = self._began[host] = now
                self.sides = {host: number for number, side in enumerate(deed.sides) for host in side}
            case a.Heal():
                for host in {*self.sides, *self.mute, *self._deaf}:
                    self._returned[host] = self._began[host] = now
                self.sides = {}
                self.mute.clear()
                self._deaf.clear()
            case a.Isolate(receiving=receiving):
                (self._deaf if receiving else self.mute).update(deed.hosts)
            case a.Flap():
                self._link(self._cut, deed.hosts, not deed.undo, now)
            case a.Loss(share=share):
                self._link(self._lost, deed.hosts, share >= 1 and not deed.undo, now)
            case a.Roam() | a.NatRebind():
                for host in deed.hosts:
                    self._returned[host] = self._began[host] = now
            case a.CopyState():
                self.copies.update(dict.fromkeys(deed.hosts, original_of(deed)))
            case a.Clock(jump=jump):
                self._jump(deed.hosts, jump, now)
            case a.Join(mesh=mesh):
                self.members[mesh or self._first].update(deed.hosts)
                for host in deed.hosts:
                    self._certified.pop(host, None)
                    self._returned[host] = self._began[host] = now
            case a.Leave(mesh=mesh) | a.Evict(mesh=mesh):
                self.members[mesh or self._first].difference_update(deed.hosts)

    def _befalls(self, host: str, verb: type[a.Action], now: float) -> None:
        before, after = _MAKES[verb]
        if self.standing[host] is Standing.PAUSED and verb is a.Stop:
            self._told_to_end.setdefault(host, False)
        elif host in self._told_to_end and verb is a.Start:
            self._told_to_end[host] = True
        elif self.standing[host] in before:
            again = self._told_to_end.pop(host, None)
            if again is None or verb is not a.Resume:
                self._becomes(host, after, now)
                return
            self._becomes(host, Standing.DOWN, now)
            if again:
                self._becomes(host, Standing.UP, now)

    def _becomes(self, host: str, standing: Standing, now: float) -> None:
        before = self.standing[host]
        if host in self.copies and before in _ALIVE:
            # Which of the two was reached until now is anybody's guess.
            self._returned[self.copies[host]] = self._began[self.copies[host]] = now
        if standing is Standing.UP and before is not Standing.UP:
            self._returned[host] = now
            # Who stood still must know that it did, and judge nobody by it.
            (self._woke if before is Standing.PAUSED else self._began)[host] = now
        self.standing[host] = standing

    def _jump(self, hosts: tuple[str, ...], seconds: float, now: float) -> None:
        for host in hosts:
            self._jumped[host] += seconds
        self.pass_to(now)

    def pass_to(self, now: float) -> None:
        """Whose certificate has expired by all clocks is a member no more; as long as they differ, who knows."""
        if not self._certified:
            return
        by_all = now + min(self._jumped.values())
        expired = {host for host, term in self._certified.items() if term <= by_all}
        for members in self.members.values():
            members -= expired

    def _link(self, down: set[str], hosts: tuple[str, ...], goes_down: bool, now: float) -> None:
        if goes_down:
            down.update(hosts)
            return
        for host in down & {*hosts}:
            self._returned[host] = self._began[host] = now
        down.difference_update(hosts)

    # What is so.

    def running(self, host: str) -> bool:
        return self.standing[host] is Standing.UP

    def settled(self, host: str, now: float) -> bool:
        """Whether it has not come back just now."""
        return now > self._returned.get(host, -inf) + self._settles

    def _takes(self, host: str) -> float:
        """Within how many seconds it is known to be back, and knows who is."""
        return self._settles + (self._finds_others if self.roles[host] == "client" else 0.0)

    def heard(self, host: str) -> bool:
        return self.running(host) and host not in self.mute

    def doubled(self, host: str) -> bool:
        """Whether a daemon with a copy of its state runs elsewhere: what is meant for one may reach the other."""
        return any(one == host and self.standing[copy] in _ALIVE for copy, one in self.copies.items())

    def loose(self, host: str) -> bool:
        """Whether its link is cut, be it one way: what it knows is not to be expected to be right."""
        return any(host in those for those in (self.mute, self._deaf, self._cut, self._lost))

    def uncertain(self) -> frozenset[str]:
        """Who may be thought dead as well as alive: they hear nobody, or their link is down for a while."""
        return frozenset(self._deaf | self._cut | self._lost)

    def are_in(self, mesh: str, hosts: tuple[str, ...]) -> bool:
        """Whether all of these are members; of the first mesh, if none is said."""
        return self.members[mesh or self._first].issuperset(hosts)

    def have_been_in(self, mesh: str, hosts: tuple[str, ...]) -> bool:
        """Whether one of these is a member, or was until its certificate expired."""
        return any(host in self.members[mesh or self._first] or host in self._certified for host in hosts)

    def those_running(self, mesh: str) -> list[str]:
        """The members whose daemon is up."""
        members = self.members[mesh]
        return [host for host in self.hosts if host in members and self.running(host)]

    def together(self, one: str, other: str) -> bool:
        """Whether no partition is between them."""
        return not self.sides or self.sides.get(one, -1) == self.sides.get(other, -1)

    def should_be_silent(self, mesh: str, host: str) -> frozenset[str]:
        """Whom a host should think dead when all is at rest."""
        return self._silent(mesh, self.sides.get(host, -1)) - {host}

    def _silent(self, mesh: str, side: int) -> frozenset[str]:
        return frozenset(
            other
            for other in self.members[mesh]
            if not self.heard(other) or (self.sides and self.sides.get(other, -1) != side)
        )

    def may_be_thought_dead(self, subject: str, by: str, now: float) -> bool:
        """Whether that is true, or so near the truth that nobody is to blame."""
        if self.standing[subject] is not Standing.UP or not self.together(subject, by):
            return True
        if self.standing[by] is not Standing.UP or self.loose(subject) or self.loose(by):
            return True
        if self.doubled(subject) or self.doubled(by):
            return True
        back = self._returned.get(subject, -inf) + self._takes(subject), self._began.get(by, -inf) + self._takes(by)
        return now <= max(back)

    def counts(self, host: str, now: float) -> bool:
        """Whether what it knows is to be expected to be right: it is up, on a good link, and has not just woken."""
        sound = self.running(host) and not self.loose(host) and not self.doubled(host)
        return sound and now > self._woke.get(host, -inf) + self._wakes
