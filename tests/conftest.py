"""What tests of several files share that pytest has to hand to them, and which files go first."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LONGEST = (
    "scenario_library", "page", "discovery", "doubt", "recovery", "bridges_side_by_side", "names_on_hosts",
    "real_scenarios", "real_mesh", "soaking", "bad_hosts", "exits_on_hosts", "simulation", "api", "verdicts", "refresh",
    "clients", "shrinking", "at_size", "exit_probe_on_hosts", "convergence", "store", "api_guard", "restart",
    "bridged_namespaces", "own_annexes",
)  # fmt: skip
"""Files of half a minute to one and a half. Whoever began with one of them last would keep the others waiting."""
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

# What a shell starts in the background ignores interrupts, and so would all that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (the extra `page`)")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this host")
    with sync_api.sync_playwright() as playwright:
        # Its sandbox needs what root in a container lacks; it is shown this page only.
        made = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield made
        made.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {f"test_{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(LONGEST)))
