"""Shrinking: what is left fails as the whole did, no event can be spared, and the runs are counted."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from scenarios.attempt import Case, Outcome, attempt
from scenarios.drawing import draw
from scenarios.reductions import Place, keeps_promises, lasting, without_events, without_group, without_mesh
from scenarios.run import main
from scenarios.script import Script
from scenarios.script_reading import parse, read
from scenarios.script_writing import write
from scenarios.shrinking import Shrinking, Shrunk, story
from scenarios.statuses import BEYOND, FAILED, HELD, IMPOSSIBLE
from tests.builders import QUICK

TEXT = """
hosts: {peers: {count: rest}, clients: {count: 20 %, role: client}, edge: {count: 2}, right: {count: 3}}
meshes: {a: [peers, clients], b: right}
bridges: {edge: [a, b]}
timeline:
  - {at: 5 s, power-off: 2 of peers, as: death}
  - {wait: 40 s, start: of death, as: return}
  - {loss: {share: 5 %, lasts: 30 s}}
  - {wait: 60 s, isolate: peers-1}
  - {wait: 20 s, heal: }
  - {wait: 60 s, pause: {hosts: clients, lasts: 4 s}}
expect:
  always: [no-live-node-pruned, no-loop]
  eventually: [{known-by-all: death, within: 9 s, after: death}, {converged: , within: 20 s, after: heal}]
  at-end: [one-leader]
"""
SCRIPT = parse(TEXT, "made.yaml")


def failing(when: Callable[[Script, int], bool], check: str = "no-live-node-pruned") -> Callable[..., Outcome]:
    """Plays without a world: who knows when it fails."""

    def play(case: Case, enough: Collection[str] = ()) -> Outcome:
        return Outcome({check: "it was"} if when(case.script, case.seed) else {})

    return play


def shrunk(play: Callable[..., Outcome], script: Script = SCRIPT, tries: int = 500) -> Shrunk:
    case = Case(script, 50, 3)
    return Shrinking(case, play(case), play, tries).shrink()


def verbs(script: Script) -> list[str]:
    return [type(event.action).__name__ for event in script.timeline]


def test_only_what_it_takes_is_left() -> None:
    def fails(script: Script, seed: int) -> bool:
        peers = next((group.count for group in script.hosts if group.name == "peers"), 0)
        return "Loss" in verbs(script) and isinstance(peers, int) and peers >= 5

    found = shrunk(failing(lambda script, seed: script is SCRIPT or fails(script, seed)))
    script = found.case.script
    assert verbs(script) == ["Loss"]
    assert [(group.name, group.count) for group in script.hosts] == [("peers", 5)]
    assert list(script.meshes) == ["a"]
    assert [one.text for one in script.expect] == ["no-live-node-pruned"]
    assert script.timeline[0].action.lasts <= 0.5  # type: ignore[union-attr]
    assert found.case.seed == 1, "with another seed it fails, too"
    assert not found.exhausted


def test_what_an_event_hangs_on_stays_with_it() -> None:
    found = shrunk(failing(lambda script, seed: "Start" in verbs(script)))
    assert verbs(found.case.script) == ["PowerOff", "Start"]


def test_no_more_runs_are_made_than_are_allowed_and_the_best_so_far_is_given() -> None:
    runs: list[Case] = []

    def play(case: Case, enough: Collection[str] = ()) -> Outcome:
        runs.append(case)
        return Outcome({"no-loop": "it was"})

    found = shrunk(play, tries=7)
    assert (found.runs, len(runs)) == (7, 8), "one before shrinking"
    assert found.exhausted
    assert found.case.nodes < 50


def test_another_failure_is_not_what_was_looked_for() -> None:
    def play(case: Case, enough: Collection[str] = ()) -> Outcome:
        return Outcome({"no-loop" if len(case.script.timeline) > 3 else "one-leader": "it was"})

    assert len(shrunk(play).case.script.timeline) == 4


def test_of_several_failures_the_first_is_kept_to() -> None:
    """The other one fails of smaller scripts, too, and may not take its place."""

    def play(case: Case, enough: Collection[str] = ()) -> Outcome:
        first = {"no-live-node-pruned": "first"} if "Loss" in verbs(case.script) else {}
        return Outcome({**first, "one-leader": "second"})

    found = shrunk(play)
    assert verbs(found.case.script) == ["Loss"]
    assert next(iter(found.outcome.failures)) == "no-live-node-pruned"
    assert [one.text for one in found.case.script.expect] == ["no-live-node-pruned"]


def test_of_two_expectations_of_one_check_the_one_that_failed_is_kept() -> None:
    text = """
