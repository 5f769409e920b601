"""What a day of the emulator's fleet takes once compacted, against the JSON it was read from.

The built-in fleet of the demo, polled every five minutes; the bytes of the node listings' bodies, as
they are when inflated, against those of the compacted files of ``nodes`` and ``recent_tasks``.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import cast

from pipeline import query, snapshot
from pipeline.config import Limits
from pipeline.emulator import Emulator, Fleet
from pipeline.extract import BatchClient, Page
from pipeline.lake import Lake
from pipeline.maintain import compaction as compact
from tests.bench.figures import Figure
from tests.service import Service, make_service, small_fleet

DAY = datetime(2026, 11, 21, tzinfo=UTC)


class Weighed:
    """A client that counts the bytes of the node pages it hands out."""

    def __init__(self, client: BatchClient) -> None:
        self.client = client
        self.bytes = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self.client, name)

    def nodes(self, pool_id: str) -> Iterator[Page]:
        """The pages of a pool, weighed."""
        for page in self.client.nodes(pool_id):
            self.bytes += len(page.body)
            yield page


def run(quick: bool) -> list[Figure]:
    """Records a day, closes it, weighs it."""
    polls = 6 if quick else 288
    fleet = None if quick else Fleet(seed=3, start=DAY)
    service = Service(Emulator(fleet)) if fleet else make_service(small_fleet(a=5), page_limit=1000)
    moving = service.emulator.fleet
    start, received = moving.now, 0
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(folder)
        for number in range(polls):
            moving.advance(start + number * timedelta(days=1) / polls)
            with service.client(limits=Limits(page_size=1000)) as client:
                weighed = Weighed(client)
                clock = functools.partial(getattr, moving, "now")
                snapshot.run(service.account, lake, cast(BatchClient, weighed), clock=clock)
                received += weighed.bytes
        compact.compact(lake, clock=lambda: start + timedelta(days=3))
        stored = {
            table: sum(
                path.stat().st_size for path in (lake.root / "compacted" / table).rglob("*.*")
            )
            for table in ("nodes", "recent_tasks")
        }
        with query.connect(lake) as connection:
            (row,) = connection.table("select count(*) as node_rows from nodes").to_pylist()
    details = {"json_bytes": received, "compacted_bytes": stored} | row
    what = "compacted bytes (`nodes` + `recent_tasks`, emulator's fleet, 5-minute polls, a day)"
    return [
        Figure(f"{what} against the raw JSON", sum(stored.values()) / received, 0.003, "", details)
    ]
