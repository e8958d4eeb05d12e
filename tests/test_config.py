"""A configuration file is read whole, and whatever is wrong in it is said at once, by line."""

from __future__ import annotations

import re
from dataclasses import fields
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smeg.config import KEYS, Config, PublicEndpoint, defaults, parse, table
from smeg.config_keys import NO_LONGER_USED
from smeg.config_values import public_endpoint
from smeg.errors import LocalError
from smeg.hooks import Command
from smeg.route_policy import MeshPolicy, PrefixFilter, PrefixRule
from smeg.shares import DEFAULT

DOC = Path(__file__).parent.parent / "docs" / "configuration.md"
ALL = """
stateDir: /srv/state
runtimeDir: /srv/run
name: paris-1
role: client
publicEndpoint: ["2001:db8::1", "[2001:db8::2]:51801", 192.0.2.1, "Host.Example:51802"]
ipDiscovery: peers
gossipPort: 0
gossipAddress: "*"
backend: dry-run
wireguardProgram: /usr/bin/wireguard-go
wireguardPort: 1
mtu: 9000
keepAliveWg: 0
heartBeatInterval: 0.2
repairInterval: 3600
advertiseRoutes: true
advertiseDefaults: on
acceptDefaults: true
advertise: [2001:db8:1::/48, 2001:db8:2::/48]
importRoutes: ["2001:db8::/32"]
exportRoutes: "!2001:db8:2::/48"
weight: 255
shards: 8
exitProbe: "[2001:db8::99]:443"
dnsAddress: ["::1", 127.0.0.53, "fd00::53"]
dnsPort: 53
dnsResolved: false
meshes:
  office:
    advertiseRoutes: false
    importRoutes: ["!2001:db8:3::/48"]
preUp: /bin/true
postUp: ["/usr/sbin/ip link show %i", "/bin/sh -c 'echo $SMEG_MESH | logger'"]
preDown: "/bin/true 'two words'"
postDown: [/bin/true]
hookTimeout: 3
metricsListen: "[::1]:9478"
logLevel: debug
logFormat: json
"""
WRONG = {
    "stateDir": "relative",
    "runtimeDir": "/" + "r" * 100,
    "controlGroup": "no group",
    "name": "-no-",
    "role": "boss",
    "publicEndpoint": "10.0.0.300",
    "ipDiscovery": "public",
    "gossipPort": "65536",
    "gossipAddress": "localhost",
    "backend": "magic",
    "wireguardProgram": "./here",
    "wireguardPort": "0",
    "mtu": "1279",
    "forwarding": "true",
    "keepAliveWg": "-1",
    "heartBeatInterval": "0.1",
    "suspectAfter": "0.9",
    "restartGrace": "3601",
    "repairInterval": ".inf",
    "advertiseRoutes": "1",
    "advertiseDefaults": "'true'",
    "acceptDefaults": "maybe",
    "advertise": "2001:db8::1/48",
    "importRoutes": "everything",
    "exportRoutes": "!2001:db8::",
    "weight": "0",
    "shards": "6",
    "exitProbe": "192.0.2.1:80",
    "dnsAddress": "2001:db8::1",
    "dnsPort": "65536",
    "dnsResolved": "1",
    "preUp": "true",
    "postUp": "/bin/true | /bin/cat",
    "preDown": '"/bin/true \'open"',
    "postDown": "[/bin/true, /bin/true]",
    "hookTimeout": "0",
    "metricsListen": "localhost:9478",
    "logLevel": "loud",
    "logFormat": "xml",
}


def mistakes(text: str) -> list[str]:
    """The lines of the message, without the file's name."""
    with pytest.raises(LocalError) as caught:
        parse(text, "node.yaml")
    assert caught.value.problem.code == "bad-configuration"
    assert caught.value.problem.hint
    lines = caught.value.problem.message.split("\n")
    assert all(line.startswith("node.yaml:") for line in lines)
    return [line.removeprefix("node.yaml:") for line in lines]


