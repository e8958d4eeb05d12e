"""Scripts of scenarios: what a person may write, and what is said when it is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scenarios.actions import VERBS, Heal, Kill, Loss, Partition, Start
from scenarios.expectations import CHECKS, Converged, KnownByAll
from scenarios.script import Begins, Script, When
from scenarios.script_files import library
from scenarios.script_names import check_hosts
from scenarios.script_pages import EXAMPLE, EXAMPLES, tables
from scenarios.script_reading import MAX_TEXT, parse, read
from scenarios.script_tables import GROUP, TOP, specs
from scenarios.selectors import Everyone, Leader, Named, Of, Part, Rest
from smeg.errors import LocalError
from tests.builders import QUICK

DOCS = Path(__file__).parent.parent / "docs"
RIGHT = """\
about: the leader's host loses its power
nodes: 12
hosts:
  peers: {count: rest}
  clients: {count: 20 %, role: client, nat: yes, latency: 80 ms}
timeline:
  - at: 5 s
    kill: leader
    as: death
  - after: converged
    start: of death
  - wait: 1 min
    partition: [[30 % of peers, clients-1], [rest]]
  - loss: {share: 5 %, hosts: role client, lasts: 10 s}
  - heal:
expect:
  always: [no-live-node-pruned]
  eventually:
    - known-by-all: death
      within: 4.5 s
      after: death
  at-end: [converged, {converged: {mesh: demo}}]
"""


def mistakes(text: str) -> list[str]:
    """What is said of each mistake, without the file's name."""
    with pytest.raises(LocalError) as refused:
        parse(text, "made.yaml")
    assert refused.value.problem.code == "bad-script"
    assert refused.value.problem.hint
    lines = refused.value.problem.message.split("\n")
    assert all(re.match(r"made\.yaml:[0-9]+: ", line) for line in lines)
    return [line.removeprefix("made.yaml:") for line in lines]


def test_a_script_is_read_as_it_is_meant() -> None:
    script = parse(RIGHT, "folder/Leader_dies.yaml")
    assert (script.name, script.nodes, script.meshes) == ("leader-dies", 12, {"demo": ("peers", "clients")})
    kill, start, partition, loss, heal = script.timeline
    assert (kill.action, kill.at, kill.name, kill.line) == (Kill((Leader(),)), 5.0, "death", 7)  # type: ignore[arg-type]
    assert (start.action, start.after) == (Start((Of("death"),)), Converged())  # type: ignore[arg-type]
    sides = ((Part(0.3, "peers"), Named("clients-1")), (Rest(),))
    assert (partition.action, partition.wait) == (Partition(sides), 60.0)  # type: ignore[arg-type]
    assert isinstance(loss.action, Loss)
    assert (loss.action.share, loss.action.lasts) == (0.05, 10.0)
    assert heal.action == Heal((Everyone(),))  # type: ignore[arg-type]
    _, known, bare, full = script.expect
    assert (known.when, known.within, known.after) == (When.EVENTUALLY, 4.5, "death")
    assert isinstance(known.check, KnownByAll)
    assert bare.check == Converged()
    assert isinstance(full.check, Converged)
    assert full.check.mesh == "demo"
    assert script.group("clients").begins is Begins.MEMBER


