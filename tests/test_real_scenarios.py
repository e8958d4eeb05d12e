"""Scenarios played with real daemons in network namespaces; and the parts of that world that need none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from scenarios import pinger
from scenarios.abilities import Abilities, find_out
from scenarios.actions import VERBS
from scenarios.consoles import SILENT, Answer, Console
from scenarios.echoes import Outcome
from scenarios.hosts import Host, World
from scenarios.planned_runs import Run
from scenarios.reactor import Reactor
from scenarios.real_limits import limits
from scenarios.real_stage import RealStage
from scenarios.real_traffic import RealTraffic
from scenarios.run import main, play
from scenarios.script import Script
from scenarios.script_files import LIBRARY
from scenarios.script_reading import parse, read
from scenarios.statuses import BEYOND, INTERRUPTED
from scenarios.underlay import Link, Links, Underlay
from scenarios.verdicts import Play
from smeg.errors import Problem
from tests.nodes import PATIENCE, wait_for

ROOT = Path(__file__).parent.parent
ALL = Abilities("kernel", drops=True, loses=True, netem=True, slows=True, doubles=True, translates=True)
NOTHING = Abilities("userspace", drops=False, loses=False, netem=False, slows=False, doubles=False, translates=False)
ONLY_SIMULATED = ("clocks-disagree", "mixed-versions", "return-after-a-week", "return-too-late", "slow-bridges")
"""Of the library: hosts a second away, certificates that end early, a version that is not there yet."""
REALLY_PLAYED = ("corrupt-state",)
"""Of the library, with this many hosts: what takes half a minute."""
FEW = 5
BUSY = 3.0
"""By how much a machine that does other things may miss the times of scripts."""


@pytest.fixture(scope="module")
def able() -> Abilities:
    problem = World.check()
    if problem is not None:
        pytest.skip(str(problem))
    return find_out()


def really_played(script: Script, nodes: int, able: Abilities) -> Play:
    missing = [limit for limit in limits(script, able) if limit.fatal]
    if missing:
        pytest.skip(f"{missing[0].what}: {missing[0].why}")
    done, _ = play(Run(script, nodes, 1, "real", BUSY * PATIENCE), quiet=True)
    return done


def failed(done: Play) -> list[str]:
    return [f"{verdict.about}: {verdict.what}" for verdict in done.verdicts if not verdict.held]


# Whole runs.


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", REALLY_PLAYED)
def test_what_holds_in_the_simulated_world_holds_in_the_real_one(name: str, able: Abilities) -> None:
    script, _ = read(LIBRARY / f"{name}.yaml")
    assert failed(really_played(script, FEW, able)) == []


def test_a_host_that_loses_its_power_and_one_that_is_cut_off_are_missed_and_come_back(able: Abilities) -> None:
    script = parse("""
hosts:
  peers: {count: rest}
  clients: {count: 1, role: client, nat: yes}
timeline:
  - traffic: {hosts: clients, to: peers-1}
  - at: 1 s
    power-off: 1 of peers
    as: death
  - after: {known-by-all: death}
    start: of death
    as: return
  - after: converged
    partition: [peers-2, rest]
  - after: {unreachable: {hosts: peers-2, to: peers-1}}
    heal:
  - nat-rebind: clients
expect:
  always: [no-live-node-pruned]
  eventually:
    - converged:
      within: 20 s
    - one-leader:
      within: 20 s
    - reachable: everyone
      within: 20 s
  at-end: [same-address, bounded]
lasts: 1 s
""", "made.yaml")  # fmt: skip
    done = really_played(script, 4, able)
    assert failed(done) == []
    assert [one.name for one in done.done if one.hosts][:3] == ["traffic", "death", "return"]
    assert all(volume > 0 for _, volume in done.sent.values())
    assert any(gone for _, _, _, gone, _ in done.seen["changes"])


def test_hosts_join_leave_are_evicted_killed_stopped_and_stalled(able: Abilities) -> None:
    script = parse("""
