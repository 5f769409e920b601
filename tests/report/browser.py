"""A headless Chromium in which a report is opened; every request and message of the page is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
# Without these it looks up hosts of its own at every start.
FLAGS = """
    --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync
""".split()
needs_chromium = pytest.mark.skipif(
    not CHROMIUM, reason="needs Chromium: apt-get install -y chromium (as root)"
)


@dataclass
class Opened:
    """A page that was opened, and what it said and asked for meanwhile."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def does(self, script: str) -> Any:
        """What a script answers in the page."""
        return self.page.evaluate(script)


@contextmanager
def opened(browser: Browser, file: Path, width: int = 1280, **settings: Any) -> Iterator[Opened]:
    """The page in a window of that width, from disk; every request and message is kept."""
    context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
    seen = Opened(context.new_page())
    seen.page.set_default_timeout(10_000)
    seen.page.on("console", lambda message: seen.said.append(message.text))
    seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
    context.on("request", lambda request: seen.asked.append(request.url))
    seen.page.goto(file.as_uri())
    try:
        yield seen
    finally:
        context.close()
