"""How a run's pages are read: some on their way while others are flattened, in order all the same."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from pipeline import snapshot
from pipeline.extract import ExtractError, Page
from pipeline.extract.envelope import Envelope
from pipeline.flatten import NodeFlattener, Tables
from pipeline.lake import Lake
from pipeline.snapshot import listing as reading
from tests.service import make_service, one, rows, small_fleet


def test_the_next_page_is_on_its_way_while_one_is_flattened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool's first page is not done before its second was asked for: one waits for the other here."""
    asked = threading.Event()
    flatten = NodeFlattener.page

    def late(
        self: NodeFlattener, body: bytes, at: datetime, envelope: Envelope
    ) -> tuple[Tables, str | None]:
        assert asked.wait(30)
        return flatten(self, body, at, envelope)

    monkeypatch.setattr(NodeFlattener, "page", late)
    service = make_service(small_fleet(alpha=12))
    with service.client() as client:
        pages = client.nodes

        def watched(pool_id: str) -> Iterator[Page]:
            listing = pages(pool_id)
            yield next(listing)
            asked.set()
            yield from listing

        client.nodes = watched  # type: ignore[method-assign]  # records when it is asked again
        outcome = snapshot.run(service.account, Lake(tmp_path), client)
    assert (outcome.exit_code, outcome.row["nodes_rows"]) == (0, 12)


def test_no_more_pages_are_flattened_at_once_than_there_are_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes memory beside its page; the others wait as they came."""
    monkeypatch.setattr(reading, "processors", lambda: 2)
    at_once, most, lock = 0, 0, threading.Lock()
    flatten = NodeFlattener.page

    def counted(
        self: NodeFlattener, body: bytes, at: datetime, envelope: Envelope
    ) -> tuple[Tables, str | None]:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.01)
        try:
            return flatten(self, body, at, envelope)
        finally:
            with lock:
                at_once -= 1

    monkeypatch.setattr(NodeFlattener, "page", counted)
    service = make_service(small_fleet(**{f"pool{number}": 7 for number in range(8)}))
    assert service.run(Lake(tmp_path)).row["nodes_rows"] == 56
    assert most == 2


def test_of_two_failures_the_earlier_page_s_is_reported(tmp_path: Path) -> None:
    """The next page may fail before a bad one is read: the listing ends with the bad one."""
    service = make_service(small_fleet(alpha=12))
    with service.client() as client:
        pages = client.nodes

        def bad_then_gone(pool_id: str) -> Iterator[Page]:
            listing = pages(pool_id)
            yield next(listing)
            yield replace(next(listing), body=b"[]")
            raise ExtractError("Gone", "the third page")

        client.nodes = bad_then_gone  # type: ignore[method-assign]  # a service that goes bad
        assert snapshot.run(service.account, Lake(tmp_path), client).exit_code == 3
    pool = one(tmp_path, "from pools")
    assert (pool["listing"], pool["error_code"], pool["nodes_listed"]) == ("partial", "BadPage", 5)
    assert len(rows(tmp_path, "from nodes")) == 5
