"""From YAML text to checked values, by key: one pass that collects every mistake with its line.

Only the nodes that YAML composes are used, for their lines; a scalar is built by YAML's own safe constructors, and
nothing but mappings of known keys to scalars (and flat lists of them) is ever built.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from smeg.config_keys import FOR_ONE_MESH, KEYS, MAX_MESHES, MESHES, NO_LONGER_USED, Key
from smeg.config_values import shown
from smeg.yaml_nodes import ONE_A_LINE, compose, last_line, line_of, plain, shape

MAX_TEXT = 64 * 1024
"""characters of a configuration file."""
_SUGGESTIONS = 50
"""How many unknown keys get a "did you mean": looking for one is slow."""
_SYNTAX = 'YAML; a value that holds [ ] * & # or ends in : needs "quotes" around it'
_MESHES = "a mapping: a mesh's name or id, then its own keys"


class Table:
    """Keys that may stand in one mapping."""

    def __init__(self, keys: Iterable[Key], *other: str) -> None:
        self.keys = {key.name: key for key in keys}
        self.near = {re.sub("[-_]", "", name).lower(): name for name in (*self.keys, *other)}


_ALL = Table(KEYS, MESHES, *NO_LONGER_USED)
_OF_ONE_MESH = Table(FOR_ONE_MESH)


class Reading:
    """One text, read: `values` by field of `Config`, `meshes` likewise by mesh, and `mistakes` with their lines."""

    def __init__(self, text: str) -> None:
        self.values: dict[str, Any] = {}
        self.meshes: dict[str, dict[str, Any]] = {}
        self.mistakes: list[tuple[int, str]] = []
        self.lines: dict[str, int] = {}
        """Where each key stood first."""
        self._suggestions = _SUGGESTIONS
        self._last = last_line(text)
        match compose(text, MAX_TEXT, self._unreadable):
            case None | ScalarNode(value=""):
                pass
            case MappingNode() as root:
                self._mapping(root, "", _ALL, self.values, self.lines)
            case root:
                self.wrong(line_of(root), "file", f"is {shape(root)}", f"a mapping: {ONE_A_LINE}")

    def _unreadable(self, line: int, what: str, expected: str) -> None:
        self.wrong(line, "file", what, expected or _SYNTAX)

    def wrong(self, line: int, key: str, what: str, expected: str) -> None:
        self.mistakes.append((min(line, self._last), f"{key}: {what}; expected {expected}"))

    def _mapping(
        self, node: MappingNode, within: str, table: Table, values: dict[str, Any], lines: dict[str, int]
    ) -> None:
        """Read the keys of a table; `within` stands before their names in a report."""
        for name, one in self._entries(node, within or "file", lines):
            key = table.keys.get(name)
            if key is not None:
                self._value(key, within + name, one, values)
            elif name == MESHES and table is _ALL:
                self._meshes(one)
            else:
                self._unknown(lines[name], name, within, table)

    def _entries(self, node: MappingNode, place: str, lines: dict[str, int]) -> Iterator[tuple[str, Node]]:
        """The entries whose name is text and new; `lines` gets where each stands."""
        for name_node, one in node.value:
            line = line_of(name_node)
            if not isinstance(name_node, ScalarNode):
                self.wrong(line, place.rstrip("."), "has a key that is not text", ONE_A_LINE)
                continue
            name: str = name_node.value
            if name in lines:
                self.wrong(line, plain(name), f"is set twice, first in line {lines[name]}", "each key once")
                continue
            lines[name] = line
            yield name, one

    def _meshes(self, node: Node) -> None:
        if not isinstance(node, MappingNode):
            self.wrong(line_of(node), MESHES, f"is {shape(node)}", _MESHES)
            return
        if len(node.value) > MAX_MESHES:
            self.wrong(line_of(node), MESHES, f"has {len(node.value)} meshes", f"at most {MAX_MESHES}")
            return
        for name, one in self._entries(node, MESHES, {}):
            place = f"{MESHES}.{plain(name)}"
            if isinstance(one, MappingNode):
                self._mapping(one, f"{place}.", _OF_ONE_MESH, self.meshes.setdefault(name, {}), {})
            else:
                words = ", ".join(key.name for key in FOR_ONE_MESH)
                self.wrong(line_of(one), place, f"is {shape(one)}", f"a mapping of some of {words}")

    def _value(self, key: Key, place: str, node: Node, values: dict[str, Any]) -> None:
        if not key.many:
            values.update((key.field, value) for value in self._checked(key, place, node))
            return
        nodes = node.value if isinstance(node, SequenceNode) else [node]
        found = [value for one in nodes for value in self._checked(key, place, one)]
        different = len(set(found))
        if len(found) > key.many or different < len(found):
            what = f"has {len(found)} values, of them {different} different"
            self.wrong(line_of(node), place, what, f"at most {key.many} different ones")
        values[key.field] = tuple(found)

    def _unknown(self, line: int, name: str, within: str, table: Table) -> None:
        if name in NO_LONGER_USED:
            self.mistakes.append((line, f"{within}{name}: no longer used: {NO_LONGER_USED[name]}"))
            return
        expected = f"one of {', '.join(table.keys)}" if within else "a key that docs/configuration.md lists"
        self._suggestions -= 1
        if self._suggestions >= 0:
            # Only for who made a mistake: a daemon lives long without it.
            from difflib import get_close_matches

            near = get_close_matches(re.sub("[-_]", "", name[:64]).lower(), table.near, 1)
            if near:
                expected = f"a key of the configuration (did you mean {table.near[near[0]]}?)"
        self.wrong(line, within + plain(name), "is not a key", expected)

    def _checked(self, key: Key, place: str, node: Node) -> Iterator[object]:
        """The value of a node, or nothing and a mistake."""
        if not isinstance(node, ScalarNode):
            self.wrong(line_of(node), place, f"is {shape(node)}", key.expected)
            return
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind not in ("null", "bool", "int", "float", "str"):
            self.wrong(line_of(node), place, f"is a YAML {plain(kind)}", key.expected)
            return
        loader = yaml.SafeLoader("")
        try:
            built: object = loader.construct_object(node)
        except (ValueError, LookupError, OverflowError, yaml.YAMLError):
            self.wrong(line_of(node), place, f"is {shown(node.value)}, which is no {kind}", key.expected)
            return
        finally:
            loader.dispose()
        try:
            value = key.check(built)
        except ValueError as error:
            self.wrong(line_of(node), place, str(error), key.expected)
        else:
            yield value
