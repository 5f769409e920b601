"""The notebooks: committed with their pictures, and run again here, offline, on a demo's lake."""

from __future__ import annotations

import base64
import getpass
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
MISSING = [name for name in ("nbclient", "ipykernel") if importlib.util.find_spec(name) is None]
needs_kernel = pytest.mark.skipif(
    bool(MISSING), reason=f"needs {', '.join(MISSING)}: pip install '.[test]'"
)

# Runs in every Python of the notebook, its kernel too: no one is called but this machine.
WATCH = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        address = arguments[1] if event == "socket.connect" else arguments[0]
        host = address[0] if isinstance(address, tuple) else address
        if isinstance(address, str) and address.startswith("/"):
            return
        if host not in ("127.0.0.1", "::1", "localhost", "", None, b"127.0.0.1"):
            with open(os.environ["CALLED"], "a") as file:
                file.write(f"{event} {address}\\n")
            raise OSError(f"no network here: {address}")
sys.addaudithook(watch)
"""
RUN = """
import sys, nbformat
from nbclient import NotebookClient
source, target = sys.argv[1:]
notebook = nbformat.read(source, 4)
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
nbformat.write(notebook, target)
"""


#: A cell that ends with a chart of ``pipeline.report``.
CHART = re.compile(r"^\w+_(?:chart|map|timeline)\(lake", re.MULTILINE)


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """The cells that hold code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text_of(value: str | list[str]) -> str:
    """A notebook's text: one string, or its lines."""
    return value if isinstance(value, str) else "".join(value)


def pictures(notebook: dict[str, Any], kind: str) -> list[str]:
    """The outputs of one kind of picture, in order."""
    return [
        text_of(output["data"][kind])
        for cell in code_cells(notebook)
        for output in cell["outputs"]
        if kind in output.get("data", {})
    ]


def charts(notebook: dict[str, Any]) -> int:
    """How many pictures its cells draw."""
    return sum(bool(CHART.search(text_of(cell["source"]))) for cell in code_cells(notebook))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_with_its_pictures(path: Path) -> None:
    """Every cell was run, in order and without an error; each chart is a PNG of some size."""
    notebook = json.loads(path.read_text("utf-8"))
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds <= {"display_data", "execute_result"}
    drawn = [base64.b64decode(picture) for picture in pictures(notebook, "image/png")]
    assert len(drawn) == charts(notebook) > 0
    for picture in drawn:
        assert picture.startswith(b"\x89PNG")
        assert int.from_bytes(picture[16:20], "big") > 1000  # pixels wide
        assert len(picture) > 20_000
    assert path.stat().st_size < 2_500_000


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_picture_has_a_text_instead_of_it(path: Path) -> None:
    """What it shows, in words, for who cannot see it; cells are short."""
    cells = code_cells(json.loads(path.read_text("utf-8")))
    texts = [
        output["metadata"]["image/png"]["alt"]
        for cell in cells
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]
    assert len({*texts}) == len(texts) > 1
    for text in texts:
        assert re.match(r"(Stacked bars|Bars|A line for each|Step lines|Dots).{40,}", text)
    for cell in cells:
        assert len(text_of(cell["source"]).splitlines()) <= 16


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_nothing_of_the_machine_it_ran_on(path: Path) -> None:
    """No absolute path, no name of a machine or a user; and each code cell is introduced."""
    notebook = json.loads(path.read_text("utf-8"))
    texts = [
        text_of(value)
        for cell in code_cells(notebook)
        for output in cell["outputs"]
        for kind, value in output.get("data", {}).items()
        if kind != "image/png"
    ]
    assert texts
    told = "\n".join(texts)
    assert re.search(r"(?<![\w/])/(work|home|tmp|root|Users|usr)/", told) is None
    for name in (socket.gethostname(), str(PROJECT), f"{getpass.getuser()}@"):
        assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", told) is None
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}