hosts:
  peers: {count: rest}
  new: {count: 1, begins: outside}
  gone: {count: 1}
  asleep: {count: 1, begins: off}
timeline:
  - join: new
  - after: {known-by-all: join}
    leave: gone
  - after: {known-by-all: leave}
    kill: peers-2
  - after: {known-by-all: kill}
    start: [peers-2, asleep]
    as: morning
  - after: converged
    evict: new
  - after: {known-by-all: evict}
    pause: {hosts: peers-3, lasts: 2 s}
  - stop: asleep
expect:
  always: [no-live-node-pruned]
  eventually:
    - known-by-all: join
      within: 10 s
      after: join
    - converged:
      within: 30 s
  at-end:
    - one-leader
    - same-address
    - no-interface-left: [gone, new, asleep]
lasts: 1 s
""", "made.yaml")  # fmt: skip
    assert failed(really_played(script, 6, able)) == []


def test_a_run_that_is_interrupted_leaves_nothing(able: Abilities, tmp_path: Path) -> None:
    script = tmp_path / "long.yaml"
    script.write_text("hosts: {peers: {count: rest}}\ntimeline: [{at: 100 s, power-off: peers-1}]\n")
    argv = [sys.executable, "-m", "scenarios.run", "run", str(script), "--world", "real", "--nodes", "2"]
    mark = f"SMEG_TEST_MARK={os.getpid()}"
    environment = {**os.environ, **dict([mark.split("=")])}
    with subprocess.Popen(argv, cwd=ROOT, env=environment, stderr=subprocess.PIPE, start_new_session=True) as running:
        assert running.stderr is not None
        while b"at rest" not in running.stderr.readline():
            assert running.poll() is None
        assert len(marked(mark)) > 5, "daemons, pingers, and what holds namespaces"
        running.send_signal(signal.SIGINT)
        assert running.wait(30 * PATIENCE) == INTERRUPTED
    wait_for("all processes are gone", lambda: not marked(mark), 10)


def marked(mark: str) -> list[int]:
    """The processes with this in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found.append(int(folder.name))
            except OSError:
                continue
    return found


def rtts(host: Host, to: Host, count: int = 5) -> list[float]:
    """Of packets that are answered, in milliseconds; doubles too."""
    done = host.run(["ping", "-n", f"-c{count}", "-i0.1", f"-W{PATIENCE:g}", str(to.address(4))], check=False)
    return [float(found) for found in re.findall(r"time=([0-9.]+) ms", done.stdout)]


def test_links_are_cut_slowed_and_lossy_as_they_are_told_to_be(able: Abilities) -> None:
    if not (able.drops and able.loses and able.slows and able.doubles):
        pytest.skip(f"not all of it can be done here: {able}")
    with World() as world:
        one, two, three = (world.host(name) for name in ("one", "two", "three"))
        underlay = Underlay(world, [one, two, three], able.netem, slows=True)
        links = underlay.links

        def told(**said: object) -> None:
            for name, value in said.items():
                setattr(links, name, value)
            underlay.apply()

        told()
        assert len(rtts(one, two)) == 5
        links.by_name[two.link].delays["own"] = 0.15
        told()
        assert min(rtts(one, two)) >= 295, "both ways"
        assert min(rtts(one, three)) < 290
        links.by_name[two.link].delays["own"] = 0.0
        told(sides=(frozenset([one.link]), frozenset([two.link, three.link])))
        assert rtts(one, two, 1) == []
        assert len(rtts(two, three)) == 5
        told(sides=())
        links.by_name[two.link].mute = True
        told()
        assert rtts(one, two, 1) == []
        links.by_name[two.link].mute = False
        links.by_name[two.link].losses["deed"] = 1.0
        told()
        assert rtts(one, two, 1) == []
        links.by_name[two.link].losses["deed"] = 0.0
        told(duplicate=1.0)
        assert len(rtts(one, two)) > 5
        told(duplicate=0.0)
        underlay.cut(two.link, "down")
        assert rtts(one, two, 1) == []
        underlay.cut(two.link, "up")
        assert rtts(one, two)


