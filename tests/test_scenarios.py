"""Scenarios as they are played: events happen when they should, verdicts are true, and a run repeats itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from click.testing import CliRunner, Result

from scenarios.actions import VERBS
from scenarios.director import Director
from scenarios.later_version import UNKNOWN_WORD
from scenarios.run import main
from scenarios.script import Script
from scenarios.script_files import LIBRARY
from scenarios.script_reading import parse
from scenarios.simulated_stage import SimulatedStage
from scenarios.statuses import BEYOND, FAILED, HELD, IMPOSSIBLE
from scenarios.verdicts import Play, Verdict
from smeg.heartbeat import Heartbeat

ROOT = Path(__file__).parent.parent
HOSTS = "hosts: {peers: {count: rest}, clients: {count: 2, role: client, nat: yes}}\n"


def made(text: str, hosts: str = HOSTS) -> Script:
    return parse(hosts + text, "made.yaml")


def played(text: str, nodes: int = 7, seed: int = 1, hosts: str = HOSTS) -> Play:
    script = made(text, hosts)
    stage = SimulatedStage(script, nodes, seed)
    return Director(script, stage, nodes, seed).play()


def verdict(done: Play, about: str) -> Verdict:
    (found,) = (one for one in done.verdicts if about in one.about)
    return found


# When.


def test_events_happen_at_their_times_after_each_other_and_after_what_they_wait_for() -> None:
    done = played("""
timeline:
  - at: 3 s
    power-off: peers-1
  - wait: 2 s
    power-off: peers-2
  - after: converged
    start: peers-1
    as: first
  - after: {known-by-all: first}
    wait: 4 s
    start: down
""")
    off, second, first, last = done.done
    assert (off.at, second.at) == pytest.approx((3.0, 5.0))
    assert 2.0 < first.at - second.at < 6.0, "a power cut is known after some seconds"
    assert last.at >= first.at + 4.0
    assert last.hosts == ("peers-2",)
    assert done.held


def test_one_host_after_another_and_the_end_of_a_fault() -> None:
    done = played("""
timeline:
  - at: 1 s
    restart: {hosts: [peers-1, peers-2, peers-3], every: 4 s, away: 2 s}
  - pause: {hosts: peers-4, lasts: 6 s}
expect:
  at-end: [converged]
lasts: 5 s
""")
    assert done.held
    told = [(at, gone, back) for at, host, _, gone, back in done.seen["changes"] if host == "peers-5"]
    gone = [(at, name) for at, names, _ in told for name in names]
    assert [name for _, name in gone] == ["peers-1", "peers-2", "peers-3", "peers-4"]
    ends = [at for at, name in gone][:3]
    assert ends == pytest.approx([1.2, 5.2, 9.2], abs=1.0)


def test_what_is_waited_for_in_vain_is_a_failure_and_the_rest_is_not_played(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.director.PATIENCE", 5.0)
    done = played("""
timeline:
  - partition: [[peers], [rest]]
  - after: {unreachable: {hosts: peers-1, to: peers-2}}
    kill: peers-1
    as: never
expect:
  eventually:
    - known-by-all: never
      within: 1 s
      after: never
""")
    assert not done.held
    failures = [one.what for one in done.verdicts if not one.held]
    assert any("peers-1 reaches peers-2" in what for what in failures)
    assert any("did not happen" in what for what in failures)


# Verdicts are true.


def test_what_takes_longer_than_it_may_does_not_hold() -> None:
    text = "timeline: [{power-off: peers-1}]\nexpect: {eventually: [{known-by-all: , within: %s}]}\n"
    late, early = played(text % "5 s"), played(text % "500 ms")
    assert verdict(late, "known-by-all").held
    assert not verdict(early, "known-by-all").held
    assert "does not know it of peers-1" in verdict(early, "known-by-all").what


def test_a_partition_makes_two_leaders_that_are_right_each_on_its_side() -> None:
    done = played("""
timeline:
  - partition: [[peers-1, peers-2, clients-1], [rest]]
expect:
  eventually:
    - converged:
      within: 60 s
    - one-leader:
      within: 60 s
    - unreachable: {hosts: peers-1, to: peers-3}
      within: 1 s
  at-end:
    - reachable: {hosts: peers-1, to: peers-2}
    - reachable: {hosts: peers-3, to: peers-4}
""", nodes=9)  # fmt: skip
    assert [one.what for one in done.verdicts if not one.held] == []


def test_each_kind_of_check_can_fail() -> None:
    done = played("""
