"""The configuration as YAML text: values as they are written in a file, and a file with every key explained.

Made from `KEYS` and a `Config`, so that it cannot say anything else than what is read. Pure.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from textwrap import wrap
from typing import Any

from smeg.config import Config, default_text
from smeg.config_keys import FOR_ONE_MESH, KEYS, MESHES, Key

_WIDTH = 100
_PLAIN = re.compile(r"[a-z][a-z-]*|/[A-Za-z0-9_./-]+")
_NOT_TEXT = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Words that YAML 1.1 takes for something else."""


def value_text(value: Any) -> str:
    """A value of a `Config` as YAML on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return f"{value:g}"
        case tuple() if len(value) == 1:
            return value_text(value[0])
        case tuple():
            return f"[{', '.join(value_text(one) for one in value)}]"
        case _:
            text = str(value)
            plain = isinstance(value, str | PurePath) and _PLAIN.fullmatch(text) and text not in _NOT_TEXT
            # What is printable and without quotes and backslashes is the same in YAML's double quotes.
            return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def commented(config: Config) -> str:
    """A file with every key, its meaning, unit and default; each is set to what `config` says, and commented out."""
    parts = [
        "# The configuration of smeg-node. Everything here is commented out, and shows what holds without it:\n"
        "# to change it, remove the # before its line. `smeg-cli config check FILE` names every mistake.\n"
    ]
    parts += [_key(key, config) for key in KEYS]
    names = ", ".join(key.name for key in FOR_ONE_MESH)
    parts.append(f"{_comment(f'For one mesh, by its name or id, other values of: {names}.')}#{MESHES}: {{}}\n")
    return "\n".join(parts)


def _key(key: Key, config: Config) -> str:
    unit = f", in {key.unit}" if key.unit else ""
    about = f"Value: {key.expected}{unit}. Default: {default_text(key)}."
    return f"{_comment(key.meaning)}{_comment(about)}#{key.name}: {value_text(getattr(config, key.field))}\n"


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False))