def test_groups_share_the_hosts_of_a_run() -> None:
    script = parse(RIGHT, "it.yaml")
    assert script.counts(50) == {"peers": 40, "clients": 10}
    names = [name for name, _ in script.names(5)]
    assert names == ["peers-1", "peers-2", "peers-3", "peers-4", "clients-1"]
    with pytest.raises(LocalError) as refused:
        script.counts(1)
    assert refused.value.problem.message == "it.yaml:4: hosts: need more than 1 in all"
    assert refused.value.problem.hint == "at least --nodes 2, or `nodes: 2` in the script"


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("nodes: 12", "nodes: many", "2: nodes: 'many' is no whole number; expected a whole number"),
        ("nodes: 12", "nodes: 1", "2: nodes: is 1; expected 2 to 20000"),
        ("nodes: 12", "nods: 12", "2: file.nods: is not known; did you mean nodes?"),
        ("count: rest", "count: rst", "4: hosts.peers.count: 'rst' is no whole number"),
        ("{count: rest}", "{role: peer}", "4: hosts.peers: does not say count"),
        ("  peers:", "  leader:", "4: hosts.leader: means something else; expected another name"),
        ("role: client, nat", "role: peer, nat", "5: hosts.clients: is behind a NAT and a peer; expected role: client"),
        ("latency: 80 ms", "latency: 80", "5: hosts.clients.latency: '80' has no unit"),
        ("latency: 80 ms", "latency: 80 mins", "'80 mins' has the unit 'mins' (did you mean min?)"),
        ("kill: leader", "kil: leader", "8: timeline.kil: is not known; did you mean kill?"),
        ("kill: leader", "kill: leadr", "7: kill: there is no group or host leadr"),
        ("kill: leader", "kill: leader of dmo", "7: kill: there is no mesh dmo; did you mean demo?"),
        ("kill: leader", "kill:", "8: kill: does not say hosts"),
        ("kill: leader", "kill: leader\n    stop: peers", "7: timeline: has stop and kill in one entry"),
        ("after: converged", "after: convergd", "10: after: convergd is no check; did you mean converged?"),
        ("after: converged", "at: 1 s", "10: start: is at 1 s, after one at 5 s; expected events in order"),
        ("after: converged", "at: 9 s\n    wait: 1 s", "10: start: has `at` and `after` or `wait`"),
        ("of death", "of deth", "10: start: there is no event deth; did you mean death?"),
        ("of death", "rest", "10: start: says `rest`; expected that only among the sides of a partition"),
        ("[rest]", "rest, rest", "`rest` twice"),
        ("[[30 % of peers, clients-1], [rest]]", "[peers]", "12: partition: has 1 sides; expected at least two"),
        ("share: 5 %", "share: 5", "14: loss.share: '5' is no percentage"),
        ("  always:", "  alway:", "17: expect.alway: is not known; did you mean always?"),
        ("      within: 4.5 s\n", "", "19: eventually: has no `within`"),
        ("after: death", "after: birth", "19: known-by-all: there is no event birth"),
        ("[converged, {", "[konverged, {", "konverged is no check; did you mean converged?"),
        ("mesh: demo", "mash: demo", "22: converged.mash: is not known; did you mean mesh?"),
        ("heal:", "heal: [", "file: "),
        ("the leader's host loses its power", '"a\\ud800b"', "1: about: holds U+D800, which nobody can read"),
        ("the leader's host loses its power", '"\\e[31m"', "1: about: holds U+001B, which nobody can read"),
        ("count: rest", "count: rest, advertises: 'fe80::%eth0/64'", "advertises: 'fe80::%eth0/64' has a zone"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line_and_what_was_meant(before: str, after: str, said: str) -> None:
    assert before in RIGHT
    found = mistakes(RIGHT.replace(before, after, 1))
    assert any(said in f"{one}" for one in found), found


def test_all_mistakes_are_told_at_once() -> None:
    text = RIGHT.replace("nodes: 12", "nodes: x").replace("5 %", "5").replace("converged", "konverged")
    assert len(mistakes(text)) >= 5


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("meshes: {a: [peers], b: [clients]}", "meshes.b: has no peer that is a member from the start"),
        ("meshes: {a: [peers, guests]}", "meshes.a: there is no group guests"),
        ("meshes: {a: [peers]}\nbridges: {peers: [a]}", "bridges.peers: is in 1 meshes; expected at least two"),
        ("meshes: {a: [peers], b: [peers]}\nbridges: {clients: [a, b]}", "bridges.clients: is a client"),
        ("meshes: {a: [peers]}\nbridges: {peers: [a, c]}", "bridges.peers: there is no mesh c"),
        ("settings: {heartBeatIntervall: 1 s}", "did you mean heartBeatInterval?"),
        ("settings: {suspectAfter: 0}", "settings.suspectAfter: is 0 s; expected 0.1 s to 1 h"),
        ("timeline: [{join: a}]", "join: has nobody who is outside"),
        ("timeline: [{heal: peers-1}]", "heal: heals everybody, whoever is named; expected `heal:` alone"),
        ("timeline: [{withdraw: peers}]", "withdraw: is about hosts behind which nothing is"),
        ("timeline: [{kill: peer of peers-1}]", "kill: there is no client peers-1; did you mean clients-1?"),
        (
            "timeline: [{at: 5 s, kill: peers-1}, {wait: 60 s, start: down}, {at: 10 s, kill: peers-2}]",
            "kill: is at 10 s, after one at 65 s; expected events in order",
        ),
        (
            "timeline: [{kill: peers-1}, {kill: peers-2}, {start: of kill}]",
            "4: start: kill may be any of the events in lines 4, 4; expected the one that is meant to be named by `as`",
        ),
        ("timeline: [{kill: peers-1}, {kill: peers-2}]\nexpect: {at-end: [{known-by-all: kill}]}", "kill may be any"),
        (
            "timeline: [{kill: peers-1}, {kill: peers-2}]\n"
            "expect: {eventually: [{converged: , within: 5 s, after: kill}]}",
            "5: converged: kill may be any",
        ),
        (
            "timeline:\n  - {kill: peers-1, as: end}\n  - {stop: peers-2, as: end}",
            "6: as end: is said twice, first in line 5; expected another name for each event",
        ),
        (
            "timeline: [{isolate: {hosts: peers-1, receiving: yes}}]\nexpect: {at-end: [known-by-all]}",
            "known-by-all: who hears nobody may be thought dead or alive",
        ),
        ("timeline: [{isolate: {hosts: peers-1, receiving: yes}}, {after: known-by-all, heal: }]", "known-by-all: who"),
        ("timeline: [{kill: peers-1}]\nexpect: {at-end: [{outage: 1 s}]}", "outage: has no packets of which"),
        ("meshes: {}", "4: meshes: has no mesh; expected at least one"),
        (
            "timeline: [{traffic: {hosts: peers, to: clients}}]\nexpect: {eventually: [{outage: 5 s, within: 9 s}]}",
            "5: outage: comes about at once, whatever follows; expected it under `always` or `at-end`",
        ),
        (
            "timeline: [{after: no-loop, kill: leader}]",
            "4: after: no-loop holds until it fails for ever; expected what",
        ),
        ("meshes: {a: [peers]}", "3: hosts.clients: is in no mesh; expected one that has it, or `begins: outside`"),
        ("timeline: [{flap: {hosts: peers-1, lasts: 9 s, down: 0, up: 0}}]", "flap: is down 0 s and up 0 s, for 9 s"),
        ("timeline: [{flap: {hosts: peers-1, lasts: 30 d, down: 50 ms, up: 50 ms}}]", "at most 100000 times"),
        ("timeline: [{flap: {hosts: peers-1, lasts: 0}}]", "flap: is down 2 s and up 5 s, for 0 s"),
        ("timeline: [{traffic: {hosts: peers, to: clients, each: 0}}]", "traffic: has 0 s between two packets"),
        ("timeline: [{kill: of me, as: me}]", "4: kill: there is no event me; expected one that comes before it"),
        (
            "timeline: [{disk-full: peers-1}]\nexpect: {at-end: [known-by-all]}",
            "5: known-by-all: by disk-full nobody comes or goes; expected an event by which somebody is gone",
        ),
        ("timeline: [{loss: 5 %}, {after: known-by-all, loss: 0 %}]", "known-by-all: by loss nobody comes or goes"),
        ("timeline: [{roam: clients}]\nexpect: {at-end: [known-by-all]}", "known-by-all: by roam nobody comes or goes"),
        (
            "meshes: {a: [peers], b: [peers, clients]}\nbridges: {peers: [a, b]}\n"
            "timeline: [{leave: {hosts: peers-2, mesh: b}}]\nexpect: {at-end: [known-by-all]}",
            "7: known-by-all: is about a, and leave about b; expected `mesh: b`",
        ),
        (
            "lasts: 5 s\nexpect: {always: [{bounded: {rate: 10}}]}",
            "5: bounded: counts what is sent in 10 s, and all may be over in 5 s; expected a longer `lasts`",
        ),
        (
            "expect: {at-end: [{shares-within: {factor: 0.5, hosts: peers, to: clients, over: peers}}]}",
            "shares-within: has the factor 0.5; expected at least 1",
        ),
        ("expect: {always: [no-loop: 5]}", "no-loop: has a single value after it; expected nothing"),
        ("expect: {eventually: [{converged: , within: 5 s}]}", "has no event from which it counts"),
    ],
)
def test_what_no_single_line_shows_is_found_too(extra: str, said: str) -> None:
    text = f"hosts:\n  peers: {{count: rest}}\n  clients: {{count: 2, role: client}}\n{extra}\n"
    assert any(said in one for one in mistakes(text)), mistakes(text)