@dataclass
class Ran:
    """A notebook that was run again: itself, and who was called meanwhile."""

    notebook: dict[str, Any]
    called: str
    proxied: int


def run_again(folder: Path) -> Iterator[Ran]:
    """Both notebooks beside no lake: the first one's first cell makes one, of fewer snapshots.

    Pictures are drawn as SVG, in which marks can be counted. Whatever goes out meets a proxy that
    only counts.
    """
    for name in ("notebooks", "data", "site", "state"):
        (folder / name).mkdir()
    shutil.copy(PROJECT / "data" / "prices.csv", folder / "data")
    (folder / "site" / "sitecustomize.py").write_text(WATCH)
    for path in reversed(NOTEBOOKS):
        text = path.read_text("utf-8")
        for old, new in (
            (r"\"--day\"", r"\"--snapshots\", \"72\", \"--day\""),
            (r"kind=\"png\"", r"kind=\"svg\""),
        ):
            assert text.count(old) == 1
            text = text.replace(old, new)
        (folder / "notebooks" / path.name).write_text(text, "utf-8")
        yield _run_watched(folder, path.name)


def _run_watched(folder: Path, name: str) -> Ran:
    proxied: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.2)
        over = threading.Event()

        def count() -> None:
            while not over.is_set():
                try:
                    connection, _ = proxy.accept()
                except TimeoutError:
                    continue
                proxied.append(connection)
                connection.close()

        counter = threading.Thread(target=count)
        counter.start()
        try:
            _run(folder, name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        finally:
            over.set()
            counter.join()
    called = folder / "called"
    return Ran(
        json.loads((folder / "ran.ipynb").read_text("utf-8")),
        called.read_text() if called.exists() else "",
        len(proxied),
    )


def _run(folder: Path, name: str, proxy: str) -> None:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AZURE_", "NODELAKE_", "JUPYTER_", "IPYTHON"))
        and not name.lower().endswith("_proxy")
    }
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"), proxy)
    own = {
        "PYTHONPATH": os.pathsep.join((str(folder / "site"), str(PROJECT))),
        "CALLED": str(folder / "called"),
        "NO_PROXY": "127.0.0.1",
        "JUPYTER_PLATFORM_DIRS": "1",
        "JUPYTER_RUNTIME_DIR": str(folder / "state"),
        "IPYTHONDIR": str(folder / "state"),
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN, name, "../ran.ipynb"],
        cwd=folder / "notebooks",
        env=kept | proxies | own,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@needs_kernel
def test_the_notebooks_run_offline_top_to_bottom(tmp_path: Path) -> None:
    """On a lake that the first cell makes; every picture has marks; no one else is called.

    One test, as making the lake takes longest.
    """
    found = list(run_again(tmp_path))
    assert "72 snapshots" in json.dumps(code_cells(found[0].notebook)[0]["outputs"])
    assert len(found) == len(NOTEBOOKS) == 2
    for ran in found:
        cells = code_cells(ran.notebook)
        assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
        # no name was looked up, no other machine called, no proxy used
        assert (ran.called, ran.proxied) == ("", 0)

        drawn = pictures(ran.notebook, "image/svg+xml")
        assert len(drawn) == charts(ran.notebook) > 1
        for svg in drawn:
            # bars, lines and dots of data, not axes alone
            marks = [
                mark
                for group in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}g")
                if "role-mark" in group.get("class", "").split()
                for mark in group
            ]
            assert len(marks) >= 4
            assert re.search(r'(href|src)="(?!#|data:)', svg) is None


@needs_kernel
def test_a_call_would_have_been_seen(tmp_path: Path) -> None:
    """The watch does see a request that goes out, and stops it."""
    (tmp_path / "sitecustomize.py").write_text(WATCH)
    called = tmp_path / "called"
    code = "import urllib.request as r; r.urlopen('http://example.invalid/x', timeout=5)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path), "CALLED": str(called), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "example.invalid" in called.read_text()
