"""What each check means: of a world, as its stage shows it, against what has really befallen its hosts."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import groupby

from scenarios import actions as a
from scenarios import expectations as e
from scenarios.chance import most_by_chance
from scenarios.choosing import Choosing
from scenarios.script import Script
from scenarios.stage import Stage
from scenarios.truth import Truth
from scenarios.witnesses import Witnesses

MOST_PAIRS = 100
"""Of hosts between which packets are looked at."""
NAMED = 3
"""hosts or pairs that a verdict names."""
NOBODY = "nobody is meant by it now"
NO_WITNESS = "nobody is up who could know it"
"""By a link that is not cut, and who has not stood still a moment ago."""
OF_HOSTS = (*a.GONE, *a.BACK, a.Isolate, a.Flap)
"""By which members are gone or back."""
Pair = tuple[str, str]


@dataclass(slots=True)
class Checks:
    script: Script
    truth: Truth
    stage: Stage
    witnesses: Witnesses
    choosing: Choosing
    patience: float = 1.0
    """By how much what may last is stretched."""
    deeds: dict[int, a.Action] = field(default_factory=dict)
    """By event that has happened, by its place in the timeline."""
    last: int | None = None
    """The event that happened last."""
    addresses: dict[str, dict[str, str]] = field(default_factory=dict)
    """By host and mesh, as they were at the start."""
    _pairs: dict[int, tuple[tuple[tuple[str, ...], ...], list[Pair]]] = field(default_factory=dict)
    """By check: senders and receivers, and the pairs of them."""
    _sent: deque[tuple[float, Mapping[str, tuple[int, int]]]] = field(default_factory=deque)
    """When, and what each host had sent by then; the first of them is `RATED` ago or longer, if there is one."""
    _busiest: tuple[float, str] = (0.0, "")
    """The most messages a second so far, and by whom."""

    def begin(self) -> None:
        """The world has come to rest."""
        for host in self.truth.hosts:
            self.addresses[host] = self._own_addresses(host)
        # Who is off has one, too, as those know who are up.
        for mesh in self.script.meshes:
            views = (self.stage.members(host, mesh) for host in self.truth.those_running(mesh))
            for host, address in next(views, {}).items():
                self.addresses[host].setdefault(mesh, address)
        self._sent.append((self.stage.now, dict(self.stage.sent())))

    def wrong(self, check: e.Check, event: int | None = None) -> str:
        """What does not hold; empty if all does. Of what is known it is asked of this event, or else of the last one
        that happened, unless the check names another."""
        match check:
            case e.Converged():
                return self._converged(check)
            case e.KnownByAll():
                return self._known(check, self.last if event is None else event)
            case e.Reachable():
                return self._reachable(check)
            case e.Unreachable():
                return self._unreachable(check)
            case e.OneLeader():
                return self._one_leader(self._mesh(check.mesh))
            case e.NoLiveNodePruned():
                mesh = self._mesh(check.mesh)
                return _some([str(one) for one in self.witnesses.false if one.mesh == mesh])
            case e.NoLoop():
                return _some([f"{' '.join(path)} at {at:.2f} s" for at, path in self.witnesses.circles])
            case e.SharesWithin():
                return self._shares(check)
            case e.LeadsThrough():
                return self._leads_through(check)
            case e.SameAddress():
                return self._same_address(check)
            case e.NoInterfaceLeft(hosts):
                found = [(host, self.stage.interfaces(host)) for host in self.choosing.looked_at(hosts)]
                return _some([f"{host} has {count} of them" for host, count in found if count]) if found else NOBODY
            case e.Bounded():
                return self._bounded(check)
            case e.Told(problem, hosts):
                chosen = self.choosing.looked_at(hosts)
                deaf = [host for host in chosen if (host, problem) not in self.witnesses.told]
                return f"{problem} was not told by {_names(deaf)}" if deaf else "" if chosen else NOBODY
            case e.Outage(longest):
                seconds, what = self.stage.longest_outage()
                return what if seconds > longest * self.patience else ""

    def _mesh(self, name: str) -> str:
        return name or next(iter(self.script.meshes))

    # Members.

    def _converged(self, check: e.Converged) -> str:
        mesh, wrong = self._mesh(check.mesh), []
        chosen = set(self.choosing.looked_at(check.hosts))
        hosts = [host for host in self.truth.those_running(mesh) if host in chosen and not self.truth.loose(host)]
        if not hosts:
            return f"none of them is up and in {mesh}, with a link that is not cut"
        for _, side in groupby(sorted(hosts, key=self._side), self._side):
            wrong += self._agrees(mesh, list(side))
        return _some(wrong)

    def _side(self, host: str) -> int:
        return self.truth.sides.get(host, -1)

    def _agrees(self, mesh: str, hosts: list[str]) -> list[str]:
        """What is wrong among hosts that reach each other."""
        wrong: list[str] = []
        knows: set[object] = set()
        silent = self.truth.should_be_silent(mesh, hosts[0])
        either = self.truth.uncertain() - silent
        for host in hosts:
            seen = self.stage.seen(host, mesh)
            if seen is None:
                wrong.append(f"{host} is not in {mesh}")
                continue
            knows.add(seen.knows)
            if seen.silent - either != silent:
                wrong.append(f"{host} {_difference('thinks dead', seen.silent - either, silent)}")
        if len(knows) > 1:
            wrong.append(f"they know {len(knows)} different things")
        if not wrong:
            members, right = set(self.stage.members(hosts[0], mesh)), self.truth.members[mesh]
            if members != right and not self.truth.sides:
                wrong.append(f"{hosts[0]} {_difference('has as a member', members, right)}")
        return wrong

    def _known(self, check: e.KnownByAll, event: int | None) -> str:
        mesh, place = self._mesh(check.mesh), self.script.place(check.event) if check.event else event
        if place is None or place not in self.deeds:
            return f"{check.event or 'the event'} has not happened yet"
        action, subjects = self.deeds[place], self.choosing.subjects[place]
        if isinstance(action, OF_HOSTS) and not self.truth.members[mesh] & {*subjects}:
            return f"none of those whom it befell is in {mesh}"
        undone = self._undone(place, action, subjects)
        if undone:
            return undone
        hosts = [host for host in self.truth.those_running(mesh) if self.truth.counts(host, self.stage.now)]
        wrong = [] if hosts else [NO_WITNESS]
        for host in hosts:
            unknown = self._unknown(host, mesh, action, subjects)
            if unknown:
                wrong.append(f"{host} does not know it of {_names(unknown)}")
        return _some(wrong)

    def _undone(self, place: int, action: a.Action, subjects: tuple[str, ...]) -> str:
        """Why what an event did cannot be known any more, if it cannot: it is so no more."""
        if isinstance(action, a.GONE):
            back = [host for host in subjects if self.truth.running(host)]
            return f"{_names(back)} came back" if back else ""
        if isinstance(action, a.BACK):
            later = [of for number, of in self.choosing.subjects.items() if number > place and self._ends(number)]
            gone = [host for host in subjects if not self.truth.running(host) and any(host in of for of in later)]
            return f"{_names(gone)} went again" if gone else ""
        healed = isinstance(action, a.Partition) and not self.truth.sides
        healed = healed or (isinstance(action, a.Isolate) and not self.truth.mute.issuperset(subjects))
        return "it is healed" if healed else ""

    def _ends(self, place: int) -> bool:
        return isinstance(self.deeds[place], a.GONE)

    def _unknown(self, host: str, mesh: str, action: a.Action, subjects: tuple[str, ...]) -> list[str]:
        """Of whom this host does not know what befell them."""
        if isinstance(action, (a.Join, a.Leave, a.Evict)):
            new = isinstance(action, a.Join)
            return [one for one in subjects if self.stage.is_member(host, mesh, one) is not new and one != host]
        seen, right = self.stage.seen(host, mesh), self.truth.should_be_silent(mesh, host)
        if seen is None:
            return [host]
        about = self.truth.members[mesh] & set(subjects) if subjects else self.truth.members[mesh]
        either = self.truth.uncertain() - right
        return sorted(about & (seen.silent ^ right) - either - {host})

    def _one_leader(self, mesh: str) -> str:
        followed: dict[int, Counter[str]] = {}
        for host in self.truth.those_running(mesh):
            if self.truth.counts(host, self.stage.now):
                seen = self.stage.seen(host, mesh)
                leader = seen.leader if seen is not None and seen.leader is not None else "nobody"
                followed.setdefault(self._side(host), Counter())[leader] += 1
        wrong = [] if followed else [NO_WITNESS]
        for side, leaders in followed.items():
            (leader, _), *others = leaders.most_common()
            if others:
                wrong.append(" and ".join(f"{count} follow {name}" for name, count in leaders.most_common(NAMED)))
            elif leader not in self.truth.members[mesh] or not self.truth.heard(leader) or self._side(leader) != side:
                wrong.append(f"all follow {leader}")
        return _some(wrong)

    def _own_addresses(self, host: str) -> dict[str, str]:
        found = {mesh: self.stage.members(host, mesh).get(host) for mesh in self.script.meshes}
        return {mesh: address for mesh, address in found.items() if address is not None}

    def _same_address(self, check: e.SameAddress) -> str:
        """Who has left a mesh, or comes back just now, needs no address in it."""
        wrong, seen = [], 0
        for host in self.choosing.looked_at(check.hosts):
            now = self._own_addresses(host) if self.truth.running(host) else {}
            for mesh, before in self.addresses[host].items() if self.truth.running(host) else ():
                has = now.get(mesh, "none")
                if host in self.truth.members[mesh] and (mesh in now or self.truth.settled(host, self.stage.now)):
                    seen += 1
                    if has != before:
                        wrong.append(f"{host} had {before} in {mesh} and has {has}")
        return _some(wrong) if seen else "none of them is up, a member, and had an address"

    def _bounded(self, check: e.Bounded) -> str:
        wrong, memory = [], self.stage.largest_memory()
        deepest = self.stage.deepest_queue()
        if deepest > check.queue:
            wrong.append(f"{deepest} messages waited for one actor")
        if memory is not None and memory > check.memory:
            wrong.append(f"a daemon took {memory:.0f} MiB")
        rate, busiest = self._busiest
        if check.rate and rate > check.rate:
            wrong.append(f"{busiest} sent {rate:.1f} messages a second")
        return _some(wrong)

    def look(self) -> None:
        """At what has to be known of all the time until something is judged: what hosts send."""
        if not self._rated():
            return
        now, sent = self.stage.now, self.stage.sent()
        while len(self._sent) > 1 and self._sent[1][0] <= now - e.RATED:
            self._sent.popleft()
        since, before = self._sent[0]
        if now > self._sent[-1][0]:
            self._sent.append((now, dict(sent)))
        if now >= since + e.RATED:
            most, host = max((messages - before.get(host, (0, 0))[0], host) for host, (messages, _) in sent.items())
            self._busiest = max(self._busiest, (most / (now - since), host))

    def _rated(self) -> bool:
        said = [*(one.check for one in self.script.expect), *(event.after for event in self.script.timeline)]
        return any(isinstance(one, e.Bounded) and one.rate for one in said)

    # Packets.

    def pairs(self, senders: tuple[str, ...], receivers: tuple[str, ...]) -> list[Pair]:
        """Of two different hosts each; of many some, drawn from the seed."""
        count = len(senders) * len(receivers)
        if count <= MOST_PAIRS * 4:
            every = [(one, other) for one in senders for other in receivers if one != other]
            return every if len(every) <= MOST_PAIRS else self.choosing.pairs(every, MOST_PAIRS)
        drawn = self.choosing.places(count, MOST_PAIRS)
        found = ((senders[at // len(receivers)], receivers[at % len(receivers)]) for at in drawn)
        return [(one, other) for one, other in found if one != other]

    def _asked(self, check: e.Check, senders: tuple[str, ...], receivers: tuple[str, ...]) -> list[Pair]:
        """The same ones each time that a check is made, as long as the same hosts are meant."""
        meant, known = self._pairs.get(id(check), ((), []))
        if meant != (senders, receivers):
            known = self.pairs(senders, receivers)
            self._pairs[id(check)] = ((senders, receivers), known)
        return known

    def _reachable(self, check: e.Reachable) -> str:
        senders, receivers = (
            tuple(host for host in self.choosing.looked_at(chosen) if self.truth.running(host))
            for chosen in (check.hosts, check.to)
        )
        wrong = []
        pairs = self._asked(check, senders, receivers)
        for (sender, to), way in zip(pairs, self.stage.ways(pairs), strict=True):
            if not way.arrived:
                wrong.append(f"{sender} to {to}: {way.end}, by {' '.join(way.hosts)}")
        return _some(wrong) if pairs else "there is no pair of running hosts to look at"

    def _unreachable(self, check: e.Unreachable) -> str:
        pairs = self._asked(check, self.choosing.looked_at(check.hosts), self.choosing.looked_at(check.to))
        ways = zip(pairs, self.stage.ways(pairs), strict=True)
        wrong = [f"{one} reaches {to} by {' '.join(way.hosts)}" for (one, to), way in ways if way.arrived]
        return _some(wrong) if pairs else NOBODY

    def _shares(self, check: e.SharesWithin) -> str:
        over = [host for host in self.choosing.looked_at(check.over) if self.truth.running(host)]
        pairs = self._asked(check, self.choosing.looked_at(check.hosts), self.choosing.looked_at(check.to))
        taken: Counter[str] = Counter(dict.fromkeys(over, 0))
        senders = set()
        for way in self.stage.whole_ways(pairs):
            senders.add(way.hosts[0])
            taken.update(host for host in way.hosts[1:-1] if host in taken)
        mean = sum(taken.values()) / max(1, len(over))
        if not mean:
            return "no packet goes by any of them"
        busiest, most = taken.most_common(1)[0]
        # All that one sends beyond its mesh goes one way: it is the senders that are spread.
        chance = most_by_chance(len(senders), len(over)) * len(over) / len(senders)
        return f"{busiest} has {most / mean:.2f} times the mean" if most / mean > max(check.factor, chance) else ""

    def _leads_through(self, check: e.LeadsThrough) -> str:
        over, chosen = set(self.choosing.looked_at(check.over)), self.choosing.looked_at(check.hosts)
        senders = [sender for sender in chosen if self.truth.running(sender) and sender not in over]
        wrong = [] if senders else ["none of those who send is up"]
        for sender, way in zip(senders, self.stage.ways_out(senders, check.prefix), strict=True):
            if not way.arrived or way.hosts[-1] not in over:
                wrong.append(f"from {sender} it ends at {way.hosts[-1]}: {way.end}")
        return _some(wrong)


def _difference(verb: str, found: frozenset[str] | set[str], right: frozenset[str] | set[str]) -> str:
    parts = [f"{verb} {_names(found - right)}"] if found - right else []
    parts += [f"should have {_names(right - found)} so"] if right - found else []
    return " and ".join(parts) + ("" if found - right else f" ({verb})")


def _names(found: object) -> str:
    names = sorted(str(one) for one in found) if isinstance(found, (set, frozenset, list, tuple)) else [str(found)]
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _some(wrong: list[str]) -> str:
    """The first few of these, in one line."""
    more = f"; and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
    return "; ".join(wrong[:NAMED]) + more
