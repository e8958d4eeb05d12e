"""Verdicts are about what was meant: the right event, hosts that are there, and what can be known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from scenarios.director import Director
from scenarios.script_reading import parse
from scenarios.simulated_stage import SimulatedStage
from scenarios.stage import Seen
from scenarios.verdicts import Play, Verdict

HOSTS = "hosts: {peers: {count: rest}, clients: {count: 2, role: client, nat: yes}}\n"


def played(text: str, nodes: int = 8, seed: int = 1, hosts: str = HOSTS) -> Play:
    script = parse(hosts + text, "made.yaml")
    stage = SimulatedStage(script, nodes, seed)
    return Director(script, stage, nodes, seed).play()


def verdict(done: Play, about: str) -> Verdict:
    (found,) = (one for one in done.verdicts if about in one.about)
    return found


def failed(done: Play) -> list[str]:
    return [f"{one.about}: {one.what}" for one in done.verdicts if not one.held]


# At the end.


class TellsLate(SimulatedStage):
    """At the end one host knows something new for a while: so long after the timeline is over."""

    until = 0.0

    def seen(self, host: str, mesh: str) -> Seen | None:
        seen = super().seen(host, mesh)
        news = host == "peers-2" and 10.0 <= self.now < 10.0 + self.until
        return replace(seen, knows="news") if news and seen is not None else seen


@pytest.mark.parametrize(("until", "held"), [(2.0, True), (4.0, False)])
def test_what_does_not_hold_at_the_end_has_a_moment_more(until: float, held: bool) -> None:
    script = parse(
        HOSTS + "timeline: [{at: 0 s, loss: {share: 1 %, lasts: 1 s}}]\nexpect: {at-end: [converged]}\nlasts: 9 s\n",
        "made.yaml",
    )
    stage = TellsLate(script, 8, 1)
    stage.until = until
    done = Director(script, stage, 8, 1).play()
    assert verdict(done, "converged").held == held


# Of which event.


def test_what_refers_to_no_event_counts_from_the_last_one_though_others_have_its_verb() -> None:
    done = played("""
timeline: [{at: 2 s, power-off: peers-2}, {at: 12 s, start: peers-2}, {at: 20 s, power-off: [peers-3, peers-4]}]
expect: {eventually: [{known-by-all: , within: 1 s}]}
""")
    known = verdict(done, "known-by-all")
    assert not known.held
    assert (known.since, known.at) == pytest.approx((20.0, 21.0))
    assert "does not know it of peers-3, peers-4" in known.what


def test_an_event_that_cannot_be_done_fails_by_itself_and_not_what_counts_from_later_ones() -> None:
    done = played("""
timeline:
  - {at: 1 s, start: down}
  - {at: 10 s, power-off: peers-2, as: death}
  - {at: 20 s, start: peers-2, as: return}
expect:
  eventually:
    - {known-by-all: death, within: 8 s, after: death}
    - {converged: , within: 8 s, after: return}
""")
    assert failed(done) == ["start: it could not be done: nobody is meant by it now"]


def test_an_event_whose_time_is_over_when_its_turn_comes_is_a_failure() -> None:
    done = played("""
timeline: [{at: 1 s, power-off: peers-2}, {after: converged, start: peers-2}, {at: 2 s, kill: peers-3}]
""")
    (words,) = failed(done)
    assert words.startswith("kill: it could not be done: its time was 2 s, and what came before it took until ")


def test_who_is_no_member_cannot_leave_and_who_is_one_cannot_join() -> None:
    hosts = "hosts: {peers: {count: rest}, guests: {count: 2, begins: outside}}\n"
    done = played("""
timeline:
  - leave: guests
  - evict: guests-1
  - join: guests-1
  - {at: 9 s, join: guests-1, as: again}
  - {evict: guests, as: both}
""", hosts=hosts)  # fmt: skip
    assert failed(done) == [
        "leave: it could not be done: none of them is a member",
        "evict: it could not be done: none of them is a member",
        "again: it could not be done: all of them are members already",
    ]


def test_a_certificate_expires_with_the_time_and_not_by_jumps_alone() -> None:
    hosts = "hosts: {peers: {count: rest}, guests: {count: 2, certified: 20 s}, late: {count: 1, certified: 400 ms}}\n"
    done = played("""
timeline: [{at: 2 s, power-off: guests-1, as: early}, {at: 100 s, power-off: guests-2, as: late}]
expect:
  eventually:
    - {known-by-all: early, within: 10 s, after: early}
    - {converged: , within: 1 s, after: late}
    - {known-by-all: late, within: 1 s, after: late}
  at-end: [{told: {problem: membership-expired, hosts: [guests-2, late]}}]
