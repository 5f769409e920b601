"""The sections that show where time went: hours and money, nodes getting ready, tasks, preemptions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.report import charts, figures, lines, palette, tables
from pipeline.report.frame import Frame
from pipeline.report.gather import Findings, Pool, Row
from pipeline.report.picture import (
    FULL,
    HALF,
    LINES,
    NARROW,
    Key,
    Part,
    Picture,
    both,
    left_out,
    watched,
)
from pipeline.report.tables import Table
from pipeline.report.text import count, cut, each, percent

if TYPE_CHECKING:
    import pyarrow as pa


def hours_parts(found: Findings, prices: pa.Table | None) -> Iterator[Part]:
    """Each pool's node-hours by state; in its tables money too, where there are prices."""
    by_pool: dict[Pool, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in found.hours:
        by_pool[row["account"], row["pool_id"]][row["state"]] += row["hours"]
    ordered = sorted(by_pool, key=lambda key: -sum(by_pool[key].values()))
    shown = [(found.name(*key), dict(by_pool[key])) for key in ordered[:LINES]]
    if not shown:
        return
    wide, narrow = both(
        lambda frame: lines.shares(shown, frame),
        "Node-hours of each pool by state",
        Frame(FULL, 30 * len(shown), left=170, right=84),
        Frame(NARROW, 30 * len(shown), left=98, right=66),
    )
    note = "Each pool's node-hours, as shares of its states. Hatched: unobserved, time over which "
    note += "something changed between listings more than 15 minutes apart."
    yield Part(
        "Where the node-hours went",
        "hours",
        f"{note} {left_out(len(ordered), len(shown), 'pool')}".strip(),
        pictures=[Picture(wide, narrow)],
        tables=[_hours_table(found, prices), _states_table(found)],
    )


def _hours_table(found: Findings, prices: pa.Table | None) -> Table:
    """Pool by pool and size by size: hours by group, and money where there are prices."""
    grouped: dict[tuple[str, str, str, bool | None], list[Row]] = defaultdict(list)
    for row in found.hours:
        key = row["account"], row["pool_id"], row["vm_size"] or "", row["is_dedicated"]
        grouped[key].append(row)
    names = ["pool", "vm_size", "kind", "paid_hours", "working", "idle", "passing", "broken"]
    names += ["unobserved", "not_paid", "idle_share", "broken_share"]
    names += ["cost", "idle_cost", "broken_cost"] if prices is not None else []
    rows = []
    for (account, pool_id, size, is_dedicated), of in grouped.items():
        hours: dict[str, float] = defaultdict(float)
        for row in of:
            is_seen = row["state"] != "unobserved"
            hours[palette.look_of(row["state"]).group if is_seen else "unobserved"] += row["hours"]
        paid = sum(hours.values()) - hours["gone"]
        kind = {True: "dedicated", False: "spot"}.get(is_dedicated, "not told")  # type: ignore[arg-type]  # None is not told
        line: list[object] = [found.name(account, pool_id), size, kind, paid]
        line += [hours[group] for group in ("working", "idle", "passing", "trouble")]
        line += [hours["unobserved"], hours["gone"]]
        line += [percent(hours["idle"], paid), percent(hours["trouble"], paid)]
        if prices is not None:
            line += [
                str(figures.money(of, prices, states))
                for states in (None, ("idle",), palette.BROKEN)
            ]
        rows.append(line)
    rows.sort(key=lambda line: -float(str(line[3])))
    unpriced = figures.money(found.hours, prices).unpriced if prices is not None else {}
    note = "Paid hours are all but those of preempted and deallocated nodes."
    if unpriced:
        sizes = ", ".join(f"{size} ({hours:,.0f} h)" for size, hours in unpriced.items())
        note += f" The price file lacks, so that these hours cost nothing here: {sizes}."
    return tables.of_rows("Node-hours by pool and size", names, rows, note=note)


def _states_table(found: Findings) -> Table:
    rows = [
        [
            found.name(row["account"], row["pool_id"]),
            *(row[name] for name in ("vm_size", "state", "hours", "certain_hours")),
        ]
        for row in sorted(found.hours, key=lambda row: -row["hours"])
    ]
    return tables.of_rows(
        "Node-hours by pool and state", ["pool", "vm_size", "state", "hours", "certain_hours"], rows
    )


def ready_part(found: Findings) -> Part:
    """What keeps nodes from work: start tasks that fail, and slow boots."""
    part = Part("Getting ready", "ready", shape="half")
    failures = [row for row in found.start_tasks if row["cause"] or row["is_other"]]
    causes: dict[str, int] = defaultdict(int)
    for row in failures:
        causes[row["cause"] or "other causes"] += row["runs"]
    order = sorted(causes, key=lambda cause: (cause == "other causes", -causes[cause]))
    inks = {cause: f"cause{place}" for place, cause in enumerate(order)}
    cells = [
        (
            row["bin"],
            inks[row["cause"] or "other causes"],
            row["runs"],
            f"{row['cause'] or 'other causes'}: {count(row['runs'], 'run')} on "
            f"{count(row['nodes'], 'node')}",
        )
        for row in failures
    ]
    if cells:
        wide, narrow = both(
            lambda frame: charts.columns(
                cells, [*inks.values()], watched(found.fleet), found.span, frame
            ),
            "Start-task failures by cause over time",
            Frame(HALF, 180, left=34),
            Frame(NARROW, 160, left=34),
        )
        keys = [Key(inks[cause], f"{cut(cause, 40)}, {causes[cause]:,}") for cause in order]
        part.pictures.append(
            Picture(wide, narrow, "Start tasks that failed", "runs, by cause", keys)
        )
    slow = [(found.name(row["account"], row["pool_id"]), row) for row in found.ready][:LINES]
    if slow:
        wide, narrow = both(
            lambda frame: lines.ready(slow, frame),
            "Minutes from allocation to ready, by pool",
            Frame(HALF, 34 * len(slow) + 8, left=140, right=30),
            Frame(NARROW, 34 * len(slow) + 8, left=98, right=30),
        )
        note = "minutes; median, middle half, 5th to 95th percentile"
        part.pictures.append(Picture(wide, narrow, "From allocation to ready", note))
        part.tables.append(
            tables.of_rows(
                "From allocation to ready, in minutes",
                [name for name in found.ready[0] if name != "account"],
                [[row[name] for name in row if name != "account"] for row in found.ready],
                note="Ready is the start of the first idle or running state that was seen; boot is "
                "the first boot. Nodes that were allocated in the range and seen ready.",
            )
        )
    if not part.pictures:
        part.note = "No start task failed, and no node was seen to become ready, in this range."
    return part


def work_part(found: Findings) -> Part:
    """What was done, how busy the slots were, and what was taken away."""
    part = Part("Work and losses", "work", shape="half")
    seen = watched(found.fleet)
    tasks = [
        (place, ink, number, f"{count(number, 'task')} {what}")
        for place, one in enumerate(found.fleet)
        for ink, number, what in (
            ("running", one.finished - one.failed, "succeeded"),
            ("failed", one.failed, "failed"),
        )
    ]
    if any(number for _, _, number, _ in tasks):
        wide, narrow = both(
            lambda frame: charts.columns(tasks, ["running", "failed"], seen, found.span, frame),
            "Tasks that ended, over time",
            Frame(HALF, 160, left=40),
            Frame(NARROW, 150, left=40),
        )
        done = sum(one.finished for one in found.fleet)
        failed = sum(one.failed for one in found.fleet)
        keys = [
            Key("running", f"succeeded, {done - failed:,}"),
            Key("failed", f"failed, {failed:,}"),
        ]
        part.pictures.append(
            Picture(wide, narrow, "Tasks that ended", f"in every {each(found.span.step)}", keys)
        )
    lost: dict[int, list[Row]] = defaultdict(list)
    for row in found.preemptions:
        lost[row["bin"]].append(row)
    if lost:
        cells = [
            (
                place,
                "preempted",
                sum(row["preemptions"] for row in rows),
                "\n".join(
                    f"{found.name(r['account'], r['pool_id'])}: "
                    f"{count(r['preemptions'], 'preemption')}"
                    for r in rows
                ),
            )
            for place, rows in lost.items()
        ]
        wide, narrow = both(
            lambda frame: charts.columns(cells, ["preempted"], seen, found.span, frame),
            "Preemptions over time",
            Frame(HALF, 160, left=34),
            Frame(NARROW, 110, left=34),
        )
        note = f"in every {each(found.span.step)}"
        part.pictures.append(Picture(wide, narrow, "Preemptions", note))
    else:
        part.note = "No node was preempted."
    busy = [
        (found.name(*key), bins) for key, bins in found.pools.items() if any(b.slots for b in bins)
    ][:LINES]
    if busy:
        high = 24 * len(busy)
        wide, narrow = both(
            lambda frame: lines.use(busy, found.span, frame),
            "Share of task slots in use, by pool, over time",
            Frame(FULL, high, left=170, right=56),
            Frame(NARROW, high, left=98, right=46),
        )
        note = "of all slots: the fuller the colour, the more; mean at the end of the line"
        part.pictures.append(Picture(wide, narrow, "Task slots in use", note, is_full=True))
    return part