def test_every_key_takes_effect() -> None:
    config = parse(ALL, "node.yaml")
    assert config == Config(
        state_dir=Path("/srv/state"),
        runtime_dir=Path("/srv/run"),
        name="paris-1",
        role="client",
        gossip_port=0,
        gossip_address="*",
        public_endpoint=(
            PublicEndpoint("2001:db8::1"),
            PublicEndpoint("2001:db8::2", 51801),
            PublicEndpoint("192.0.2.1"),
            PublicEndpoint("host.example", 51802),
        ),
        ip_discovery="peers",
        backend="dry-run",
        wireguard_program="/usr/bin/wireguard-go",
        wireguard_port=1,
        mtu=9000,
        keep_alive_wg=0,
        heart_beat_interval=0.2,
        repair_interval=3600.0,
        advertise_routes=True,
        advertise_defaults=True,
        accept_defaults=True,
        advertise=(IPv6Network("2001:db8:1::/48"), IPv6Network("2001:db8:2::/48")),
        import_routes=(PrefixRule(IPv6Network("2001:db8::/32"), True),),
        export_routes=(PrefixRule(IPv6Network("2001:db8:2::/48"), False),),
        weight=255,
        shards=8,
        exit_probe=(PublicEndpoint("2001:db8::99", 443),),
        dns_address=(IPv6Address("::1"), IPv4Address("127.0.0.53"), IPv6Address("fd00::53")),
        dns_port=53,
        dns_resolved=False,
        meshes={
            "office": {
                "advertise_routes": False,
                "import_routes": (PrefixRule(IPv6Network("2001:db8:3::/48"), False),),
            }
        },
        pre_up=(Command(("/bin/true",)),),
        post_up=(
            Command(("/usr/sbin/ip", "link", "show", "%i")),
            Command(("/bin/sh", "-c", "echo $SMEG_MESH | logger")),
        ),
        pre_down=(Command(("/bin/true", "two words")),),
        post_down=(Command(("/bin/true",)),),
        hook_timeout=3.0,
        metrics_listen=(PublicEndpoint("::1", 9478),),
        log_level="debug",
        log_format="json",
    )
    assert config.control_socket == Path("/srv/run/control.sock")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}"])
def test_an_empty_file_leaves_what_was_there(text: str) -> None:
    base = defaults("host", False, {"HOME": "/home/me"})
    assert parse(text, "node.yaml", base) == base


def test_a_file_overrides_only_what_it_names() -> None:
    base = defaults("host", True, {})
    config = parse("mtu: 1300", "node.yaml", base)
    assert (config.mtu, config.name, config.gossip_port) == (1300, "host", 51800)


def test_all_mistakes_are_reported_at_once_each_with_its_line() -> None:
    text = "\n".join(f"{key}: {value}" for key, value in WRONG.items())
    found = mistakes(text)
    assert [line.split(": ")[0] for line in found] == [str(number + 1) for number in range(len(WRONG))]
    assert [line.split(": ")[1] for line in found] == list(WRONG)
    assert all("; expected " in line for line in found)


def test_there_is_a_wrong_value_for_every_key() -> None:
    assert set(WRONG) == {key.name for key in KEYS}


@pytest.mark.parametrize("key", [key.name for key in KEYS])
@pytest.mark.parametrize("value", ["", "{a: b}", "!!binary aGVsbG8=", "2026-01-01"])
def test_values_of_a_wrong_kind_are_refused_for_every_key(key: str, value: str) -> None:
    (line,) = mistakes(f"# first\n{key}: {value}")
    assert line.startswith(f"2: {key}: is ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("gossipport", "gossipPort"), ("gossip_port", "gossipPort"), ("MTU", "mtu"), ("advertiseRout", "advertiseRoutes")],
)
def test_an_unknown_key_is_answered_with_the_one_that_was_meant(typed: str, meant: str) -> None:
    assert mistakes(f"{typed}: 1")[0].endswith(f"(did you mean {meant}?)")


def test_a_key_like_no_other_is_just_unknown() -> None:
    assert mistakes("zzz: 1") == ["1: zzz: is not a key; expected a key that docs/configuration.md lists"]


@pytest.mark.parametrize("key", sorted(NO_LONGER_USED))
def test_a_key_of_the_predecessor_is_answered_with_what_replaced_it(key: str) -> None:
    assert mistakes(f"{key}: 1") == [f"1: {key}: no longer used: {NO_LONGER_USED[key]}"]


def test_replaced_keys_name_keys_that_exist() -> None:
    assert "gossipPort" in NO_LONGER_USED["gRPCPort"]
    assert "dry-run" in NO_LONGER_USED["stubWg"]
    assert not {key.name for key in KEYS} & set(NO_LONGER_USED)


def test_a_key_set_twice_is_told_where_it_stood_first() -> None:
    (line,) = mistakes("mtu: 1400\nname: a\nmtu: 1500")
    assert line == "3: mtu: is set twice, first in line 1; expected each key once"