hosts: {peers: {count: 5}}
timeline:
  - {at: 2 s, power-off: peers-1, as: one}
  - {wait: 12 s, power-off: peers-2, as: other}
expect:
  eventually:
    - {known-by-all: one, within: 20 s, after: one}
    - {known-by-all: other, within: 1 s, after: other}
"""
    case = Case(parse(text, "made.yaml"), 5, 1)
    found = Shrinking(case, attempt(case), attempt, 30).shrink()
    assert [one.after for one in found.case.script.expect] == ["other"]
    assert [event.name for event in found.case.script.timeline] == ["other"]


def test_where_no_smaller_run_fails_the_first_one_is_given_with_the_hosts_that_it_had() -> None:
    """What chance draws for one check falls otherwise without the others."""
    script = parse("hosts: {peers: {count: rest}}\ntimeline: [{kill: leader}]\n"
                   "expect: {at-end: [one-leader, converged]}\n", "made.yaml")  # fmt: skip
    case = Case(script, 12, 3)
    found = Shrinking(case, Outcome({"one-leader": "it was"}), lambda case, enough: Outcome({}), 40).shrink()
    assert (found.case.nodes, found.case.seed) == (12, 3)
    assert [(group.name, group.count) for group in found.case.script.hosts] == [("peers", 12)]
    assert len(found.case.script.expect) == 2


@pytest.mark.parametrize("name", ["2024 crash (a)", "My_Case", "ümlaut", "...", "9" * 60])
def test_a_script_whose_file_has_any_name_becomes_smaller(name: str) -> None:
    found = shrunk(failing(lambda script, seed: True), parse(TEXT, f"sub folder/{name}.yaml"))
    assert found.case.nodes < 10


def test_who_presses_ctrl_c_has_the_best_so_far() -> None:
    runs: list[Case] = []

    def play(case: Case, enough: Collection[str] = ()) -> Outcome:
        runs.append(case)
        if len(runs) > 5:
            raise KeyboardInterrupt
        return Outcome({"no-loop": "it was"})

    found = shrunk(play)
    assert found.interrupted
    assert found.case == runs[4]
    assert "in 5 runs (interrupted)" in story(found, runs[0], Path("small.yaml"))[0]


def test_failures_are_in_the_order_in_which_they_came() -> None:
    text = """
hosts: {peers: {count: 4}}
timeline: [{at: 2 s, power-off: peers-1}]
expect:
  always: [{bounded: {queue: 0}}]
  at-end: [{no-interface-left: peers-2}]
  eventually: [{known-by-all: power-off, within: 1 s}]
"""
    outcome = attempt(Case(parse(text, "made.yaml"), 4, 1))
    assert list(outcome.failures) == ["bounded", "known-by-all", "no-interface-left"]


@QUICK
@given(st.integers(0, 10**6), st.data())
def test_every_smaller_version_of_a_script_is_a_script_itself(seed: int, data: st.DataObject) -> None:
    script = draw(seed)
    places = data.draw(st.sets(st.integers(0, len(script.timeline) - 1)))
    group = data.draw(st.sampled_from([group.name for group in script.hosts]))
    mesh = data.draw(st.sampled_from(list(script.meshes)))
    for smaller in (without_events(script, places), without_group(script, group), without_mesh(script, mesh)):
        if smaller is None or not smaller.timeline:
            continue
        assert len(smaller.timeline) <= len(script.timeline)
        names = {event.name for event in smaller.timeline}
        assert all(one.after in names for one in smaller.expect if one.after)
        if all(any(group in smaller.bridges or _founds(smaller, group, m) for group in groups)
               for m, groups in smaller.meshes.items()):  # fmt: skip
            parse(write(smaller), "smaller.yaml")


def _founds(script: Script, name: str, mesh: str) -> bool:
    group = script.group(name)
    return group.role == "peer" and group.begins.value == "member" and name in script.meshes[mesh]


def test_what_undoes_a_fault_stays_and_no_trouble_moves_into_what_is_expected() -> None:
    heal = next(place for place, event in enumerate(SCRIPT.timeline) if event.name == "heal")
    alone = without_events(SCRIPT, {heal})
    assert alone is not None
    assert not keeps_promises(SCRIPT, alone)
    both = without_events(SCRIPT, {heal, heal - 1})
    assert both is not None
    assert keeps_promises(SCRIPT, both)
    sooner = parse(TEXT.replace("wait: 60 s", "wait: 1 s").replace("wait: 20 s", "wait: 1 s"), "made.yaml")
    assert not keeps_promises(SCRIPT, sooner), "messages are lost while it should converge"


@pytest.mark.parametrize(
    ("event", "end"),
    [
        ("power-off: peers-1", "start: down"),
        ("partition: [peers-1, rest]", "heal: "),
        ("start: peers-1", "kill: leader"),
        ("pause: {hosts: peers-1, lasts: %d s}", "resume: peers-2"),
    ],
)
def test_what_has_to_be_known_is_not_undone_sooner_than_it_must_be_known(event: str, end: str) -> None:
    text = f"""