""", hosts=hosts)  # fmt: skip
    assert failed(done) == [
        "eventually: known-by-all late, within 1 s, after late: after 1.0 s: none of those whom it befell is in demo"
    ]


def test_who_founds_a_mesh_is_a_member_as_long_as_it_lives() -> None:
    done = played("""
timeline: [{at: 2 s, clock: {hosts: everyone, jump: 2 h}}]
expect: {at-end: [converged, one-leader]}
lasts: 90 s
""", nodes=4, hosts="hosts: {peers: {count: 4, certified: 1 h}}\n")  # fmt: skip
    assert failed(done) == []
    assert done.seen["noticed"] == {"membership-expired": 3}


def test_a_partition_with_all_on_one_side_cannot_be() -> None:
    done = played("timeline: [{partition: [down, rest]}]\nexpect: {at-end: [converged]}\n")
    assert failed(done) == ["partition: it could not be done: all hosts are on one side now"]


@pytest.mark.parametrize("fault", ["pause: {", "loss: {share: 100 %, "])
def test_a_fault_that_began_later_goes_on_when_an_earlier_one_ends(fault: str) -> None:
    done = played(f"""
timeline:
  - {{at: 2 s, {fault}hosts: [peers-2, peers-4], lasts: 10 s}}, as: first}}
  - {{at: 7 s, {fault}hosts: peers-2}}}}
expect: {{at-end: [{{reachable: {{hosts: peers-1, to: peers-4}}}}, {{reachable: {{hosts: peers-1, to: peers-2}}}}]}}
lasts: 40 s
""")
    assert [one.held for one in done.verdicts] == [True, False]


@pytest.mark.parametrize(
    ("event", "later", "why"),
    [
        ("power-off: peers-2", "start: peers-2", "peers-2 came back"),
        ("pause: {hosts: peers-2, lasts: 300 ms}", "start: peers-3", "peers-2 came back"),
        ("partition: [peers-2, rest]", "heal: ", "it is healed"),
        ("isolate: peers-2", "heal: ", "it is healed"),
        ("restart: {hosts: peers-2, away: 20 s}", "power-off: peers-2", "peers-2 went again"),
    ],
)
def test_what_was_undone_before_all_knew_it_is_known_to_nobody(event: str, later: str, why: str) -> None:
    done = played(f"""
timeline: [{{at: 2 s, {event}, as: first}}, {{wait: 100 ms, {later}, as: later}}]
expect: {{eventually: [{{known-by-all: first, within: 10 s, after: first}}]}}
lasts: 15 s
""")
    (words,) = failed(done)
    assert words.endswith(why)


# What is so while links are cut.


def test_whom_nobody_hears_is_to_be_thought_dead_and_it_is_not_known_at_once() -> None:
    done = played("""
timeline: [{at: 5 s, isolate: leader, as: mute}, {at: 20 s, start: [peers-1, down], as: later}, {at: 40 s, heal: }]
expect:
  eventually:
    - {known-by-all: mute, within: 20 s, after: mute}
    - {converged: , within: 20 s, after: mute}
    - {one-leader: , within: 20 s, after: mute}
    - {known-by-all: mute, within: 1 s, after: later}
    - {converged: {hosts: everyone}, within: 1 s, after: later}
""")
    assert failed(done) == []
    assert all(one.at > 6.0 for one in done.verdicts), "nobody can know it in the same moment"


@pytest.mark.parametrize(
    "fault", ["isolate: {hosts: peers-2, receiving: yes}", "flap: {hosts: peers-2, lasts: 25 s, down: 25 s}"]
)
def test_what_is_thought_of_who_hears_nobody_or_flaps_is_neither_right_nor_wrong(fault: str) -> None:
    done = played(f"""
timeline: [{{at: 5 s, {fault}}}, {{at: 15 s, power-off: peers-3, as: death}}, {{at: 45 s, heal: }}]
expect:
  eventually:
    - {{known-by-all: death, within: 10 s, after: death}}
    - {{converged: , within: 10 s, after: death}}
""")
    assert failed(done) == []


def test_what_is_so_from_the_start_always_holds() -> None:
    done = played("expect: {always: [one-leader, converged, same-address, {reachable: everyone}, no-loop]}\n")
    assert failed(done) == []
    assert len(done.verdicts) == 5


# About nothing.


def test_a_check_about_nobody_does_not_hold() -> None:
    done = played("""
