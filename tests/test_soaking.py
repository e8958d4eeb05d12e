"""A soak: what is played follows from the seed, what fails is kept, and a later run goes on."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scenarios.attempt import Case, Outcome, attempt
from scenarios.hosts import children
from scenarios.run import main
from scenarios.script_reading import parse
from scenarios.soaking import MOST_KEPT, Account, load, play_drawn, save
from scenarios.statuses import FAILED, HELD, IMPOSSIBLE
from smeg.errors import LocalError
from smeg.heartbeat import Heartbeat
from smeg.watch import Watch
from tests.backend_conformance import until


def scenario(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_it_counts_what_it_survives_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    first = scenario("soak", "--hours", "0.01", "--minutes", "1", "--seed", "5", "--keep", str(tmp_path))
    assert first.exit_code == HELD, first.output
    assert "seeds 5 to " in first.stdout
    account = load(tmp_path, 1)
    assert account.first == 5
    assert account.hours >= 0.01
    assert account.scripts == account.following - 5 > 0
    second = scenario("soak", "--minutes", "0", "--keep", str(tmp_path))
    assert f"goes on with seed {account.following}" in second.stderr
    assert load(tmp_path, 1) == account


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it looks into /proc")
def test_its_processes_end_with_it_however_it_ends() -> None:
    command = [sys.executable, "-m", "scenarios.run", "soak", "--minutes", "5", "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as soaking:
        # One more keeps account of what the others hold.
        until(lambda: len(children(soaking.pid)) >= 3)
        started = children(soaking.pid)
        soaking.kill()
    until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in started))


def test_a_folder_that_cannot_be_written_is_found_before_anything_is_played(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    refused = scenario("soak", "--minutes", "1", "--keep", str(tmp_path / "taken" / "kept"))
    assert refused.exit_code == IMPOSSIBLE
    assert "cannot write" in refused.stderr
    assert refused.stdout == ""


def test_a_seed_is_played_the_same_again() -> None:
    assert play_drawn(5) == play_drawn(5)
    assert play_drawn(5).trace != play_drawn(6).trace


def test_an_account_adds_up() -> None:
    account = Account(1, 1)
    account.add(1, Outcome({}, 1800.0, Counter({"kill": 2, "start": 2})))
    account.add(2, Outcome({"converged": "not"}, 1800.0, Counter({"kill": 1})))
    assert (account.hours, account.faults, account.scripts, account.following) == (1.0, 3, 2, 3)
    assert account.failed == {"2": {"converged": "not"}}
    for seed in range(3, MOST_KEPT + 5):
        account.add(seed, Outcome({"converged": "not"}))
    assert (len(account.failed), account.unkept) == (MOST_KEPT, 3)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"form": 2}', '{"form": 1, "version": "1", "first": -1, "following": 2}']
)
def test_what_is_no_account_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "soak.json").write_text(content)
    refused = scenario("soak", "--minutes", "0", "--keep", str(tmp_path))
    assert refused.exit_code == IMPOSSIBLE
    assert "no account of a soak" in refused.stderr
    with pytest.raises(LocalError):
        load(tmp_path, 1)
    save(Account(3, 4), tmp_path)
    assert load(tmp_path, 1) == Account(3, 4)


# What an attempt says.

SCRIPT = """
hosts: {peers: {count: 5}}
timeline: [{at: 2 s, isolate: {hosts: peers-1, receiving: yes}}, {wait: 9 s, kill: clients-9 }, {wait: 30 s, heal: }]
expect: {always: [no-live-node-pruned], at-end: [one-leader]}
"""


def test_a_failure_has_the_kind_of_its_check_and_may_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    script = parse(SCRIPT.replace("{wait: 9 s, kill: clients-9 }, ", ""), "made.yaml")
    assert attempt(Case(script, 5, 1)).failures == {}
    monkeypatch.setattr(Heartbeat, "_is_cut_off", lambda self, now: False)
    monkeypatch.setattr(Watch, "_quorum", lambda self, places: 1)
    monkeypatch.setattr(Watch, "_accusers", lambda self: 1)
    whole = attempt(Case(script, 5, 1))
    assert "no-live-node-pruned" in whole.failures
    assert attempt(Case(script, 5, 1), ["no-live-node-pruned"]).seconds < whole.seconds - 10.0


def test_an_actor_that_fails_is_a_kind_of_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Heartbeat, now: float) -> None:
        if now > 14.0:
            raise ZeroDivisionError("put in")

    monkeypatch.setattr(Heartbeat, "_excuse", fail)
    found = attempt(Case(parse("hosts: {peers: {count: 3}}\n", "made.yaml"), 3, 1))
    assert list(found.failures) == ["heartbeat failed: ZeroDivisionError"]


def test_an_event_that_cannot_be_is_a_kind_of_failure() -> None:
    script = parse("hosts: {peers: {count: 3}}\ntimeline: [{power-off: everyone}, {kill: running}]\n", "made.yaml")
    assert list(attempt(Case(script, 3, 1)).failures) == ["kill cannot be done"]


def test_the_command_says_how_to_repeat_a_failure(tmp_path: Path) -> None:
    save(Account(1, 8, 10.0, 7, {"kill": 1}, {"7": {"converged": "eventually: converged: not"}}), tmp_path)
    said = scenario("soak", "--minutes", "0", "--keep", str(tmp_path))
    assert said.exit_code == FAILED
    assert "drawn-7: eventually: converged: not" in said.stdout
    assert "smeg-scenario draw 7" in said.stdout
    assert scenario("draw", "7").stdout.startswith("name: drawn-7\n")
