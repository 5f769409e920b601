"""Tiny lakes, written row by row: what a listing showed, without a service."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from pipeline import schema
from pipeline.flatten.columns import Origin
from pipeline.lake import Lake, new_snapshot_id
from pipeline.snapshot.ledger import Ledger, pool_tables

MONDAY = datetime(2026, 11, 16, tzinfo=UTC)
_numbers = itertools.count()


def at(text: str) -> datetime:
    """A moment: ``10:05``, ``10:05:30.5`` on Monday the 16th; ``2 10:05`` two days later."""
    days, _, clock = text.rpartition(" ")
    hours, minutes, *seconds = clock.split(":")
    return MONDAY + timedelta(
        days=int(days or 0),
        hours=int(hours),
        minutes=int(minutes),
        seconds=float(seconds[0]) if seconds else 0,
    )


def node(
    node_id: str,
    state: str | None = "idle",
    since: str | None = "00:00",
    *,
    allocated: str | None = "0 00:00",
    tasks: Sequence[dict[str, Any]] = (),
    errors: Sequence[str] = (),
    **columns: Any,
) -> dict[str, Any]:
    """A node as a listing shows it; times as ``at`` reads them."""
    times = {key: at(value) for key, value in columns.items() if key.endswith("_time")}
    return {
        "node_id": node_id,
        "state": state,
        "state_transition_time": None if since is None else at(since),
        "allocation_time": None if allocated is None else at(allocated),
        "vm_size": "small",
        "is_dedicated": True,
        "is_malformed": False,
        "_tasks": tasks,
        "_errors": errors,
        **columns,
        **times,
    }


def task(task_id: str, start: str | None, end: str | None = None, **columns: Any) -> dict[str, Any]:
    """A task as recentTasks shows it: completed if it has an end."""
    return {
        "job_id": "job",
        "task_id": task_id,
        "start_time": None if start is None else at(start),
        "end_time": None if end is None else at(end),
        "task_state": "running" if end is None else "completed",
        "exit_code": None if end is None else 0,
        "result": None if end is None else "success",
        **columns,
    }


@dataclass
class Listing:
    """How the listing of a pool's nodes went, and what it held; times default to the snapshot's."""

    nodes: Sequence[dict[str, Any]] = ()
    listing: str = "complete"
    started: str | None = None
    finished: str | None = None
    columns: dict[str, Any] = field(default_factory=dict)


def partial(*nodes: dict[str, Any]) -> Listing:
    """A listing that broke off."""
    return Listing(nodes, "partial")


FAILED = Listing(listing="failed")


def put(
    lake: Lake,
    when: str,
    pools: dict[str, Listing | Sequence[dict[str, Any]]] | None = None,
    *,
    account: str = "acc",
    scope: str = "account",
    source: str = "live",
    pool_listing: str = "complete",
    local: str | None = None,
) -> str:
    """Commits a snapshot of pools by id, each a listing or the nodes of a complete one.

    ``local`` is this machine's clock, where it differs from the service's.
    """
    seen_at = at(when)
    started_at = at(local) if local else seen_at
    snapshot_id = new_snapshot_id(started_at, f"{next(_numbers):08x}")
    keys = {"account": account, "snapshot_id": snapshot_id, "snapshot_at": started_at}
    tables: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("pools", "nodes", "recent_tasks", "node_errors")
    }
    for pool_id, given in (pools or {}).items():
        listing = given if isinstance(given, Listing) else Listing(given)
        started = at(listing.started) if listing.started else seen_at
        finished = at(listing.finished) if listing.finished else seen_at
        has_pages = listing.listing != "failed"
        tables["pools"].append(
            keys
            | {
                "pool_id": pool_id,
                "listing": listing.listing,
                "listing_started_at": started if has_pages else None,
                "listing_finished_at": finished if has_pages else None,
                "nodes_listed": len(listing.nodes),
                "task_slots_per_node": 1,
            }
            | listing.columns
        )
        for each in listing.nodes:
            row = {key: value for key, value in each.items() if not key.startswith("_")}
            tables["nodes"].append(keys | {"pool_id": pool_id, "observed_at": seen_at} | row)
            of_node = keys | {
                "pool_id": pool_id,
                "node_id": each["node_id"],
                "allocation_time": each["allocation_time"],
            }
            for position, found in enumerate(each["_tasks"]):
                tables["recent_tasks"].append(of_node | {"position": position} | found)
            for position, code in enumerate(each["_errors"]):
                error = {"position": position, "code": code, "message": f"{code}!"}
                tables["node_errors"].append(of_node | error)
    origin = Origin(account, snapshot_id, started_at)
    ledger = Ledger(origin, started_at, source, scope)  # type: ignore[arg-type]
    ledger.status = "complete"
    ledger.pool_listing = pool_listing  # type: ignore[assignment]
    if pool_listing != "failed" and scope == "account":
        ledger.pool_listing_started_at = ledger.pool_listing_finished_at = seen_at
    ledger.rows = {name: len(found) for name, found in tables.items()}
    with lake.writer(snapshot_id, account) as writer:
        pools_found = tables.pop("pools")
        if pools_found:
            writer.write(pool_tables(pools_found))
        for name, found in tables.items():
            if found:
                table = pa.Table.from_pylist(found, schema.TABLES[name].schema)
                writer.write({name: table})
        writer.commit(ledger.table(started_at))
    return snapshot_id
