"""The page in a real browser: what it shows of meshes of any size, and that its actions change a real one."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, combinations
from math import dist, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api_service import Service, api_service
from tests.canned_daemon import canned_daemon
from tests.canned_meshes import Meshes, alone, many, twenty
from tests.loopback import end_at_last
from tests.nodes import PATIENCE, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

Scheme = Literal["light", "dark"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

FILES = Path(__file__).parent.parent / "smeg" / "api" / "page"
PICTURES = os.environ.get("SMEG_PICTURES")
"""A folder in which pictures of the page are kept."""
MESHES = st.lists(st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=1, max_size=90), max_size=4)
"""Of each node whether it is a client, and of whom, and whether it is in each mesh that has a bridge of its place."""


@pytest.fixture(scope="module")
def bare(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page without a token, for its modules."""
    with api_service(tmp_path_factory.mktemp("bare"), Path("/nowhere")) as api:
        page = browser.new_page()
        page.goto(api.url)
        yield page
        page.close()


@contextmanager
def opened(browser: Browser, api: Service, scheme: Scheme = "light") -> Iterator[Page]:
    """The page with the token, when it is live; nothing may go wrong in it, or be loaded from elsewhere."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(20_000 * PATIENCE)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: None if asked.url.startswith((api.url, "data:")) else wrong.append(asked.url))
    page.goto(f"{api.url}/#token={api.token}")
    page.wait_for_selector("#live.good")
    yield page
    context.close()
    assert not wrong


@contextmanager
def shown(browser: Browser, folder: Path, meshes: Meshes, scheme: Scheme = "light") -> Iterator[Page]:
    with canned_daemon(folder / "run" / "control.sock") as daemon:
        meshes.serve(daemon)
        with api_service(folder / "api", daemon.path) as api, opened(browser, api, scheme) as page:
            yield page


def keep(page: Page, name: str) -> None:
    if PICTURES:
        # As if it had been open for a while.
        for _ in range(40 if name.startswith("twenty") else 1):
            page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
            page.wait_for_timeout(150)
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(700)
        page.screenshot(path=Path(PICTURES) / f"page-{name}.png")


def until(page: Page, condition: str) -> None:
    """Not by the browser's own waiting, which needs what the page's Content-Security-Policy forbids."""
    wait_for(condition, lambda: bool(page.evaluate(condition)), 20)


def test_without_the_token_it_asks_for_it_and_takes_only_the_right_one(browser: Browser, tmp_path: Path) -> None:
    with canned_daemon(tmp_path / "run" / "control.sock") as daemon:
        alone().serve(daemon)
        with api_service(tmp_path / "api", daemon.path) as api:
            page = browser.new_page()
            page.goto(api.url)
            page.get_by_label("Token").fill("x" * 43)
            page.get_by_role("button", name="Open").click()
            page.get_by_role("alert").wait_for()
            assert not daemon.asked
            page.get_by_label("Token").fill(api.token)
            page.get_by_role("button", name="Open").click()
            page.wait_for_selector("#live.good")
            assert api.token not in page.url
            page.close()


def test_a_node_in_no_mesh_is_told_what_to_do(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, Meshes()) as page:
        page.get_by_role("button", name="Make a mesh").wait_for()
        page.get_by_role("button", name="Join by a token").wait_for()
        assert page.evaluate("document.querySelector('header').getBoundingClientRect().left") == 0
        keep(page, "none")


def test_a_mesh_of_one_offers_to_invite(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, alone()) as page:
        page.get_by_role("button", name="Invite somebody").wait_for()
        keep(page, "empty")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_twenty_nodes_are_shown_with_what_became_of_them(browser: Browser, tmp_path: Path, scheme: Scheme) -> None:
    with shown(browser, tmp_path, twenty(), scheme) as page:
        assert page.get_by_role("tab").all_inner_texts() == ["All20", "europe14", "asia9"]
        chips = page.locator("#chips button").all_inner_texts()
        assert [" ".join(chip.split()) for chip in chips] == ["alive 20", "daemon-down 1", "pruned 1", "quarantined 1"]
        page.locator("#search").fill("laptop-ada")
        page.locator(".rows .row").first.click()
        page.get_by_role("heading", name="laptop-ada").wait_for()
        page.get_by_role("button", name="Way from here").click()
        page.locator("#way").get_by_text("paris-1 → porto-1 → laptop-ada").wait_for()
        page.locator("#search").fill("")
        keep(page, f"twenty-{scheme}")
        page.locator("#search").fill("phone-ada")
        page.locator(".rows .row").first.click(modifiers=["Shift"])
        page.locator("#way").get_by_text("laptop-ada → porto-1 → turin-1 → phone-ada").wait_for()
        page.locator("#events").get_by_role("button", name="cairo-1").click()
        page.locator("#detail").get_by_text("What happened to it").wait_for()


def test_states_are_told_apart_by_shape_alone(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, twenty()) as page:
        signs = page.evaluate(
            "() => [...document.querySelectorAll('#legend svg')].map((sign) =>"
            " sign.classList[1] === 'alive' ? sign.innerHTML : sign.querySelector('.mark').getAttribute('d'))"
        )
        assert len(set(signs)) == len(signs) == 7


def test_three_thousand_are_sorted_filtered_and_scrolled_with_few_rows_in_the_page(
    browser: Browser, tmp_path: Path
) -> None:
    with shown(browser, tmp_path, many(3000)) as page:
        page.get_by_text("3,000 members").wait_for()
        keep(page, "3000")
        assert page.locator("#table").get_attribute("aria-rowcount") == "3001"
        assert page.locator(".rows .row").count() < 40
        page.locator("#search").fill("role:client state:pruned")
        until(page, "document.querySelector('#shown').textContent.includes('of 3,000 shown')")
        # The rows come with the next frame.
        states = "[...document.querySelectorAll('.rows .cell.state')].map(cell => cell.innerText)"
        until(page, f"new Set({states}).size === 1 && {states}[0] === 'pruned'")
        page.locator("#search").fill("")
        page.get_by_role("button", name="Received").click()
        page.locator("#table").press("End")
        until(page, "document.querySelector('.rows .row:last-child').ariaRowIndex === '3001'")
        assert page.locator(".rows .row").count() < 40
        assert page.locator(".rows .row:last-child .received").inner_text() == "0 B"
        # What the browser's own clock says of a frame while everything is sorted anew, again and again.
        spent = page.evaluate(
            """async () => {
              const button = document.querySelector('.head .name button'), spent = [];
              for (let turn = 0; turn < 10; turn++) {
                const began = performance.now();
                button.click();
                await new Promise(requestAnimationFrame);
                await new Promise(requestAnimationFrame);
                spent.push(performance.now() - began);
              }
              return spent.sort((one, other) => one - other)[5];
            }"""
        )
        assert spent < 1000 * PATIENCE


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(meshes=MESHES, ghosts=st.lists(st.integers(0, 3), max_size=4))
def test_every_node_has_a_place_of_its_own(browser: Browser, bare: Page, meshes: list[Any], ghosts: list[int]) -> None:
    flags = Counter(place for nodes in meshes for place, (_, bridge) in enumerate(nodes) if bridge)
    meshes = [
        [(client, bridge and flags[place] > 1) for place, (client, bridge) in enumerate(nodes)] for nodes in meshes
    ]
    members = [
        [
            {"id": f"{'b' if bridge else at}-{place}", "client": client > 0 and not bridge, "bridge": bridge,
             "carrier": f"{'b' if client <= len(nodes) and nodes[client - 1][1] else at}-{client - 1}"}
            for place, (client, bridge) in enumerate(nodes)
        ]
        for at, nodes in enumerate(meshes)
    ]  # fmt: skip
    drawn = [{"id": f"m{at}", "name": f"m{at}", "members": rows} for at, rows in enumerate(members)]
    beyond = [{"name": f"g{at}", "from": f"m{mesh}", "bridges": []} for at, mesh in enumerate(ghosts)]
    found = bare.evaluate(
        """async ([meshes, ghosts]) => {
          const { layout } = await import("/layout.js");
          const { places, hubs } = layout(meshes, ghosts.map((one) => ({ ...one, bridges: new Set() })));
          return [[...places], hubs.map((hub) => [hub.x, hub.y, hub.radius])];
        }""",
        [drawn, beyond],
    )
    places = {name: (spot["x"], spot["y"]) for name, spot in found[0]}
    assert set(places) == {row["id"] for rows in members for row in rows}
    assert all(map(isfinite, chain(*places.values(), *found[1])))
    for (_, one), (_, other) in combinations(places.items(), 2):
        assert dist(one, other) > 4
    for one, other in combinations(found[1][: len(drawn)], 2):
        assert dist(one[:2], other[:2]) > one[2] + other[2]


def test_a_keyboard_is_enough(browser: Browser, tmp_path: Path) -> None:
    with shown(browser, tmp_path, twenty()) as page:
        page.keyboard.press("l")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowDown")
        page.locator("#detail").get_by_role("heading", name="bridge-a").wait_for()
        page.keyboard.press("g")
        page.keyboard.press("ArrowDown")
        until(page, "!document.querySelector('#detail h2').textContent.startsWith('bridge-a')")
        page.keyboard.press("Escape")
        page.locator("#detail .mesh").first.wait_for()
        page.keyboard.press("/")
        page.keyboard.type("tokyo-1")
        until(page, "document.querySelectorAll('.rows .row').length === 1")
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        page.locator("dialog").get_by_role("heading", name="Keys").wait_for()
        page.keyboard.press("Escape")
        page.keyboard.press("t")
        assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_what_happens_is_shown_as_it_happens(browser: Browser, tmp_path: Path) -> None:
    made = twenty()
    with shown(browser, tmp_path, made) as page:
        made.members["europe"][2]["state"] = "pruned"
        made.happened("pruned", "europe", "turin-1")
        page.locator("#events li").first.get_by_text("turin-1").wait_for()
        page.locator("#chips").get_by_text("pruned 2").wait_for()


def test_its_actions_change_a_real_mesh(browser: Browser, tmp_path: Path) -> None:
    with end_at_last() as make:
        own, other = make(tmp_path / "own"), make(tmp_path / "other")
        own.start()
        other.start()
        with api_service(tmp_path / "api", own.socket) as api, opened(browser, api) as page:
            page.get_by_role("button", name="Make a mesh").click()
            page.get_by_label("Name").fill("paris")
            page.get_by_role("button", name="Make it").click()
            page.get_by_role("button", name="Invite somebody").click()
            page.get_by_role("button", name="Make a token").click()
            token = page.get_by_label("Token").input_value()
            page.locator("img.qr").wait_for()
            assert page.evaluate("document.querySelector('img.qr').naturalWidth") > 100
            page.get_by_role("button", name="Close").click()
            other.ask("join-mesh", token=token)
            page.locator(".rows .row", has_text="other").click()
            page.locator("#events").get_by_text("other").first.wait_for()

            page.get_by_role("button", name="Meshes…").click()
            page.get_by_role("button", name="Let a phone in").click()
            page.get_by_label("Its name").fill("phone")
            page.get_by_role("button", name="Let it in").click()
            assert "PrivateKey" in page.get_by_label("Configuration").input_value()
            page.get_by_role("button", name="Close").click()
            page.keyboard.press("Escape")
            page.locator("#detail").get_by_role("button", name="remove").click()
            page.get_by_role("button", name="Remove", exact=True).click()
            wait_for("it is let in no more", lambda: "statics" not in own.ask("members", mesh="paris"), 10)

            other.does("export", "paris", "--static", "tablet", "--output", str(tmp_path / "tablet.conf"))
            page.locator("#detail").get_by_role("button", name="evict", exact=True).click()
            page.locator("dialog").get_by_role("button", name="Evict", exact=True).click()
            wait_for("it is evicted", lambda: "statics" not in other.ask("members", mesh="paris"), 10)

            _row(page, "own").click()
            page.get_by_role("button", name="Alias, description").click()
            page.get_by_label("Alias").fill("gate")
            page.get_by_label("Description").fill("<b>the office</b>")
            page.get_by_role("button", name="Tell the mesh").click()
            page.locator("#detail").get_by_text("<b>the office</b>").wait_for()
            wait_for("the other knows", lambda: other.members("paris")["own"]["alias"] == "gate", 10)

            _row(page, "other").click()
            page.get_by_role("button", name="Evict…").click()
            page.get_by_label("Type other").fill("another")
            page.locator("dialog").get_by_role("button", name="Evict", exact=True).click()
            page.get_by_role("alert").wait_for()
            assert "other" in own.members("paris")
            page.get_by_label("Type other").fill("other")
            page.locator("dialog").get_by_role("button", name="Evict", exact=True).click()
            wait_for("it is gone", lambda: "other" not in own.members("paris"), 10)
            page.get_by_text("1 member").wait_for()


def _row(page: Page, name: str) -> Locator:
    return page.locator(".rows .row", has=page.locator(".cell.name", has_text=re.compile(rf"^{name}")))


def test_the_page_loads_nothing_from_elsewhere_and_has_no_code_or_style_of_its_own_in_it() -> None:
    said: Callable[[str], str] = lambda name: (FILES / name).read_text()  # noqa: E731
    files = [path.name for path in FILES.iterdir()]
    for name in files:
        found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", said(name))) - {"http://www.w3.org"}
        assert not found, (name, found)
        assert not re.search(r"(inner|outer|Adjacent)HTML|document\.write|\beval\b|\bFunction\(", said(name))
    markup = said("index.html")
    assert not re.search(r"\son\w+=|\sstyle=|<style|<script(?![^>]*\ssrc=)", markup)
    linked = set(re.findall(r'(?:src|href)="([^"#]+)"', markup))
    assert linked <= set(files)
    imported = {found for name in files for found in re.findall(r'from "\./([^"]+)"', said(name))}
    assert imported <= set(files)