timeline:
  - power-off: peers-1
expect:
  always:
    - reachable: {hosts: peers-2, to: peers-3}
  at-end:
    - reachable: {hosts: peers-2, to: role client}
    - unreachable: {hosts: peers-2, to: peers-3}
    - no-interface-left: peers-2
    - bounded: {queue: 0}
    - shares-within: {factor: 1.5, hosts: peers-2, to: peers-3, over: peers-4}
    - leads-through: {hosts: peers-2, prefix: "2001:db8::/32", over: peers-3}
lasts: 0
""")
    held = {one.about.split()[1]: one.held for one in done.verdicts}
    assert held.pop("reachable") is True
    assert not any(held.values()), held
    assert len(held) == 5


def test_an_outage_is_measured_by_traffic() -> None:
    text = """
timeline:
  - traffic: {hosts: clients-1, to: clients-2}
  - at: 5 s
    power-off: peer of clients-1
  - wait: 10 s
    traffic: {hosts: peers, to: peers, lasts: 1 s}
    as: more
expect: {at-end: [{outage: %s}]}
"""
    assert played(text % "8 s").held
    failed = played(text % "200 ms")
    assert "clients-1 had no answer from clients-2 for" in verdict(failed, "outage").what


def test_who_is_no_member_any_more_is_known_to_all_and_who_returns_has_its_address() -> None:
    done = played("""
timeline:
  - leave: peers-2
  - wait: 3 s
    evict: peers-3
  - wait: 3 s
    join: peers-2
    as: again
expect:
  eventually:
    - known-by-all: leave
      within: 2 s
      after: leave
    - known-by-all: evict
      within: 2 s
      after: evict
    - known-by-all: again
      within: 4 s
      after: again
  at-end: [converged, {no-interface-left: peers-3}]
""")
    assert [one.what for one in done.verdicts if not one.held] == []
    assert set(done.seen["noticed"]) == {"evicted"}


def test_whose_certificate_expired_is_no_member_and_is_told_so() -> None:
    hosts = "hosts: {peers: {count: rest}, guests: {count: 2, certified: 3 d}}\n"
    done = played("""
timeline:
  - clock: {hosts: peers, jump: 4 d}
    as: some
  - wait: 2 s
    clock: {hosts: everyone, jump: -4 d}
    as: back
  - wait: 2 s
    clock: {hosts: guests, jump: 8 d}
    as: others
  - wait: 2 s
    clock: {hosts: peers, jump: 8 d}
    as: all
expect:
  eventually:
    - converged:
      within: 70 s
      after: all
    - known-by-all: all
      within: 70 s
      after: all