timeline: [{power-off: everyone}]
expect:
  at-end:
    - converged
    - one-leader
    - known-by-all: power-off
    - same-address: everyone
    - no-interface-left: running
    - unreachable: {hosts: running, to: everyone}
    - told: {problem: second-daemon, hosts: running}
    - leads-through: {hosts: everyone, prefix: "2001:db8::/32", over: peers-1}
lasts: 1 s
""")
    assert [one.held for one in done.verdicts] == [False] * 8, failed(done)


def test_who_has_left_has_no_address_that_could_be_the_same() -> None:
    done = played("""
timeline: [{leave: peers-2}, {evict: peers-3}]
expect: {at-end: [{same-address: [peers-2, peers-3]}, {same-address: everyone}]}
""")
    assert failed(done) == [
        "at-end: same-address peers-2, peers-3: none of them is up, a member, and had an address"
    ]  # fmt: skip


def test_a_member_that_has_no_address_any_more_has_not_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    members = SimulatedStage.members

    def forgotten(stage: SimulatedStage, host: str, mesh: str) -> Mapping[str, str]:
        return {} if host == "peers-3" and stage.now > 5.0 else members(stage, host, mesh)

    monkeypatch.setattr(SimulatedStage, "members", forgotten)
    done = played("timeline: [{at: 2 s, restart: peers-2}]\nexpect: {at-end: [same-address]}\n")
    (words,) = failed(done)
    assert words.endswith("in demo and has none")
    assert "peers-3 had" in words


def test_what_is_known_is_known_in_the_mesh_in_which_it_happened() -> None:
    hosts = "hosts: {home: {count: 3}, office: {count: 3}, edge: {count: 1}}\n"
    done = played("""
meshes: {home: [home], office: [office]}
bridges: {edge: [home, office]}
timeline: [{at: 2 s, kill: office-2}]
expect:
  eventually:
    - {known-by-all: kill, within: 8 s}
    - {known-by-all: {event: kill, mesh: office}, within: 8 s}
""", nodes=7, hosts=hosts)  # fmt: skip
    (words,) = failed(done)
    assert words.endswith("none of those whom it befell is in home")


def test_who_leads_is_one_of_the_members() -> None:
    done = played("""
timeline: [{at: 2 s, leave: leader}]
expect: {eventually: [{one-leader: , within: 0}, {one-leader: , within: 5 s}]}
""")
    (words,) = failed(done)
    assert "all follow " in words, "nobody has heard yet that it has left"


def test_who_is_off_has_an_address_from_the_start() -> None:
    hosts = "hosts: {peers: {count: rest}, sleepers: {count: 1, begins: off}, guests: {count: 1, begins: outside}}\n"
    done = played("""
timeline: [{start: sleepers}]
expect: {at-end: [{same-address: sleepers}, {same-address: guests}]}
""", hosts=hosts)  # fmt: skip
    assert [one.held for one in done.verdicts] == [True, False], "guests have none"


def test_traffic_to_nobody_cannot_be() -> None:
    done = played("""
timeline: [{power-off: clients}, {traffic: {hosts: peers, to: 1 of clients}}]
expect: {at-end: [{outage: 1 s}]}
lasts: 1 s
""")
    assert failed(done) == ["traffic: it could not be done: there is nobody now to whom packets could go"]


# What is sent, and where it goes.


def test_what_leads_through_somebody_arrives_there() -> None:
    hosts = 'hosts: {peers: {count: 3}, exits: {count: 2, advertises: "2001:db8::/32"}}\n'
    done = played("""
timeline: [{power-off: exits, at: 2 s}]
expect:
  always: [{leads-through: {hosts: peers, prefix: "2001:db8::/32", over: exits}}]
  eventually: [{leads-through: {hosts: peers, prefix: "2001:db8::/32", over: exits}, within: 100 ms}]
""", nodes=5, hosts=hosts)  # fmt: skip
    always, lost = done.verdicts
    assert not always.held
    assert always.at >= 2.0
    assert "lost between peers-1 and exits-" in lost.what


def test_who_starts_later_is_looked_at_from_then_on() -> None:
    hosts = "hosts: {peers: {count: 3}, late: {count: 2, begins: off}}\n"
    done = played("""
timeline: [{at: 2 s, heal: , as: before}, {at: 6 s, start: late}, {at: 30 s, partition: [late, rest]}]
expect:
  always: [{reachable: {hosts: everyone, to: running}}]
  eventually: [{reachable: {hosts: peers, to: late}, within: 20 s, after: before}]
""", nodes=5, hosts=hosts)  # fmt: skip
    always, eventually = done.verdicts
    assert not always.held, "though all who ran at first reach each other"
    assert eventually.held, eventually.what


def test_who_is_drawn_for_a_check_is_the_same_each_time() -> None:
    done = played("""