hosts: {{peers: {{count: 6}}}}
timeline: [{{at: 2 s, {event}, as: event}}, {{wait: %d s, {end}}}]
expect: {{eventually: [{{known-by-all: event, within: 8 s, after: event}}]}}
"""

    def made(seconds: int) -> Script:
        return parse(text.replace("%d", str(seconds)), "made.yaml")

    assert keeps_promises(made(20), made(9))
    assert not keeps_promises(made(20), made(4)), "for then it fails by itself"
    assert keeps_promises(made(5), made(4)), "which it did before"


UNDONE = """
hosts: {peers: {count: 6}, exits: {count: 2, advertises: "::/0"}}
timeline:
  - {at: 2 s, %s, as: fault}
  - {at: 9 s, %s, as: end}
  - {at: 20 s, kill: peers-1}
expect: {eventually: [{converged: , within: 9 s, after: kill}]}
"""


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        ("loss: 50 %", "loss: 0 %"),
        ("loss: {share: 50 %, hosts: peers}", "loss: {share: 0 %, hosts: peers-2}"),
        ("delay: {by: 1 s, hosts: peers-1}", "delay: 0"),
        ("duplicate: 5 %", "duplicate: 0 %"),
        ("reorder: 5 %", "reorder: 0 %"),
        ("withdraw: exits", "advertise: exits-1"),
        ("clock: {hosts: peers-3, jump: 4 h, drift: 1.01}", "clock: {hosts: peers-3, jump: -4 h}"),
        ("pause: 2 of peers", "resume: everyone"),
        ("isolate: peers-1", "heal: "),
        ("partition: [peers, rest]", "heal: "),
        ("loss: {share: 50 %, lasts: 1 s}", "loss: 50 %"),
    ],
)
def test_what_undoes_a_fault_stays_as_long_as_the_fault_does(fault: str, end: str) -> None:
    script = parse(UNDONE % (fault, end), "made.yaml")
    alone, neither = without_events(script, {1}), without_events(script, {0, 1})
    assert alone is not None
    assert neither is not None
    assert keeps_promises(script, alone) == ("lasts" in fault)
    assert keeps_promises(script, neither)
    if "lasts" in fault:
        assert not keeps_promises(alone, lasting(alone, Place(0, "lasts"), 0.0)), "for ever"


@pytest.mark.parametrize(
    ("fault", "end"),
    [
        ("loss: 50 %", "loss: 20 %"),
        ("loss: {share: 50 %, hosts: peers-1}", "loss: {share: 0 %, hosts: peers-2}"),
        ("delay: {by: 1 s, hosts: peers}", "delay: {by: 0, hosts: exits-1}"),
        ("clock: {hosts: peers-3, jump: 4 h}", "clock: {hosts: peers-3, jump: 1 h}"),
    ],
)
def test_what_undoes_nothing_can_be_spared(fault: str, end: str) -> None:
    script = parse(UNDONE % (fault, end), "made.yaml")
    alone = without_events(script, {1})
    assert alone is not None
    assert keeps_promises(script, alone)


def test_what_comes_later_at_a_stated_time_comes_as_much_earlier() -> None:
    text = "hosts: {peers: {count: 3}}\ntimeline: [{at: 40 s, kill: leader}, {at: 50 s, start: down}]\n"
    script = parse(text, "made.yaml")
    assert [event.at for event in lasting(script, Place(0, "at"), 20.0).timeline] == [20.0, 30.0]


# The command.


def scenario(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.yaml"
    path.write_text("""
