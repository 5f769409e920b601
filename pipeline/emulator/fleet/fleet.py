"""The fleet: pools and nodes made from a seed, and a clock that the caller moves.

The same config, seed and start give the same fleet at a given time, whatever the steps.
"""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from ..config import FleetConfig
from ..times import HOUR, MINUTE, fine_service_time, service_time, to_datetime, to_micros
from ..truth import PoolLife, TruthLog
from .demo import demo_fleet
from .documents import node_document
from .images import image_document, known_images
from .nodes import Node
from .plan import PoolPlan
from .pool_documents import etag, pool_document
from .pools import Pool
from .roster import Entry, NodeCache, Roster
from .usage import INTERVAL

Json = dict[str, Any]

DEFAULT_START = datetime(2026, 11, 2, tzinfo=UTC)
_MOST_FOLLOWED = 20_000
_USAGE_DELAY = 2 * HOUR


class Fleet:
    """A Batch account's pools and nodes at one simulated moment.

    A new fleet is populated: nodes have ages, tasks run, some nodes are broken.
    ``truth`` holds what really happened since two hours before ``start``; a fleet of more than
    20,000 nodes keeps none unless asked, and works its nodes out page by page instead.
    Moving the clock is safe between threads; whoever reads while another may move it holds
    ``lock``.
    """

    def __init__(
        self,
        config: FleetConfig | None = None,
        *,
        seed: int = 7,
        start: datetime = DEFAULT_START,
        keep_truth: bool | None = None,
        cached_nodes: int = 8_000,
    ) -> None:
        """Make a fleet as it is at ``start`` (a UTC time with its zone).

        ``cached_nodes`` bounds how many nodes a fleet without truth remembers between requests.
        """
        self.config = demo_fleet() if config is None else config
        self.lock = threading.RLock()
        self.seed = seed
        self.start = start.astimezone(UTC)
        if keep_truth is None:
            keep_truth = self.config.node_count <= _MOST_FOLLOWED
        self._now = to_micros(start)
        self.truth = TruthLog()
        self.keeps_truth = keep_truth
        log = self.truth if keep_truth else None
        cache = NodeCache(cached_nodes)
        self._images = known_images(self.config.images)
        self._rosters: dict[str, Roster] = {}
        for pool_config in self.config.pools:
            plan = PoolPlan(pool_config, seed, self._now, self.config.region, self._images)
            self._rosters[pool_config.id.lower()] = Roster(Pool(plan, log), log, cache)
        self._pool_records: dict[str, PoolLife] = {}
        #: Hours of fleet time that the truth log keeps closed records; None: no limit.
        self.truth_hours: float | None = None
        self._dropped_at = self._now
        self.revision = 0
        self._move(self._now)

    @property
    def now(self) -> datetime:
        """The fleet's time, UTC."""
        return to_datetime(self._now)

    @property
    def now_micros(self) -> int:
        """The fleet's time, in microseconds since 1970."""
        return self._now

    def advance(self, to: datetime) -> None:
        """Move the fleet's time forward; ``ValueError`` if ``to`` is in its past."""
        micros = to_micros(to)
        with self.lock:
            if micros < self._now:
                raise ValueError(f"time cannot move backwards: {to} is before {self.now}")
            if micros > self._now:
                self._move(micros)

    def _move(self, to: int) -> None:
        self._now = to
        self.revision += 1
        for roster in self._rosters.values():
            roster.pool.advance(to)
            roster.advance(to)
            self._note(roster.pool)
        if self.truth_hours is not None and to - self._dropped_at > HOUR:
            self.truth.drop_before(to_datetime(to - int(self.truth_hours * HOUR)))
            self._dropped_at = to

    def _note(self, pool: Pool) -> None:
        if not self.keeps_truth or (not pool.is_listed and pool.id not in self._pool_records):
            return
        record = self._pool_records.get(pool.id)
        if record is None:
            created = to_datetime(pool.created_at)
            record = self._pool_records[pool.id] = PoolLife(pool.id, "", created, created)
            self.truth.add(record)
        if pool.gone_at is not None:
            record.ended_at = to_datetime(pool.gone_at)

    def pools(self) -> list[Pool]:
        """Return the pools that the account lists now, sorted by id."""
        listed = [r.pool for r in self._rosters.values() if r.pool.is_listed]
        return sorted(listed, key=lambda pool: pool.id)

    def pool(self, pool_id: str) -> Pool | None:
        """Return a pool by its id, whatever its case; None if the account does not list it."""
        roster = self._rosters.get(pool_id.lower())
        return roster.pool if roster is not None and roster.pool.is_listed else None

    def pool_document(self, pool: Pool, base: str, *, with_stats: bool = False) -> Json:
        """Return a CloudPool; ``base`` is the account's URL."""
        usage = self._rosters[pool.id.lower()].usage() if with_stats else None
        return pool_document(pool, base, usage, self._now)

    def pool_etag(self, pool: Pool) -> str:
        """Return the pool's ETag: it changes when the pool is modified."""
        return etag(pool)

    def entries(self, pool: Pool) -> list[Entry]:
        """Return (node id, is dedicated, seat) of every node of a pool, sorted by id."""
        return self._rosters[pool.id.lower()].entries()

    def node(self, pool: Pool, entry: Entry) -> Node:
        """Return the node of an entry, as it is now."""
        return self._rosters[pool.id.lower()].node(entry)

    def node_document(self, node: Node, base: str) -> Json:
        """Return a ComputeNode; its parts are shared, so modify only a copy."""
        return node_document(node, base)

    def nodes(self, pool: Pool) -> Iterator[Node]:
        """Yield every node of a pool, sorted by id."""
        roster = self._rosters[pool.id.lower()]
        return (roster.node(entry) for entry in roster.entries())

    def counts(self, pool: Pool) -> Json:
        """Return PoolNodeCounts, from the same moment as the nodes."""
        return {"poolId": pool.id, **self._rosters[pool.id.lower()].counts()}

    def supported_images(self) -> list[Json]:
        """Return ImageInformation of every image, by publisher, offer, sku and node agent."""
        return [image_document(image, to_micros(self.start)) for image in self._images]

    @property
    def usage_until(self) -> int:
        """The end of the last half hour whose usage is known: at least two hours ago."""
        return (self._now - _USAGE_DELAY) // INTERVAL * INTERVAL

    def usage(self, started_at: int, ended_at: int) -> list[Json]:
        """Return PoolUsageMetrics of the half hours in an interval, by time and pool.

        Deleted pools are included up to their deletion.
        """
        rows: list[tuple[int, str, Json]] = []
        for roster in self._rosters.values():
            plan = roster.pool.plan
            for interval, micros in roster.usage().between(started_at, ended_at):
                row: Json = {
                    "poolId": plan.config.id,
                    "startTime": service_time(interval),
                    "endTime": service_time(interval + 30 * MINUTE),
                    "vmSize": "Mix" if plan.config.vm_size_mix else plan.config.vm_size,
                    "totalCoreHours": round(micros / HOUR * plan.cores, 6),
                }
                rows.append((interval, plan.config.id, row))
        rows.sort(key=lambda row: row[:2])
        return [row for _, _, row in rows]

    def pool_modified(self, pool: Pool) -> tuple[str, int]:
        """Return when a pool was last modified: as text, and in microseconds since 1970."""
        return fine_service_time(pool.modified_at), pool.modified_at