""", hosts=hosts)  # fmt: skip
    assert [one.what for one in done.verdicts if not one.held] == []
    told = {(host, what) for _, host, what in done.seen["notes"]}
    assert {host for host, what in told if what == "membership-expired"} == {"guests-1", "guests-2"}


def test_what_a_later_version_says_is_kept_as_it_was_said_and_harms_nobody() -> None:
    hosts = "hosts: {peers: {count: 4}, upgraded: {count: 3, speaks: later}}\n"
    script = made("timeline: [{at: 20 s, restart: peers-2}]\nexpect: {at-end: [converged, one-leader]}\n", hosts)
    stage = SimulatedStage(script, 7, 1)
    heard: list[bytes] = []
    stage.world.network.recorder = lambda source, target, payload: heard.append(payload)
    done = Director(script, stage, 7, 1).play()
    assert done.held
    assert UNKNOWN_WORD in heard
    core = stage._membership(stage.players["peers-2"], stage.ids["demo"])
    assert core is not None
    said = [record.raw for record in core.ledger.replica.records.values()]
    assert sum(b'"later":"what nobody knows"' in raw for raw in said) == 3


# All verbs.

EACH: dict[str, Any] = {
    "start": "down", "stop": "peers-1", "kill": "peers-1", "power-off": "peers-1", "pause": "peers-1",
    "resume": "peers-1", "restart": "peers-1", "partition": [["peers-1"], ["rest"]], "heal": None,
    "isolate": "peers-1", "loss": "10 %", "delay": "100 ms", "duplicate": "20 %", "reorder": "20 %",
    "flap": {"hosts": "peers-1", "lasts": "8 s"}, "roam": "clients", "nat-rebind": "clients",
    "clock": {"hosts": "peers-1", "jump": "-1 h", "drift": 1.01}, "disk-full": "peers-1", "corrupt-state": "peers-1",
    "copy-state": {"hosts": "spare", "of": "peers-3"},
    "join": "guests", "leave": "peers-2", "invite": 3, "evict": "peers-2", "advertise": "exits", "withdraw": "exits",
    "traffic": {"hosts": "peers", "to": "clients"},
}  # fmt: skip
MORE = HOSTS.replace("{peers", '{exits: {count: 1, advertises: "::/0"}, guests: {count: 1, begins: outside}, peers')
SPARE = MORE.replace("{exits", "{spare: {count: 1, begins: outside}, exits")


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_can_be_played_and_undone(verb: str) -> None:
    before = [{"power-off": "peers-3"}] if verb == "start" else [{"stop": "spare"}] if verb == "copy-state" else []
    after = [{"wait": "10 s", "heal": None}, {"start": "everyone", "as": "all"}, {"resume": "everyone", "as": "awake"}]
    timeline = [*before, {"at": "1 s", verb: EACH[verb], "as": "tried"}, *after]
    expect = {"eventually": [{"converged": None, "within": "40 s"}], "at-end": ["one-leader"]}
    hosts = SPARE if verb == "copy-state" else MORE
    done = played(yaml.safe_dump({"timeline": timeline, "expect": expect, "lasts": "3 s"}), 9, hosts=hosts)
    assert [f"{one.about}: {one.what}" for one in done.verdicts if not one.held] == []


def test_a_peer_that_moves_is_reached_where_it_is_once_all_know_it() -> None:
    script = made("timeline: [{at: 2 s, roam: peers-2}, {wait: 32 s, restart: peers-3}]\n"
                  "expect: {eventually: [{converged: , within: 10 s}], always: [no-live-node-pruned]}\n")  # fmt: skip
    stage = SimulatedStage(script, 7, 1)
    moved, before = stage.players["peers-2"], stage.players["peers-2"].address
    assert Director(script, stage, 7, 1).play().held
    assert moved.address != before
    for name in stage.players:
        seat = stage.players[name].seats[stage.ids["demo"]]
        assert seat.members is not None
        assert [place.host for place in seat.members.members[moved.key].record.gossip] == [moved.address]


def test_an_exit_that_withdraws_is_left_for_the_other() -> None:
    hosts = 'hosts: {peers: {count: rest}, exits: {count: 2, advertises: "2001:db8:1::/48"}}\n'
    done = played("""
timeline:
  - withdraw: exits-1
  - wait: 5 s
    advertise: exits-1
  - wait: 5 s
    withdraw: exits-2
    as: other
expect:
  eventually:
    - leads-through: {hosts: peers, prefix: "2001:db8:1::/48", over: exits-2}
      within: 3 s
      after: withdraw
    - leads-through: {hosts: peers, prefix: "2001:db8:1::/48", over: exits-1}
      within: 3 s
      after: other
