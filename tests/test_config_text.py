"""A configuration file that is made says what it would without it; one of the predecessor is said what it became."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from smeg.cli.main import main
from smeg.config import Config, defaults, parse
from smeg.config_keys import KEYS, NO_LONGER_USED
from smeg.config_text import commented, value_text
from smeg.config_values import endpoint, listen, route, rule
from smeg.errors import LocalError
from smeg.hooks import FOR_A_SHELL, command
from smeg.predecessor import RENAMED, is_predecessors, translate

BASE = defaults("host", True, {})
OLD = """\
certificatePath: "./cert/cert.pem"
skipCertVerification: true
timeout: 5
gRPCPort: "4000"
stubWg: false
heartbeatInterval: 60
branch: 3
pullInterval: 20
syncInterval: 2
clusterSize: 64
logLevel: "info"
baseConfiguration:
  ipDiscovery: "outgoing"
  publicEndpoint: "2001:db8::7"
  role: "peer"
  keepAliveWg: 300000
  advertiseRoute: true
  advertiseDefaults: true
"""


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(main, ["config", *arguments], input=stdin)


def uncommented(text: str) -> str:
    return re.sub(r"^#(?=[a-zA-Z])", "", text, flags=re.MULTILINE)


def test_a_file_that_is_made_sets_nothing_until_its_lines_are_uncommented() -> None:
    text = commented(BASE)
    assert parse(text, "file", BASE) == BASE
    other = replace(BASE, name="other", mtu=1300)
    assert parse(uncommented(commented(other)), "file", BASE) == other


def test_it_has_every_key_with_its_meaning_unit_and_default() -> None:
    text = " ".join(line.removeprefix("# ") for line in commented(BASE).splitlines())
    for key in KEYS:
        assert f"#{key.name}: " in text
        assert key.meaning in text
        assert not key.unit or f"{key.expected}, in {key.unit}." in text


texts = st.text(st.characters(categories=["L", "N", "P", "S", "Zs"]), min_size=1, max_size=12).filter(str.isprintable)
words = texts.filter(lambda text: text not in FOR_A_SHELL)
lines = st.lists(words, max_size=3).map(lambda said: shlex.join(["/x", *said]))
values: dict[str, st.SearchStrategy[Any]] = {
    "name": st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True),
    "state_dir": texts.map(lambda text: Path(f"/s/{text}")),
    "wireguard_program": texts.filter(lambda text: "/" not in text),
    "mtu": st.integers(1280, 9000),
    "suspect_after": st.sampled_from([1.0, 2.5, 11.25]),
    "accept_defaults": st.booleans(),
    "public_endpoint": st.sampled_from([(), ("[2001:db8::1]:5",), ("a.example", "192.0.2.1:7")]).map(
        lambda them: tuple(map(endpoint, them))
    ),
    "metrics_listen": st.sampled_from([(), (9478,), ("[::1]:1",)]).map(lambda them: tuple(map(listen, them))),
    "post_up": st.lists(lines, max_size=3, unique=True).map(lambda said: tuple(map(command, said))),
    "advertise": st.sampled_from([(), ("2001:db8::/32", "fd00::/8")]).map(lambda them: tuple(map(route, them))),
    "import_routes": st.sampled_from([(), ("!2001:db8::/32",), ("fd00::/8", "!::/0")]).map(
        lambda them: tuple(map(rule, them))
    ),
}


@settings(deadline=None)
@given(st.fixed_dictionaries({}, optional=values))
def test_every_value_is_written_as_it_is_read(changes: dict[str, Any]) -> None:
    config: Config = replace(BASE, **changes)
    assert parse(uncommented(commented(config)), "file", BASE) == config


def test_init_writes_a_new_file_and_never_over_another(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    assert run("init", "--output", str(file)).exit_code == 0
    assert run("check", str(file)).exit_code == 0
    file.write_text("precious")
    assert run("init", "--output", str(file)).exit_code == 1
    assert file.read_text() == "precious"
    assert run("init").stdout.startswith("# The configuration")


def test_check_says_what_a_file_sets(tmp_path: Path) -> None:
    file = tmp_path / "node.yaml"
    file.write_text("mtu: 1300\nmeshes: {guests: {advertiseRoutes: true}}\n")
    shown = orjson.loads(run("check", str(file), "--json").stdout)
    assert shown["set"] == {"mtu": "1300", "meshes": "[guests]"}
    assert "mtu: 1300" in run("check", str(file)).stdout


def test_check_names_every_mistake_with_its_line() -> None:
    result = run("check", "-", stdin="mtu: 3\nname: a\nbogus: 1\n")
    assert result.exit_code == 1
    assert "-:1: mtu:" in result.stderr
    assert "-:3: bogus:" in result.stderr
    assert run("check", "/nonexistent/file").exit_code == 1
    assert "config init" in run("check", "/nonexistent/file").stderr


def test_of_the_predecessors_file_it_is_said_what_each_key_became() -> None:
    result = run("check", "-", "--json", stdin=OLD)
    assert result.exit_code == 3
    answer = orjson.loads(result.stdout)
    assert answer["predecessor"] is True
    by_key = {row["key"]: row for row in answer["keys"]}
    assert set(re.findall(r"^ *(\w+):", OLD, re.MULTILINE)) == set(by_key)
    assert by_key["gRPCPort"]["now"] == "gossipPort: 4000"
    assert by_key["publicEndpoint"]["line"] == 14
    assert by_key["keepAliveWg"]["now"] == ""
    assert "from 0 to 65535" in by_key["keepAliveWg"]["why"]
    assert "invite" in by_key["certificatePath"]["why"]
    config = parse(answer["configuration"], "file", BASE)
    assert (config.gossip_port, config.heart_beat_interval, config.repair_interval) == (4000, 60.0, 20.0)
    assert config.advertise_routes
    assert config.advertise_defaults
    assert str(config.public_endpoint[0]) == "2001:db8::7"


@pytest.mark.parametrize("key", sorted({*NO_LONGER_USED, *RENAMED}))
def test_no_key_of_the_predecessor_goes_without_a_word(key: str) -> None:
    (row,) = translate(f"{key}: 7").keys
    assert row.now or row.why


def test_a_file_of_this_configuration_is_not_taken_for_the_predecessors() -> None:
    assert not is_predecessors("gossipPort: 1\ngRPCPort: 2")
    assert not is_predecessors("role: peer\npublicEndpoint: a")
    assert not is_predecessors("")
    assert is_predecessors("stubWg: true")


def test_stub_interfaces_are_a_dry_run_now() -> None:
    assert translate("stubWg: true").text == "backend: dry-run\n"
    assert translate("stubWg: false").text == ""


names = st.sampled_from([*NO_LONGER_USED, *RENAMED, "role", "logLevel", "baseConfiguration", "x"])
printable = st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=6)
numbers = st.integers(-(10**9), 10**9)
scalar = st.none() | st.booleans() | numbers | printable | st.lists(numbers, max_size=2)


@settings(deadline=None)
@given(st.dictionaries(names, scalar | st.dictionaries(names, scalar, max_size=3)))
def test_what_a_file_of_the_predecessor_becomes_is_always_right(content: dict[str, Any]) -> None:
    text = orjson.dumps(content).decode()
    found = translate(text)
    parse(found.text, "file", BASE)
    assert len(found.keys) >= len(content)


@settings(deadline=None)
@given(st.text(max_size=60))
def test_what_is_no_yaml_mapping_is_refused(text: str) -> None:
    try:
        translate(text)
    except LocalError as error:
        problem = error.problem
    else:
        return
    assert problem.code == "bad-configuration"


@settings(deadline=None)
@given(texts)
def test_text_is_quoted_where_yaml_would_take_it_for_something_else(text: str) -> None:
    assert yaml.safe_load(value_text(text)) == text
