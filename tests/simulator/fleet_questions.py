"""Questions about listings and the fleet as they showed it: answered from rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from tests.simulator.asking import (
    HOUR,
    MINUTE,
    Parameters,
    Question,
    grouped,
    is_wanted,
    rounded,
    within,
)
from tests.simulator.facts import Table
from tests.simulator.record import Listing, Record, Row, Snapshot, time_of


def coverage(record: Record, asked: Parameters) -> Table:
    """How well each account was watched, by day of this machine's clock."""
    made = []
    for account in record.accounts:
        live = [each for each in record.of_account(account) if each.source == "live"]
        gaps: dict[int, float] = {
            id(after): (after.at - before.at) / MINUTE for before, after in itertools.pairwise(live)
        }
        shown = [each for each in live if within(asked, each.at)]
        for day, runs in grouped(shown, lambda each: each.at.date()).items():
            statuses = [each.status for each in runs]
            codes = [code for each in runs if (code := error_code(each)) is not None]
            bad = [one for each in runs for one in each.listings if one.status != "complete"]
            made.append(
                {
                    "account": account,
                    "day": day,
                    "snapshots": len(runs),
                    "longest_gap_minutes": rounded(
                        max((gaps[id(each)] for each in runs if id(each) in gaps), default=None), 1
                    ),
                    "failed_listings": len(bad),
                    "last_error": codes[-1] if codes else None,
                }
                | {name: statuses.count(name) for name in ("complete", "partial", "failed")}
            )
    return made


def error_code(snapshot: Snapshot) -> str | None:
    """Why a run is not complete: its list of pools, or the first pool that failed."""
    if snapshot.pool_listing != "complete":
        return "InternalError"
    return next((c for each in snapshot.listings if (c := each.error_code) is not None), None)


def failed_listings(record: Record, asked: Parameters) -> Table:
    """How often each pool could not be listed, and for how long it was out of sight."""
    shown = [
        each
        for snapshot in record.snapshots
        for each in snapshot.listings
        if (snapshot.source == "live" or each.status == "complete")
        and is_wanted(asked, each.pool_id)
        and within(asked, snapshot.at)
    ]
    made = []
    for (account, pool_id), listings in grouped(
        shown, lambda each: (each.snapshot.account, each.pool_id)
    ).items():
        statuses = [each.status for each in listings]
        ends = sorted(
            t for each in listings if each.status == "complete" and (t := each.finished_at)
        )
        gaps = [(after - before, before) for before, after in itertools.pairwise(ends)]
        longest = max((gap for gap, _ in gaps), default=None)
        bad = [each for each in listings if each.status != "complete"]
        made.append(
            {
                "account": account,
                "pool_id": pool_id,
                "listings": len(listings),
                "failure_rate": rounded(len(bad) / len(listings), 4),
                "longest_gap_minutes": None if longest is None else rounded(longest / MINUTE, 1),
                "gap_started_at": next((at for gap, at in gaps if gap == longest), None),
                "last_complete_at": ends[-1] if ends else None,
                "last_failed_at": max((each.snapshot.at for each in bad), default=None),
                "error_code": bad[-1].error_code if bad else None,
            }
            | {name: statuses.count(name) for name in ("complete", "partial", "failed")}
        )
    return made


def as_of(record: Record, moment: datetime) -> Iterator[tuple[Listing, Row]]:
    """The fleet at a moment: each pool's last complete listing that had finished by then.

    Without the pools that a later complete account listing no longer has.
    """
    for listings in record.listings.values():
        done = [each for each in listings if each.finished_at and each.finished_at <= moment]
        shown = [each for each in done if each.status == "complete" and not each.is_absence]
        if not shown:
            continue
        last = shown[-1]
        account_listings = [
            each
            for each in record.of_account(last.snapshot.account)
            if each.scope == "account"
            and each.pool_listing == "complete"
            and each.listed_at
            and each.listed_at <= moment
        ]
        newest = max(account_listings, key=lambda each: each.listed_at or moment, default=None)
        is_gone = newest is not None and last.pool_id not in newest.pools
        if (
            is_gone
            and newest
            and newest.listed_at
            and newest.listed_at > (last.finished_at or moment)
        ):
            continue
        for row in last.rows:
            yield last, row


def _plain(listing: Listing, row: Row) -> dict[str, Any]:
    return {
        "account": listing.snapshot.account,
        "pool_id": listing.pool_id,
        "node_id": row.node_id,
        "vm_size": row.value("vmSize"),
        "is_dedicated": row.value("isDedicated"),
        "state": row.state,
        "state_transition_time": row.time("stateTransitionTime"),
        "total_tasks_run": row.value("totalTasksRun"),
    }


def _last(record: Record) -> datetime:
    ends = [each.finished_at for listings in record.listings.values() for each in listings]
    return max(end for end in ends if end)


