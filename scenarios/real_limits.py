"""What the real world cannot do, or cannot see, of a script on this machine: said before anything is started."""

from __future__ import annotations

from collections.abc import Iterator

from scenarios import actions as a
from scenarios import expectations as e
from scenarios.abilities import Abilities
from scenarios.script import Event, Script
from scenarios.selectors import Named, OfRole, Part, Selection, Some
from scenarios.stage import Limit

NO_NETEM = "this kernel has no netem, nor packet sockets: as root, modprobe sch_netem, or play it on another machine"
FARTHEST = 0.4
"""seconds, one way: the handshake of a connection takes three and a half times there and back, and at most 3 s."""
TOO_FAR = f"daemons cannot dial who is more than {FARTHEST:g} s away: a handshake has to end within 3 s"
BY_PROGRAM = "this kernel has no netem: a program delays each frame instead, and takes processor time for it"
NO_DROPS = "there is no nftables that drops at a switch: install nftables, or modprobe nft_meta_bridge"
NO_CHANCE = "this kernel's nftables have no random numbers: modprobe nft_numgen"
NO_DOUBLES = "this kernel has neither netem nor nftables' dup: modprobe sch_netem or nft_dup_netdev"
NO_NAT = "this kernel translates no addresses: modprobe nft_masq"

NO_TERMS = "these hosts are invited, and an invitation lets in for as long as its mesh lives"
NO_OTHERS = "there is one version of the daemon here; the simulated world plays a later one"


def limits(script: Script, able: Abilities) -> list[Limit]:
    return [*_of_hosts(script, able), *_of_deeds(script, able), *_of_checks(script)]


def _of_hosts(script: Script, able: Abilities) -> Iterator[Limit]:
    for group in script.hosts:
        about = f"hosts.{group.name}"
        if group.certified:
            yield Limit(group.line, f"{about}: certified", NO_TERMS, True)
        if group.speaks != "this":
            yield Limit(group.line, f"{about}: speaks {group.speaks}", NO_OTHERS, True)
        if group.nat and not able.translates:
            yield Limit(group.line, f"{about}: nat", NO_NAT, True)
        if group.latency and not able.netem:
            yield _slow(group.line, f"{about}: latency", able)
        if group.latency > FARTHEST:
            yield Limit(group.line, f"{about}: latency {group.latency:g} s", TOO_FAR, True)
        if group.loss and not able.loses:
            yield Limit(group.line, f"{about}: loss", NO_CHANCE, True)


def _of_deeds(script: Script, able: Abilities) -> Iterator[Limit]:
    for event in script.timeline:
        if isinstance(event.action, a.Delay | a.Reorder) and not able.netem:
            yield _slow(event.line, a.WORDS[type(event.action)], able)
        why = _impossible(event, able)
        if why:
            yield Limit(event.line, a.WORDS[type(event.action)], why, True)


def _slow(line: int, what: str, able: Abilities) -> Limit:
    return Limit(line, f"{what} by the kernel", BY_PROGRAM, False) if able.slows else Limit(line, what, NO_NETEM, True)


def moves_peers(script: Script) -> bool:
    """Whether some may have another address in the end, who are dialled."""
    chosen = (event.action.hosts for event in script.timeline if isinstance(event.action, a.Roam))
    return any(not _only_clients(script, selection) for selection in chosen)


def _only_clients(script: Script, selection: Selection) -> bool:
    roles = {group.name: group.role for group in script.hosts}
    for one in selection:
        match one:
            case OfRole("client"):
                continue
            case Named(name) | Part(_, name) | Some(_, name):
                if roles.get(name, roles.get(name.rpartition("-")[0])) != "client":
                    return False
            case _:
                return False
    return True


def needs_slow_links(script: Script) -> bool:
    delays = any(isinstance(event.action, a.Delay | a.Reorder) for event in script.timeline)
    return delays or any(group.latency for group in script.hosts)


def _impossible(event: Event, able: Abilities) -> str:
    match event.action:
        case a.Delay(by) if by > FARTHEST:
            return TOO_FAR
        case a.Duplicate() if not able.doubles:
            return NO_DOUBLES
        case a.Loss() if not able.loses:
            return NO_CHANCE
        case a.Partition() | a.Isolate() if not able.drops:
            return NO_DROPS
    return ""


def _of_checks(script: Script) -> Iterator[Limit]:
    for one in script.expect:
        match one.check:
            case e.Bounded():
                why = "how deep queues are is asked twice a second; memory is seen at its peak"
                yield Limit(one.line, "bounded: queues in between", why, False, one.about)
            case e.NoLoop():
                why = "only packets that are sent can go around: those of the script's traffic and checks"
                yield Limit(one.line, "no-loop: packets that nobody sends", why, False, one.about)
