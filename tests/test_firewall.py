"""What a packet filter lets in: as nft and iptables say their rules, and both ways where a rule is not understood."""

from __future__ import annotations

import shutil
import subprocess
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smeg.firewall import ACCEPT, DROP, Packet, fate, read_iptables, read_nftables

GOSSIP, TUNNEL = Packet("tcp", 51800), Packet("udp", 51820)


def nft(rules: list[list[Any]], policy: str = "drop") -> dict[str, Any]:
    base = {"type": "filter", "hook": "input", "prio": 0, "policy": policy}
    chain = {"family": "inet", "table": "f", "name": "in", **base}
    rows = [{"rule": {"family": "inet", "table": "f", "chain": "in", "expr": expr}} for expr in rules]
    return {"nftables": [{"metainfo": {}}, {"chain": chain}, *rows]}


def dport(protocol: str, right: Any) -> dict[str, Any]:
    return {"match": {"op": "==", "left": {"payload": {"protocol": protocol, "field": "dport"}}, "right": right}}


ESTABLISHED = {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}
SOURCE = {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "10.0.0.1"}}


@pytest.mark.parametrize(
    ("rules", "policy", "expected"),
    [
        ([], "accept", {ACCEPT}),
        ([], "drop", {DROP}),
        ([[dport("udp", 51820), {"accept": None}]], "drop", {ACCEPT}),
        ([[dport("udp", {"set": [22, {"range": [51000, 52000]}]}), {"accept": None}]], "drop", {ACCEPT}),
        ([[dport("tcp", 51820), {"accept": None}]], "drop", {DROP}),
        ([[ESTABLISHED, {"accept": None}]], "drop", {DROP}),
        ([[SOURCE, {"accept": None}]], "drop", {ACCEPT, DROP}),
        ([[dport("udp", "@named"), {"accept": None}]], "drop", {ACCEPT, DROP}),
        ([[dport("udp", 51820), {"drop": None}]], "accept", {DROP}),
        ([[{"counter": {}}, {"reject": None}]], "accept", {DROP}),
        ([[dport("udp", 51820), {"accept": None}], [{"drop": None}]], "accept", {ACCEPT}),
    ],
)
def test_the_rules_of_nftables_decide_in_order(rules: list[list[Any]], policy: str, expected: set[str]) -> None:
    assert fate(read_nftables(nft(rules, policy)), TUNNEL) == expected


def test_each_base_chain_has_to_let_it_in() -> None:
    first, second = nft([], "accept"), nft([], "drop")
    second["nftables"][1]["chain"]["table"] = "g"
    both = {"nftables": [*first["nftables"], *second["nftables"]]}
    assert fate(read_nftables(both), TUNNEL) == {DROP}


def test_a_jump_returns_and_goes_on() -> None:
    other = {"chain": {"family": "inet", "table": "f", "name": "other"}}
    rules = nft([[{"jump": {"target": "other"}}], [{"accept": None}]])
    rules["nftables"].insert(2, other)
    assert fate(read_nftables(rules), TUNNEL) == {ACCEPT}
    inner = {"family": "inet", "table": "f", "chain": "other", "expr": [dport("udp", 51820), {"drop": None}]}
    rules["nftables"].append({"rule": inner})
    assert fate(read_nftables(rules), TUNNEL) == {DROP}
    assert fate(read_nftables(rules), GOSSIP) == {ACCEPT}


def test_chains_that_jump_in_a_circle_end() -> None:
    rules = nft([[{"jump": {"target": "in"}}]])
    assert fate(read_nftables(rules), TUNNEL) == {DROP}


SAVED = """\
*nat
:INPUT ACCEPT [0:0]
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:ours - [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A INPUT -p tcp -m multiport --dports 22,51800:51801 -j ACCEPT
-A INPUT -m comment --comment "to ours" -j ours
-A ours -p udp -m udp --dport 51820 -j ACCEPT
COMMIT
"""


def test_the_rules_of_iptables_decide_likewise() -> None:
    chains = read_iptables(SAVED)
    assert fate(chains, GOSSIP) == {ACCEPT}
    assert fate(chains, TUNNEL) == {ACCEPT}
    assert fate(chains, Packet("udp", 51821)) == {DROP}
    assert fate(read_iptables(SAVED.replace("-A ours", "-A ours -s 10.0.0.0/8")), TUNNEL) == {ACCEPT, DROP}
    assert fate(read_iptables(SAVED.replace("-A ours -p udp", "-A ours ! -p udp")), TUNNEL) == {ACCEPT, DROP}
    assert fate(read_iptables(""), TUNNEL) == {ACCEPT}


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
WORDS = ["-A", "INPUT", ":INPUT", "*filter", "DROP", "-p", "udp", "--dport", "1:2", "!", "-j", "'", "\n", ":x -"]
words = st.sampled_from(WORDS)


@given(json, st.lists(json, max_size=3))
def test_no_ruleset_of_nftables_is_too_strange(right: Any, expr: list[Any]) -> None:
    for ruleset in (right, {"nftables": right}, nft([[*expr, dport("udp", right), {"drop": right}]], "accept")):
        assert fate(read_nftables(ruleset), TUNNEL) <= {ACCEPT, DROP}


@given(st.lists(words).map(" ".join))
def test_no_ruleset_of_iptables_is_too_strange(saved: str) -> None:
    assert fate(read_iptables(saved), TUNNEL) <= {ACCEPT, DROP}


@pytest.mark.skipif(shutil.which("nft") is None or shutil.which("unshare") is None, reason="nft is not installed")
def test_what_nft_itself_prints_is_understood() -> None:
    script = """
nft add table inet f
nft 'add chain inet f in { type filter hook input priority 0; policy drop; }'
nft add rule inet f in ct state established,related accept
nft add rule inet f in iifname lo accept
nft 'add rule inet f in udp dport { 51820-51830 } accept'
nft 'add rule inet f in meta l4proto tcp tcp dport 51800 counter accept'
nft -j list ruleset
"""
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--net", "sh", "-ec", script], capture_output=True)
    if done.returncode != 0:
        pytest.skip(f"no namespace with nftables here: {done.stderr.decode()[-200:]}")
    chains = read_nftables(orjson.loads(done.stdout))
    fates = [fate(chains, packet) for packet in (TUNNEL, GOSSIP, Packet("udp", 51831), Packet("tcp", 22))]
    assert fates == [{ACCEPT}, {ACCEPT}, {DROP}, {DROP}]