def test_what_refers_to_no_event_may_stand_beside_several_of_one_verb() -> None:
    text = """
hosts: {peers: {count: rest}}
timeline: [{kill: peers-1}, {after: known-by-all, start: peers-1}, {kill: peers-2}, {start: peers-2, as: back}]
expect: {eventually: [{known-by-all: , within: 9 s}, {known-by-all: back, within: 9 s, after: back}]}
"""
    assert [event.name for event in parse(text, "made.yaml").timeline] == ["kill", "start", "kill", "back"]


def test_no_group_has_the_name_of_a_host_and_none_is_left_out_because_there_are_many() -> None:
    assert mistakes("hosts: {a: {count: rest}, a-1: {count: 4}}") == [
        "1: hosts.a-1: is a host of another group, too; expected another name"
    ]
    parse("hosts: {a: {count: 3}, a-4: {count: 4}}", "made.yaml")
    many = ", ".join(f"g{number}: {{count: 1}}" for number in range(101))
    text = f"hosts: {{{many}}}\ntimeline: [{{kill: g100}}]\n"
    assert mistakes(text) == ["1: hosts: has 101 groups; expected at most 100"]


def test_a_within_that_is_wrong_is_one_mistake() -> None:
    text = "hosts: {peers: {count: 3}}\ntimeline: [{kill: leader}]\nexpect: {eventually: [{converged: , within: 5}]}"
    (mistake,) = mistakes(text)
    assert mistake.startswith("3: within: '5' has no unit")


