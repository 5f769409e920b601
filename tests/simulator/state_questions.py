"""Questions about states, lives and hours of nodes: answered from what history keeps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import date, datetime
from typing import Any

from tests.simulator.asking import (
    HOUR,
    MINUTE,
    Parameters,
    Question,
    grouped,
    is_wanted,
    percentile,
    ratio,
    rounded,
    within,
)
from tests.simulator.facts import Table, machine_of, node_states
from tests.simulator.hours import node_hours
from tests.simulator.record import Node, Record

_PASSING = (
    "creating starting waitingforstarttask rebooting reimaging leavingpool deallocating upgradingos"
).split()
_TROUBLE = "unusable unknown starttaskfailed rebooting reimaging".split()
_BROKEN = ("unusable", "starttaskfailed", "offline", "unknown")
_UNPAID = ("preempted", "deallocated")
_NODE = ("account", "pool_id", "node_id", "allocation_time")
_MACHINE = ("account", "pool_id", "vm_size", "is_dedicated")


def _states(record: Record, asked: Parameters) -> Table:
    return [row for row in node_states(record) if is_wanted(asked, row["pool_id"])]


def stuck_nodes(record: Record, asked: Parameters) -> Table:
    """Stays in a state that should pass that lasted, for certain, longer than so many minutes."""
    made = []
    for row in _states(record, asked):
        since, ended = row["state_transition_time"], row["ended_before"]
        minutes = (row["ended_after"] - since) / MINUTE
        is_early = asked.get("from") and row["last_observed_at"] < asked["from"]
        is_late = asked.get("to") and since >= asked["to"]
        if row["state"] not in _PASSING or is_early or is_late:
            continue
        if minutes > asked.get("minutes", 30):
            longest = None if ended is None else rounded((ended - since) / MINUTE, 1)
            told = {"certain_minutes": rounded(minutes, 1), "at_most_minutes": longest}
            made.append(row | told | {"is_stuck_now": ended is None})
    return made


def idle_streaks(record: Record, asked: Parameters) -> Table:
    """Stretches of idle time of so many hours, within the range, for certain."""
    made = []
    for row in _states(record, asked):
        begins = max(row["state_transition_time"], asked.get("from", row["state_transition_time"]))
        ends = min(row["ended_after"], asked.get("to", row["ended_after"]))
        hours = (ends - begins) / HOUR
        if row["state"] == "idle" and hours >= asked.get("hours", 1):
            made.append(
                row
                | {
                    "started_at": row["state_transition_time"],
                    "idle_hours": hours,
                    "is_idle_still": row["ended_before"] is None,
                }
            )
    return made


def flapping_nodes(record: Record, asked: Parameters) -> Table:
    """Nodes that fell into trouble so many times within so many hours."""
    made = []
    for key, rows in grouped(
        _states(record, asked), lambda row: tuple(row[name] for name in _NODE)
    ).items():
        entered: list[tuple[datetime, str]] = []
        left = []
        for row, following in itertools.pairwise(rows):
            at = row["ended_before"]
            is_anew = row["state"] == following["state"]
            if within(asked, at):
                if following["state"] in _TROUBLE and (row["state"] not in _TROUBLE or is_anew):
                    entered.append((at, following["state"]))
                if row["state"] in _TROUBLE and (following["state"] not in _TROUBLE or is_anew):
                    left.append(at)
        many, hours = asked.get("entries", 5), asked.get("hours", 24)
        spans = [
            entered[number + many - 1][0] - entered[number][0]
            for number in range(len(entered) - many + 1)
        ]
        if not spans or min(spans) / HOUR > hours:
            continue
        trouble = [row for row in rows if row["state"] in _TROUBLE]
        lengths = [
            (row["ended_before"] or row["last_observed_at"]) - row["state_transition_time"]
            for row in trouble
            if within(asked, row["state_transition_time"])
        ]
        made.append(
            dict(zip(_NODE, key, strict=True))
            | {
                "entries": len(entered),
                "exits": len(left),
                "shortest_hours": rounded(min(spans) / HOUR, 2),
                "trouble_hours": rounded(sum(each / HOUR for each in lengths), 2),
                "first_entered_at": entered[0][0],
                "last_entered_at": entered[-1][0],
                "last_trouble_state": entered[-1][1],
                "is_in_trouble_now": any(row["ended_before"] is None for row in trouble),
            }
        )
    return made


def _hours(record: Record, asked: Parameters) -> Iterator[dict[str, Any]]:
    """Node-hours of the whole days of the range."""
    first: date | None = asked["from"].date() if asked.get("from") else None
    after: date | None = asked["to"].date() if asked.get("to") else None
    for row in node_hours(record):
        is_in = (first is None or row["date"] >= first) and (after is None or row["date"] < after)
        if is_in and is_wanted(asked, row["pool_id"]):
            yield row


def hours_by_day(record: Record, asked: Parameters) -> Table:
    """Node-hours by day and state."""
    return [row | {"day": row["date"]} for row in _hours(record, asked)]


def idle_cost(record: Record, asked: Parameters) -> Table:
    """Idle hours of the hours paid for."""
    made = []
    for key, rows in grouped(
        _hours(record, asked), lambda row: tuple(row[name] for name in _MACHINE)
    ).items():
        idle = [row for row in rows if row["state"] == "idle"]
        paid = sum(row["hours"] for row in rows if row["state"] not in _UNPAID)
        hours = sum(row["hours"] for row in idle)
        made.append(
            dict(zip(_MACHINE, key, strict=True))
            | {
                "idle_hours": hours,
                "certain_idle_hours": sum(row["certain_hours"] for row in idle),
                "paid_hours": paid,
                "idle_share": ratio(hours, paid),
            }
        )
    return made


def broken_cost(record: Record, asked: Parameters) -> Table:
    """Hours of nodes that could not work, of the hours paid for."""
    made = []
    for key, rows in grouped(
        _hours(record, asked), lambda row: tuple(row[name] for name in _MACHINE)
    ).items():
        paid = sum(row["hours"] for row in rows if row["state"] not in _UNPAID)
        for state, own in grouped(rows, lambda row: row["state"]).items():
            if state in _BROKEN:
                hours = sum(row["hours"] for row in own)
                made.append(
                    dict(zip(_MACHINE, key, strict=True))
                    | {
                        "state": state,
                        "broken_hours": hours,
                        "certain_broken_hours": sum(row["certain_hours"] for row in own),
                        "share_of_paid_hours": ratio(hours, paid),
                    }
                )
    return made


def census(record: Record, asked: Parameters) -> Table:
    """How many nodes joined and left, how long they lived, and whether there were enough."""
    begins: dict[str, datetime] = {
        account: begin
        for account in record.accounts
        if (begin := asked.get("from") or first_listing(record, account)) is not None
    }
    lives = []
    for node in record.nodes:
        joined = node.allocation_time or node.first_observed_at
        gone = node.ended_before
        if not is_wanted(asked, node.pool_id):
            continue
        if asked.get("from") and gone is not None and gone < asked["from"]:
            continue
        if asked.get("to") and joined >= asked["to"]:
            continue
        is_over = gone is not None and (not asked.get("to") or gone < asked["to"])
        lives.append((node, joined, is_over))
    figures = _figures(record, asked)
    made = []
    by_group = grouped(lives, lambda life: _group(life[0]))
    for key in by_group.keys() | figures.keys():
        own = by_group.get(key, [])
        told = figures.get(key, {"listings": 0, "listings_below_target": 0, "most": 0})
        if not own and not told["most"]:
            continue
        over = [(node, joined) for node, joined, is_over in own if is_over]
        at_start = sum(joined < begins[key[0]] for _, joined, _ in own)
        lifetimes = [
            (min(node.last_observed_at, node.ended_before or node.last_observed_at) - joined) / HOUR
            for node, joined in over
        ]
        made.append(
            dict(zip(("account", "pool_id", "is_dedicated"), key, strict=True))
            | told
            | {
                "nodes_at_start": at_start,
                "joined": len(own) - at_start,
                "left_pool": len(over),
                "nodes_at_end": len(own) - len(over),
                "reused_ids": len(own) - len({node.node_id for node, _, _ in own}),
                "p50_lifetime_hours": percentile(lifetimes, 0.5),
            }
        )
    return made


def first_listing(record: Record, account: str) -> datetime | None:
    """When the record of an account begins: a node was listed for the first time."""
    # Reading: a listing without any node leaves no fact, so an answer cannot depend on it.
    seen = (node.first_observed_at for node in record.nodes if node.account == account)
    return min(seen, default=None)


def _group(node: Node) -> tuple[str, str, bool | None]:
    kind: bool | None = machine_of(node.rows)["is_dedicated"]
    return node.account, node.pool_id, kind


def _figures(record: Record, asked: Parameters) -> dict[Any, dict[str, Any]]:
    """The service's own figures of the pools in range."""
    figures: dict[Any, dict[str, Any]] = {}
    for snapshot in record.snapshots:
        if not within(asked, snapshot.at):
            continue
        pool_ids = {*snapshot.pools, *(each.pool_id for each in snapshot.listings)}
        for pool_id in pool_ids:
            if not is_wanted(asked, pool_id):
                continue
            document = snapshot.pools.get(pool_id, {})
            for kind, name in ((True, "DedicatedNodes"), (False, "LowPriorityNodes")):
                start = {"listings": 0, "listings_below_target": 0, "most": 0}
                told = figures.setdefault((snapshot.account, pool_id, kind), start)
                told["listings"] += 1
                if document:
                    current, target = document[f"current{name}"], document[f"target{name}"]
                    told |= {"current_nodes": current, "target_nodes": target}
                    told["listings_below_target"] += current < target
                    told["most"] = max(told["most"], target)
    return figures


QUESTIONS = {
    "stuck_nodes": Question(
        stuck_nodes,
        (*_NODE, "state", "state_transition_time"),
        ({}, {"minutes": 5.0}),
    ),
    "idle_streaks": Question(
        idle_streaks,
        (*_NODE, "started_at"),
        ({}, {"hours": 0.2}),
        ignored=("idle_cost", "currency"),
    ),
    "flapping_nodes": Question(
        flapping_nodes, _NODE, ({"entries": 1}, {"entries": 2, "hours": 40.0})
    ),
    "node_hours": Question(hours_by_day, ("day", *_MACHINE, "state"), ignored=("cost", "currency")),
    "idle_cost": Question(idle_cost, _MACHINE, ignored=("idle_cost", "currency")),
    "broken_cost": Question(broken_cost, (*_MACHINE, "state"), ignored=("broken_cost", "currency")),
    "census": Question(
        census,
        ("account", "pool_id", "is_dedicated"),
        needs_rows=("current_nodes", "target_nodes", "listings", "listings_below_target"),
    ),
}
