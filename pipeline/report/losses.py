"""The sections about hours and costs, startups, tasks and preemptions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import polars as pl

from pipeline.report import charts, figures, lines, nodes, tables
from pipeline.report.findings import Bin, Findings
from pipeline.report.frame import Frame
from pipeline.report.picture import FULL, HALF, LINES, NARROW, Key, Part, Picture, both, watched
from pipeline.report.tables import HtmlTable
from pipeline.report.text import count, cut, each, listed, percent

OTHER_CAUSES = "other causes"
#: The most pools with a line of their own in the picture of hours; the others share one.
_OTHERS = "other pools"
_HINT = (
    "Add costs with a CSV of hourly prices (vm_size, kind, price_per_hour, currency): "
    "nodelake report --prices FILE."
)


def hours_parts(found: Findings, prices: pl.DataFrame | None) -> Iterator[Part]:
    """Each pool's node-hours by state; in its tables money too, where there are prices."""
    shown = pool_hours(found)
    if not shown:
        return
    wide, narrow = both(
        lambda frame: lines.shares(shown, frame),
        f"Paid node-hours of each pool by state: {_in_words(found)}",
        Frame(FULL, 30 * len(shown), left=170, right=84),
        Frame(NARROW, 30 * len(shown), left=98, right=66),
    )
    note = "Each pool's paid node-hours, as shares of its states. Hatched: unobserved, time over "
    note += "which something changed between listings more than 15 minutes apart."
    yield Part(
        "Where the node-hours went",
        "hours",
        note if prices is not None else f"{note} {_HINT}",
        pictures=[Picture(wide, narrow)],
        tables=[_hours_table(found, prices), _states_table(found)],
    )


def pool_hours(found: Findings) -> list[tuple[str, dict[str, float]]]:
    """The paid hours of each pool by state, most hours first; small pools are one line, the last."""
    per_pool = (
        found.hours.filter(figures.is_paid())
        .group_by("account", "pool_id", "state")
        .agg(pl.col("hours").sum())
        .with_columns(name=found.named, whole=pl.col("hours").sum().over("account", "pool_id"))
        .sort("whole", "name", "state", descending=[True, False, False])
        .with_columns(place=pl.struct("account", "pool_id").rle_id())
    )
    if per_pool["place"].max() not in (None, *range(LINES)):
        is_small = pl.col("place") >= LINES - 1
        per_pool = per_pool.with_columns(
            name=pl.when(is_small).then(pl.lit(_OTHERS)).otherwise("name"),
            place=pl.col("place").clip(None, LINES - 1),
        )
    lines_of: dict[tuple[int, str], dict[str, float]] = defaultdict(dict)
    sums = per_pool.group_by("place", "name", "state", maintain_order=True).agg(
        pl.col("hours").sum()
    )
    for place, name, state, hours in sums.iter_rows():
        lines_of[place, name][state] = hours
    return [(name, states) for (_, name), states in lines_of.items()]


def _in_words(found: Findings) -> str:
    hours = figures.Hours.of(found.hours)
    shares = (("working", hours.working), ("idle", hours.idle), ("broken", hours.broken))
    return ", ".join(f"{percent(part, hours.paid)} {what}" for what, part in shares)


def _hours_table(found: Findings, prices: pl.DataFrame | None) -> HtmlTable:
    """Pool by pool and size by size: hours by group, and money where there are prices."""
    keys = ["account", "pool_id", "vm_size", "is_dedicated"]
    hours = found.hours.with_columns(
        group=nodes.group_of(),
        kind=pl.col("is_dedicated").replace_strict(
            {True: "dedicated", False: "spot"}, default="not known", return_dtype=pl.String
        ),
    )
    sizes = (
        hours.group_by(*keys, "kind")
        .agg(
            pl.col("hours").filter(figures.is_paid()).sum().alias("paid_hours"),
            *(
                pl.col("hours").filter(pl.col("group") == group).sum().alias(group)
                for group in nodes.GROUPS
            ),
        )
        .sort("paid_hours", *keys, descending=[True, *(False for _ in keys)])
    )
    shown = sizes.select(
        found.named.alias("pool"),
        "vm_size",
        "kind",
        "paid_hours",
        *nodes.GROUPS,
        *(
            pl.struct(group, "paid_hours")
            .map_elements(lambda row: percent(*row.values()), return_dtype=pl.String)
            .alias(f"{group}_share")
            for group in ("working", "idle", "broken")
        ),
    )
    note = "Paid hours are all but those of preempted and deallocated nodes."
    if prices is not None:
        costs = figures.priced(found.hours, prices)
        money = [
            {
                "cost": figures.spent(own),
                "idle_cost": figures.spent(own.filter(nodes.group_of() == "idle")),
                "broken_cost": figures.spent(own.filter(nodes.group_of() == "broken")),
            }
            for key in sizes.select(keys).iter_rows(named=True)
            for own in [costs.filter(*(pl.col(c).eq_missing(v) for c, v in key.items()))]
        ]
        shown = shown.hstack(pl.DataFrame(money))
        if lacking := figures.unpriced(costs):
            note += " The price file lacks, so that these hours cost nothing here: "
            note += f"{', '.join(lacking)}."
    return tables.of_frame("Node-hours by pool and size", shown, note=note)