def test_hosts_that_are_not_there_in_a_run_of_this_size_are_named_with_their_lines() -> None:
    text = """
hosts: {peers: {count: rest}, laptops: {count: 2, role: client}}
timeline: [{kill: [peers-6, peers-7]}]
expect: {at-end: [{same-address: peers-48}]}
"""
    script = parse(text, "made.yaml")
    check_hosts(script, 50)
    with pytest.raises(LocalError) as refused:
        check_hosts(script, 8)
    assert refused.value.problem.message.split("\n") == [
        "made.yaml:3: there is no peers-7 among 6 peers of 8 hosts",
        "made.yaml:4: there is no peers-48 among 6 peers of 8 hosts",
    ]


def test_hosts_that_are_counted_are_as_many_as_they_are() -> None:
    script = parse("\nhosts: {peers: {count: 3}, others: {count: 2}}", "made.yaml")
    assert script.nodes == 5
    for nodes in (4, 1000):
        with pytest.raises(LocalError, match=r"made\.yaml:2: hosts"):
            check_hosts(script, nodes)
    thirds = parse("hosts: {peers: {count: 33 %}, others: {count: 33 %}, more: {count: 33 %}}", "made.yaml")
    assert sum(thirds.counts(50).values()) == 48
    with pytest.raises(LocalError, match=r"made\.yaml:1: hosts: are 25 by their counts, not 50"):
        check_hosts(parse("hosts: {peers: {count: 50 %}}", "made.yaml"), 50)


def test_what_is_not_utf_8_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "old.yaml"
    path.write_bytes("hosts: {peers: {count: 3}}\nabout: caf\u00e9\n".encode("latin-1"))
    with pytest.raises(LocalError, match=r"old\.yaml:2: file: has a byte 0xe9 that is no UTF-8"):
        read(path)


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError) as refused:
        read(tmp_path / "nothing.yaml")
    assert refused.value.problem.code == "script-unreadable"
    assert mistakes("") == ["1: file: is empty; expected a mapping with at least hosts and timeline or expect"]
    assert "is a list" in mistakes("- a")[0]
    assert f"at most {MAX_TEXT}" in mistakes("a" * (MAX_TEXT + 1))[0]


# Whatever it is.

WORDS = [*TOP, *VERBS, *CHECKS, "at", "after", "wait", "as", "within", "always", "eventually", "at-end", "everyone",
         "leader", "next 3", "30 %", "3 of peers", "peer of peers-1", "bridge between a and b", "rest", "peers", "5 s",
         "of kill", "", "0", "1e9", "-1", "yes", *(spec.key for spec in GROUP),
         *(spec.key for kind in (*VERBS.values(), *CHECKS.values()) for spec in specs(kind))]  # fmt: skip
leaves = st.one_of(st.sampled_from(WORDS), st.text(max_size=8), st.integers(), st.none(), st.floats(), st.booleans())
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=20,
)  # fmt: skip


def is_read_or_refused(text: str) -> Script | None:
    try:
        return parse(text, "made.yaml")
    except LocalError as error:
        problem = error.problem
    assert problem.code == "bad-script"
    for line in problem.message.split("\n"):
        number = re.match(r"made\.yaml:([0-9]+): ", line)
        assert number is not None, line
        assert 1 <= int(number[1]) <= max(1, len(re.split("\r\n|[\r\n\x85\u2028\u2029]", text)))
    return None


