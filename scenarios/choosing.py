"""Which hosts a selection means at a moment; what is drawn is drawn from the run's seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from random import Random

from scenarios.script import Script
from scenarios.selectors import (
    BridgeBetween,
    Down,
    Everyone,
    Leader,
    Named,
    Next,
    Of,
    OfRole,
    Part,
    PeerOf,
    Rest,
    Running,
    Selection,
    Selector,
    Some,
)
from scenarios.stage import Stage
from scenarios.truth import Truth


class Choosing:
    def __init__(self, script: Script, truth: Truth, stage: Stage, seed: int) -> None:
        self._script = script
        self._truth = truth
        self._stage = stage
        self._chance = Random(f"{seed}/choosing")
        self.subjects: dict[int, tuple[str, ...]] = {}
        """By event, by its place in the timeline: whom it befell."""
        self._drawn: dict[int, tuple[str, ...]] = {}
        """By selector of a check."""

    def hosts(self, selection: Selection) -> tuple[str, ...]:
        """Those that any of these means, in order, each once."""
        found = dict.fromkeys(host for selector in selection for host in self._meant(selector))
        return tuple(found)

    def looked_at(self, selection: Selection) -> tuple[str, ...]:
        """Likewise, for a check: what is drawn stays until one of them does not run, for else some would be right some
        time."""
        found = dict.fromkeys(host for selector in selection for host in self._kept(selector))
        return tuple(found)

    def _kept(self, selector: Selector) -> Iterable[str]:
        if not isinstance(selector, (Part, Some, BridgeBetween)):
            return self._meant(selector)
        known = self._drawn.get(id(selector), ())
        if not known or not all(self._truth.running(host) for host in known):
            known = self._drawn[id(selector)] = tuple(self._meant(selector))
        return known

    def sides(self, sides: Iterable[Selection]) -> tuple[tuple[str, ...], ...]:
        """Of a partition: `rest` is whom no other side names, and whoever is on none has one with its like."""
        made: list[tuple[str, ...]] = []
        taken: set[str] = set()
        rest: int | None = None
        for number, side in enumerate(sides):
            if Rest() in side:
                rest = number
            chosen = self.hosts(Selection(tuple(one for one in side if not isinstance(one, Rest))))
            made.append(tuple(host for host in chosen if host not in taken))
            taken.update(made[-1])
        left = tuple(host for host in self._truth.hosts if host not in taken)
        if rest is not None:
            made[rest] += left
        elif left:
            made.append(left)
        return tuple(made)

    def sample(self, hosts: tuple[str, ...], count: int) -> tuple[str, ...]:
        """At most so many of these."""
        return tuple(self._chance.sample(hosts, min(count, len(hosts))))

    def pairs(self, pairs: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
        return self._chance.sample(pairs, count)

    def places(self, among: int, count: int) -> list[int]:
        """So many different ones of `range(among)`."""
        return self._chance.sample(range(among), count)

    def leader(self, mesh: str = "") -> str | None:
        """Whom most of the running members follow."""
        mesh = mesh or next(iter(self._script.meshes))
        seen = (self._stage.seen(host, mesh) for host in self._truth.those_running(mesh))
        votes = Counter(one.leader for one in seen if one is not None and one.leader is not None)
        return min(votes, key=lambda leader: (-votes[leader], leader)) if votes else None

    def _meant(self, selector: Selector) -> Iterable[str]:
        truth = self._truth
        match selector:
            case Everyone():
                return truth.hosts
            case Running():
                return self._running(truth.hosts)
            case Down():
                return [host for host in truth.hosts if not truth.running(host)]
            case Named(name):
                return [name] if name in truth.groups else self._group(name)
            case Of(event):
                return self.subjects.get(self._script.place(event), ())
            case OfRole(role):
                return [host for host in truth.hosts if truth.roles[host] == role]
            case Leader(mesh):
                leader = self.leader(mesh)
                return [leader] if leader is not None else []
            case Next(count, mesh):
                return self._next(count, mesh)
            case Part(share, group):
                able = self._running(self._group(group) if group else truth.hosts)
                return self.sample(tuple(able), max(1, round(share * len(able))))
            case Some(count, group):
                return self.sample(tuple(self._running(self._group(group))), count)
            case PeerOf(client):
                carrier = self._stage.carrier(client) if client in truth.groups else None
                return [carrier] if carrier is not None else []
            case BridgeBetween(one, other):
                joined = [host for host, meshes in truth.bridges.items() if one in meshes and other in meshes]
                return self.sample(tuple(self._running(joined)), 1)
            case Rest():
                return []

    def _next(self, count: int, mesh: str) -> list[str]:
        leader = self.leader(mesh)
        order = [
            host
            for host in self._stage.succession(mesh or next(iter(self._script.meshes)))
            if self._truth.running(host) and host != leader
        ]
        return order[:count]

    def _group(self, name: str) -> list[str]:
        return [host for host, group in self._truth.groups.items() if group == name]

    def _running(self, hosts: Iterable[str]) -> list[str]:
        return [host for host in hosts if self._truth.running(host)]