timeline: [{at: 2 s, partition: [4 of peers, rest]}]
expect:
  eventually:
    - {reachable: {hosts: 2 of peers, to: everyone}, within: 10 s}
    - {reachable: {hosts: peers-1, to: 1 of peers}, within: 10 s}
    - {reachable: {hosts: peers-1, to: 1 of peers}, within: 10 s}
    - {reachable: {hosts: peers-1, to: 1 of peers}, within: 10 s}
""", hosts="hosts: {peers: {count: 8}}\n")  # fmt: skip
    assert not any(0.0 < one.at - one.since < 10.0 and one.held for one in done.verdicts), "nobody is drawn again"
    assert 0 < len(failed(done)) < 4


def test_a_prefix_of_one_address_has_a_way_too() -> None:
    hosts = 'hosts: {peers: {count: 3}, exits: {count: 1, advertises: "2001:db8::1/128"}}\n'
    expected = 'expect: {at-end: [{leads-through: {hosts: peers, prefix: "2001:db8::1/128", over: exits}}]}\n'
    assert failed(played(expected, nodes=4, hosts=hosts)) == []


def test_ways_that_are_cut_are_no_share_of_those_behind_the_cut() -> None:
    hosts = "hosts: {left: {count: 3}, right: {count: 3}, edge: {count: 2}}\n"
    done = played("""
meshes: {a: [left], b: [right]}
bridges: {edge: [a, b]}
timeline: [{at: 2 s, partition: [left, rest]}]
expect: {eventually: [{shares-within: {factor: 2, hosts: left, to: right, over: edge}, within: 100 ms}]}
""", hosts=hosts)  # fmt: skip
    (words,) = failed(done)
    assert words.endswith("no packet goes by any of them")


def test_what_was_ever_sent_counts_at_the_end() -> None:
    done = played("""
timeline: [{at: 15 s, kill: 4 of peers}, {wait: 15 s, start: of kill}, {wait: 1 min, resume: everyone}]
expect: {always: [{bounded: {rate: 10}}], at-end: [{bounded: {rate: 10}}, {bounded: {rate: 100}}]}
""", hosts="hosts: {peers: {count: 6}}\n", nodes=6)  # fmt: skip
    assert [one.held for one in done.verdicts] == [False, False, True]


def test_the_queues_of_daemons_that_are_gone_count_too() -> None:
    done = played("timeline: [{at: 5 s, power-off: everyone}]\nexpect: {at-end: [{bounded: {queue: 0}}]}\n")
    (words,) = failed(done)
    assert words.endswith("messages waited for one actor")


def test_where_all_messages_are_lost_no_packet_arrives_and_nobody_need_be_thought_alive() -> None:
    done = played("""
timeline:
  - traffic: {hosts: peers-1, to: peers-2}
  - at: 5 s
    loss: {share: 100 %, hosts: peers-2, lasts: 30 s}
  - at: 20 s
    stop: peers-3
expect:
  always: [no-live-node-pruned]
  eventually: [{unreachable: {hosts: peers-1, to: peers-2}, within: 0}, {converged: , within: 10 s}]
  at-end: [{outage: 20 s}, {reachable: {hosts: peers-1, to: peers-2}}, converged]
lasts: 30 s
""")
    (words,) = failed(done)
    assert words.startswith("at-end: outage 20 s: peers-1 had no answer from peers-2 for ")


def test_an_outage_that_is_not_over_counts_though_no_packet_is_due() -> None:
    done = played("""
timeline: [{power-off: peers-2}, {at: 2 s, traffic: {hosts: peers-1, to: peers-2, each: 1 h}}]
expect: {at-end: [{outage: 5 s}]}
""")
    assert failed(done) == ["at-end: outage 5 s: peers-1 had no answer from peers-2 for 10.0 s"]


# Who stands still.


@pytest.mark.parametrize(("start", "last", "becomes"), [("", "stop", "daemon down"), ("start: peers-2", "start", "up")])
def test_what_is_told_one_that_stands_still_comes_about_when_it_goes_on_and_no_sooner(
    start: str, last: str, becomes: str
) -> None:
    done = played(f"""
timeline:
  - {{at: 2 s, pause: peers-2}}
  - {{at: 4 s, stop: peers-2}}
{f"  - {{at: 6 s, {start}}}" if start else ""}
  - {{at: 30 s, resume: peers-2}}
expect: {{eventually: [{{converged: , within: 15 s, after: {last}}}, {{converged: , within: 40 s, after: resume}}]}}
""")
    assert failed(done) == []
    assert done.story["after"][1][0] == becomes
