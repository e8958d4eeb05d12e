"""What verbs do in the simulated world, by themselves and one upon another."""

from __future__ import annotations

import pytest

from actors.virtual import WALL_START
from scenarios.director import Director
from scenarios.invitations import Invitations
from scenarios.network import Link
from scenarios.script_reading import parse
from scenarios.simulated_stage import SimulatedStage
from scenarios.verdicts import Play
from smeg.errors import LocalError

FAR = "hosts: {peers: {count: rest}, far: {count: 1, latency: 100 ms, loss: 20 %}}\n"
NEW = "hosts: {peers: {count: rest}, new: {count: 2, begins: outside}}\n"
PEERS = "hosts: {peers: {count: rest}}\n"


def played(text: str, hosts: str = PEERS, nodes: int = 6) -> tuple[Play, SimulatedStage]:
    script = parse(hosts + text, "made.yaml")
    stage = SimulatedStage(script, nodes, 1)
    return Director(script, stage, nodes, 1).play(), stage


def failed(done: Play) -> list[str]:
    return [f"{verdict.about}: {verdict.what}" for verdict in done.verdicts if not verdict.held]


# Links.


def test_what_befalls_a_link_comes_to_what_it_is_like_and_goes_again() -> None:
    link = Link(own_delay=0.1, own_loss=0.2)
    assert (link.delay, link.loss) == (0.1, 0.2)
    link.added_delay, link.added_loss = 0.3, 0.5
    assert link.delay == pytest.approx(0.4)
    assert link.loss == pytest.approx(1 - 0.8 * 0.5)


@pytest.mark.parametrize("end", ["{at: 2 s, delay: 0, as: a}, {loss: 0 %, as: b}", "{at: 8 s, heal: }"])
def test_who_is_far_away_and_loses_messages_is_and_does_so_after_the_weather_too(end: str) -> None:
    lasts = ", lasts: 2 s" if "heal" in end else ""
    weather = f"{{at: 1 s, delay: {{by: 10 ms{lasts}}}}}, {{loss: {{share: 1 %{lasts}}}}}"
    _, stage = played(f"timeline: [{weather}, {end}]\n", FAR)
    links = {name: player.station.link for name, player in stage.players.items() if player.station.link is not None}
    assert links == {"far-1": Link(own_delay=0.1, own_loss=0.2)}


def test_who_is_made_mute_and_then_deaf_is_both() -> None:
    isolated = "timeline: [{isolate: peers-2}, {at: 1 s, isolate: {hosts: peers-2, receiving: yes}, as: deaf}]\n"
    _, stage = played(isolated + "lasts: 40 s\n")
    seen = {name: stage.seen(name, "demo") for name in stage.players}
    thought = {name: one.silent for name, one in seen.items() if one is not None}
    others = frozenset(thought) - {"peers-2"}
    assert thought["peers-2"] == others
    assert all(thought[name] == {"peers-2"} for name in others)


# Clocks.


def test_short_jumps_of_a_clock_add_up() -> None:
    _, stage = played("timeline: [{clock: {hosts: peers-2, jump: 400 ms}}, {clock: {hosts: peers-2, jump: 400 ms}}]\n")
    runtime = stage.world.runtime
    stage.run(0.5 - runtime.time % 1)
    runtimes = [stage.players[name].runtime for name in ("peers-1", "peers-2")]
    assert [host.wall() - WALL_START for host in runtimes] == [int(runtime.time), int(runtime.time) + 1]


# Traffic.


def test_no_outage_lasts_on_while_nothing_is_sent() -> None:
    done, _ = played("""
timeline:
  - {at: 1 s, traffic: {hosts: peers-2, to: peers-3, lasts: 5 s}, as: first}
  - {at: 5 s, partition: [peers-2, rest]}
  - {at: 10 s, heal: }
  - {at: 60 s, traffic: {hosts: peers-2, to: peers-3, lasts: 5 s}, as: second}
expect: {at-end: [{outage: 2 s}]}
""")
    assert failed(done) == []


# Joining.


def test_who_joins_right_after_an_invitation_was_asked_for_comes_by_that_one() -> None:
    done, stage = played("timeline: [{invite: 1}, {join: new}]\nexpect: {at-end: [converged]}\nlasts: 5 s\n", NEW)
    assert len(failed(done)) == 1
    assert [name for name in ("new-1", "new-2") if stage.is_member("peers-1", "demo", name)] in (["new-1"], ["new-2"])
    assert done.seen["noticed"].get("token-used")
    done, _ = played("timeline: [{invite: 2}, {join: new}]\nexpect: {eventually: [{converged: , within: 5 s}]}\n", NEW)
    assert failed(done) == []


def test_an_invitation_is_waited_for_and_of_several_the_last_counts() -> None:
    invitations, used = Invitations[str](), list[str]()
    assert not invitations.use("mesh", used.append)
    invitations.asked_for("mesh")
    invitations.asked_for("mesh")
    assert invitations.use("mesh", used.append)
    invitations.answered("mesh", "one")
    assert used == []
    invitations.answered("mesh", "two")
    assert used == ["two"]
    assert invitations.use("mesh", used.append)
    assert used == ["two", "two"]


def test_who_waits_for_an_invitation_that_is_refused_uses_the_one_before_if_there_is_one() -> None:
    invitations, used = Invitations[str](), list[str]()
    for mesh in ("old", "new"):
        invitations.asked_for(mesh)
    invitations.answered("old", "before")
    invitations.asked_for("old")
    for mesh in ("old", "new"):
        assert invitations.use(mesh, used.append)
        invitations.answered(mesh, None)
    assert used == ["before"]


# NATs.


def test_who_is_behind_no_nat_has_none_that_could_forget_anything() -> None:
    hosts = (
        "hosts: {peers: {count: rest}, clients: {count: 1, role: client}, phones: {count: 1, role: client, nat: yes}}\n"
    )
    for whom in ("clients", "clients-1", "[clients, peers-2]", "50 % of peers"):
        with pytest.raises(LocalError, match="behind no NAT"):
            parse(f"{hosts}timeline: [{{nat-rebind: {whom}}}]\n", "made.yaml")
    done, _ = played("timeline: [{nat-rebind: phones}, {nat-rebind: role client, as: all}]\n", hosts)
    assert failed(done) == ["all: it could not be done: clients-1: not behind a NAT"]
