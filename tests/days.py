"""Small lakes for tests of the lake's protocol: a made-up account's days, and what a reader sees."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline import query, schema
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, new_snapshot_id
from pipeline.snapshot.ledger import Ledger

DAY = date(2026, 11, 18)
NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)
LATER = datetime(2026, 11, 25, 12, tzinfo=UTC)
"""When every day of these lakes is over."""
ACCOUNT = "render.westeurope"


class NoFacts:
    """A builder of history that builds none: for tests of the files alone."""

    FACTS = ()

    def windows(self, connection: query.Connection, account: str) -> dict[date, set[str]]:
        """None."""
        return {}

    def build_day(self, connection: query.Connection, account: str, day: date) -> tuple[()]:
        """None."""
        return ()


def table(name: str, rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows of a table under its schema."""
    return pa.Table.from_pylist([*rows], schema.TABLES[name].schema)


def store(
    lake: Lake,
    at: datetime = NOON,
    *,
    account: str = ACCOUNT,
    nodes: int = 4,
    digits: str | None = None,
    is_listed: bool = False,
) -> str:
    """Commits a snapshot of one pool, whose node rows say its id; returns that id.

    ``is_listed``: its listing says its time, so that history is made from it.
    """
    snapshot_id = new_snapshot_id(at, digits)
    keys = {"account": account, "snapshot_id": snapshot_id, "snapshot_at": at, "pool_id": "p"}
    finished = {"listing_finished_at": at} if is_listed else {}
    since = {"allocation_time": NOON - timedelta(days=9), "state_transition_time": at}
    whole = {
        "pools": table("pools", [keys | finished | {"listing": "complete", "nodes_listed": nodes}]),
        "nodes": table(
            "nodes",
            (
                keys
                | {"node_id": f"n{i}", "observed_at": at, "state": "idle"}
                | (since if is_listed else {})
                for i in reversed(range(nodes))
            ),
        ),
        "recent_tasks": table(
            "recent_tasks",
            (
                keys | {"node_id": f"n{i}", "position": p, "task_id": f"t{p}"}
                for i in range(nodes)
                for p in range(2)
            ),
        ),
    }
    with lake.writer(snapshot_id, account) as writer:
        writer.write(whole)
        ledger = Ledger(Origin(account, snapshot_id, at), at, "live", "account")
        ledger.status = ledger.pool_listing = "complete"
        if is_listed:
            ledger.pool_listing_started_at = ledger.pool_listing_finished_at = at
        ledger.rows = dict(writer.rows)
        writer.commit(ledger.table(at))
    return snapshot_id


def store_days(lake: Lake, days: int = 2, each: int = 3, account: str = ACCOUNT) -> list[str]:
    """So many snapshots of so many days, 20 minutes apart, the last ones before midnight."""
    return [
        store(
            lake, NOON + timedelta(days=day, hours=12) - timedelta(minutes=20 * i), account=account
        )
        for day in range(days)
        for i in range(1, each + 1)
    ]


COUNTED = """
select 'snapshots' as name, snapshot_id, account, count(*) as n from snapshots group by 2, 3
union all select 'pools', snapshot_id, account, count(*) from pools group by 2, 3
union all select 'nodes', snapshot_id, account, count(distinct node_id) from nodes group by 2, 3
union all select 'rows of nodes', snapshot_id, account, count(*) from nodes group by 2, 3
union all select 'recent_tasks', snapshot_id, account, count(*) from recent_tasks group by 2, 3
order by 1, 2
"""


def seen(lake: Lake) -> list[tuple[Any, ...]]:
    """Everything a reader counts: by table and snapshot."""
    with query.connect(lake) as connection:
        return [tuple(row.values()) for row in connection.table(COUNTED).to_pylist()]


def expected(ids: Iterable[str], account: str = ACCOUNT, nodes: int = 4) -> list[tuple[Any, ...]]:
    """What ``seen`` says of a lake with these snapshots, each whole and once."""
    counts = {
        "snapshots": 1,
        "pools": 1,
        "nodes": nodes,
        "rows of nodes": nodes,
        "recent_tasks": 2 * nodes,
    }
    return sorted((name, id_, account, n) for name, n in counts.items() for id_ in ids)