@QUICK
@given(st.text())
def test_any_text_gives_a_script_or_clear_mistakes(text: str) -> None:
    is_read_or_refused(text)


@QUICK
@given(st.dictionaries(st.sampled_from([*TOP]), trees))
def test_any_yaml_gives_a_script_or_clear_mistakes(tree: dict[str, Any]) -> None:
    is_read_or_refused(yaml.safe_dump(tree, allow_unicode=True))
    is_read_or_refused(yaml.safe_dump({"hosts": {"peers": {"count": 3}}, **tree}))


@QUICK
@given(st.lists(st.dictionaries(st.sampled_from(WORDS), trees, max_size=3), max_size=3),
       st.dictionaries(st.sampled_from(["always", "eventually", "at-end"]), trees))  # fmt: skip
def test_any_timeline_and_expectations_do(timeline: list[Any], expect: dict[str, Any]) -> None:
    tree = {"hosts": {"peers": {"count": 3}}, "timeline": timeline, "expect": expect}
    script = is_read_or_refused(yaml.safe_dump(tree))
    if script is not None:
        assert len(script.timeline) == len(timeline)


@QUICK
@given(st.data())
def test_a_script_in_which_something_was_struck_out_does(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(RIGHT)))
    end = data.draw(st.integers(start, min(len(RIGHT), start + 20)))
    is_read_or_refused(RIGHT[:start] + data.draw(st.text(max_size=5)) + RIGHT[end:])


def test_one_mistake_is_one_line_and_what_stands_elsewhere_is_not_wrong_because_of_it() -> None:
    text = """
hosts:
  peers: {count: rest, rol: peer}
  guests: {count: 2, begins: outside, nat: perhaps}
meshes: {demo: peers}
timeline:
  - {join: guests, mesh: demo}
  - {restart: {hosts: peers-1, awy: 3 s}, as: again}
  - {kill: leeder}
  - {kil: leader, wait: 5, as: death}
  - {stpo: guests}
  - {start: of stop}
expect:
  eventually:
    - {known-by-all: again, within: 5 s, after: again}
    - {known-by-all: death, within: 5 s, after: death}
"""
    with pytest.raises(LocalError) as refused:
        parse(text, "made.yaml")
    mistakes = [line.split(":", 2)[2].strip() for line in refused.value.problem.message.splitlines()]
    assert [line.split(";")[0] for line in mistakes] == [
        "hosts.peers.rol: is not known",
        "hosts.guests.nat: 'perhaps' is neither yes nor no",
        "timeline.mesh: is not known",
        "restart.awy: is not known",
        "kill: there is no group or host leeder",
        "timeline.kil: is not known",
        "wait: '5' has no unit",
        "timeline.stpo: is not known",
    ]
    assert mistakes[4].endswith("did you mean leader?")


def test_a_scenario_that_is_not_there_is_told_by_the_one_that_was_meant() -> None:
    with pytest.raises(LocalError) as refused:
        read(Path("leader-dys"))
    assert refused.value.problem.hint == "did you mean leader-dies?"


def test_what_refers_to_itself_is_a_mistake() -> None:
    assert is_read_or_refused("hosts: &a\n  peers: *a\ntimeline: &b [*b]\nexpect: &c {always: *c}\n") is None


# The page.


@pytest.mark.parametrize("word", [*VERBS, *CHECKS])
def test_each_word_has_an_example_that_is_right(word: str) -> None:
    crash = "timeline:\n  - {kill: peers-1, as: crash}\n  - traffic: {hosts: peers, to: clients}\n"
    if word in VERBS:
        script = parse(f"{EXAMPLE}timeline:\n  - {EXAMPLES[word]}\n", "example.yaml")
        assert isinstance(script.timeline[0].action, VERBS[word])
    else:
        script = parse(f"{EXAMPLE}{crash}expect:\n  at-end:\n    - {EXAMPLES[word]}\n", "example.yaml")
        assert isinstance(script.expect[0].check, CHECKS[word])


def test_the_page_has_the_tables_that_the_reader_goes_by() -> None:
    page = (DOCS / "scenarios.md").read_text()
    for table in tables():
        assert table in page, "make it anew: python -m scenarios.script_pages"


def test_the_page_names_every_scenario_of_the_library() -> None:
    page = (DOCS / "scenarios.md").read_text()
    for path in library():
        assert f"| `{path.stem}` | {read(path)[0].about} |" in page
