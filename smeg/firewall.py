"""What a packet filter does with the first packet of a connection that comes in: as far as its rules can be read.

Rules of nftables (`nft -j list ruleset`) and of iptables (`iptables-save`) become one form: chains of rules, each with
what it asks for and what it does. What is not understood may be so or not, and the answer then may be several. Pure.
Sources: libnftables-json(5), nft(8), iptables(8), iptables-extensions(8).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ACCEPT, DROP, RETURN, GO_ON = "accept", "drop", "return", "continue"


@dataclass(frozen=True, slots=True)
class Packet:
    """The first of a connection, from another host."""

    protocol: str
    """`tcp` or `udp`."""
    port: int
    """The destination's."""


@dataclass(frozen=True, slots=True)
class Rule:
    protocols: frozenset[str] | None = None
    """None for all."""
    ports: tuple[tuple[int, int], ...] | None = None
    """Ranges of destination ports, both ends included; None for all."""
    never: bool = False
    """Whether no such packet meets it: it asks for the loopback, or for a connection that exists."""
    unsure: bool = False
    """Whether it asks for something that is not known of the packet."""
    verdict: str = GO_ON
    target: str = ""
    """The chain that it jumps to, if any."""
    text: str = ""


@dataclass(slots=True)
class Chain:
    name: str
    base: bool = False
    """Whether packets that come in start here."""
    priority: int = 0
    policy: str = ACCEPT
    rules: list[Rule] = field(default_factory=list)


Chains = Mapping[str, Chain]


def fate(chains: Chains, packet: Packet) -> frozenset[str]:
    """`accept`, `drop`, or both when it hangs on what is not known. Every base chain has to accept."""
    fates = {ACCEPT}
    for chain in sorted((chain for chain in chains.values() if chain.base), key=lambda chain: chain.priority):
        through = _through(chains, chain, packet, {})
        fates = ({DROP} if DROP in fates or DROP in through else set()) | (
            {ACCEPT} if ACCEPT in fates and through != {DROP} else set()
        )
    return frozenset(fates)


def _through(chains: Chains, chain: Chain, packet: Packet, known: dict[str, set[str]]) -> set[str]:
    """What may become of it in a chain; `return` from one that is jumped to. `known` has what was found so far."""
    if chain.name in known:
        return known[chain.name]
    # Chains that lead in a circle, which the kernel does not allow, end here.
    known[chain.name] = {RETURN}
    found: set[str] = set()
    for rule in chain.rules:
        if not _may_match(rule, packet):
            continue
        verdicts = {rule.verdict}
        if rule.target in chains:
            verdicts = _through(chains, chains[rule.target], packet, known)
            verdicts = {GO_ON if verdict == RETURN else verdict for verdict in verdicts}
        found |= verdicts - {GO_ON}
        if not rule.unsure and GO_ON not in verdicts:
            break
    else:
        found.add(chain.policy if chain.base else RETURN)
    if chain.base and RETURN in found:
        found = found - {RETURN} | {chain.policy}
    known[chain.name] = found
    return found


def _may_match(rule: Rule, packet: Packet) -> bool:
    if rule.never or (rule.protocols is not None and packet.protocol not in rule.protocols):
        return False
    return rule.ports is None or any(low <= packet.port <= high for low, high in rule.ports)


# nftables.


def read_nftables(ruleset: Any) -> dict[str, Chain]:
    """What `nft -j list ruleset` says, by family, table and name of chains. What has another form is left out."""
    chains: dict[str, Chain] = {}
    items = ruleset.get("nftables") if isinstance(ruleset, dict) else None
    for item in items if isinstance(items, list) else []:
        match item:
            case {"chain": {"family": str(family), "table": str(table), "name": str(name), **more}}:
                if family in ("inet", "ip", "ip6"):
                    base = more.get("hook") == "input" and more.get("type") == "filter"
                    priority = more.get("prio")
                    key = f"{family} {table} {name}"
                    chains[key] = Chain(key, base, priority if isinstance(priority, int) else 0,
                                        DROP if more.get("policy") == "drop" else ACCEPT)  # fmt: skip
            case {"rule": {"family": str(family), "table": str(table), "chain": str(name), "expr": list(expr)}}:
                chain = chains.get(f"{family} {table} {name}")
                if chain is not None:
                    chain.rules.append(_nftables_rule(expr, f"{family} {table}"))
    return chains


