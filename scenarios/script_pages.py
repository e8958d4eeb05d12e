"""The tables of docs/scenarios.md, made from what the reader goes by.

python -m scenarios.script_pages
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scenarios.actions import VERBS
from scenarios.expectations import CHECKS
from scenarios.script import Begins
from scenarios.script_tables import ABOUT_EVENT, ABOUT_EVENTUALLY, GROUP, TOP, Spec, meaning, specs
from scenarios.selectors import EVERYONE

EXAMPLES: Mapping[str, str] = {
    "start": "start: down",
    "stop": "stop: {hosts: peers, every: 3 s}",
    "kill": "kill: leader",
    "power-off": "power-off: [leader, next 3]",
    "pause": "pause: {hosts: 5 % of peers, lasts: 10 s}",
    "resume": "resume: peers-2",
    "restart": "restart: {hosts: everyone, every: 2 s}",
    "partition": "partition: [10 % of peers, rest]",
    "heal": "heal:",
    "isolate": "isolate: {hosts: peers-3, receiving: yes}",
    "loss": "loss: {share: 5 %, lasts: 1 min}",
    "delay": "delay: {by: 200 ms, hosts: clients}",
    "duplicate": "duplicate: 10 %",
    "reorder": "reorder: 10 %",
    "flap": "flap: {hosts: peers-3, lasts: 1 min, down: 2 s, up: 5 s}",
    "roam": "roam: clients",
    "nat-rebind": "nat-rebind: clients",
    "clock": "clock: {hosts: 10 % of peers, jump: -6 h, drift: 1.01}",
    "disk-full": "disk-full: {hosts: peers-2, lasts: 40 s}",
    "corrupt-state": "corrupt-state: down",
    "copy-state": "copy-state: {hosts: guests-1, of: peers-3}",
    "join": "join: {hosts: guests, mesh: office}",
    "leave": "leave: peers-4",
    "invite": "invite: {uses: 20, expires: 10 min}",
    "evict": "evict: peers-4",
    "advertise": "advertise: exits-1",
    "withdraw": "withdraw: exits-1",
    "traffic": "traffic: {hosts: clients, to: peers, each: 1 s}",
    "converged": "converged:",
    "known-by-all": "known-by-all: crash",
    "reachable": "reachable: {hosts: clients, to: running}",
    "unreachable": "unreachable: {hosts: peers, to: guests}",
    "one-leader": "one-leader:",
    "no-live-node-pruned": "no-live-node-pruned:",
    "no-loop": "no-loop:",
    "shares-within": "shares-within: {factor: 1.5, hosts: peers, to: others, over: edge}",
    "leads-through": 'leads-through: {hosts: peers, prefix: "2001:db8::/32", over: exits}',
    "same-address": "same-address: clients",
    "no-interface-left": "no-interface-left: guests",
    "bounded": "bounded: {queue: 5000, memory: 100}",
    "told": "told: {problem: second-daemon, hosts: peers-3}",
    "outage": "outage: 5 s",
}
"""One of each word, of a script with the hosts and meshes of `EXAMPLE`."""
EXAMPLE = """\
hosts:
  peers: {count: 8}
  clients: {count: 3, role: client, nat: yes}
  guests: {count: 2, begins: outside}
  exits: {count: 2, advertises: "::/0"}
  others: {count: 4}
  edge: {count: 2}
meshes:
  home: [peers, clients, exits]
  office: [others]
bridges:
  edge: [home, office]
"""


def words(kinds: Mapping[str, type[Any]]) -> str:
    """Verbs or checks as a Markdown table."""
    lines = ["| Word | What it means | What may be said | For example |", "|---|---|---|---|"]
    for word, kind in kinds.items():
        said = "<br>".join(_field(spec) for spec in specs(kind))
        lines.append(f"| `{word}` | {meaning(kind)} | {said} | `{EXAMPLES[word]}` |")
    return "\n".join(lines) + "\n"


def keys(about: Mapping[str, str]) -> str:
    lines = ["| Key | Meaning |", "|---|---|", *(f"| `{key}` | {text} |" for key, text in about.items())]
    return "\n".join(lines) + "\n"


def groups() -> str:
    """The keys of a group of hosts."""
    lines = ["| Key | Value | Default | Meaning |", "|---|---|---|---|"]
    lines += [f"| `{spec.key}` | {spec.kind.expected} | {_default(spec)} | {spec.meaning} |" for spec in GROUP]
    return "\n".join(lines) + "\n"


def _field(spec: Spec) -> str:
    default = "" if spec.required else f" ({_default(spec)})"
    return f"`{spec.key}`: {spec.meaning}{default}"


def _default(spec: Spec) -> str:
    match spec.default:
        case None:
            return "must be said"
        case bool(value):
            return "yes" if value else "no"
        case Begins() as begins:
            return begins.value
        case value if value == EVERYONE:
            return "everyone"
        case () | "":
            return "none"
        case float(value) | int(value):
            return f"{value:g}"
        case value:
            return str(value)


def tables() -> Iterator[str]:
    """All of them, as the page has them."""
    yield keys(TOP)
    yield groups()
    yield keys(ABOUT_EVENT)
    yield words(VERBS)
    yield keys(ABOUT_EVENTUALLY)
    yield words(CHECKS)


if __name__ == "__main__":
    print("\n".join(tables()))
