"""A configuration file of the predecessor, key by key: what each became, and the file that says the same now.

Its later files keep some keys within `baseConfiguration`; all are found, wherever they stand. A value that is no value
here is left out and said. Pure; raises nothing but `LocalError` for text that is no YAML mapping.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from smeg.config_keys import KEYS, MESHES, NO_LONGER_USED, Key
from smeg.config_reading import MAX_TEXT
from smeg.config_text import value_text
from smeg.config_values import shown
from smeg.errors import LocalError
from smeg.yaml_nodes import compose, line_of, plain, shape

BASE = "baseConfiguration"

RENAMED: Mapping[str, str] = {
    "gRPCPort": "gossipPort",
    "heartbeatInterval": "heartBeatInterval",
    "heartBeatTime": "heartBeatInterval",
    "keepAliveTime": "heartBeatInterval",
    "pullInterval": "repairInterval",
    "advertiseRoute": "advertiseRoutes",
    "advertiseDefault": "advertiseDefaults",
    "advertiseDefaultRoute": "advertiseDefaults",
    "publicIP": "publicEndpoint",
    "KeepAliveWg": "keepAliveWg",
}
"""Keys whose value goes to another key."""
_ASKED_OTHERS = ("public", "dns")
"""Values of `ipDiscovery` by which it asked a service outside."""
_KEYS = {key.name: key for key in KEYS}
_OURS_ALONE = {*_KEYS, MESHES} - {
    "role", "publicEndpoint", "advertiseRoutes", "advertiseDefaults", "keepAliveWg", "logLevel", "heartBeatInterval",
    "ipDiscovery", "preUp", "postUp", "preDown", "postDown"
}  # fmt: skip
"""Keys that no file of the predecessor has."""


@dataclass(frozen=True, slots=True)
class Became:
    """One key of the predecessor's file."""

    line: int
    key: str
    value: str
    """As it was written, shortened."""
    now: str
    """`key: value` of this configuration; empty for nothing."""
    why: str
    """Where it went, or why nowhere."""


@dataclass(frozen=True, slots=True)
class Translation:
    keys: tuple[Became, ...]
    text: str
    """The new file: only what differs from the defaults of a node would have to stand there."""


def is_predecessors(text: str) -> bool:
    """Whether a file has keys that only the predecessor knew, and none that only this configuration knows."""
    names = {name for _, name, _ in _entries(_root(text))}
    old = {*NO_LONGER_USED, *RENAMED, BASE} - {"timeout"}
    return bool(names & old) and not names & _OURS_ALONE


def translate(text: str) -> Translation:
    """What each key of the predecessor's file became. Raises `LocalError` (`bad-configuration`)."""
    said: dict[str, str] = {}
    rows = []
    for line, name, node in _entries(_root(text)):
        row = _became(line, name, node)
        target = row.now.partition(":")[0]
        if target and target in said:
            row = Became(line, name, row.value, "", f"{target} stands there already")
        elif target:
            said[target] = row.now
        rows.append(row)
    order = {key.name: place for place, key in enumerate(KEYS)}
    lines = [said[name] for name in sorted(said, key=lambda name: order[name])]
    return Translation(tuple(rows), "".join(f"{line}\n" for line in lines))


def _became(line: int, name: str, node: Node) -> Became:
    value = _shown(node)
    if name == "stubWg":
        now = "backend: dry-run" if _scalar(node) is True else ""
        return Became(line, name, value, now, "" if now else "interfaces are made unless `backend: dry-run` is set")
    if name == "ipDiscovery" and _scalar(node) in _ASKED_OTHERS:
        return Became(line, name, value, "ipDiscovery: peers", "no outside service is asked, but other peers")
    target = RENAMED.get(name, name)
    key = _KEYS.get(target)
    if key is None:
        why = NO_LONGER_USED.get(name, "this key is known to neither")
        return Became(line, name, value, "", why)
    try:
        now = value_text(_checked(key, node))
    except ValueError as error:
        return Became(line, name, value, "", f"{target} {error}; expected {key.expected}")
    return Became(line, name, value, f"{target}: {now}", "" if target == name else f"called {target} now")


def _checked(key: Key, node: Node) -> Any:
    """The value as this configuration takes it. Raises `ValueError`."""
    if isinstance(node, SequenceNode) and key.many:
        return tuple(_one(key, _scalar(one)) for one in node.value)
    if not isinstance(node, ScalarNode):
        raise ValueError(f"is {shape(node)}")
    return _one(key, _scalar(node))


def _one(key: Key, value: object) -> object:
    try:
        return key.check(value)
    except ValueError:
        # Its ports were texts.
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,9}", value):
            return key.check(int(value))
        raise


def _scalar(node: Node) -> object:
    if not isinstance(node, ScalarNode):
        return None
    loader = yaml.SafeLoader("")
    try:
        value: object = loader.construct_object(node)
    except (ValueError, LookupError, OverflowError, yaml.YAMLError):
        return str(node.value)
    finally:
        loader.dispose()
    return value


def _shown(node: Node) -> str:
    return shown(str(node.value))[1:-1] if isinstance(node, ScalarNode) else shape(node)


def _root(text: str) -> MappingNode | None:
    mistakes: list[str] = []

    def wrong(line: int, what: str, expected: str) -> None:
        mistakes.append(f"line {line}: {what}" + (f"; expected {expected}" if expected else ""))

    node = compose(text, MAX_TEXT, wrong)
    if mistakes or (node is not None and not isinstance(node, MappingNode)):
        words = "; ".join(mistakes) or "the file is not a mapping"
        raise LocalError("bad-configuration", words, "give a YAML file with one `key: value` a line")
    return node if isinstance(node, MappingNode) else None


def _entries(root: MappingNode | None) -> Iterator[tuple[int, str, Node]]:
    """Line, key and value of all keys, also those within `baseConfiguration`."""
    for name_node, node in root.value if root is not None else ():
        name = plain(name_node.value) if isinstance(name_node, ScalarNode) else "?"
        if name == BASE and isinstance(node, MappingNode):
            yield line_of(name_node), BASE, ScalarNode("tag:yaml.org,2002:str", "")
            yield from _entries_of_base(node)
        else:
            yield line_of(name_node), name, node


def _entries_of_base(base: MappingNode) -> Iterator[tuple[int, str, Node]]:
    for name_node, node in base.value:
        yield line_of(name_node), plain(name_node.value) if isinstance(name_node, ScalarNode) else "?", node
