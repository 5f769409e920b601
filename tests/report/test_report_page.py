"""The report opened in a real Chromium: it asks for nothing, runs nothing but its own, can be read."""

from __future__ import annotations

import http.server
import re
import threading
from pathlib import Path
from typing import Any

import pypdfium2
import pytest
from playwright.sync_api import Browser, Page

from tests.report.browser import needs_chromium, opened
from tests.report_lake import EVIL

pytestmark = needs_chromium


def test_it_says_nothing_asks_for_nothing_and_runs_nothing(browser: Browser, file: Path) -> None:
    """The only request is that of the file itself; the planted script is words, and did not run."""
    with opened(browser, file) as seen:
        for table in seen.page.locator("summary").all():
            table.click()
        seen.page.wait_for_load_state("networkidle")
        assert [] == seen.said
        assert [file.as_uri()] == seen.asked
        assert seen.does("typeof window.pwned") == "undefined"
        assert EVIL in seen.page.locator("body").inner_text()
        assert 0 == seen.page.locator("img, iframe, object, link").count()
        assert 2 == seen.page.locator("script").count()
        assert 1 == seen.page.locator("style").count()


def test_its_policy_holds_where_something_did_get_in(browser: Browser, file: Path) -> None:
    """Were text ever to become markup: no script runs, nothing is fetched, nothing is styled."""
    asked: list[str] = []

    class Listener(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        outside = f"http://127.0.0.1:{server.server_port}/"
        with opened(browser, file) as seen:
            seen.page.evaluate(_INTRUDE, outside)
            seen.page.wait_for_timeout(300)
            assert seen.does("typeof window.pwned") == "undefined"
            assert seen.does("getComputedStyle(document.body).display") == "block"
            assert 6 == len([said for said in seen.said if "Content Security Policy" in said])
            assert [] == asked
        context = browser.new_context()  # the listener does hear who is not held back
        context.new_page().goto(outside + "heard")
        context.close()
        server.shutdown()
    assert "/heard" in asked


_INTRUDE = """outside => {
    for (const [tag, name, value] of [
        ['script', 'textContent', 'window.pwned = 4'],
        ['script', 'src', outside + 'x.js'],
        ['img', 'src', outside + 'x.png'],
        ['iframe', 'src', outside + 'x.html'],
        ['style', 'textContent', 'body { display: none }'],
    ]) {
        const made = document.createElement(tag)
        made[name] = value
        document.body.append(made)
    }
    document.body.insertAdjacentHTML('beforeend', '<b onclick="window.pwned = 5">b</b>')
    document.querySelector('b').click()
}"""


def test_every_picture_has_marks_that_can_be_seen(browser: Browser, file: Path) -> None:
    """Shapes with a size and a colour, axes with words; and what is pointed at shows its numbers."""
    with opened(browser, file, java_script_enabled=False) as seen:
        pictures = seen.does(
            """() => [...document.querySelectorAll('figure svg')]
                .filter(svg => svg.checkVisibility() && svg.getAttribute('role') == 'img')
                .map(svg => [svg.getAttribute('aria-label'), svg.querySelectorAll('text').length,
                    [...svg.querySelectorAll('.mark path, .mark line')].filter(mark => {
                        const box = mark.getBoundingClientRect()
                        const looks = getComputedStyle(mark)
                        const nothing = ['rgba(0, 0, 0, 0)', 'none', 'rgb(0, 0, 0)']
                        return box.width > 0 && box.height > 0 && !nothing.includes(looks.fill)
                            || box.width + box.height > 0 && !nothing.includes(looks.stroke)
                    }).length])"""
        )
        labels = [label for label, _, _ in pictures]
        assert [label for label, texts, marks in pictures if not texts or not marks] == []
        for each in (
            "Nodes by state over time",
            "most eventful nodes of pool",
            "Paid node-hours of each",
        ):
            assert [label for label in labels if each in label], each
        assert "1.0 idle" in seen.page.locator("figure title").first.evaluate(
            "title => [...document.querySelectorAll('figure title')].map(t => t.textContent).join()"
        )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_can_be_read(browser: Browser, file: Path, theme: Any, width: int) -> None:
    """Words stand out from the ground by 4.5 to 1 (WCAG AA), marks by 1.2; nothing scrolls sideways."""
    with opened(browser, file, width, color_scheme=theme) as seen:
        found = seen.does(_CONTRASTS)
        assert (min(found["ground"]) > 200) == (theme == "light")
        assert {} == {what: r for what, r in found["words"].items() if r < 4.5}
        assert len(found["words"]) >= 6
        assert {} == {what: r for what, r in found["marks"].items() if r < 1.2}
        assert len(found["marks"]) >= 3
        assert seen.does("document.documentElement.scrollWidth") <= width
        narrow = seen.page.locator(".narrow").first.is_visible()
        assert narrow == (width == 400)


_CONTRASTS = """() => {
    const rgb = colour => colour.match(/[\\d.]+/g).map(Number)
    const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
        .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0)
    const ground = rgb(getComputedStyle(document.body).backgroundColor)
    const ratio = colour => {
        const [a, b] = [light(rgb(colour)), light(ground)].sort((x, y) => y - x)
        return (a + 0.05) / (b + 0.05)
    }
    const words = {}, marks = {}
    for (const what of ['h1', 'h2', '.made', '.more', '.note', 'summary', '.out li', 'th', 'footer p'])
        for (const each of document.querySelectorAll(what))
            words[what] = ratio(getComputedStyle(each).color)
    for (const each of document.querySelectorAll('figure text'))
        words['text ' + each.getAttribute('class')] = ratio(getComputedStyle(each).fill)
    for (const each of document.querySelectorAll('.mark path')) {
        const name = each.getAttribute('class')
        if (!/gap|hover/.test(name)) marks[name] = ratio(getComputedStyle(each).fill)
    }
    return {ground: ground.slice(0, 3), words, marks}
}"""


def test_it_prints(browser: Browser, file: Path) -> None:
    """On paper it is light whatever the screen is, a few pages, with its pictures."""
    with opened(browser, file, color_scheme="dark") as seen:
        printed = _printed(seen.page)
        assert 2 <= len(printed) <= 8
        seen.page.emulate_media(media="print", color_scheme="dark")
        assert seen.does("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert seen.page.locator(".wide").first.is_visible()


def test_paper_has_what_can_be_read_and_nothing_to_press(browser: Browser, file: Path) -> None:
    """Every tile, sentence and picture, the tables that are open; no control, no word about one."""
    with opened(browser, file) as seen:
        tiles = seen.page.locator(".tile > p").all_inner_texts()
        sentences = seen.page.locator(".out li").all_inner_texts()
        headings = seen.page.locator(".part:not(#look):not(#answers) > h2").all_text_contents()
        titles = seen.page.locator("figcaption").all_text_contents()
        controls = seen.page.locator("#look label, #look button, #look .note").all_text_contents()
        table = seen.page.locator("#q-coverage")
        table.locator("summary").click()
        rows = table.locator("tbody td").all_inner_texts()
        printed = _printed(seen.page)
    whole = " ".join(printed)
    assert len(tiles) > 20
    assert len(rows) > 5
    for text in (*tiles, *(each.removesuffix(" table") for each in sentences), *headings, *titles):
        assert _letters(text) in _letters(whole), text
    for text in rows:
        assert _letters(text) in _letters(whole), text
    for text in (*controls, "Point at a picture", "Enter goes to its panel"):
        if len(text) > 8:
            assert _letters(text) not in _letters(whole), text
    for heading in headings:  # no heading ends its page: the picture below it is on the same one
        (page,) = (page for page in printed if _letters(heading) in _letters(page))
        assert len(_letters(page).partition(_letters(heading))[2]) > 60, heading


def test_every_page_of_a_table_has_its_head(browser: Browser, file: Path) -> None:
    """Chromium repeats no head that has a box of a button: on paper the words stand alone."""
    with opened(browser, file) as seen:
        table = seen.page.locator("#q-coverage")
        table.locator("summary").click()
        assert table.locator("th button").count() > 2
        head = _letters(table.locator("thead").inner_text())
        seen.does(
            "{const rows = document.querySelector('#q-coverage tbody');"
            "for (let n = 0; n < 90; n++) rows.append(rows.rows[0].cloneNode(true))}"
        )
        printed = [_letters(page) for page in _printed(seen.page)]
    (begin,) = (number for number, page in enumerate(printed) if "wellwaseachaccount" in page)
    assert len(printed) - begin >= 3
    assert [head in page for page in printed[begin : begin + 3]] == [True] * 3


def _letters(text: str) -> str:
    """A text without the spaces and line breaks that paper has elsewhere."""
    return re.sub(r"\s|[\ufffe\u00ad-]", "", text)


def _printed(page: Page) -> list[str]:
    """The text of each page of paper."""
    paper = pypdfium2.PdfDocument(page.pdf(prefer_css_page_size=True))
    return [each.get_textpage().get_text_range() for each in paper]
