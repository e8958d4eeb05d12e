"""The log: one line an event, as text or JSON, with nothing in it that could be taken for something else."""

from __future__ import annotations

import json
import logging
import re
from base64 import b64encode
from collections.abc import Iterator

import pytest

from actors.logs import LOGGER, configure_logs, log
from smeg import messages as m
from smeg.errors import Problem
from smeg.keys import Secret

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


TOKEN = "smeg1." + "Abc_-9" * 20
KEY = bytes(range(100, 132))
HOLDERS = [
    TOKEN,
    f"the token {TOKEN} was refused",
    KEY,
    bytearray(KEY),
    memoryview(KEY),
    Secret(KEY),
    [KEY, TOKEN],
    {"deep": ({TOKEN}, {"deeper": KEY})},
    ValueError(TOKEN, KEY),
    m.Loaded(Secret(KEY), Secret(KEY), ()),
    m.Request(1, "join-mesh", {"token": TOKEN}),
    Problem("code", f"about {TOKEN}", f"and {KEY!r}"),
]


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("value", HOLDERS, ids=lambda value: type(value).__name__)
def test_a_secret_that_somebody_logs_by_mistake_is_not_written(
    form: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logs("debug", form)
    try:
        raise RuntimeError(f"it holds {value!r}, {KEY!r} and {TOKEN}") from ValueError(value)
    except RuntimeError as error:
        log("error", "actor failed", {"value": value, "text": f"{value}" if isinstance(value, str) else ""}, error)
    said = capsys.readouterr().err
    assert "actor failed" in said
    assert TOKEN[6:] not in said
    assert TOKEN[8:24] not in said
    spelt = (repr(KEY)[2:-1], KEY.hex(), b64encode(KEY).decode(), KEY.decode("latin-1"), str(list(KEY))[1:-1])
    assert not [each for each in spelt if each in said or json.dumps(each)[1:-1] in said]
