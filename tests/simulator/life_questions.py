"""Questions about how nodes come up, are set up and are preempted: answered from what history keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
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
from tests.simulator.facts import Stay, Table, machine_of, stays
from tests.simulator.record import Node, Record, Row
from tests.simulator.runs import image_name, start_task_run_list

_POOL = ("account", "pool_id")


def _alive(record: Record, asked: Parameters) -> Iterator[tuple[Node, list[Row]]]:
    """The nodes that were there at the moment (the end of the record), and their rows by then."""
    moment = asked.get("moment")
    for node in record.nodes:
        gone = node.ended_before
        is_there = gone is None or (moment is not None and gone > moment)
        rows = [row for row in node.readable if moment is None or row.observed_at <= moment]
        # Reading: a node of which no readable row is known by then is in no set-up.
        if is_there and rows and is_wanted(asked, node.pool_id):
            yield node, rows


def _agent(row: Row) -> str | None:
    version: str | None = row.value("nodeAgentInfo", "version")
    return version


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _first_seen(
    record: Record, asked: Parameters, of: Callable[[Row], str | None]
) -> dict[Any, datetime]:
    """When a value was first seen, by (account, pool, value)."""
    found: dict[Any, datetime] = {}
    for node in record.nodes:
        for row in node.readable:
            value = of(row)
            if value is not None and row.observed_at <= asked.get("moment", row.observed_at):
                key = (node.account, node.pool_id, value)
                found[key] = min(found.get(key, row.observed_at), row.observed_at)
    return found


def agent_versions(record: Record, asked: Parameters) -> Table:
    """Which versions of the node agent the nodes of each pool run, and how old those are."""
    seen: dict[str, dict[str, datetime]] = {}
    for (account, _, version), at in _first_seen(record, asked, _agent).items():
        of_account = seen.setdefault(account, {})
        of_account[version] = min(of_account.get(version, at), at)
    made = []
    there = [(node, _agent(rows[-1])) for node, rows in _alive(record, asked)]
    for (account, pool_id), nodes in grouped(
        there, lambda each: (each[0].account, each[0].pool_id)
    ).items():
        # Reading: the account's last listing is the last one that showed a readable node.
        last = max(
            row.observed_at
            for node in record.nodes
            if node.account == account
            for row in node.readable
        )
        known = seen.get(account, {})
        for version, own in grouped(nodes, lambda each: each[1]).items():
            newer = [] if version is None else [v for v in known if _number(v) > _number(version)]
            newer_at = min((known[v] for v in newer), default=None)
            behind = None if newer_at is None else (asked.get("moment", last) - newer_at) / HOUR
            is_told = version is not None
            made.append(
                {
                    "account": account,
                    "pool_id": pool_id,
                    "node_agent_version": version,
                    "nodes": len(own),
                    "share": rounded(len(own) / len(nodes), 4),
                    "first_observed_at": known[version] if version is not None else None,
                    "newer_versions": len(newer) if is_told else None,
                    "behind_hours": rounded(behind, 2),
                    "newest_version": max(known, key=_number) if is_told else None,
                }
            )
    return made


def image_drift(record: Record, asked: Parameters) -> Table:
    """In which pools nodes run several images at a time, and which."""
    seen = _first_seen(record, asked, image_name)
    there = [
        (node, image)
        for node, rows in _alive(record, asked)
        if (image := image_name(rows[-1])) is not None
    ]
    made = []
    for (account, pool_id), nodes in grouped(
        there, lambda each: (each[0].account, each[0].pool_id)
    ).items():
        images = grouped(nodes, lambda each: each[1])
        rows = []
        for image, own in images.items():
            allocated = [node.allocation_time for node, _ in own if node.allocation_time]
            rows.append(
                {
                    "account": account,
                    "pool_id": pool_id,
                    "image": image,
                    "nodes": len(own),
                    "share": rounded(len(own) / len(nodes), 4),
                    "images": len(images),
                    "first_observed_at": seen[account, pool_id, image],
                    "first_allocation_time": min(allocated, default=None),
                    "last_allocation_time": max(allocated, default=None),
                    "is_newest": False,
                }
            )
        floor = datetime.min.replace(tzinfo=rows[0]["first_observed_at"].tzinfo)
        newest = max(
            rows,
            key=lambda row: (
                row["first_observed_at"],
                row["last_allocation_time"] or floor,
                row["image"],
            ),
        )
        newest["is_newest"] = True
        if len(images) >= asked.get("images", 2):
            made += rows
    return made


def _seconds(one: datetime | None, other: datetime | None) -> float | None:
    return None if one is None or other is None else (other - one).total_seconds()


def boot_latency(record: Record, asked: Parameters) -> Table:
    """How long new nodes take from their allocation to boot, start task and first idle."""
    runs = grouped(start_task_run_list(record), lambda run: id(run.node))
    steps = []
    for node in record.nodes:
        allocated = node.allocation_time
        if allocated is None or not within(asked, allocated) or not is_wanted(asked, node.pool_id):
            continue
        if (node.first_observed_at - allocated) / MINUTE > asked.get("minutes", 30):
            continue
        boots = [(at, row) for row in node.rows if (at := row.time("lastBootTime"))]
        boot = min((at for at, _ in boots), default=None)
        own = runs.get(id(node), [])
        started = min((run.start for run in own), default=None)
        succeeded = [run for run in own if run.last.told.get("result") == "success"]
        ends = [end for run in succeeded if (end := run.last.time("endTime"))]
        done = min(ends, default=None)
        idle = min((s.since for s in stays(node) if s.state in ("idle", "running")), default=None)
        image = next((image_name(row) for at, row in reversed(boots) if at == boot), None)
        key = (node.account, *machine_of(node.rows).values(), image)
        last = _seconds(done, idle)
        for name, seconds in (
            ("1 allocation to boot", _seconds(allocated, boot)),
            ("2 boot to start task", _seconds(boot, started)),
            ("3 start task", _seconds(started, done)),
            # Where a pool does not wait for its start task, step 4 is left out.
            ("4 start task to idle", last if last is not None and last >= 0 else None),
            ("5 allocation to idle", _seconds(allocated, idle)),
        ):
            if seconds is not None:
                steps.append(((*key, name), seconds))
    made = []
    for key, rows in grouped(steps, lambda step: step[0]).items():
        seconds_of = [seconds for _, seconds in rows]
        made.append(
            dict(zip(("account", "vm_size", "is_dedicated", "image", "step"), key, strict=True))
            | {
                "nodes": len(rows),
                "p50_seconds": percentile(seconds_of, 0.5),
                "p95_seconds": percentile(seconds_of, 0.95),
                "max_seconds": max(seconds_of),
            }
        )
    return made


@dataclass
class _Spot:
    """What one spot node adds: its time with a machine, and its preemptions in the range."""

    watched: timedelta
    away: timedelta
    preemptions: list[Stay]
    hours_to: list[float]
    recoveries: list[float]


def _spot(node: Node, asked: Parameters) -> _Spot:
    begins = max(node.first_observed_at, asked.get("from", node.first_observed_at))
    ends = min(node.last_observed_at, asked.get("to", node.last_observed_at))
    made = _Spot(max(ends - begins, timedelta(0)), timedelta(0), [], [], [])
    own = stays(node)
    created = node.allocation_time
    for number, stay in enumerate(own):
        if stay.state not in ("preempted", "deallocated"):
            continue
        following = own[number + 1 :]
        over = following[0].since if following else node.ended_before
        ended = max(stay.since, over or stay.last_observed_at)
        made.away += max(min(ended, ends) - max(stay.since, begins), timedelta(0))
        if stay.state != "preempted":
            continue
        if stay.since >= node.first_observed_at and within(asked, stay.since):
            made.preemptions.append(stay)
            if created is not None:
                made.hours_to.append((stay.since - created) / HOUR)
            up = next((s.since for s in following if s.state in ("idle", "running")), None)
            if up is not None:
                made.recoveries.append((up - stay.since) / MINUTE)
        if over is not None:
            created = ended
    return made


def preemptions(record: Record, asked: Parameters) -> Table:
    """How often spot nodes are preempted, after how long, and when they are back."""
    spot = [
        (node, _spot(node, asked))
        for node in record.nodes
        if machine_of(node.rows)["is_dedicated"] is False and is_wanted(asked, node.pool_id)
    ]
    made = []
    for key, nodes in grouped(
        spot, lambda each: (each[0].account, each[0].pool_id, machine_of(each[0].rows)["vm_size"])
    ).items():
        own = [each for _, each in nodes]
        if not sum((each.watched for each in own), timedelta(0)):
            continue
        hours = sum((each.watched - each.away for each in own), timedelta(0)) / HOUR
        count = sum(len(each.preemptions) for each in own)
        back = [minutes for each in own for minutes in each.recoveries]
        made.append(
            dict(zip((*_POOL, "vm_size"), key, strict=True))
            | {
                "node_hours": hours,
                "preemptions": count,
                "nodes_preempted": sum(bool(each.preemptions) for each in own),
                "preemptions_per_node_hour": ratio(count, hours),
                "p50_hours_to_preempt": percentile([h for each in own for h in each.hours_to], 0.5),
                "recovered": len(back),
                "p50_minutes_to_recover": percentile(back, 0.5),
                "p95_minutes_to_recover": percentile(back, 0.95),
            }
        )
    return made


QUESTIONS = {
    "agent_versions": Question(agent_versions, (*_POOL, "node_agent_version"), has_moment=True),
    "image_drift": Question(image_drift, (*_POOL, "image"), ({}, {"images": 1}), has_moment=True),
    "boot_latency": Question(
        boot_latency,
        ("account", "vm_size", "is_dedicated", "image", "step"),
        ({}, {"minutes": 600.0}),
    ),
    "preemptions": Question(preemptions, (*_POOL, "vm_size")),
}