def _nftables_rule(expr: Sequence[Any], place: str) -> Rule:
    protocols: frozenset[str] | None = None
    ports: tuple[tuple[int, int], ...] | None = None
    never = unsure = False
    verdict, target = GO_ON, ""
    for item in expr:
        match item:
            case {"match": {"op": "==" | "in", "left": {"meta": {"key": "l4proto"}}, "right": right}}:
                protocols = frozenset(map(str, _values(right)))
            case {"match": {"op": "==", "left": {"payload": {"protocol": "tcp" | "udp" as name, "field": "dport"}},
                            "right": right}}:  # fmt: skip
                protocols, found = frozenset((name,)), _ranges(right)
                ports, unsure = (found, unsure) if found is not None else (None, True)
            case {"match": {"op": "==" | "in", "left": {"ct": {"key": "state"}}, "right": right}}:
                never |= not {"new", "untracked"} & set(map(str, _values(right)))
            case {"match": {"op": "==", "left": {"meta": {"key": "iif" | "iifname"}}, "right": "lo"}}:
                never = True
            case {"match": _} | {"limit": _} | {"xt": _} | {"vmap": _}:
                unsure = True
            case {"jump": {"target": str(name)}} | {"goto": {"target": str(name)}}:
                target = f"{place} {name}"
            case {"accept": _}:
                verdict = ACCEPT
            case {"drop": _} | {"reject": _}:
                verdict = DROP
            case {"return": _}:
                verdict = RETURN
    return Rule(protocols, ports, never, unsure, verdict, target)


def _values(right: Any) -> list[Any]:
    if isinstance(right, dict) and isinstance(right.get("set"), list):
        return list(right["set"])
    return right if isinstance(right, list) else [right]


def _ranges(right: Any) -> tuple[tuple[int, int], ...] | None:
    """Ports; None for a named set, whose elements stand elsewhere."""
    found = []
    for value in _values(right):
        match value:
            case bool():
                return None
            case int():
                found.append((value, value))
            case {"range": [int(low), int(high)]}:
                found.append((low, high))
            case _:
                return None
    return tuple(found)


# iptables.

_POLICY = re.compile(r":(?P<name>\S+) (?P<policy>ACCEPT|DROP)\b")
_JUMPS: Mapping[str, str] = {"ACCEPT": ACCEPT, "DROP": DROP, "REJECT": DROP, "RETURN": RETURN}
_HARMLESS = {"-m", "--match", "--comment", "--reject-with"}
"""Options with one value that ask for nothing."""


def read_iptables(saved: str) -> dict[str, Chain]:
    """What `iptables-save` or `ip6tables-save` says of the table `filter`, by name of chains."""
    chains: dict[str, Chain] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif table == "filter" and line.startswith(":"):
            name = line[1:].split(" ", 1)[0]
            found = _POLICY.match(line)
            policy = DROP if found is not None and found["policy"] == "DROP" else ACCEPT
            chains[name] = Chain(name, name == "INPUT", 0, policy)
        elif table == "filter" and line.startswith("-A "):
            for name, rule in _iptables_rule(line):
                if name in chains:
                    chains[name].rules.append(rule)
    return chains


def _iptables_rule(line: str) -> Iterator[tuple[str, Rule]]:
    try:
        words = shlex.split(line)
    except ValueError:
        return
    protocols: frozenset[str] | None = None
    ports: tuple[tuple[int, int], ...] | None = None
    never = unsure = False
    jump, at = "", 2
    while at < len(words):
        word, value = words[at], words[at + 1] if at + 1 < len(words) else ""
        at += 2
        match word:
            case "-p" | "--protocol":
                protocols = None if value == "all" else frozenset((value,))
            case "--dport" | "--dports":
                ports = tuple(_iptables_ports(value))
            case "--ctstate" | "--state":
                never |= not {"NEW", "UNTRACKED"} & set(value.split(","))
            case "-i" if value == "lo":
                never = True
            case "-j" | "-g":
                jump = value
            case _ if word not in _HARMLESS:
                unsure, at = True, at - 1
    if "!" in words:
        # What the next word asks for is turned around: not read further.
        protocols, ports, never, unsure = None, None, False, True
    verdict = _JUMPS.get(jump, GO_ON)
    if len(words) > 1:
        yield words[1], Rule(protocols, ports, never, unsure, verdict, "" if jump in _JUMPS else jump, line)


def _iptables_ports(value: str) -> Iterator[tuple[int, int]]:
    for part in value.split(","):
        low, _, high = part.partition(":")
        if low.isdecimal() and (not high or high.isdecimal()):
            yield int(low), int(high or low)