""", hosts=hosts)  # fmt: skip
    assert [one.what for one in done.verdicts if not one.held] == []


# The command.


def scenario(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.yaml"
    text = "timeline: [{power-off: leader}]\nexpect: {eventually: [{known-by-all: , within: 5 s}]}\n"
    path.write_text(HOSTS + text)
    return path


def test_a_run_says_by_its_status_whether_all_held(file: Path) -> None:
    held = scenario("run", str(file), "--nodes", "6")
    assert held.exit_code == HELD, held.output
    assert "holds line 3: eventually: known-by-all" in held.stdout
    assert "power-off peers-" in held.stderr
    file.write_text(file.read_text().replace("5 s", "1 s"))
    failed = scenario("run", str(file), "--nodes", "6", "--quiet")
    assert failed.exit_code == FAILED
    assert "FAILS line 3" in failed.stdout
    assert f"again: smeg-scenario run {file} --nodes 6 --seed 1" in failed.stderr


def test_what_cannot_be_played_is_said_before(file: Path) -> None:
    real = scenario("run", str(file), "--world", "real", "--nodes", "65")
    assert real.exit_code == IMPOSSIBLE
    assert "hint: at most --nodes 64" in real.stderr
    assert scenario("run", str(file), "--nodes", "2").exit_code == IMPOSSIBLE
    file.write_text("hosts:\n  peers: {count: rest, families: ipv4}\n")
    one = scenario("run", str(file))
    assert one.exit_code == BEYOND
    assert f"{file}:2: not in the simulated world: hosts.peers: families ipv4" in one.stderr
    file.write_text(HOSTS + "expect: {at-end: [bounded]}\n")
    blind = scenario("run", str(file), "--nodes", "6")
    assert blind.exit_code == HELD
    assert "not in the simulated world: bounded: memory" in blind.stderr


def test_what_a_world_does_not_see_stands_beside_the_verdict(file: Path) -> None:
    file.write_text(HOSTS + "expect: {at-end: [bounded, one-leader]}\n")
    said = scenario("run", str(file), "--nodes", "6").stdout
    assert "at-end: bounded — it held (not seen here: bounded: memory)\n" in said
    assert "at-end: one-leader — it held\n" in said, "it stands on the same line"


def test_a_number_of_hosts_that_a_script_cannot_have_is_refused_with_its_line(file: Path) -> None:
    file.write_text("hosts: {peers: {count: 3}}\ntimeline: [{kill: leader}]\n")
    refused = scenario("run", str(file), "--nodes", "1000")
    assert refused.exit_code == IMPOSSIBLE
    assert f"error: {file}:1: hosts: are 3 by their counts, not 1000\nhint: --nodes 3" in refused.stderr
    assert "3 hosts" in scenario("run", str(file)).stdout
    file.write_text("hosts: {peers: {count: rest}}\ntimeline: [{kill: peers-99}]\n")
    checked = scenario("check", str(file))
    assert checked.exit_code == IMPOSSIBLE
    assert f"error: {file}:2: there is no peers-99 among 50 peers of 50 hosts" in checked.stderr


def test_an_actor_that_fails_is_a_failure_of_the_run(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Heartbeat, now: float) -> None:
        if now > 14.0:
            raise ZeroDivisionError("put in")

    monkeypatch.setattr(Heartbeat, "_excuse", fail)
    failed = scenario("run", str(file), "--nodes", "6", "--seeds", "2", "--quiet")
    assert failed.exit_code == FAILED
    assert failed.stdout.count("run: goes on to its end — heartbeat@") == 2
    assert failed.stdout.count("FAILS made: 6 hosts") == 2
    assert "ZeroDivisionError('put in')" in failed.stdout
    assert "--seed 2" in failed.stderr


def test_check_and_list() -> None:
    right = scenario("check", *(str(path) for path in LIBRARY.glob("*.yaml")))
    assert right.exit_code == HELD, right.output
    assert scenario("check", "leader-dies").exit_code == HELD
    wrong = scenario("check", "leader-dies", str(ROOT / "setup.cfg"))
    assert wrong.exit_code == IMPOSSIBLE
    listed = scenario("list")
    assert len(listed.stdout.splitlines()) >= 20
    assert "leader-dies " in listed.stdout


def test_equal_seeds_give_equal_runs_in_two_processes_and_another_seed_another(tmp_path: Path) -> None:
    runs = [("one", "1", "1"), ("two", "1", "4242"), ("three", "2", "1")]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "scenarios.run", "run", "peer-of-a-client-dies", "--nodes", "8", "--seed", seed,
             "--report", str(tmp_path / folder), "--quiet"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for folder, seed, hash_seed in runs
    ]  # fmt: skip
    for process in running:
        _, said = process.communicate(timeout=110)
        assert process.returncode == HELD, said
    one, two, three = (next((tmp_path / folder).glob("*.json")).read_bytes() for folder, _, _ in runs)
    assert one == two
    pages = [next((tmp_path / folder).glob("*.html")).read_bytes() for folder, _, _ in runs]
    assert pages[0] == pages[1]
    assert pages[0] != pages[2]
    assert orjson.loads(one)["trace"] != orjson.loads(three)["trace"]


def test_a_record_replays_and_one_that_was_altered_does_not(tmp_path: Path, file: Path) -> None:
    assert scenario("run", str(file), "--nodes", "6", "--report", str(tmp_path / "out")).exit_code == HELD
    (record,) = (tmp_path / "out").glob("*.json")
    file.unlink()
    same = scenario("replay", str(record), "--quiet")
    assert same.exit_code == HELD, same.output
    assert "the same run, byte for byte" in same.stdout
    said = orjson.loads(record.read_bytes())
    said["marks"][4] = "0" * 16
    record.write_bytes(orjson.dumps(said))
    other = scenario("replay", str(record), "--quiet")
    assert other.exit_code == FAILED
    assert "another run from second 5 on" in other.stdout


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"form": 1}', '{"form": 2, "source": 5}'])
def test_what_is_no_record_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(content)
    refused = scenario("replay", str(path))
    assert refused.exit_code == IMPOSSIBLE
    assert str(path) in refused.stderr
