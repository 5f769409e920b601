"""The key figures on top, and in words how well the fleet was watched."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import pyarrow as pa

from pipeline.report import palette
from pipeline.report.gather import Findings, Row
from pipeline.report.span import HOUR
from pipeline.report.text import (
    NOTHING,
    count,
    duration,
    each,
    listed,
    percent,
    plain,
    short,
    short_number,
    stretch,
)

#: More than this share of hours unobserved is a thing to say.
_MUCH = 0.05
Weight = Literal["good", "warn", "bad", "plain"]


@dataclass(frozen=True)
class Line:
    """A sentence, how much it matters, and the anchor of the table behind it."""

    text: str
    weight: Weight = "plain"
    anchor: str | None = None


@dataclass(frozen=True)
class Tile:
    """One key figure: what it is of, the figure, what else there is to say; the state it is like."""

    what: str
    figure: str
    more: str
    look: str | None = None


@dataclass
class Money:
    """Node-hours times prices, by currency, since those are never added together."""

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    #: Hours, paid for, of sizes that the price file does not have.
    unpriced: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def __str__(self) -> str:
        return (
            " + ".join(f"{sum_:,.0f} {name}" for name, sum_ in sorted(self.spent.items()))
            or NOTHING
        )


def money(rows: Iterable[Row], prices: pa.Table, states: Iterable[str] | None = None) -> Money:
    """What node-hours cost: of some states, or of all that are paid for."""
    per_hour = {
        (row["vm_size"], row["is_dedicated"]): (row["currency"], row["price_per_hour"])
        for row in prices.to_pylist()
    }
    wanted = None if states is None else set(states)
    found = Money()
    for row in rows:
        if not is_paid(row["state"]) or (wanted is not None and row["state"] not in wanted):
            continue
        price = per_hour.get(((row["vm_size"] or "").lower(), row["is_dedicated"]))
        if price is None:
            kind = {True: "dedicated", False: "spot"}.get(row["is_dedicated"], "kind not told")
            found.unpriced[f"{row['vm_size']} ({kind})"] += row["hours"]
        else:
            found.spent[price[0]] += row["hours"] * price[1]
    return found


def is_paid(state: str) -> bool:
    """Whether a node in that state costs money; unobserved ones may."""
    return palette.look_of(state).group != "gone"


def tiles(found: Findings, prices: pa.Table | None = None) -> list[Tile]:
    """What an owner sees first."""
    paid = [row for row in found.hours if is_paid(row["state"])]
    whole = sum(row["hours"] for row in paid)

    unobserved = sum(row["hours"] for row in paid if row["state"] == "unobserved")
    # where much is unobserved, the hours of a state are those that are known, and there were more
    known = "at least " if unobserved > _MUCH * whole else ""

    def told(*states: str, priced: bool = True) -> str:
        amount = f"{known}{sum(row['hours'] for row in paid if row['state'] in states):,.0f} h"
        if prices is None or not priced:
            return amount
        return f"{amount}, {money(found.hours, prices, states)}"

    def share(*states: str) -> str:
        return percent(*_listed_share(found, states))

    length = (found.span.end - found.span.start) / HOUR
    return [
        _now(found),
        Tile(
            "Node-hours",
            short_number(whole),
            f"{count(round(whole / length), 'node')} on average"
            + (f", {money(found.hours, prices)}" if prices is not None else ""),
        ),
        Tile("Working", share("running"), told("running", priced=False), "running"),
        Tile("Idle", share("idle"), told("idle"), "idle"),
        Tile("Broken", share(*palette.BROKEN), told(*palette.BROKEN), "unusable"),
        _start_tasks(found),
        _preempted(found),
        _watched(found),
    ]


def _listed_share(found: Findings, states: Iterable[str]) -> tuple[float, float]:
    """Nodes in those states, and all that are paid for, over the time that was watched.

    These are samples: rare listings make them coarse, but not lopsided, as hours are then, of which
    only long stays are known.
    """
    part = whole = 0.0
    for each_bin in found.fleet:
        for state, nodes in (each_bin.states or {}).items():
            whole += nodes * is_paid(state)
            part += nodes * (state in states)
    return part, whole


def _now(found: Findings) -> Tile:
    nodes = sum(row["nodes"] for row in found.fleet_now)
    if not found.fleet_now:
        return Tile("Nodes", NOTHING, "no rows of the last listing are left")
    paid = sum(row["nodes"] for row in found.fleet_now if is_paid(row["state"] or ""))
    at = max(row["listed_at"] for row in found.fleet_now)
    gone = nodes - paid
    return Tile(
        "Nodes",
        f"{paid:,}",
        f"at {short(at)}" + (f", and {gone:,} not paid for" if gone else ""),
    )


def _start_tasks(found: Findings) -> Tile:
    runs = sum(row["runs"] for row in found.start_tasks)
    failed = sum(row["runs"] for row in found.start_tasks if row["cause"] or row["is_other"])
    more = (
        f"of {count(runs, 'start-task run')}, {percent(failed, runs)}"
        if runs
        else "no run was seen"
    )
    return Tile("Start failures", f"{failed:,}", more, "starttaskfailed")


def _preempted(found: Findings) -> Tile:
    times = sum(row["preemptions"] for row in found.preemptions)
    spot = sum(
        row["hours"] for row in found.hours if not row["is_dedicated"] and is_paid(row["state"])
    )
    if not spot:
        return Tile("Preempted", f"{times:,}", "no spot nodes", "preempted")
    return Tile(
        "Preempted",
        f"{times:,}",
        f"{1000 * times / spot:,.1f} in 1,000 spot node-hours",
        "preempted",
    )


def _watched(found: Findings) -> Tile:
    span = found.span
    dark = sum((_ends(found, gap) for gap in found.gaps), timedelta())
    whole = span.end - span.start
    more = f"of {duration(whole)}"
    return Tile("Watched", percent(whole / HOUR - dark / HOUR, whole / HOUR), more)


def _ends(found: Findings, gap: tuple[int, int]) -> timedelta:
    start, end = found.span.edges(*gap)
    return end - start


def watched(found: Findings) -> list[Line]:
    """Gaps, failed snapshots and failed listings, in words."""
    lines = []
    span = found.span
    if found.gaps:
        told = listed((stretch(*span.edges(*gap)) for gap in found.gaps), 4)
        dark = sum((_ends(found, gap) for gap in found.gaps), timedelta())
        lines.append(Line(f"Not watched for {duration(dark)}: {told}. Hatched below.", "bad"))
    else:
        lines.append(Line(f"Every {each(span.step)} had a complete listing.", "good"))
    missing = sum(one.missing > 0 for one in found.fleet if one.states is not None)
    if missing:
        lines.append(
            Line(
                f"In {count(missing, 'bin')} of {duration(span.step)} at least one pool was not "
                "listed completely: it is missing from the fleet's sum, and marked above it.",
                "warn",
            )
        )
    lines += _snapshots(found)
    bad = [row for row in _rows(found, "failed_listings") if row["failed"] or row["partial"]]
    if bad:
        names = listed(
            f"{_pool(found, row)} ({count(row['failed'] + row['partial'], 'time')})" for row in bad
        )
        lines.append(
            Line(f"Listings that failed or broke off: {names}.", "warn", "q-failed_listings")
        )
    hours = sum(row["hours"] for row in found.hours if is_paid(row["state"]))
    certain = sum(row["certain_hours"] for row in found.hours if is_paid(row["state"]))
    unobserved = sum(row["hours"] for row in found.hours if row["state"] == "unobserved")
    text = f"{percent(certain, hours)} of the node-hours are certain"
    if unobserved:
        text += f"; {unobserved:,.0f} h ({percent(unobserved, hours)}) are of a state nobody saw"
    lines.append(Line(f"{text}.", "warn" if unobserved > _MUCH * hours else "plain"))
    lines += _missed_tasks(found)
    unknown = _rows(found, "unknown_fields")
    if unknown:
        names = listed(plain(str(row["path"])) for row in unknown)
        lines.append(
            Line(f"The service sent what no column knows: {names}.", "warn", "q-unknown_fields")
        )
    return lines


def _snapshots(found: Findings) -> list[Line]:
    rows = _rows(found, "coverage")
    whole = sum(row["snapshots"] for row in rows)
    if not whole:
        return []
    failed = sum(row["failed"] for row in rows)
    partial = sum(row["partial"] for row in rows)
    longest = max((row["longest_gap_minutes"] or 0 for row in rows), default=0)
    text = f"{count(whole, 'snapshot')}: "
    parts = [(partial, "partial"), (failed, "failed")]
    text += ", ".join(f"{times:,} {how}" for times, how in parts if times) or "all complete"
    if longest >= 1:
        text += f"; the longest time without one {duration(timedelta(minutes=longest))}"
    lines = [Line(f"{text}.", "warn" if failed or partial else "good", "q-coverage")]
    # an account that failed from end to end has no pool that could be missed on this page
    runs: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        runs[row["account"]][0] += row["snapshots"]
        runs[row["account"]][1] += row["failed"]
    dark = {account: failed for account, (of, failed) in sorted(runs.items()) if of == failed}
    if dark and found.pool is None:
        names = listed(f"{plain(name)} ({count(times, 'time')})" for name, times in dark.items())
        text = f"Every snapshot of {names} failed: nothing of it is on this page."
        lines.append(Line(text, "bad", "q-coverage"))
    return lines


def _missed_tasks(found: Findings) -> list[Line]:
    """Tasks that no listing showed: those that are counted below are not all there were."""
    rows = _rows(found, "slot_utilisation")
    missed = sum(row["tasks_missed"] or 0 for row in rows)
    if not missed:
        return []
    whole = missed + sum(row["tasks_finished"] or 0 for row in rows)
    text = (
        f"{count(missed, 'task')} ({percent(missed, whole)}) came and went between two listings: of "
        "those nobody saw how they ended, and they are not among the tasks below."
    )
    weight: Weight = "warn" if missed > _MUCH * whole else "plain"
    return [Line(text, weight, "q-slot_utilisation")]


def _rows(found: Findings, question: str) -> list[Row]:
    table = found.answers.get(question)
    return table.to_pylist() if table is not None else []


def _pool(found: Findings, row: Row) -> str:
    return plain(found.name(row["account"], row["pool_id"]))
