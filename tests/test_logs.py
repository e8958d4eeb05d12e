"""The log: one line an event, as text or JSON, with nothing in it that could be taken for something else."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest

from actors.logs import LOGGER, configure_logs, log

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    handlers, level = list(LOGGER.handlers), LOGGER.level
    yield
    LOGGER.handlers[:] = handlers
    LOGGER.setLevel(level)


def fail() -> Exception:
    try:
        raise ValueError("it broke")
    except ValueError as error:
        return error


def test_an_event_is_one_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "text")
    log("warning", "alarm", {"mesh": "paris", "problem": "two words", "evil": "a\nb\x1b[2J=", "count": 3, "none": ""})
    said = capsys.readouterr().err
    fields = r"count=3 evil='a\nb\x1b[2J=' mesh=paris none='' problem='two words'"
    assert re.fullmatch(rf"{TIME} \[warning  \] alarm +{re.escape(fields)}\n", said)


def test_an_event_is_one_object_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "json")
    log("error", "actor failed", {"actor": "x", "code": 2**70, "path": object, "text": "a\nb\ud800"}, fail())
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    line = json.loads(said)
    assert re.fullmatch(TIME, line.pop("timestamp"))
    assert line.pop("exception").endswith("ValueError: it broke")
    about = {"actor": "x", "code": 2**70, "path": repr(object), "text": "a\nb\ud800"}
    assert line == {"event": "actor failed", "level": "error", **about}


def test_a_traceback_follows_its_line_of_text(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "text")
    log("error", "actor failed", {"actor": "x"}, fail())
    first, second, *_, last = capsys.readouterr().err.splitlines()
    assert first.endswith("actor=x")
    assert second == "Traceback (most recent call last):"
    assert last == "ValueError: it broke"


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_less_urgent_than_was_asked_for_is_not_written(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("warning", form)
    for level in ("debug", "info", "warning", "error"):
        log(level, f"about {level}", {})
    lines = capsys.readouterr().err.splitlines()
    assert ["about warning" in lines[0], "about error" in lines[1], len(lines)] == [True, True, 2]


def test_configuring_again_does_not_double_the_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info", "text")
    configure_logs("info", "json")
    log("info", "once", {})
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert LOGGER.level == logging.INFO
