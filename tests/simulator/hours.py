"""Node-hours by day and state, with their honest bounds, and pools hour by hour."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from tests.simulator.facts import Stay, Table, followed, machine_of, stays
from tests.simulator.machines import DAY
from tests.simulator.record import Node, Record, midnight
from tests.simulator.runs import TaskRun, task_run_list

#: Over a longer gap between two listings that show a change, no one knows the state.
LONGEST = timedelta(minutes=15)
UNOBSERVED = "unobserved"
STATES = (
    "idle rebooting reimaging running unusable creating starting waitingforstarttask "
    "starttaskfailed unknown leavingpool offline preempted upgradingos deallocated deallocating"
).split()


@dataclass(frozen=True)
class Piece:
    """A node's time in a state; certain where the service's own times and a listing prove it."""

    state: str
    begins: datetime
    ends: datetime
    is_certain: bool

    def on(self, day: date) -> timedelta:
        """How much of it falls within a day."""
        begins = max(self.begins, midnight(day))
        return max(min(self.ends, midnight(day) + DAY) - begins, timedelta(0))


def pieces(node: Node) -> list[Piece]:
    """All the time of a node, from its allocation (or what is first known of it) to its end.

    A state lasts until the next observed one began; it is certain to its last observation. Where it
    changed, or the node went, over more than 15 minutes, or over rows that have no state, the
    time between is unobserved.
    """
    own = stays(node)
    gone = node.ended_before
    begins = node.allocation_time or node.first_observed_at
    if not own:
        # Reading: the node was there, in a state that no listing showed.
        return [Piece(UNOBSERVED, begins, gone or node.last_observed_at, False)]
    if node.allocation_time is None:
        begins = min(begins, own[0].since)
    made = [Piece(UNOBSERVED, begins, own[0].since, False)]
    started = own[0].since
    for stay, following in followed(own):
        # A start before that of the state before is taken to be as late as that.
        started = max(started, stay.since)
        if following:
            ended, is_known = max(started, following.since), _is_known(node, stay, following)
        elif gone is not None:
            ended, is_known = gone, _is_known(node, stay, None)
        else:
            # Reading: a state that lasts on counts to its last observation; later rows that say no
            # state prove that the node was there, in some state.
            ended, is_known = node.last_observed_at, False
        certain = min(stay.last_observed_at, ended)
        made.append(Piece(stay.state, started, certain, True))
        state = stay.state if is_known else UNOBSERVED
        made.append(Piece(state, max(started, certain), ended, False))
    return made


def _is_known(node: Node, stay: Stay, following: Stay | None) -> bool:
    """Whether the time after a stay's last observation goes to its state."""
    ends = [node.absent_at, node.replacement_observed_at]
    missed = following.first_observed_at if following else min(t for t in ends if t)
    blurred = [
        row
        for row in node.rows
        if stay.last_observed_at < row.observed_at < missed and not row.is_state_known
    ]
    return missed - stay.last_observed_at <= LONGEST and not blurred


def node_hours(record: Record) -> Table:
    """Hours of nodes in each state, by day of the record."""
    days = {account: record.days(account) for account in record.accounts}
    hours: dict[tuple[Any, ...], list[timedelta]] = defaultdict(lambda: [timedelta(0)] * 2)
    for node in record.nodes:
        machine = machine_of(node.rows)
        for piece in pieces(node):
            for day in days[node.account]:
                length = piece.on(day)
                if length:
                    key = (day, node.account, node.pool_id, *machine.values(), piece.state)
                    whole, certain = hours[key]
                    certain += length if piece.is_certain else timedelta(0)
                    hours[key] = [whole + length, certain]
    names = ("date", "account", "pool_id", "vm_size", "is_dedicated", "state")
    return [
        dict(zip(names, key, strict=True))
        | {
            "hours": whole / timedelta(hours=1),
            "certain_hours": certain / timedelta(hours=1),
        }
        for key, (whole, certain) in hours.items()
    ]


def hour_of(moment: datetime) -> datetime:
    """The start of its hour."""
    return moment.replace(minute=0, second=0, microsecond=0)


def pool_hours(record: Record) -> Table:
    """Each pool hour by hour: means over the complete listings that ended in it, tasks that ended."""
    figures: dict[tuple[str, str, datetime], list[dict[str, float | None]]] = defaultdict(list)
    for (account, pool_id), listings in record.listings.items():
        for listing in listings:
            if listing.status == "complete" and not listing.is_absence and listing.finished_at:
                states = [row.state for row in listing.rows]
                slots = listing.snapshot.pools.get(pool_id, {}).get("taskSlotsPerNode")
                counts: dict[str, float | None] = {
                    f"nodes_{state}": states.count(state) for state in STATES
                }
                counts["nodes_other"] = sum(state not in STATES for state in states)
                counts["nodes"] = len(states)
                # Reading: an import without its pool does not know the slots: it is in no mean.
                counts["slots"] = None if slots is None else slots * len(states)
                counts["running_slots"] = sum(
                    row.value("runningTaskSlotsCount") or 0 for row in listing.rows
                )
                figures[account, pool_id, hour_of(listing.finished_at)].append(counts)
    ended: dict[tuple[str, str, datetime], list[TaskRun]] = defaultdict(list)
    for run in task_run_list(record):
        end = run.last.time("endTime")
        # Reading: the record begins with its first day; what ended before is counted by no day.
        if end is not None and end.date() in record.days(run.node.account):
            ended[run.node.account, run.node.pool_id, hour_of(end)].append(run)
    names = (*(f"nodes_{state}" for state in (*STATES, "other")), "nodes", "slots", "running_slots")
    made = []
    for key in figures.keys() | ended.keys():
        account, pool_id, hour = key
        found = figures.get(key, [])
        row: dict[str, Any] = {
            "date": hour.date(),
            "account": account,
            "pool_id": pool_id,
            "hour": hour,
            "listings": len(found),
            "tasks_finished": len(ended.get(key, [])),
            "tasks_failed": sum(run.has_failed for run in ended.get(key, [])),
        }
        for name in names:
            values = [each[name] for each in found if each[name] is not None]
            row[name] = sum(v for v in values if v is not None) / len(values) if values else None
        made.append(row)
    return made
