"""A long run: the scripts of one seed after another are drawn and played in the simulated world, and what fails is
kept, with the smallest version of it that still fails.

A folder holds an account of what was played, so that a later run goes on where this one ended.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from scenarios.attempt import Case, Outcome, attempt
from scenarios.drawing import draw
from scenarios.process_pool import process_pool
from scenarios.run_record import put
from scenarios.script_writing import write
from scenarios.shrinking import Shrinking, story
from smeg import __version__
from smeg.errors import LocalError

FORM = 1
ACCOUNT = "soak.json"
MOST_KEPT = 100
"""failures that are kept; later ones are counted."""
UNDOING = frozenset({"start", "resume", "heal", "advertise", "invite"})
"""Verbs that are no faults."""
AHEAD = 2
"""scripts that wait for each process."""
PROGRESS = 20.0
"""seconds between two lines of progress."""
Tell = Callable[[str], None]


@dataclass(slots=True)
class Account:
    """What a soak has survived."""

    first: int
    following: int
    """The next seed."""
    seconds: float = 0.0
    """Of virtual time."""
    scripts: int = 0
    deeds: dict[str, int] = field(default_factory=dict)
    """How many hosts each verb befell."""
    failed: dict[str, dict[str, str]] = field(default_factory=dict)
    """By seed: what failed, and how."""
    unkept: int = 0
    """How many failed after `MOST_KEPT`."""

    @property
    def hours(self) -> float:
        return self.seconds / 3600

    @property
    def faults(self) -> int:
        return sum(count for verb, count in self.deeds.items() if verb not in UNDOING)

    def add(self, seed: int, outcome: Outcome) -> None:
        self.following = seed + 1
        self.seconds = round(self.seconds + outcome.seconds, 3)
        self.scripts += 1
        self.deeds = dict(sorted((Counter(self.deeds) + outcome.deeds).items()))
        if outcome.failures and len(self.failed) >= MOST_KEPT:
            self.unkept += 1
        elif outcome.failures:
            self.failed[str(seed)] = outcome.failures


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a soak ends, and how much it takes."""

    minutes: float
    """Of real time."""
    hours: float
    """Of virtual time, all of the account together; 0 for no such bound."""
    jobs: int
    tries: int
    """runs in which a failure is shrunk."""


def play_drawn(seed: int) -> Outcome:
    """Draw and play the script of a seed."""
    script = draw(seed)
    return attempt(Case(script, script.nodes, seed))


def shrink_drawn(seed: int, tries: int) -> str:
    """The smallest version of a seed's script that still fails, as YAML text."""
    script = draw(seed)
    first = Case(script, script.nodes, seed)
    shrunk = Shrinking(first, attempt(first), attempt, tries).shrink()
    return write(shrunk.case.script, story(shrunk, first, Path(f"drawn-{seed}-shrunk.yaml")))


def soak(account: Account, bounds: Bounds, keep: Path | None, tell: Tell) -> None:
    """Play until a bound is met; `account` is complete at every moment, and on disk if there is a folder.

    Raises `LocalError` where the folder cannot be written.
    """
    end = time.monotonic() + bounds.minutes * 60
    told = time.monotonic()
    with process_pool(bounds.jobs) as pool:
        try:
            for seed, outcome in _outcomes(pool, account, bounds, end):
                account.add(seed, outcome)
                if outcome.failures:
                    tell(f"drawn-{seed} fails: {next(iter(outcome.failures.values()))}")
                    if keep is not None and str(seed) in account.failed:
                        _keep(keep, seed, outcome, pool.submit(shrink_drawn, seed, bounds.tries).result())
                if keep is not None:
                    save(account, keep)
                if time.monotonic() > told + PROGRESS:
                    told = time.monotonic()
                    tell(f"{account.hours:.1f} virtual hours, {account.scripts} scripts, {len(account.failed)} failed")
        finally:
            pool.shutdown(cancel_futures=True)


def _outcomes(pool: Executor, account: Account, bounds: Bounds, end: float) -> Iterator[tuple[int, Outcome]]:
    """In the order of their seeds."""
    waiting: deque[tuple[int, Future[Outcome]]] = deque()
    seed = account.following
    while True:
        enough = bool(bounds.hours) and account.hours >= bounds.hours
        while len(waiting) < bounds.jobs * AHEAD and time.monotonic() < end and not enough:
            waiting.append((seed, pool.submit(play_drawn, seed)))
            seed += 1
        if not waiting or enough:
            return
        played, future = waiting.popleft()
        yield played, future.result()


def _keep(folder: Path, seed: int, outcome: Outcome, shrunk: str) -> None:
    text = write(draw(seed), [f"It fails with --seed {seed}:", *(f"  {words}" for words in outcome.failures.values())])
    _write(folder / f"drawn-{seed}.yaml", text.encode())
    _write(folder / f"drawn-{seed}-shrunk.yaml", shrunk.encode())


# The account on disk.


def save(account: Account, folder: Path) -> None:
    said = {"form": FORM, "version": __version__, **asdict(account)}
    _write(folder / ACCOUNT, orjson.dumps(said, option=orjson.OPT_INDENT_2))


def load(folder: Path, first: int) -> Account:
    """That of a folder, or a new one that begins with this seed. Raises `LocalError` for what is none."""
    path = folder / ACCOUNT
    if not path.exists():
        return Account(first, first)
    try:
        said: dict[str, Any] = orjson.loads(path.read_bytes())
        if said.pop("form") != FORM:
            raise ValueError("another form")
        said.pop("version")
        account = Account(**said)
        _check(account)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        hint = "name another folder, or remove the file"
        raise LocalError("bad-account", f"{path} is no account of a soak: {error!r}", hint) from error
    return account


def _check(account: Account) -> None:
    """Raises `ValueError` or `TypeError`."""
    numbers = (account.first, account.following, account.scripts, account.unkept, *account.deeds.values())
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or not account.seconds >= 0:
        raise ValueError("a number is wrong")
    if not all(isinstance(said, dict) for said in account.failed.values()):
        raise TypeError("a failure is no mapping")


def _write(path: Path, content: bytes) -> None:
    try:
        put(path, content)
    except OSError as error:
        raise LocalError("folder-unwritable", f"cannot write {path}: {error}", "name another folder") from error
