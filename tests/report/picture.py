"""Makes ``data/report.png``, the front page's picture of the demo's report, in headless Chromium."""

from __future__ import annotations

import base64
import struct
import tempfile
import zlib
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from tests.conftest import PROJECT
from tests.report.browser import CHROMIUM, FLAGS, opened
from tests.test_readme import DAY, demo_in, run

PICTURE = PROJECT / "data" / "report.png"
WIDTH, HEIGHT = 1100, 1250
_GIVEN = f"--lake data/demo-lake --prices data/prices.csv --from {DAY} --to 2026-11-22".split()
_COLOURS = """async picture => {
    const image = await createImageBitmap(await (await fetch(picture)).blob());
    const canvas = new OffscreenCanvas(image.width, image.height).getContext('2d');
    canvas.drawImage(image, 0, 0);
    const bytes = canvas.getImageData(0, 0, image.width, image.height).data;
    let text = '';
    for (let at = 0; at < bytes.length; at += 32768)
        text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return btoa(text);
}"""


def write() -> None:
    """Runs the demo of the front page and takes the picture of the top of its report."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        demo_in(Path(name))
        run(Path(name), "report", "-o", "page.html", *_GIVEN)
        report = Path(name) / "page.html"
        report.write_text(report.read_text().replace(f"{name}/", ""))  # the path of the lake
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        PICTURE.write_bytes(_picture(browser, report))
        browser.close()


def _picture(browser: Browser, report: Path) -> bytes:
    with opened(browser, report, WIDTH) as seen:
        seen.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        seen.page.wait_for_selector("html.scripted")
        taken = base64.b64encode(seen.page.screenshot()).decode()
    page = browser.new_page()
    colours = base64.b64decode(page.evaluate(_COLOURS, f"data:image/png;base64,{taken}"))
    pixels = bytes(byte for place, byte in enumerate(colours) if place % 4 < 3)
    # Chromium filters the lines of a PNG: a page of flat colours is a quarter smaller without
    lines = b"".join(
        b"\0" + pixels[start : start + 3 * WIDTH] for start in range(0, len(pixels), 3 * WIDTH)
    )
    size = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", size), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


if __name__ == "__main__":
    write()
