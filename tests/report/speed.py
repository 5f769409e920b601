"""How quick a report of a week of 1,000 nodes is in a browser: opened, filtered, zoomed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser

from pipeline.report import render
from tests.report.browser import opened
from tests.report.crowd import crowd


class Took(NamedTuple):
    """Milliseconds: of processor time in the page's thread, and on the clock."""

    busy: float
    wall: float


@dataclass
class Speed:
    """Until the page can be used, until a filter has its lines, and a zoom; a measurement each."""

    ready: list[Took] = field(default_factory=list)
    filtered: list[Took] = field(default_factory=list)
    zoomed: list[Took] = field(default_factory=list)


def week(folder: Path, nodes: int = 1000) -> Path:
    """The report of a week of so many nodes, in a folder."""
    file = folder / "week.html"
    file.write_text(render(crowd(168, nodes)), "utf-8")
    return file


def measured(browser: Browser, file: Path, rounds: int = 3) -> Speed:
    """Opens a page so many times, filters it by a search and by a pool, zooms."""
    found = Speed()
    for _ in range(rounds):
        with opened(browser, file) as seen:
            page = seen.page
            is_ready = "document.documentElement.dataset.ready"
            page.wait_for_function(is_ready)
            clock = page.context.new_cdp_session(page)
            clock.send("Performance.enable", {"timeDomain": "threadTicks"})

            def busy() -> float:
                metrics = clock.send("Performance.getMetrics")["metrics"]  # noqa: B023
                return next(1000 * m["value"] for m in metrics if m["name"] == "TaskDuration")

            page.reload()
            page.wait_for_function(is_ready)
            found.ready.append(Took(busy(), page.evaluate(f"Number({is_ready})")))
            whole = page.locator("#count").inner_text()
            for name, value in (("search", "0a"), ("pool", "3")):
                before = busy()
                wall = page.evaluate(_TIMED, [name, value])
                found.filtered.append(Took(busy() - before, wall))
            before = busy()
            wall = page.evaluate(_ZOOMED)
            found.zoomed.append(Took(busy() - before, wall))
            assert page.locator("#count").inner_text() != whole, "nothing was filtered"
    return found


_FRAME = "await new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
_TIMED = f"""async ([id, value]) => {{
    const control = document.getElementById(id)
    const before = performance.now()
    control.value = value
    control.dispatchEvent(new Event('input'))
    {_FRAME}
    return performance.now() - before
}}"""
_ZOOMED = f"""async () => {{
    const before = performance.now()
    document.getElementById('nearer').click()
    {_FRAME}
    return performance.now() - before
}}"""