@pytest.mark.parametrize("text", ["- mtu", "mtu", "~", "[]"])
def test_what_is_not_a_mapping_is_refused(text: str) -> None:
    assert "expected a mapping" in mistakes(text)[0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: a\nmtu: [", 2),
        ("name: a\ngossipAddress: *\n", 2),
        ("publicEndpoint: [2001:db8::1]:51800", 1),
        ("a: 1\n---\nb: 2\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\nb: \0\n", 2),
        ('a: "\\UFFFFFFFF"', 1),
        ("[" * 5000, 1),
        ("a: 1\n" * 20000, 1),
    ],
)
def test_a_text_that_is_not_yaml_is_refused_at_its_line(text: str, line: int) -> None:
    (found,) = mistakes(text)
    assert found.startswith(f"{line}: file: ")


def test_a_list_of_endpoints_reports_each_bad_one_at_its_own_line() -> None:
    found = mistakes("publicEndpoint:\n  - 192.0.2.1\n  - 0.0.0.0\n  - [nested]\n  - ok.example\n  - a:b")
    assert [line.split(":")[0] for line in found] == ["3", "4", "6"]


def test_endpoints_are_few_and_different() -> None:
    assert "different" in mistakes("publicEndpoint: [a.example, A.example]")[0]
    assert "at most 8" in mistakes(f"publicEndpoint: [{', '.join(f'h{i}.example' for i in range(9))}]")[0]


def test_state_and_runtime_folder_may_not_be_one() -> None:
    assert mistakes("stateDir: /srv/x\nruntimeDir: /srv/x")[0].startswith("2: runtimeDir: is the same folder")


@pytest.mark.parametrize("length", [107, 108])
def test_a_runtime_folder_has_room_for_the_socket(length: int) -> None:
    folder = "/" + "r" * (length - len("//control.sock"))
    if length == 107:
        assert len(str(parse(f"runtimeDir: {folder}", "node.yaml").control_socket)) == length
    else:
        assert "1 too many" in mistakes(f"runtimeDir: {folder}")[0]


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "[]", "[]:1", "[::1]:0", "[::1]:65536", "[::1", "::1]", "[192.0.2.1]:1", "192.0.2.1:", "a b", "a_b",
        "-a.example", "a..b", "a.example.", "192.0.2", "1.2.3.4.5", "fe80::1%eth0", "fe80::1", "ff02::1", "::",
        "0.0.0.0", "224.0.0.1", "a." * 127 + "toolong", "x" * 64, "host:port", "host:\uff11",
    ],
)  # fmt: skip
def test_what_nobody_could_dial_is_no_endpoint(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        public_endpoint(text)


@given(
    st.ip_addresses().filter(lambda a: not (a.is_unspecified or a.is_multicast or a.is_link_local)).map(str)
    | st.from_regex(r"[a-z]([a-z0-9-]{0,20}[a-z0-9])?(\.[a-z][a-z0-9]{0,9}){0,3}", fullmatch=True),
    st.none() | st.integers(1, 65535),
)
def test_endpoints_are_read_as_they_are_written(host: str, port: int | None) -> None:
    endpoint = PublicEndpoint(host, port)
    assert public_endpoint(str(endpoint)) == endpoint


def test_roots_folders_are_the_systems() -> None:
    config = defaults("Paris_1.example.org", True, {"XDG_STATE_HOME": "/ignored", "XDG_RUNTIME_DIR": "/ignored"})
    assert (config.state_dir, config.runtime_dir) == (Path("/var/lib/smegmesh"), Path("/run/smegmesh"))
    assert config.name == "paris-1"


def test_a_users_folders_are_where_xdg_says() -> None:
    config = defaults("h", False, {"HOME": "/home/me", "XDG_STATE_HOME": "/s", "XDG_RUNTIME_DIR": "/run/user/7"})
    assert (config.state_dir, config.runtime_dir) == (Path("/s/smegmesh"), Path("/run/user/7/smegmesh"))
    config = defaults("h", False, {"HOME": "/home/me", "XDG_STATE_HOME": "relative"})
    assert config.state_dir == Path("/home/me/.local/state/smegmesh")
    assert config.runtime_dir == config.state_dir / "run"


def test_a_user_without_a_home_is_told() -> None:
    with pytest.raises(LocalError) as caught:
        defaults("h", False, {})
    assert caught.value.problem.code == "no-home"


@given(st.text())
def test_any_host_name_becomes_a_name_that_the_file_could_hold(hostname: str) -> None:
    name = defaults(hostname, True, {}).name
    assert parse(f"name: '{name}'", "node.yaml").name == name


def test_the_table_has_every_field_once_and_the_documentation_has_the_table() -> None:
    assert sorted(key.field for key in KEYS) == sorted(field.name for field in fields(Config) if field.name != "meshes")
    document = DOC.read_text()
    assert table() in document
    assert re.findall(r"^\| `(\w+)`(?: \*)? \|", document, re.MULTILINE) == [key.name for key in KEYS]


PIECES = (
    *(key.name for key in KEYS),
    *sorted(NO_LONGER_USED),
    *":-[]{},#&*!|>'\"%@`?\\ \n\t\r\x85\u2028\ufeff\ud800\0~<=.0123456789ax",
    *["!!int", "!!bool ", "&a ", "*a", "\\U", "\\x", "<<", ": ", "\n- "],
    *["%YAML 1.", "yes", "1.5", ".nan", "0b_", "1:2"],
)
yamlish = st.lists(st.sampled_from(PIECES) | st.text(max_size=3)).map("".join)


@given(st.text() | yamlish | yamlish.map(lambda value: f"mtu: {value}\npublicEndpoint: {value}\n"))
@example("a: !!int ''")
@example("mtu: !!int ''\nname: !!timestamp x\nrole: !!bool maybe\nlogLevel: !foo x")
@example("mtu: " + "9" * 5000)
@example("name: &a [*a]\npublicEndpoint: *a")
@example("? [a]\n: b\n? {c: d}\n: e")
@example("mtu: [1,\r\n")
@example('stateDir: "/\\ud800"')
@example("repairInterval: 1" + ":59" * 400 + ".5")
def test_no_text_does_more_than_be_refused_at_lines_that_it_has(text: str) -> None:
    try:
        parse(text, "node.yaml")
    except LocalError as error:
        lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text)
        count = max(1, len(lines) - (lines[-1] == ""))
        for mistake in error.problem.message.split("\n"):
            found = re.match(r"node\.yaml:(\d+): .+: .", mistake)
            assert found, mistake
            assert 1 <= int(found[1]) <= count, mistake


