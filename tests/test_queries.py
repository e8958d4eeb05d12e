"""Queries over the members, output formats, and the predecessor's names for both commands and fields."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from smeg.cli.main import main
from smeg.cli.old_names import ARGUMENTS, GONE, modernised
from smeg.cli.queries import search
from smeg.errors import LocalError, Problem
from tests.canned_daemon import CannedDaemon, canned_daemon
from tests.typed import typed

MEMBERS: list[dict[str, Any]] = [
    {"name": "one", "role": "peer", "state": "alive", "address": "fd00::1", "wireguard": "KEY1", "endpoints": ["a:1"]},
    {"name": "two", "role": "client", "state": "pruned", "address": "fd00::2", "wireguard": "KEY2", "endpoints": []},
]


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[CannedDaemon]:
    with canned_daemon(tmp_path / "run" / "control.sock") as daemon:
        daemon.answers["members"] = {"mesh": {"name": "paris"}, "members": MEMBERS}
        yield daemon


def test_a_query_answers_what_it_finds_as_json(daemon: CannedDaemon) -> None:
    result = typed(daemon, "query-mesh", "paris", "[?state=='alive'].name")
    assert (result.exit_code, orjson.loads(result.stdout)) == (0, ["one"])
    assert daemon.last() == {"mesh": "paris"}
    assert orjson.loads(typed(daemon, "query-mesh", "paris", "length(@)").stdout) == 2


def test_a_query_may_be_shown_as_a_table_or_as_yaml(daemon: CannedDaemon) -> None:
    query = "[].{name: name, endpoints: endpoints}"
    assert typed(daemon, "query-mesh", "paris", query, "--format", "table").stdout.splitlines()[1].split() == [
        "one",
        "a:1",
    ]
    shown = typed(daemon, "query-mesh", "paris", query, "--format=yaml").stdout
    assert yaml.safe_load(shown)[0] == {"name": "one", "endpoints": ["a:1"]}
    assert (
        typed(daemon, "query-mesh", "paris", "[].[name, state]", "--format", "table").stdout
        == "one  alive\ntwo  pruned\n"
    )


@pytest.mark.parametrize(
    "query", ["[", "nosuch(@)", "&name", "abs('x')", "(" * 3000, "x" * 5000, "sort_by(@, &endpoints)"]
)
def test_what_cannot_be_evaluated_is_refused_with_a_hint(query: str) -> None:
    with pytest.raises(LocalError) as raised:
        search(query, MEMBERS)
    assert raised.value.problem.code == "bad-query"
    assert raised.value.problem.hint


@settings(deadline=None)
@given(st.text(alphabet="[]().,:{}?@*&|!'`\"=<>ab09- ", max_size=30))
def test_no_expression_fails_but_by_being_refused(query: str) -> None:
    # Anything else fails the test.
    with suppress(LocalError):
        orjson.dumps(search(query, MEMBERS))


def test_the_predecessors_field_names_are_understood() -> None:
    assert search("[].publicKey", MEMBERS) == ["KEY1", "KEY2"]
    assert search("[?type=='peer'].[wgHost, wgEndpoint]", MEMBERS) == [["fd00::1/128", "a:1"]]
    assert "publicKey" not in search("[0]", MEMBERS)
    assert search("[].type(name)", MEMBERS) == ["string", "string"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("query-mesh -m paris -q [].name", "query-mesh paris [].name"),
        ("query-mesh -q [].name --mesh=paris --json", "query-mesh paris [].name --json"),
        ("leave-mesh -m paris", "leave-mesh paris"),
        ("--json leave-mesh --meshid paris", "--json leave-mesh paris"),
        ("put-alias -m paris -a one", "put-alias paris one"),
        ("put-description --description words -m paris", "put-description paris words"),
        ("delete-service -m paris -s web", "delete-service paris web"),
        ("get-mesh -m paris", "members paris"),
        ("put-description -m paris -d -x", "put-description -- paris -x"),
    ],
)
def test_what_was_typed_for_the_predecessor_does_the_same(old: str, new: str) -> None:
    assert modernised(old.split()) == new.split()


@pytest.mark.parametrize("words", ["status get-mesh", "invite members", "query-mesh paris -- -m", "leave-mesh -m"])
def test_what_is_no_old_name_stays_as_it_is(words: str) -> None:
    assert modernised(words.split()) == words.split()


@pytest.mark.parametrize(
    ("old", "where"),
    [
        ("join-mesh -m x -i 10.0.0.1", "smeg-cli invite"),
        ("new-mesh -r client", "by role"),
        ("new-mesh -p 1", "wireguardPort"),
        ("set-service -m x -s web -v 80", "--port"),
    ],
)
def test_what_has_moved_is_said(daemon: CannedDaemon, old: str, where: str) -> None:
    result = typed(daemon, *old.split())
    assert (result.exit_code, daemon.asked) == (2, [])
    assert where in result.stderr
    assert f"`smeg-cli {old.split()[0]} --help`" in result.stderr


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([*ARGUMENTS, *GONE, "status", "-m", "-q", "--", "x", "--json", "-m=x", "--socket", ""]))
)
def test_whatever_is_typed_old_names_lose_nothing(words: list[str]) -> None:
    with suppress(click.UsageError):
        new = modernised(words)
        assert new.count("--json") == words.count("--json")


@pytest.mark.parametrize("command", ["members paris", "routes", "why x", "plan x", "list-meshes", "new-mesh a"])
def test_every_result_may_be_yaml(daemon: CannedDaemon, command: str) -> None:
    answer = {"own": ["words", {"no": "2001:db8::1", "yes": None}]}
    daemon.answers[command.split()[0]] = answer
    for words in (["--format", "yaml", *command.split()], [*command.split(), "--format=yaml"]):
        assert yaml.safe_load(typed(daemon, *words).stdout) == answer


def test_an_error_is_in_the_format_that_was_asked_for(daemon: CannedDaemon) -> None:
    daemon.answers["members"] = Problem("unknown-mesh", "no mesh is called x", "see list-meshes")
    shown = typed(daemon, "members", "x", "--format", "yaml").stdout
    assert yaml.safe_load(shown)["error"]["code"] == "unknown-mesh"
    assert orjson.loads(typed(daemon, "members", "x", "--format=json").stdout)["error"]["code"] == "unknown-mesh"
    assert typed(daemon, "members", "x", "--format", "table").stdout == ""


def test_old_names_do_not_show() -> None:
    assert "get-mesh" not in main.commands
