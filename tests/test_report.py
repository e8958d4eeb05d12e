"""The report of a run: a browser shows what the record says, nothing is loaded, and equal runs have equal pages."""

from __future__ import annotations

import zlib
from base64 import b64decode
from pathlib import Path
from struct import unpack
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios import report, run_record
from scenarios.director import Director
from scenarios.markup import picture
from scenarios.report_minds import ALIVE, COLUMNS, KNOWN, OUTSIDE, SHADES, UNKNOWN, WRONG, raster
from scenarios.report_run import told
from scenarios.script_reading import parse
from scenarios.simulated_stage import SimulatedStage
from smeg.errors import LocalError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SCRIPT = """
about: <b>one</b> dies & returns; too much is asked
hosts:
  peers: {count: rest}
  laptops: {count: 2, role: client, nat: yes}
  guests: {count: 1, begins: outside}
timeline:
  - at: 4 s
    power-off: peers-2
    as: blackout
  - wait: 8 s
    start: of blackout
    as: return
  - wait: 3 s
    join: guests
expect:
  always: [no-live-node-pruned]
  eventually:
    - known-by-all: blackout
      within: 1 s
      after: blackout
    - known-by-all: return
      within: 10 s
      after: return
"""


def recorded(folder: Path, text: str = SCRIPT, nodes: int = 9, seed: int = 1) -> Path:
    script = parse(text, "made.yaml")
    stage = SimulatedStage(script, nodes, seed)
    done = Director(script, stage, nodes, seed).play()
    origin = run_record.Origin("made.yaml", text, "simulated", nodes, seed)
    record = origin.record_in(folder)
    run_record.write(record, origin, stage.limits(script), done)
    return record


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("run"))


def moments(row: bytes, begin: float, end: float, span: float) -> set[int]:
    """What a row of the raster holds between two times."""
    return set(row[int(begin / span * COLUMNS) : int(end / span * COLUMNS)])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_shows_the_run_from_a_file_and_asks_for_nothing_else(
    browser: Browser, record: Path, scheme: Any
) -> None:
    written = report.write(record)
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text))
    page.on("request", lambda asked: wrong.append(asked.url) if asked.url.startswith("http") else None)
    page.goto(written.as_uri())
    text = page.inner_text("body")
    assert "<b>one</b> dies & returns" in text
    assert "✗ 1 of 3 failed" in text
    assert "smeg-scenario run made.yaml --nodes 9 --seed 1" in text
    for name in ("What had to hold", "Who knew what when", "Leader and liveness", "What was sent", "Before and after"):
        assert name in text
    drawn = page.text_content(".faults") or ""
    assert "blackout: power-off peers-2" in drawn
    assert page.locator(f".raster.{scheme}").is_visible()
    assert [page.locator(".topology").nth(number).locator(".cross").count() for number in range(3)] == [0, 1, 0]
    page.focus(".strip.faults")
    page.keyboard.press("Shift+ArrowRight")
    assert "thought alive" in page.inner_text("#cursor")
    context.close()
    assert wrong == []


def test_a_page_is_whole_without_its_script_and_names_no_other_place(record: Path) -> None:
    page = report.page(orjson.loads(record.read_bytes()), record.name)
    marked, _, _ = page.partition("<script")
    for verdict in orjson.loads(record.read_bytes())["verdicts"]:
        assert verdict["about"].partition(": ")[2] in marked
    assert "<b>one" not in page
    assert not any(f'{key}="http' in page or f"{key}='http" in page for key in ("src", "href"))
    assert "url(" not in page


def test_equal_seeds_make_equal_pages_and_another_seed_another(tmp_path: Path, record: Path) -> None:
    first = report.write(record).read_bytes()
    assert report.write(recorded(tmp_path / "again")).read_bytes() == first
    assert report.write(recorded(tmp_path / "other", seed=2)).read_bytes() != first


def test_the_raster_shows_who_was_down_since_when_that_was_known_and_who_came_late(record: Path) -> None:
    run = told(orjson.loads(record.read_bytes()))
    seen = raster(run)
    rows = {names[0]: row for names, row in zip(seen.hosts, seen.rows, strict=True)}
    dead = rows["peers-2"]
    assert moments(dead, 0.5, 3.8, run.span) == {ALIVE}
    assert moments(dead, 4.1, 5.5, run.span) == {UNKNOWN}
    assert moments(dead, 9.0, 11.8, run.span) == {KNOWN + SHADES - 1}
    assert dead[-1] == ALIVE
    assert moments(rows["guests-1"], 0.5, 14.5, run.span) == {OUTSIDE}
    assert set(rows["peers-1"]) == {ALIVE}
    assert not any(value >= WRONG for value in rows["guests-1"])