def test_what_is_said_of_routes_becomes_a_policy_for_each_mesh() -> None:
    policy = parse(ALL, "node.yaml").routes
    lans = {IPv6Network("2001:db8:1::/48"), IPv6Network("2001:db8:2::/48")}
    assert (policy.behind, policy.weight, policy.shard_bits) == (frozenset({DEFAULT, *lans}), 255, 3)
    imports = PrefixFilter((PrefixRule(IPv6Network("2001:db8::/32"), True),))
    exports = PrefixFilter((PrefixRule(IPv6Network("2001:db8:2::/48"), False),))
    assert policy.of("an-id", "home") == MeshPolicy(True, True, imports, exports)
    office = PrefixFilter((PrefixRule(IPv6Network("2001:db8:3::/48"), False),))
    assert policy.of("an-id", "office") == MeshPolicy(False, True, office, exports)
    assert not parse("mtu: 1400", "node.yaml").routes.general.bridge


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("meshes: yes\n", [(1, "meshes: is a single value")]),
        ("meshes:\n  office: yes\n", [(2, "meshes.office: is a single value")]),
        ("meshes:\n  office:\n    mtu: 1400\n", [(3, "meshes.office.mtu: is not a key; expected one of")]),
        ("meshes:\n  office:\n    advertiseroutes: true\n", [(3, "did you mean advertiseRoutes?")]),
        ("meshes:\n  office:\n    advertiseRoutes: 7\n", [(3, "meshes.office.advertiseRoutes: is a number, 7")]),
        ("meshes:\n  a: {}\n  a: {}\n", [(3, "a: is set twice, first in line 2")]),
        ("meshes:\n  [a]: {}\n", [(2, "meshes: has a key that is not text")]),
        ('advertise: ["2001:db8::/48", "::/0"]\n', [(1, "is the default route, which advertiseDefaults offers")]),
        ("advertise: '2001:db8::'\n", [(1, "has no length")]),
        ('importRoutes: ["!2001:db8::"]\n', [(1, "has no length")]),
        ("advertise: 2001:db8::5/48\n", [(1, "did you mean 2001:db8::/48?")]),
        ("weight: 256\nshards: 512\n", [(1, "out of range"), (2, "out of range")]),
    ],
)
def test_what_is_wrong_for_one_mesh_is_said_with_its_place(text: str, said: list[tuple[int, str]]) -> None:
    found = mistakes(text)
    assert len(found) == len(said)
    for line, (number, words) in zip(found, said, strict=True):
        assert line.startswith(f"{number}: ")
        assert words in line
