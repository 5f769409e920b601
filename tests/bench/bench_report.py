"""A report of a week of 1,000 nodes in headless Chromium: its size, and how soon it answers."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.bench.figures import Figure
from tests.report import speed
from tests.report.browser import CHROMIUM, FLAGS


def run(quick: bool) -> list[Figure]:
    """The fastest of several openings; the slowest of several filters, each at its best."""
    nodes, rounds = (48, 1) if quick else (1000, 7)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = speed.week(Path(folder), nodes)
        size = file.stat().st_size / 1e6
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        found = speed.measured(browser, file, rounds)
        browser.close()
    # each round filters twice: by a search, by a pool
    filters = [min(found.filtered[place::2], key=lambda took: took.wall) for place in (0, 1)]
    ready = min(took.wall for took in found.ready)
    details = {name: [took._asdict() for took in each] for name, each in vars(found).items()}
    what = f"report of a week of {nodes:,} nodes"
    return [
        Figure(f"{what}: size", size, 5.0, "MB", details),
        Figure(f"{what}: from opening until it can be used", ready, 1000, "ms"),
        Figure(
            f"{what}: a filter, until its lines are drawn", max(t.wall for t in filters), 100, "ms"
        ),
        Figure(
            f"{what}: a zoom, until its lines are drawn",
            min(took.wall for took in found.zoomed),
            100,
            "ms",
        ),
    ]
