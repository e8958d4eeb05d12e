"""From YAML text to a script: one pass that collects every mistake with its line, and then what no single line shows.

Only the nodes that YAML composes are used; their scalars are text, which `script_values` reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from scenarios.actions import VERBS, Heal
from scenarios.expectations import CHECKS, Check
from scenarios.script import LARGEST, REST, SETTINGS, SMALLEST, Event, Expectation, Group, Script, When
from scenarios.script_checking import check
from scenarios.script_files import library
from scenarios.script_names import Findings
from scenarios.script_nodes import MAX_LIST, NodeReading
from scenarios.script_tables import (
    ABOUT_EVENT,
    ABOUT_EVENTUALLY,
    DURATION,
    GROUP,
    LABEL,
    SIZE,
    TEXT,
    TOP,
    specs,
)
from scenarios.script_values import Seconds, nearest_name
from smeg.errors import LocalError
from smeg.yaml_nodes import ONE_A_LINE, compose, last_line, line_of, plain, shape

MAX_TEXT = 64 * 1024
"""characters of a script."""
MAX_GROUPS = 100
MAX_MESHES = 200
MAX_EVENTS = 500
MAX_EXPECTED = 200
_SYNTAX = 'YAML; text that holds [ ] { } * & # or ends in : needs "quotes" around it'
NODES = 50


class Reading(NodeReading):
    """One text, read: `script`, as far as it could be, and `mistakes` with their lines."""

    def __init__(self, text: str, name: str, source: str) -> None:
        super().__init__(last_line(text))
        self._source = source
        self.script: Script | None = None
        self._named: dict[str, int] = {}
        """Events that have a name of their own, with its line."""
        match compose(text, MAX_TEXT, lambda line, what, hint: self.wrong(line, "file", what, hint or _SYNTAX)):
            case MappingNode() as root:
                self._script(root, name)
            case None | ScalarNode(value=""):
                if not self.mistakes:
                    self.wrong(1, "file", "is empty", "a mapping with at least hosts and timeline or expect")
            case root:
                self.wrong(line_of(root), "file", f"is {shape(root)}", f"a mapping: {ONE_A_LINE}")

    def _script(self, root: MappingNode, name: str) -> None:
        entries = self._known(root, "file", TOP)
        groups = self._hosts(entries.get("hosts"))
        meshes = self._lists(entries.get("meshes"), "meshes", "a mesh", MAX_MESHES)
        if "meshes" not in entries:
            meshes = {"demo": (1, tuple(group.name for group in groups))}
        bridges = self._lists(entries.get("bridges"), "bridges", "a group", MAX_GROUPS)
        script = Script(
            str(self._one(entries, "name", LABEL, name)),
            str(self._one(entries, "about", TEXT, "")),
            int(str(self._one(entries, "nodes", SIZE, NODES))),
            groups,
            {mesh: said for mesh, (_, said) in meshes.items()},
            {group: said for group, (_, said) in bridges.items()},
            self._settings(entries.get("settings")),
            self._timeline(entries.get("timeline")),
            self._expect(entries.get("expect")),
            self._seconds(entries, "lasts", 10.0),
            self._source,
        )
        if "nodes" not in entries and script.fixed >= SMALLEST:
            script = replace(script, nodes=script.fixed)
        if not SMALLEST <= script.nodes <= LARGEST:
            line = entries["nodes"][0] if "nodes" in entries else 1
            self.wrong(line, "nodes", f"is {script.nodes}", f"{SMALLEST} to {LARGEST}")
        for group in groups:
            self._group_makes_sense(group)
        where = {
            **{f"meshes.{mesh}": line for mesh, (line, _) in meshes.items()},
            **{f"bridges.{group}": line for group, (line, _) in bridges.items()},
        }
        findings = Findings(where, self.wrong, self._did_you_mean)
        if groups:
            check(script, findings)
        self.script = script

    # Parts of a script.

    def _hosts(self, entry: tuple[int, Node] | None) -> tuple[Group, ...]:
        groups: list[Group] = []
        if entry is None:
            self.wrong(1, "hosts", "is missing", "groups of hosts, like `hosts: {peers: {count: rest}}`")
            return ()
        entries = self._entries(entry[1], "hosts", "a mapping: a group's name, then its keys")
        if len(entries) > MAX_GROUPS:
            self.wrong(entry[0], "hosts", f"has {len(entries)} groups", f"at most {MAX_GROUPS}")
            return ()
        for name, (line, node) in entries.items():
            place = f"hosts.{plain(name)}"
            for label in self._label(name, line, place):
                made = partial(Group, label, line=line)
                # Of a group in which something is wrong the name is known, and whatever else could be read.
                group = self._build(made, GROUP, node, place, line)
                groups.append(group or made(**{"count": REST, **self.read}))
        if not groups and not self.mistakes:
            self.wrong(entry[0], "hosts", "has no group", "at least one")
        return tuple(groups)

    def _label(self, name: str, line: int, place: str) -> Iterator[str]:
        try:
            yield str(LABEL.read(name))
        except ValueError as error:
            self.wrong(line, place, str(error), LABEL.expected)

    def _group_makes_sense(self, group: Group) -> None:
        line, place = group.line, f"hosts.{group.name}"
        if group.nat and group.role == "peer":
            self.wrong(line, place, "is behind a NAT and a peer", "role: client, for nobody can dial it")
        if group.count == 0:
            self.wrong(line, place, "has no hosts", "a count of at least 1")

    def _lists(
        self, entry: tuple[int, Node] | None, place: str, what: str, most: int
    ) -> dict[str, tuple[int, tuple[str, ...]]]:
        """Names, each with a list of names and its line."""
        found: dict[str, tuple[int, tuple[str, ...]]] = {}
        if entry is None:
            return found
        entries = self._entries(entry[1], place, f"a mapping: {what}, then a list of names")
        if place == "meshes" and isinstance(entry[1], MappingNode) and not entry[1].value:
            self.wrong(entry[0], place, "has no mesh", "at least one, or nothing of `meshes`")
        if len(entries) > most:
            self.wrong(entry[0], place, f"has {len(entries)} entries", f"at most {most}")
            return found
        for name, (line, node) in entries.items():
            for label in self._label(name, line, f"{place}.{plain(name)}"):
                found[label] = (line, self._values(node, f"{place}.{label}", LABEL))
        return found

    def _settings(self, entry: tuple[int, Node] | None) -> dict[str, Seconds]:
        entries = self._known(entry[1], "settings", SETTINGS) if entry is not None else {}
        found = {}
        for key, (line, node) in entries.items():
            for value in self._value(node, f"settings.{key}", DURATION):
                if not 0.1 <= value <= 3600:
                    self.wrong(line, f"settings.{key}", f"is {value:g} s", "0.1 s to 1 h")
                found[key] = value
        return found

    def _timeline(self, entry: tuple[int, Node] | None) -> tuple[Event, ...]:
        nodes = self._items(entry[1], "timeline", MAX_EVENTS) if entry is not None else ()
        return tuple(event for node in nodes for event in self._event(node))

    def _event(self, node: Node) -> Iterator[Event]:
        line, before = line_of(node), len(self.mistakes)
        entries = self._known(node, "timeline", [*ABOUT_EVENT, *VERBS], "a mapping with one verb, like `kill: leader`")
        found = [(verb, *entries[verb]) for verb in VERBS if verb in entries]
        verb, action = "", None
        if len(found) == 1:
            ((verb, at, said_node),) = found
            action = self._build(VERBS[verb], specs(VERBS[verb]), said_node, verb, at)
        elif found or len(self.mistakes) == before:
            said = " and ".join(verb for verb, _, _ in found) if found else "no verb"
            self.wrong(line, "timeline", f"has {said} in one entry", f"one of {', '.join(VERBS)}")
        after = self._check(entries["after"], "after") if "after" in entries else None
        when = self._seconds(entries, "at", 0.0) if "at" in entries else None
        wait = self._seconds(entries, "wait", 0.0)
        if when is not None and ("after" in entries or "wait" in entries):
            place = verb or "timeline"
            self.wrong(line, place, "has `at` and `after` or `wait`", "a time, or something that it waits for")
        label = str(self._one(entries, "as", LABEL, ""))
        if label in self._named:
            said = f"is said twice, first in line {self._named[label]}"
            self.wrong(entries["as"][0], f"as {label}", said, "another name for each event")
        elif label:
            self._named[label] = entries["as"][0]
        if action is None:
            # That it is there is known to what comes after it.
            yield Event(line, Heal(), label or verb)
        else:
            yield Event(line, action, label or verb, when, after, wait)

    def _check(self, entry: tuple[int, Node], place: str, about: Mapping[str, str] | None = None) -> Check | None:
        """A check: a word, or a mapping with one check among other keys."""
        line, node = entry
        if isinstance(node, ScalarNode):
            if node.value not in CHECKS:
                self.wrong(line, place, f"{plain(node.value)} is no check", self._did_you_mean(node.value, CHECKS))
                return None
            return self._build(CHECKS[node.value], specs(CHECKS[node.value]), ScalarNode("", ""), node.value, line)
        before = len(self.mistakes)
        entries = self._known(node, place, [*(about or ()), *CHECKS], "a check, or a mapping with one")
        found = [check for check in CHECKS if check in entries]
        if len(found) != 1:
            if found or len(self.mistakes) == before:
                said = " and ".join(found) if found else "no check"
                self.wrong(line, place, f"has {said} in one entry", f"one of {', '.join(CHECKS)}")
            return None
        (word,) = found
        return self._build(CHECKS[word], specs(CHECKS[word]), entries[word][1], word, entries[word][0])

    def _expect(self, entry: tuple[int, Node] | None) -> tuple[Expectation, ...]:
        if entry is None:
            return ()
        found: list[Expectation] = []
        for key, (_, node) in self._known(entry[1], "expect", [when.value for when in When]).items():
            when = When(key)
            for item in self._items(node, key, MAX_EXPECTED):
                found += self._expectation(item, when)
        return tuple(found)

    def _expectation(self, node: Node, when: When) -> Iterator[Expectation]:
        line = line_of(node)
        about = ABOUT_EVENTUALLY if when is When.EVENTUALLY else {}
        made = self._check((line, node), when.value, about)
        entries = self._entries(node, when.value, "") if isinstance(node, MappingNode) else {}
        within = self._seconds(entries, "within", 0.0) if about else Seconds(0.0)
        after = str(self._one(entries, "after", LABEL, "")) if about else ""
        if about and "within" not in entries and made is not None:
            self.wrong(line, when.value, "has no `within`", f"{ABOUT_EVENTUALLY['within']}, like `within: 5 s`")
        if made is not None:
            yield Expectation(line, when, made, _text(node), within, after)


def _text(node: Node) -> str:
    """A node as a person would say it on one line."""
    match node:
        case ScalarNode():
            return str(node.value)
        case SequenceNode():
            return ", ".join(_text(one) for one in node.value[:MAX_LIST])
        case _:
            parts = ((_text(key), _text(one)) for key, one in node.value[:MAX_LIST])
            return ", ".join(f"{key} {said}".strip() for key, said in parts)


def parse(text: str, source: str) -> Script:
    """The script in the YAML `text` of the file called `source`.

    Raises `LocalError` (`bad-script`) whose message has one line a mistake: `FILE:LINE: what; expected …`.
    """
    reading = Reading(text, nearest_name(Path(source).stem), source)
    if reading.mistakes or reading.script is None:
        message = "\n".join(f"{source}:{line}: {words}" for line, words in sorted(set(reading.mistakes)))
        raise LocalError("bad-script", message, "correct the lines named above; docs/scenarios.md lists every word")
    return reading.script


def read(path: Path) -> tuple[Script, str]:
    """The script in a file, and its text. Raises `LocalError`."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        message = f"{path}:{line}: file: has a byte {error.object[error.start]:#04x} that is no UTF-8"
        raise LocalError("bad-script", message, "save it as UTF-8") from error
    except OSError as error:
        near = get_close_matches(path.name, [one.stem for one in library()], 1)
        hint = f"did you mean {near[0]}?" if near else "name a file that exists, or one that `smeg-scenario list` names"
        raise LocalError("script-unreadable", f"cannot read {path}: {error}", hint) from error
    return parse(text, str(path)), text
