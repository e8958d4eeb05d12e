"""How the daemon writes its log: text for people or JSON for machines, one line an event, to standard error.

Only a failure of the program itself is followed, in text, by the lines of its traceback. What looks like a key or a
token is left out, although nobody should write one.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime

LOGGER = logging.getLogger("smeg")
_TOKEN = re.compile(r"(smeg\d+\.)[\w-]+")
_BYTES = re.compile(r"""\bb(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""")
_COLOURS = {"debug": 36, "info": 32, "warning": 33, "error": 31}
"""ECMA-48 section 8.3.117, for a terminal."""


def configure_logs(level: str, form: str) -> None:
    """`level` and `form` as in the configuration: debug, info, warning or error; text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines(sys.stderr.isatty()))
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(logging.getLevelNamesMapping()[level.upper()])


def log(level: str, event: str, fields: Mapping[str, object], failure: BaseException | None = None) -> None:
    """One event; the traceback of `failure` goes with it."""
    LOGGER.log(logging.getLevelNamesMapping()[level.upper()], event, exc_info=failure, extra={"fields": fields})


class TextLines(logging.Formatter):
    def __init__(self, coloured: bool) -> None:
        super().__init__()
        self._coloured = coloured

    def format(self, record: logging.LogRecord) -> str:
        level = f"{record.levelname.lower():<9}"
        if self._coloured:
            level = f"\x1b[{_COLOURS.get(level.strip(), 0)}m{level}\x1b[0m"
        said = " ".join(f"{name}={_word(value)}" for name, value in sorted(_fields(record).items()))
        line = f"{_time(record)} [{level}] {record.getMessage():<30} {said}".rstrip()
        return f"{line}\n{_hidden(self.formatException(record.exc_info))}" if record.exc_info else line


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            **_fields(record),
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": _time(record),
        }
        if record.exc_info:
            line["exception"] = _hidden(self.formatException(record.exc_info))
        return json.dumps(line, default=repr)


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    found = getattr(record, "fields", {})
    return {name: _public(value) for name, value in found.items()} if isinstance(found, Mapping) else {}


def _public(value: object) -> object:
    """Without what might be a key or a token, whoever wrote it here by mistake."""
    match value:
        case str():
            return _TOKEN.sub(r"\1…", value)
        case bytes() | bytearray() | memoryview():
            return f"<{len(value)} bytes>"
        case bool() | int() | float() | None:
            return value
        case list() | tuple() | set() | frozenset():
            return [_public(each) for each in value]
        case dict():
            return {str(name): _public(each) for name, each in value.items()}
        case _:
            return _hidden(repr(value))


def _hidden(text: str) -> str:
    """Of text that a program made: also bytes as Python shows them."""
    return _TOKEN.sub(r"\1…", _BYTES.sub("<bytes>", text))


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _word(value: object) -> str:
    """What could be taken for more than one field, or does something to a terminal, is quoted."""
    text = str(value)
    plain = text.isprintable() and not set(text) & set(" ='\"\\")
    return text if plain and text else repr(text)
