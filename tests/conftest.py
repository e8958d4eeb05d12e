"""What tests of several files share that pytest has to hand to them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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