def test_what_is_no_record_or_tells_no_story_makes_no_page(record: Path) -> None:
    said = orjson.loads(record.read_bytes())
    del said["story"]
    for wrong in (said, {}, {**said, "story": {"meshes": 5}}):
        with pytest.raises(LocalError, match="no report"):
            report.page(wrong, record.name)


CALM = """
hosts: {peers: {count: rest}}
timeline:
  - {at: 1 s, loss: 5 %, as: rain}
  - {at: 9 s, loss: 0 %, as: sun}
  - {at: 12 s, delay: 0, as: ease}
  - {at: 14 s, duplicate: 0 %, as: once}
lasts: 20 s
"""


def test_what_ends_a_fault_is_drawn_as_a_moment_and_as_no_fault(tmp_path: Path) -> None:
    run = told(orjson.loads(recorded(tmp_path, CALM, nodes=4).read_bytes()))
    assert [(event.name, event.at, event.until, event.ends) for event in run.events] == [
        ("rain", 1.0, 9.0, False), ("sun", 9.0, 9.0, True), ("ease", 12.0, 12.0, True), ("once", 14.0, 14.0, True),
    ]  # fmt: skip
    drawn = report.page(orjson.loads(recorded(tmp_path, CALM, nodes=4).read_bytes()), "calm.json")
    assert "sun: loss ends for everyone" in drawn
    assert "once: duplicate ends<" in drawn


def test_of_a_run_of_which_nothing_was_expected_no_success_is_claimed(tmp_path: Path) -> None:
    page = report.page(orjson.loads(recorded(tmp_path, CALM, nodes=4).read_bytes()), "calm.json")
    assert 'class="verdict none">nothing was expected<' in page
    assert "✓" not in page
    assert "What had to hold" not in page


def test_a_page_says_how_its_run_is_repeated_whatever_its_names_are(record: Path) -> None:
    said = orjson.loads(record.read_bytes())
    page = report.page({**said, "source": "my case.yaml", "patience": 2.5}, "my case-simulated-9-1.json")
    assert "smeg-scenario replay &#x27;my case-simulated-9-1.json&#x27;<" in page
    assert "smeg-scenario run &#x27;my case.yaml&#x27; --nodes 9 --seed 1 --patience 2.5<" in page


def test_what_may_take_some_time_has_as_much_as_patience_gave_it(record: Path) -> None:
    said = orjson.loads(record.read_bytes())
    within = [one.within for one in told(said).verdicts if one.within]
    assert [one.within for one in told({**said, "patience": 3.0}).verdicts if one.within] == [3 * one for one in within]


def test_two_events_of_one_verb_are_two_each_with_its_own_time(tmp_path: Path) -> None:
    text = """
hosts: {peers: {count: 5}}
timeline: [{at: 1 s, pause: {hosts: peers-2, lasts: 5 s}}, {at: 20 s, pause: {hosts: peers-3, lasts: 2 s}}]
"""
    first, second = told(orjson.loads(recorded(tmp_path, text, 5).read_bytes())).events
    assert (first.hosts, second.hosts) == (("peers-2",), ("peers-3",))
    assert (first.at, first.until, second.at, second.until) == pytest.approx((1.0, 6.0, 20.0, 22.0), abs=0.2)


ROWS = st.integers(1, 40).flatmap(lambda wide: st.lists(st.binary(min_size=wide, max_size=wide), min_size=1))


@given(ROWS)
def test_a_picture_holds_its_rows(rows: list[bytes]) -> None:
    image = b64decode(picture(rows, [(value, value, value, 255) for value in range(256)]).partition(",")[2])
    assert unpack(">II", image[16:24]) == (len(rows[0]), len(rows))
    at = image.index(b"IDAT")
    length = unpack(">I", image[at - 4 : at])[0]
    assert zlib.decompress(image[at + 4 : at + 4 + length]) == b"".join(b"\0" + row for row in rows)
