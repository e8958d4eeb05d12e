"""The JSON schema of scripts for editors, made from the tables that the reader goes by.

python -m scenarios.script_schema >docs/scenario.schema.json
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from scenarios.actions import VERBS
from scenarios.expectations import CHECKS
from scenarios.script import LARGEST, SETTINGS, SMALLEST, When
from scenarios.script_tables import (
    ABOUT_EVENT,
    ABOUT_EVENTUALLY,
    DURATION,
    GROUP,
    LABEL,
    SIZE,
    TOP,
    Spec,
    meaning,
    specs,
)

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DURATIONS = {"$ref": "#/$defs/duration"}
NAMES = {"$ref": "#/$defs/name"}


def schema() -> dict[str, Any]:
    """What a whole script looks like."""
    label = LABEL.schema()
    lists = {"type": "object", "propertyNames": NAMES, "additionalProperties": _or_list(NAMES)}
    parts: dict[str, Any] = {
        "name": NAMES,
        "about": {"type": ["string", "number", "boolean", "null"], "maxLength": 2000},
        "nodes": replace(SIZE, number={"type": "integer", "minimum": SMALLEST, "maximum": LARGEST}).schema(),
        "hosts": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": NAMES,
            "additionalProperties": _fields(GROUP),
        },
        "meshes": {**lists, "minProperties": 1},
        "bridges": lists,
        "settings": _mapping(dict.fromkeys(SETTINGS, DURATIONS)),
        "timeline": {"type": "array", "items": {"$ref": "#/$defs/event"}},
        "expect": _mapping({when.value: {"type": "array", "items": _item(when)} for when in When}),
        "lasts": DURATIONS,
    }
    described = {key: {**part, "description": TOP[key]} for key, part in parts.items()}
    return {
        "$schema": DIALECT,
        "title": "A scenario of smegmesh",
        **_mapping(described, ["hosts"]),
        "$defs": {
            "name": label,
            "duration": DURATION.schema(),
            "hosts": {**_or_list({"type": "string"}), "description": "hosts: by name, by what they are, or drawn"},
            "event": _event(),
            "check": {"anyOf": [_words(), _exactly_one(CHECKS, {})]},
        },
    }


def _mapping(properties: Mapping[str, Any], required: Iterable[str] = ()) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": dict(properties)}
    return {**made, "required": list(required)} if required else made


def _or_list(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"anyOf": [one, {"type": "array", "items": one}]}


def _value(spec: Spec) -> dict[str, Any]:
    if spec.sides:
        return {"type": "array", "minItems": 2, "items": {"$ref": "#/$defs/hosts"}}
    if spec.hosts:
        return {"$ref": "#/$defs/hosts"}
    one = spec.kind.schema()
    if spec.key == "nat" or spec.kind.expected == "yes or no":
        one = {"anyOf": [{"type": "boolean"}, one]}
    return _or_list(one) if spec.kind.many else one


def _fields(table: tuple[Spec, ...]) -> dict[str, Any]:
    """A mapping of these keys; where it can be, the first alone too, or nothing at all."""
    properties = {spec.key: {**_value(spec), "description": spec.meaning} for spec in table}
    required = [spec.key for spec in table if spec.required]
    whole = _mapping(properties, required)
    ways = [whole, *(_value(spec) for spec in table[:1])]
    if not required:
        ways.append({"type": "null"})
    return {"anyOf": ways} if required in ([], [spec.key for spec in table[:1]]) else whole


def _exactly_one(words: Mapping[str, type[Any]], about: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with one of these words, and other keys beside it."""
    properties = {word: {**_fields(specs(kind)), "description": meaning(kind)} for word, kind in words.items()}
    return {**_mapping({**about, **properties}), "oneOf": [{"required": [word]} for word in words]}


def _words() -> dict[str, Any]:
    """Checks that need nothing said."""
    return {"enum": [word for word, kind in CHECKS.items() if not any(spec.required for spec in specs(kind))]}


def _event() -> dict[str, Any]:
    check = {"$ref": "#/$defs/check"}
    about = {"at": DURATIONS, "after": check, "wait": DURATIONS, "as": NAMES}
    said = {key: {**part, "description": ABOUT_EVENT[key]} for key, part in about.items()}
    both = {"required": ["at"], "anyOf": [{"required": ["after"]}, {"required": ["wait"]}]}
    return {**_exactly_one(VERBS, said), "not": both}


def _item(when: When) -> dict[str, Any]:
    if when is not When.EVENTUALLY:
        return {"$ref": "#/$defs/check"}
    about = {"within": DURATIONS, "after": NAMES}
    said = {key: {**part, "description": ABOUT_EVENTUALLY[key]} for key, part in about.items()}
    return {**_exactly_one(CHECKS, said), "required": ["within"]}


def text() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