def fleet_at(record: Record, asked: Parameters) -> Table:
    """The fleet at a moment, node by node."""
    return [
        _plain(listing, row)
        | {
            "allocation_time": time_of(row.document.get("allocationTime")),
            "running_tasks_count": row.value("runningTasksCount"),
            "node_agent_version": row.value("nodeAgentInfo", "version"),
            "observed_at": row.observed_at,
            "age_seconds": (asked["moment"] - listing.finished_at).total_seconds(),
        }
        for listing, row in as_of(record, asked["moment"])
        if is_wanted(asked, listing.pool_id) and listing.finished_at
    ]


def _now(record: Record, asked: Parameters) -> list[tuple[Listing, Row]]:
    if not record.snapshots or not record.listings:
        return []
    found = as_of(record, _last(record))
    return [(listing, row) for listing, row in found if is_wanted(asked, listing.pool_id)]


def latest_states(record: Record, asked: Parameters) -> Table:
    """In which states the nodes are now; malformed ones are left out."""
    rows = [_plain(*each) | {"row": each[1]} for each in _now(record, asked)]
    made = []
    key = ("account", "pool_id", "vm_size", "is_dedicated", "state")
    readable = [row for row in rows if not row["row"].is_malformed]
    for values, own in grouped(readable, lambda row: tuple(row[name] for name in key)).items():
        running = [n for row in own if (n := row["row"].value("runningTasksCount")) is not None]
        since = [t for row in own if (t := row["state_transition_time"])]
        made.append(
            dict(zip(key, values, strict=True))
            | {
                "nodes": len(own),
                "running_tasks": sum(running) if running else None,
                "since": min(since, default=None),
            }
        )
    return made


def idle_nodes(record: Record, asked: Parameters) -> Table:
    """Nodes that had been idle for so many hours when last listed."""
    made = []
    for listing, row in _now(record, asked):
        since = row.time("stateTransitionTime")
        if row.state == "idle" and since is not None:
            hours = (row.observed_at - since) / HOUR
            if hours >= asked.get("hours", 1):
                made.append(_plain(listing, row) | {"idle_hours": rounded(hours, 2)})
    return made


def nodes_with_errors(record: Record, asked: Parameters) -> Table:
    """The errors that nodes show now; unusable ones without an error too."""
    return [
        _plain(listing, row) | {"code": error.get("code"), "message": error.get("message")}
        for listing, row in _now(record, asked)
        if row.value("errors") or row.state == "unusable"
        for error in row.value("errors") or [{}]
    ]


def node_states_seen(record: Record, asked: Parameters) -> Table:
    """The states one node was seen in, by its rows as they lie."""
    rows = [
        (snapshot.account, listing.pool_id, row)
        for snapshot in record.snapshots
        for listing in snapshot.listings
        for row in listing.rows
        if not row.is_malformed and is_wanted(asked, listing.pool_id)
        if asked.get("node") in (None, row.node_id)
    ]
    key = ("account", "pool_id", "node_id", "allocation_time", "state", "state_transition_time")
    made = []
    for values, own in grouped(
        rows,
        lambda each: (
            *each[:2],
            each[2].node_id,
            time_of(each[2].document.get("allocationTime")),
            each[2].state,
            each[2].time("stateTransitionTime"),
        ),
    ).items():
        seen = [row.observed_at for _, _, row in own]
        running = [n for _, _, row in own if (n := row.value("runningTasksCount")) is not None]
        totals = [n for _, _, row in own if (n := row.value("totalTasksRun")) is not None]
        made.append(
            dict(zip(key, values, strict=True))
            | {
                "first_observed_at": min(seen),
                "last_observed_at": max(seen),
                "snapshots": len(own),
                "running_tasks": max(running, default=None),
                "total_tasks_run": max(totals, default=None),
            }
        )
    return made


_NODE = ("account", "pool_id", "node_id")
QUESTIONS = {
    "coverage": Question(coverage, ("account", "day"), needs_rows=True),
    "failed_listings": Question(
        failed_listings,
        ("account", "pool_id"),
        ignored=("error_message", "request_id"),
        needs_rows=True,
    ),
    "fleet_at": Question(fleet_at, _NODE, (), needs_rows=True, has_moment=True),
    "latest_states": Question(
        latest_states,
        ("account", "pool_id", "vm_size", "is_dedicated", "state"),
        ignored=("age_seconds",),
        needs_rows=True,  # a pool's last complete listing may be of an expired day
    ),
    "idle_nodes": Question(
        idle_nodes,
        _NODE,
        ({}, {"hours": 0.1}),
        ignored=("age_seconds",),
        needs_rows=True,
    ),
    "nodes_with_errors": Question(
        nodes_with_errors, (*_NODE, "code"), ignored=("age_seconds",), needs_rows=True
    ),
    "node_states_seen": Question(
        node_states_seen,
        (*_NODE, "allocation_time", "state", "state_transition_time"),
        ignored=("errors",),
        needs_rows=True,
    ),
}