# What is said before.


def test_what_this_machine_cannot_do_is_said_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scenarios.run.find_out", lambda: NOTHING)
    monkeypatch.setattr(RealStage, "set_up", lambda self, observer: pytest.fail("it was started"))
    done = CliRunner().invoke(main, ["run", "bad-weather", "--world", "real"])
    assert done.exit_code == BEYOND
    assert "bad-weather.yaml:7: not in the real world: reorder (this kernel has no netem" in done.stderr
    assert "duplicate" in done.stderr
    assert "loss" in done.stderr


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("*.yaml")), ids=lambda path: path.stem)
def test_where_the_kernel_can_do_all_each_scenario_can_be_played_but_those_that_no_daemon_can(path: Path) -> None:
    script, _ = read(path)
    impossible = [limit.what for limit in limits(script, ALL) if limit.fatal]
    assert bool(impossible) == (path.stem in ONLY_SIMULATED), impossible
    assert script.counts(12)


def test_who_is_too_far_to_be_dialled_is_named_before() -> None:
    """Only where messages are made up are there hosts a second away."""
    script, _ = read(LIBRARY / "slow-bridges.yaml")
    (far,) = (limit for limit in limits(script, ALL) if limit.fatal)
    assert (far.line, far.what) == (script.group("slow").line, "hosts.slow: latency 1.2 s")
    script = parse("hosts: {peers: {count: rest}}\ntimeline: [{delay: 300 ms}, {delay: 2 s}]\n", "made.yaml")
    assert [limit.what for limit in limits(script, ALL) if limit.fatal] == ["delay"]


def test_each_verb_is_done_or_said_to_be_impossible() -> None:
    """A kernel that can do nothing beside namespaces still kills, stalls, moves, joins and spoils disks."""
    said = {"partition", "isolate", "loss", "delay", "duplicate", "reorder", "nat-rebind"}
    for word in VERBS:
        arguments = {
            "partition": "[[peers-1], [rest]]", "loss": "5 %", "duplicate": "5 %", "reorder": "5 %", "delay": "1 s",
            "heal": "", "invite": "{uses: 2}", "flap": "{hosts: peers-1, lasts: 5 s}", "roam": "clients",
            "traffic": "{hosts: peers-1, to: peers-2}", "join": "new",
            "copy-state": "{hosts: new, of: peers-1}", "nat-rebind": "clients",
        }.get(word, "peers-1")  # fmt: skip
        nat = ", nat: yes" if word == "nat-rebind" else ""
        others = f"clients: {{count: 1, role: client{nat}}}, new: {{count: 1, begins: outside}}"
        hosts = f"hosts: {{peers: {{count: rest, advertises: '::/0'}}, {others}}}\n"
        script = parse(f"{hosts}timeline: [{{{word}: {arguments}}}]\n", "made.yaml")
        assert bool([limit for limit in limits(script, NOTHING) if limit.fatal]) == (word in said), word


# The parts.

LINKS = st.builds(
    Link,
    st.booleans(),
    st.booleans(),
    st.dictionaries(st.sampled_from(["own", "deed"]), st.floats(0, 1)),
    st.dictionaries(st.sampled_from(["own", "deed"]), st.floats(0, 5)),
)


@given(st.lists(LINKS, min_size=3, max_size=3), st.booleans())
def test_rules_name_who_is_cut_off_and_nobody_else(links: list[Link], split: bool) -> None:
    names = ["host1", "host2", "host3"]
    made = Links(dict(zip(names, links, strict=True)))
    if split:
        made.sides = (frozenset(names[:1]), frozenset(names[1:]))
    rules = made.rules().splitlines()
    for name, link in made.by_name.items():
        assert (f'    iifname "{name}" drop' in rules) == link.mute
        assert (f'    oifname "{name}" drop' in rules) == link.deaf
    assert sum("!=" in rule for rule in rules) == (2 if split else 0)
    assert 0 <= links[0].loss <= 1


