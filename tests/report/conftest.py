"""The report of a small lake, and a browser to open it in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from pipeline import cli
from tests.report.browser import CHROMIUM, FLAGS
from tests.report_lake import make


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small lake with hostile ids, codes and messages."""
    folder = tmp_path_factory.mktemp("page")
    page = folder / "page.html"
    assert cli.run(["report", "-o", str(page), "--lake", str(make(folder / "lake"))]) == 0
    return page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for all."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()