def _states_table(found: Findings) -> HtmlTable:
    rows = found.hours.sort("hours", descending=True).select(
        found.named.alias("pool"), "vm_size", "state", "hours", "certain_hours"
    )
    return tables.of_frame("Node-hours by pool and state", rows)


def failures(found: Findings) -> pl.DataFrame:
    """Failed start-task runs by bin and cause; rarer causes share one name."""
    has_failed = pl.col("cause").is_not_null() | pl.col("is_other")
    return found.start_tasks.filter(has_failed).with_columns(
        pl.col("cause").fill_null(OTHER_CAUSES)
    )


def causes(found: Findings) -> list[tuple[str, int]]:
    """Causes of failed start tasks with their counts, the commonest first, rarer ones together last."""
    is_other = pl.col("cause") == OTHER_CAUSES
    summed = (
        failures(found)
        .group_by("cause")
        .agg(pl.col("runs").sum())
        .sort(is_other, "runs", "cause", descending=[False, True, False])
    )
    return [*summed.iter_rows()]


def ready_part(found: Findings) -> Part:
    """The section about start tasks that fail, and slow boots."""
    part = Part("Getting ready", "ready", shape="half")
    order = causes(found)
    inks = {cause: f"cause{place}" for place, (cause, _) in enumerate(order)}
    cells = [
        (bin_, inks[cause], runs, f"{cause}: {count(runs, 'run')} on {count(of, 'node')}")
        for bin_, cause, runs, of in failures(found)
        .select("bin", "cause", "runs", "nodes")
        .iter_rows()
    ]
    if cells:
        label = listed(f"{cause} {times:,}" for cause, times in order)
        wide, narrow = both(
            lambda frame: charts.columns(
                cells, [*inks.values()], watched(found.fleet), found.span, frame
            ),
            f"Start-task runs that failed over time, by cause: {label}",
            Frame(HALF, 180, left=34),
            Frame(NARROW, 160, left=34),
        )
        keys = [Key(inks[cause], f"{cut(cause, 40)}, {times:,}") for cause, times in order]
        part.pictures.append(
            Picture(wide, narrow, "Start tasks that failed", "runs, by cause", keys)
        )
    boots = found.ready.with_columns(name=found.named)
    slow = [(row["name"], row) for row in boots.head(LINES).to_dicts()]
    if slow:
        wide, narrow = both(
            lambda frame: lines.ready(slow, frame),
            "Minutes from allocation to ready, by pool: "
            + listed(f"{name} half within {row['p50']:,.1f}" for name, row in slow),
            Frame(HALF, 34 * len(slow) + 8, left=140, right=30),
            Frame(NARROW, 34 * len(slow) + 8, left=98, right=30),
        )
        note = "minutes; median, middle half, 5th to 95th percentile"
        part.pictures.append(Picture(wide, narrow, "From allocation to ready", note))
        part.tables.append(
            tables.of_frame(
                "From allocation to ready, in minutes",
                found.ready.drop("account"),
                note="Ready is the start of the first idle or running state that was seen; boot is "
                "the first boot. Nodes that were allocated in the range and seen ready.",
            )
        )
    if not part.pictures:
        part.note = "No start task failed, and no node was seen to become ready, in this range."
    return part


def work_part(found: Findings) -> Part:
    """The section about tasks, use of slots, and preemptions."""
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
        done = sum(one.finished for one in found.fleet)
        failed = sum(one.failed for one in found.fleet)
        wide, narrow = both(
            lambda frame: charts.columns(tasks, ["running", "failed"], seen, found.span, frame),
            f"Tasks that ended, over time: {done - failed:,} succeeded, {failed:,} failed",
            Frame(HALF, 160, left=40),
            Frame(NARROW, 150, left=40),
        )
        keys = [
            Key("running", f"succeeded, {done - failed:,}"),
            Key("failed", f"failed, {failed:,}"),
        ]
        part.pictures.append(
            Picture(wide, narrow, "Tasks that ended", f"in every {each(found.span.step)}", keys)
        )
    if lost := preempted(found):
        times = sum(number for _, _, number, _ in lost)
        wide, narrow = both(
            lambda frame: charts.columns(lost, ["preempted"], seen, found.span, frame),
            f"Preemptions over time: {times:,} in all",
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
            "Share of task slots in use over time, by pool: "
            + listed(f"{name} {percent(*_use(bins))}" for name, bins in busy),
            Frame(FULL, high, left=170, right=56),
            Frame(NARROW, high, left=98, right=46),
        )
        note = "of all slots: a full line is all of them; mean at the end of the line"
        part.pictures.append(Picture(wide, narrow, "Task slots in use", note, is_full=True))
    return part


def _use(bins: Sequence[Bin]) -> tuple[float, float]:
    return sum(one.busy_slots for one in bins), sum(one.slots for one in bins)


def preempted(found: Findings) -> list[tuple[int, str, float, str]]:
    """Preemptions as columns over time: bin, colour, number, and each pool's part in words."""
    part = pl.format(
        "{}: {} preemption{}",
        found.named,
        "preemptions",
        pl.when(pl.col("preemptions") == 1).then(pl.lit("")).otherwise(pl.lit("s")),
    )
    per_bin = (
        found.preemptions.group_by("bin")
        .agg(pl.col("preemptions").sum(), words=part.str.join("\n"))
        .sort("bin")
    )
    return [(place, "preempted", times, words) for place, times, words in per_bin.iter_rows()]