def test_netem_is_told_of_delays_both_ways_and_of_the_rest_once() -> None:
    links = Links({"host1": Link(delays={"own": 0.3, "deed": 0.2}), "host2": Link()}, straggle=0.1, duplicate=0.05)
    assert links.from_host("host1") == ["delay", "500ms"]
    assert links.towards_host("host1") == ["delay", "500ms", "20ms", "duplicate", "5%"]
    assert links.from_host("host2") == []
    assert links.towards_host("host2") == ["delay", "20ms", "reorder", "90%", "duplicate", "5%"]


@given(st.binary(max_size=200))
def test_a_pinger_reads_whatever_arrives(message: bytes) -> None:
    pinger.read(message, 7)


@given(st.integers(0, 2**63), st.integers(0, 65535))
def test_a_pinger_knows_its_own_echoes_and_errors_about_them(number: int, identifier: int) -> None:
    sent = pinger.echo(identifier, number)
    answer = bytes([pinger.REPLY]) + sent[1:]
    assert pinger.read(answer, identifier) == (number, "reply")
    assert pinger.read(answer, identifier ^ 1) is None
    assert pinger.read(sent, identifier) is None
    exceeded = bytes([pinger.EXCEEDED]) + bytes(7) + bytes(40) + sent
    assert pinger.read(exceeded, identifier) == (number, "exceeded")


def test_wrong_clocks_mislead_a_whole_process_and_the_monotonic_one_never_jumps(tmp_path: Path) -> None:
    said = tmp_path / "clock"
    program = f"""
import time
true_wall, true_monotonic = time.time, time.monotonic
from pathlib import Path
from scenarios import wrong_clocks
wrong_clocks.LOOK = 0.0
said = Path({str(said)!r})
said.write_text("0 1")
wrong_clocks.mislead(str(said))
from time import monotonic
assert abs(time.time() - true_wall()) < 1
before = monotonic()
said.with_suffix(".new").write_text("-3600 50")
said.with_suffix(".new").rename(said)
began = true_monotonic()
now = monotonic()
assert before <= now < before + 5, (before, now)
assert abs(time.time() - true_wall() + 3600) < 1
while true_monotonic() < began + 0.1:
    assert now <= monotonic()
assert monotonic() - now > 4.9
assert time.monotonic_ns() // 10**9 - int(monotonic()) in (0, 1)
"""
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, timeout=60)


def test_who_does_not_answer_is_silent_and_the_others_are_asked_meanwhile(tmp_path: Path) -> None:
    reactor, answers = Reactor(), list[Answer]()
    console = Console(reactor, tmp_path / "nobody.sock", 0.05)
    console.ask(answers.append, "status")
    console.ask(answers.append, "members", mesh="demo")
    assert reactor.run(20, lambda: len(answers) == 2)
    assert [one.code for one in answers if isinstance(one, Problem)] == [SILENT, SILENT]
    assert not console.busy
    reactor.close()


def test_an_outage_lasts_from_the_first_packet_that_is_lost_to_the_first_that_is_answered() -> None:
    reactor = Reactor()
    sent = 0

    def send(sender: str, to: str, ended: object) -> None:
        nonlocal sent
        sent += 1
        if not 3 <= sent <= 6:
            ended(Outcome("reply", ""))  # type: ignore[operator]

    traffic = RealTraffic(reactor, send, time.monotonic, 0.0)
    traffic.begin((("one", "other"),), 0.1)
    assert reactor.run(20, lambda: sent >= 9)
    lasted, what = traffic.longest()
    assert lasted >= 0.39
    assert what.startswith("one had no answer from other")
    reactor.close()