hosts: {peers: {count: rest}, clients: {count: 3, role: client}}
timeline: [{at: 5 s, loss: {share: 1 %, lasts: 2 s}}, {at: 9 s, power-off: 2 of peers}, {wait: 9 s, start: down}]
expect: {eventually: [{known-by-all: power-off, within: 1 s, after: power-off}], at-end: [one-leader]}
""")
    return path


def test_a_script_or_a_record_becomes_a_small_script_that_fails_by_itself(tmp_path: Path, file: Path) -> None:
    small, again = tmp_path / "small.yaml", tmp_path / "again.yaml"
    done = scenario("shrink", str(file), "--nodes", "12", "--tries", "40", "--out", str(small))
    assert done.exit_code == HELD, done.output
    assert f"{small}: 2 hosts, 1 events, seed" in done.stdout
    assert "Shrunk from 12 hosts, 3 events, seed 1" in small.read_text()
    script, text = read(small)
    seed = text.split("--seed ")[1].split()[0]
    assert scenario("run", str(small), "--seed", seed, "--quiet").exit_code == FAILED
    assert scenario("run", str(file), "--nodes", "8", "--report", str(tmp_path), "--quiet").exit_code == FAILED
    (record,) = tmp_path.glob("made-*.json")
    assert scenario("shrink", str(record), "--tries", "40", "--out", str(again)).exit_code == HELD
    assert [type(event.action) for event in read(again)[0].timeline] == [type(e.action) for e in script.timeline]


def test_a_smaller_script_does_not_take_the_place_of_the_one_that_is_shrunk(tmp_path: Path, file: Path) -> None:
    before = file.read_text()
    refused = scenario("shrink", str(file), "--nodes", "8", "--out", str(tmp_path / "." / "made.yaml"))
    assert refused.exit_code == IMPOSSIBLE
    assert "made.yaml is the script itself" in refused.stderr
    assert file.read_text() == before


def test_a_search_that_has_nowhere_to_go_or_nothing_to_play_ends_before_it_begins(tmp_path: Path, file: Path) -> None:
    (tmp_path / "none").touch()
    refused = scenario("shrink", str(file), "--nodes", "12", "--out", str(tmp_path / "none" / "small.yaml"))
    assert refused.exit_code == IMPOSSIBLE
    assert "cannot write" in refused.stderr
    assert "runs:" not in refused.stderr
    file.write_text(file.read_text().replace("count: rest", "count: rest, families: ipv4"))
    beyond = scenario("shrink", str(file), "--nodes", "12", "--out", str(tmp_path / "small.yaml"))
    assert beyond.exit_code == BEYOND
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.yaml", "none"], "nothing is left of the try"


def test_of_a_real_record_is_said_where_it_is_looked_for(tmp_path: Path, file: Path) -> None:
    assert scenario("run", str(file), "--nodes", "6", "--report", str(tmp_path), "--quiet").exit_code == FAILED
    (record,) = tmp_path.glob("*.json")
    record.write_bytes(record.read_bytes().replace(b'"world":"simulated"', b'"world":"real"'))
    said = scenario("shrink", str(record), "--tries", "3", "--out", str(tmp_path / "small.yaml"))
    assert f"{record} is of real daemons; it is looked for what fails in the simulated world" in said.stderr


def test_a_record_is_shrunk_with_the_patience_that_it_was_played_with(tmp_path: Path, file: Path) -> None:
    patient = ("--nodes", "12", "--patience", "9.5", "--quiet", "--report", str(tmp_path))
    assert scenario("run", str(file), *patient).exit_code == HELD
    (record,) = tmp_path.glob("*.json")
    small = tmp_path / "new" / "small.yaml"
    assert "does not fail" in scenario("shrink", str(record), "--out", str(small)).stderr
    assert not small.parent.exists(), "nothing is left of having tried whether it can be written"
    file.write_text(file.read_text().replace("within: 1 s", "within: 50 ms"))
    assert scenario("run", str(file), *patient).exit_code == FAILED
    assert scenario("shrink", str(record), "--tries", "5", "--out", str(small)).exit_code == HELD
    assert "--patience 9.5" in small.read_text()


def test_what_does_not_fail_is_not_shrunk(tmp_path: Path, file: Path) -> None:
    file.write_text(file.read_text().replace("within: 1 s", "within: 60 s").replace("wait: 9 s", "wait: 99 s"))
    refused = scenario("shrink", str(file), "--nodes", "6", "--seeds", "2", "--out", str(tmp_path / "small.yaml"))
    assert refused.exit_code == IMPOSSIBLE
    assert "with seed 2 all holds" in refused.stderr
    assert "hint: name a seed with which it fails" in refused.stderr
