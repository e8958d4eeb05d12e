"""Reading YAML nodes by tables: what a mapping may hold, what a value must be, and every mistake with its line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches
from typing import Any

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from scenarios.script_tables import DURATION, Spec
from scenarios.script_values import Kind, Seconds
from smeg.yaml_nodes import ONE_A_LINE, line_of, plain, shape

MAX_LIST = 100
"""entries of a list within an entry."""
SUGGESTIONS = 50
"""How many words get a "did you mean": looking for one is slow."""
MEANT = "did you mean"
Entries = dict[str, tuple[int, Node]]


class NodeReading:
    """`mistakes` are collected with their lines, of which the text has `last`."""

    def __init__(self, last: int) -> None:
        self.mistakes: list[tuple[int, str]] = []
        self._last = last
        self.read: dict[str, Any] = {}
        """What could be read of the verb, check or group that was built last."""
        self._suggestions = SUGGESTIONS

    def wrong(self, line: int, place: str, what: str, expected: str) -> None:
        meant = expected if expected.startswith(MEANT) else f"expected {expected}"
        self.mistakes.append((min(line, self._last), f"{place}: {what}; {meant}"))

    # Mappings and lists.

    def _entries(self, node: Node, place: str, expected: str) -> Entries:
        """The entries of a mapping whose name is text and new, with their lines."""
        found: Entries = {}
        if not isinstance(node, MappingNode):
            self.wrong(line_of(node), place, f"is {shape(node)}", expected)
            return found
        for name_node, one in node.value:
            line = line_of(name_node)
            if not isinstance(name_node, ScalarNode):
                self.wrong(line, place, "has a key that is not text", ONE_A_LINE)
            elif name_node.value in found:
                first = found[name_node.value][0]
                self.wrong(line, plain(name_node.value), f"is set twice, first in line {first}", "each key once")
            else:
                found[name_node.value] = (line, one)
        return found

    def _known(self, node: Node, place: str, known: Collection[str], expected: str = "") -> Entries:
        """Those whose name is one of these."""
        entries = self._entries(node, place, expected or f"a mapping of some of {', '.join(known)}")
        for name in [name for name in entries if name not in known]:
            line, _ = entries.pop(name)
            self.wrong(line, f"{place}.{plain(name)}", "is not known", self._did_you_mean(name, known))
        return entries

    def _did_you_mean(self, name: str, known: Collection[str]) -> str:
        self._suggestions -= 1
        near = get_close_matches(name[:64], known, 1, 0.5) if self._suggestions >= 0 else []
        return f"{MEANT} {near[0]}?" if near else f"one of {', '.join(sorted(known))}"

    def _items(self, node: Node, place: str, most: int) -> Iterator[Node]:
        if not isinstance(node, SequenceNode):
            self.wrong(line_of(node), place, f"is {shape(node)}", "a list: one `- …` a line")
            return
        if len(node.value) > most:
            self.wrong(line_of(node), place, f"has {len(node.value)} entries", f"at most {most}")
            return
        yield from node.value

    # Values.

    def _value(self, node: Node, place: str, kind: Kind) -> Iterator[Any]:
        """The value of a scalar, or nothing and a mistake."""
        if not isinstance(node, ScalarNode):
            self.wrong(line_of(node), place, f"is {shape(node)}", kind.expected)
            return
        try:
            yield kind.read(node.value)
        except ValueError as error:
            self.wrong(line_of(node), place, str(error), kind.expected)

    def _values(self, node: Node, place: str, kind: Kind) -> tuple[Any, ...]:
        """Those of a list, or of a single scalar."""
        nodes = list(self._items(node, place, MAX_LIST)) if isinstance(node, SequenceNode) else [node]
        return tuple(value for one in nodes for value in self._value(one, place, kind))

    def _one(self, entries: Entries, key: str, kind: Kind, default: object) -> object:
        if key not in entries:
            return default
        return next(self._value(entries[key][1], key, kind), default)

    def _seconds(self, entries: Entries, key: str, default: float) -> Seconds:
        return Seconds(float(str(self._one(entries, key, DURATION, default))))

    def _spec(self, spec: Spec, node: Node, place: str) -> Iterator[Any]:
        """What is said for a field, or nothing and a mistake."""
        before = len(self.mistakes)
        if spec.sides:
            made: Any = tuple(self._values(side, place, spec.kind) for side in self._items(node, place, MAX_LIST))
        elif spec.kind.many:
            made = self._values(node, place, spec.kind)
        else:
            yield from self._value(node, place, spec.kind)
            return
        if len(self.mistakes) == before:
            yield made

    def _build(self, of: Callable[..., Any], table: tuple[Spec, ...], node: Node, place: str, line: int) -> Any | None:
        """A verb, a check or a group, from a mapping of its fields or from its first one alone; None and a mistake."""
        before = len(self.mistakes)
        arguments: dict[str, Any] = {}
        if isinstance(node, MappingNode):
            entries = self._known(node, place, [spec.key for spec in table])
            for spec in table:
                if spec.key in entries:
                    said = self._spec(spec, entries[spec.key][1], f"{place}.{spec.key}")
                    arguments.update((spec.field, value) for value in said)
        elif not (isinstance(node, ScalarNode) and node.value in ("", "~", "null")):
            if not table:
                self.wrong(line_of(node), place, f"has {shape(node)} after it", "nothing")
            arguments.update((spec.field, value) for spec in table[:1] for value in self._spec(spec, node, place))
        missing = [spec for spec in table if spec.required and spec.field not in arguments]
        if missing and len(self.mistakes) == before:
            spec = missing[0]
            self.wrong(line, place, f"does not say {spec.key}", spec.kind.expected)
        self.read = arguments
        return of(**arguments) if len(self.mistakes) == before else None
