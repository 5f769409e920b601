"""The key figures of the page, and sentences about the coverage of the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import polars as pl

from pipeline.report import nodes, palette
from pipeline.report.findings import Findings, Row
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
    short_id,
    short_number,
    stretch,
)

#: The share of unobserved hours above which the page says so.
_MUCH = 0.05
Weight = Literal["good", "warn", "bad", "plain"]


@dataclass(frozen=True)
class Line:
    """A sentence, its severity, the anchor of its table, and the node that it names."""

    text: str
    weight: Weight = "plain"
    anchor: str | None = None
    node_id: str | None = None

    @property
    def pieces(self) -> tuple[str, str, str]:
        """The text before the node's id, the id as the text has it, and the text after it."""
        return self.text.partition(short_id(self.node_id)) if self.node_id else (self.text, "", "")


@dataclass(frozen=True)
class Tile:
    """One key figure: its name, its value, a note, and the state whose colour it has."""

    what: str
    figure: str
    more: str
    look: str | None = None


#: Nodes in these states cost nothing.
_FREE = [state for state, look in palette.STATES.items() if look.group == "gone"]


def is_paid() -> pl.Expr:
    """Whether the state of a row costs money; unobserved hours may."""
    return ~pl.col("state").is_in(_FREE)


def priced(hours: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """The paid hours with ``currency`` and ``cost``: null where the price file lacks their size."""
    sizes = prices.select(
        pl.col("vm_size").str.to_lowercase().alias("size"),
        "is_dedicated",
        "currency",
        "price_per_hour",
    )
    return (
        hours.filter(is_paid())
        .with_columns(size=pl.col("vm_size").str.to_lowercase())
        .join(sizes, on=["size", "is_dedicated"], how="left", maintain_order="left")
        .with_columns(cost=pl.col("hours") * pl.col("price_per_hour"))
    )


def spent(costs: pl.DataFrame, states: Sequence[str] | None = None) -> str:
    """The cost of priced hours, of some states or of all. Currencies are never added together."""
    wanted = costs if states is None else costs.filter(pl.col("state").is_in([*states]))
    sums = wanted.drop_nulls("currency").group_by("currency").agg(pl.col("cost").sum())
    amounts = [f"{cost:,.0f} {currency}" for currency, cost in sums.sort("currency").iter_rows()]
    return " + ".join(amounts) or NOTHING


def unpriced(costs: pl.DataFrame) -> list[str]:
    """The sizes that the price file lacks, with their hours."""
    kind = pl.col("is_dedicated").replace_strict(
        {True: "dedicated", False: "spot"}, default="kind not known", return_dtype=pl.String
    )
    lacking = (
        costs.filter(pl.col("currency").is_null())
        .group_by(pl.col("vm_size").fill_null("size not known"), kind.alias("kind"))
        .agg(pl.col("hours").sum())
        .sort("vm_size", "kind")
    )
    return [f"{size} ({kind}, {hours:,.0f} h)" for size, kind, hours in lacking.iter_rows()]


@dataclass(frozen=True)
class Hours:
    """The node-hours of the report: every figure and picture of hours adds up to them."""

    paid: float
    working: float
    idle: float
    broken: float
    unobserved: float
    certain: float

    @classmethod
    def of(cls, hours: pl.DataFrame) -> Hours:
        """Sums of rows with ``state``, ``hours`` and ``certain_hours``."""
        paid = hours.filter(is_paid())

        def of_group(group: str) -> float:
            return float(paid.filter(nodes.group_of() == group)["hours"].sum())

        return cls(
            float(paid["hours"].sum()),
            of_group("working"),
            of_group("idle"),
            of_group("broken"),
            of_group("unobserved"),
            float(paid["certain_hours"].sum()),
        )


def tiles(found: Findings, prices: pl.DataFrame | None = None) -> list[Tile]:
    """The key figures."""
    hours = Hours.of(found.hours)
    costs = priced(found.hours, prices) if prices is not None else None
    # where much is unobserved, the hours of a state are those that are known, and there were more
    known = "at least " if hours.unobserved > _MUCH * hours.paid else ""
    length = (found.span.end - found.span.start) / HOUR

    def tile(what: str, amount: float, states: Sequence[str], look: str) -> Tile:
        more = f"{known}{amount:,.0f} h"
        if costs is not None:
            more += f", {spent(costs, states)}"
        return Tile(what, percent(amount, hours.paid), more, look)

    every = f", {spent(costs)}" if costs is not None else ""
    return [
        _now(found),
        Tile(
            "Paid node-hours",
            short_number(hours.paid),
            f"{count(round(hours.paid / length), 'node')} on average{every}",
        ),
        tile("Working", hours.working, ["running"], "running"),
        tile("Idle", hours.idle, ["idle"], "idle"),
        tile("Broken", hours.broken, _broken(found), "unusable"),
        _start_tasks(found),
        _preempted(found),
        _watched(found),
    ]


def _broken(found: Findings) -> list[str]:
    """The broken states, unknown states included."""
    states = found.hours.filter(nodes.group_of() == "broken")["state"].unique()
    return sorted({*palette.BROKEN, *states})


def _now(found: Findings) -> Tile:
    now = found.fleet_now.with_columns(pl.col("state").fill_null("malformed"))
    if now.is_empty():
        return Tile("Nodes", NOTHING, "no rows of the last listing are left")
    paid = int(now.filter(is_paid())["nodes"].sum())
    gone = int(now["nodes"].sum()) - paid
    at = short(now["listed_at"].max())  # type: ignore[arg-type]  # a moment
    return Tile("Nodes", f"{paid:,}", f"at {at}" + (f", and {gone:,} not paid for" if gone else ""))


def _start_tasks(found: Findings) -> Tile:
    runs = int(found.start_tasks["runs"].sum())
    has_failed = pl.col("cause").is_not_null() | pl.col("is_other")
    failed = int(found.start_tasks.filter(has_failed)["runs"].sum())
    more = f"of {count(runs, 'start-task run')}, {percent(failed, runs)}"
    return Tile(
        "Start failures", f"{failed:,}", more if runs else "no run was seen", "starttaskfailed"
    )


def _preempted(found: Findings) -> Tile:
    times = int(found.preemptions["preemptions"].sum())
    is_spot = ~pl.col("is_dedicated").fill_null(False)
    spot = float(found.hours.filter(is_paid(), is_spot)["hours"].sum())
    more = f"{1000 * times / spot:,.1f} in 1,000 spot node-hours" if spot else "no spot nodes"
    return Tile("Preempted", f"{times:,}", more, "preempted")


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
    """Sentences about gaps, failed snapshots and failed listings."""
    lines = []
    span = found.span
    if found.gaps:
        times = listed((stretch(*span.edges(*gap)) for gap in found.gaps), 4)
        dark = sum((_ends(found, gap) for gap in found.gaps), timedelta())
        lines.append(Line(f"Not watched for {duration(dark)}: {times}. Hatched below.", "bad"))
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
    if bad := [row for row in _rows(found, "failed_listings") if row["failed"] or row["partial"]]:
        names = listed(
            f"{_pool(found, row)} ({count(row['failed'] + row['partial'], 'time')})" for row in bad
        )
        lines.append(
            Line(f"Listings that failed or broke off: {names}.", "warn", "q-failed_listings")
        )
    hours = Hours.of(found.hours)
    text = f"{percent(hours.certain, hours.paid)} of the paid node-hours are certain"
    if hours.unobserved:
        text += f"; in {hours.unobserved:,.0f} h ({percent(hours.unobserved, hours.paid)}) no "
        text += "listing shows the state"
    is_much = hours.unobserved > _MUCH * hours.paid
    lines.append(Line(f"{text}.", "warn" if is_much else "plain"))
    lines += _missed_tasks(found)
    unknown = _rows(found, "unknown_fields")
    if unknown:
        names = listed(plain(str(row["path"])) for row in unknown)
        lines.append(
            Line(f"The service sent what no column knows: {names}.", "warn", "q-unknown_fields")
        )
    return lines


def _snapshots(found: Findings) -> list[Line]:
    runs = found.answers.get("coverage")
    if runs is None or not runs["snapshots"].sum():
        return []
    whole, partial, failed = (int(runs[name].sum()) for name in ("snapshots", "partial", "failed"))
    longest: Any = runs["longest_gap_minutes"].max() or 0
    text = f"{count(whole, 'snapshot')}: "
    parts = [(partial, "partial"), (failed, "failed")]
    text += ", ".join(f"{times:,} {how}" for times, how in parts if times) or "all complete"
    if longest >= 1:
        text += f"; the longest time without one {duration(timedelta(minutes=longest))}"
    lines = [Line(f"{text}.", "warn" if failed or partial else "good", "q-coverage")]
    # an account that failed from end to end has no pool that could be missed on this page
    dark = (
        runs.group_by("account")
        .agg(pl.col("snapshots", "failed").sum())
        .filter(pl.col("snapshots") == pl.col("failed"))
        .sort("account")
    )
    if dark.height and found.pool is None:
        names = listed(
            f"{name} ({count(times, 'time')})"
            for name, times in dark.select("account", "failed").iter_rows()
        )
        text = f"Every snapshot of {names} failed: nothing of it is on this page."
        lines.append(Line(text, "bad", "q-coverage"))
    return lines


def _missed_tasks(found: Findings) -> list[Line]:
    """The sentence about tasks that no listing showed, and that the counts below lack."""
    slots = found.answers.get("slot_utilisation")
    missed = int(slots["tasks_missed"].sum()) if slots is not None else 0
    if slots is None or not missed:
        return []
    whole = missed + int(slots["tasks_finished"].sum())
    text = (
        f"{count(missed, 'task')} ({percent(missed, whole)}) came and went between two listings: no "
        "listing shows how they ended, and they are not among the tasks below."
    )
    weight: Weight = "warn" if missed > _MUCH * whole else "plain"
    return [Line(text, weight, "q-slot_utilisation")]


def _rows(found: Findings, question: str) -> list[Row]:
    answer = found.answers.get(question)
    return answer.to_dicts() if answer is not None else []


def _pool(found: Findings, row: Row) -> str:
    return plain(found.name(row["account"], row["pool_id"]))
