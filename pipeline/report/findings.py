"""Gathers the data of a report: the answers of the files of ``sql/report`` and of named questions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline import schema
from pipeline.query.sql_files import sql_directory
from pipeline.report import nodes, palette
from pipeline.report import span as spans
from pipeline.report.span import Span
from pipeline.report.text import plain, plain_lines

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.query import Connection

Row = dict[str, Any]
Pool = tuple[str, str]
"""An account and a pool of it."""

#: So many nodes in the picture that needs no script, of so many pools; so many causes one by one.
_NODES, _POOLS, _CAUSES = 40, 6, 5
#: Bins of that picture; of the picture of every node, which has so many cells in all: one is a byte.
_COARSE, _FINE, _MOST_CELLS = 170, 2016, 1_400_000
#: So many days are read for the stories of all nodes; of older nodes, so many stories.
_STORY_DAYS, _STORIES = 31, 20
_STATES = (*palette.stacked(), "other")


class NothingListed(Exception):
    """The range and pool have no listing: there is nothing to draw."""


@dataclass
class Bin:
    """A pool, or the fleet, in one bin of time.

    ``states``: nodes by state, means over the hours of it that were watched; None where it was not.
    ``missing``: how many pools were there and were not watched; they are not in ``states``.
    """

    states: dict[str, float] | None = None
    missing: int = 0
    slots: float = 0
    busy_slots: float = 0
    finished: int = 0
    failed: int = 0

    @property
    def nodes(self) -> float:
        """All of them."""
        return sum((self.states or {}).values())

    def add(self, other: Bin) -> None:
        """Adds a pool's bin."""
        if other.states is not None:
            own = self.states = self.states or {}
            for state, nodes in other.states.items():
                own[state] = own.get(state, 0) + nodes
        self.slots += other.slots
        self.busy_slots += other.busy_slots
        self.finished += other.finished
        self.failed += other.failed


@dataclass
class Findings:
    """The data of a report; every text in it is printable. Frames have a row as their SQL says."""

    lake: str
    span: Span
    #: The same time in the bins of ``drawn``, and in the finer ones of ``cells``.
    coarse: Span
    fine: Span
    pool: str | None
    accounts: list[str]
    #: Each pool bin by bin, that with the most nodes first; and all of them together.
    pools: dict[Pool, list[Bin]]
    fleet: list[Bin]
    #: Each pool's last complete listing: nodes by state.
    fleet_now: pl.DataFrame
    #: Node-hours of ``node_hours``, and where the range cuts a day, of the same states.
    hours: pl.DataFrame
    #: A row a node, the most eventful first: see ``nodes.summed``.
    nodes: pl.DataFrame
    #: The state of each node in each bin: of all nodes, and of the most eventful ones.
    cells: pl.DataFrame
    drawn: pl.DataFrame
    start_tasks: pl.DataFrame
    ready: pl.DataFrame
    preemptions: pl.DataFrame
    #: Of each node: rows of ``node_story``, runs of start tasks, errors, what start tasks wrote.
    stories: pl.DataFrame
    starts: pl.DataFrame
    errors: pl.DataFrame
    output: pl.DataFrame
    answers: dict[str, pl.DataFrame] = field(default_factory=dict)

    @cached_property
    def gaps(self) -> list[tuple[int, int]]:
        """Stretches of bins without listings, as (begin, end), end exclusive."""
        return stretches([each.states is None for each in self.fleet])

    def name(self, account: str, pool_id: str | None) -> str:
        """A pool's name for people: with its account where there are several."""
        if pool_id is None:
            return account
        return f"{account} / {pool_id}" if len(self.accounts) > 1 else pool_id

    @property
    def named(self) -> pl.Expr:
        """The same of a frame's ``account`` and ``pool_id``."""
        if len(self.accounts) < 2:
            return pl.col("pool_id")
        return pl.format("{} / {}", "account", "pool_id")


def stretches(holds: list[bool]) -> list[tuple[int, int]]:
    """Stretches of true values, as (begin, end), end exclusive."""
    found: list[tuple[int, int]] = []
    for place, does in enumerate(holds):
        if not does:
            continue
        if found and found[-1][1] == place:
            found[-1] = found[-1][0], place + 1
        else:
            found.append((place, place + 1))
    return found


def gather(
    connection: Connection,
    start: datetime | None = None,
    end: datetime | None = None,
    pool: str | None = None,
    questions: Mapping[str, Mapping[str, object]] | None = None,
) -> Findings:
    """Asks everything that a report shows.

    Args:

        connection: the lake.
        start: only from this moment on, by whole hours; by default seven days before the end.
        end: only before this moment, by whole hours; by default after the last listing.
        pool: only this pool.
        questions: named questions to ask too, each with parameters of its own; those that do not
            exist are left out.

    Raises:
        NothingListed: no pool was listed then.
    """
    ask = _Asker(connection, pool)
    bounds = ask("bounds", **{"from": start, "to": end}).row(0, named=True)
    if bounds["last_at"] is None:
        raise NothingListed
    apart = timedelta(seconds=bounds["apart_seconds"] or 0)
    span = spans.choose(start, end, bounds["first_at"], bounds["last_at"], apart)
    of = {"from": span.start, "to": span.end, "step": span.step.total_seconds()}
    rows = ask("hours", **of)
    if rows.is_empty():  # history has the days, but not this pool
        raise NothingListed
    pools, fleet = _series(rows.to_dicts(), span.bins)
    ask.keep("pieces", "report_pieces", **of)
    by_state = ask("nodes", **of)
    coarse = span.finer(apart, _COARSE)
    summed = nodes.summed(by_state, coarse)
    fine = span.finer(apart, min(max(_MOST_CELLS // max(summed.height, 1), _COARSE), _FINE))
    found = Findings(
        lake=plain(str(connection.lake)),
        span=span,
        coarse=coarse,
        fine=fine,
        pool=plain(pool) if pool else None,
        accounts=sorted(rows["account"].unique()),
        pools=pools,
        fleet=fleet,
        fleet_now=ask("fleet", to=span.end),
        hours=_node_hours(ask, span, ask.last_at()),
        nodes=summed,
        cells=nodes.drawn(ask("cells", **{**of, "step": fine.step.total_seconds()}), fine),
        drawn=nodes.drawn(ask("cells", **{**of, "step": coarse.step.total_seconds()}), coarse)
        .join(nodes.most_eventful(summed, _NODES, _POOLS), on=nodes.NODE)
        .sort("rank", "bin"),
        start_tasks=ask("start_tasks", **of, causes=_CAUSES),
        ready=ask("ready", **of),
        preemptions=ask("preemptions", **of),
        stories=_stories(connection, span, pool, summed),
        starts=ask("starts", **of),
        errors=ask("errors", **of),
        output=ask("output", **of) if "start_task_output" in schema.TABLES else pl.DataFrame(),
    )
    found.answers = _answers(connection, span, pool, questions or {})
    return found


class _Asker:
    """Runs the files of ``sql/report``, each with its parameters."""

    def __init__(self, connection: Connection, pool: str | None) -> None:
        self._connection = connection
        self._pool = pool

    def __call__(self, name: str, **parameters: object) -> pl.DataFrame:
        """The answer of a file."""
        answer = self._connection.table(*self._query(name, parameters))
        return printable(answer, plain_lines if name == "output" else plain)

    def keep(self, name: str, table: str, **parameters: object) -> None:
        """Stores the answer of a file as a table of this connection, for other files."""
        text, given = self._query(name, parameters)
        self._connection.table(f"create or replace temp table {table} as {text}", given)

    def last_at(self) -> datetime:
        """The time of the last listing of the record, whatever the report's range is."""
        found = self._connection.table(*self._query("bounds", {"from": None, "to": None}))
        last: datetime = found["last_at"][0].as_py()
        return last

    def _query(self, name: str, parameters: dict[str, object]) -> tuple[str, dict[str, object]]:
        text = (sql_directory() / "report" / f"{name}.sql").read_text("utf-8").rstrip()
        given = {**parameters, "pool": self._pool}
        code = re.sub(r"^--.*$", "", text, flags=re.MULTILINE)
        wanted = {key: given[key] for key in set(re.findall(r"\$(\w+)", code))}
        return text.removesuffix(";"), wanted


def printable(answer: pa.Table, shown_as: Callable[[str], str] = plain) -> pl.DataFrame:
    """An answer as a frame, with visible control characters in its texts."""
    frame = pl.DataFrame(pl.from_arrow(answer))
    for name, kind in frame.schema.items():
        if kind == pl.String:
            texts = frame[name].unique().drop_nulls().to_list()
            odd = {text: shown for text in texts if (shown := shown_as(text)) != text}
            if odd:
                frame = frame.with_columns(pl.col(name).replace(odd))
    return frame


def _stories(
    connection: Connection, span: Span, pool: str | None, summed: pl.DataFrame
) -> pl.DataFrame:
    """Rows of ``node_story``: of every node, or where the record is long of all but old nodes.

    A story is made from a node's whole life. Of a record of more than ``_STORY_DAYS`` days only the
    last ones are read, which hold the life of every node that was first seen in them; of the others
    the most eventful ones have a story, each a query of its own.
    """
    from pipeline.query import Connection, question

    asked = question("node_story")
    given = {"from": span.start, "to": span.end, "pool": pool}
    record = connection.table("select count(distinct date) as days from snapshots")
    if record["days"][0].as_py() <= _STORY_DAYS:
        return printable(connection.table(asked.sql, asked.bind(given)))
    since = span.end.date() - timedelta(days=_STORY_DAYS)
    # facts depend on the listings before their day
    young = "min(first_observed_at) >= $since::date + interval 2 day"
    known = connection.table(
        f"select account, pool_id, node_id, {young} as is_young "  # noqa: S608
        "from node_incarnations group by account, pool_id, node_id",
        {"since": since},
    )
    of_nodes = printable(known).filter("is_young").select(nodes.NODE)
    with Connection(connection.lake, since=since) as recent:
        stories = [
            printable(recent.table(asked.sql, asked.bind(given))).join(
                of_nodes, on=nodes.NODE, how="semi"
            )
        ]
    old = summed.select(nodes.NODE).join(of_nodes, on=nodes.NODE, how="anti").head(_STORIES)
    for account, pool_id, node_id in old.iter_rows():
        key = {"account": account, "pool": pool_id, "node": node_id}
        stories.append(printable(connection.table(asked.sql, asked.bind({**given, **key}))))
    return pl.concat(stories)


def _answers(
    connection: Connection,
    span: Span,
    pool: str | None,
    wanted: Mapping[str, Mapping[str, object]],
) -> dict[str, pl.DataFrame]:
    from pipeline.query import questions

    there = questions()
    answers = {}
    for name in wanted:
        if name in there:
            known = {each.name for each in there[name].parameters}
            given = {"from": span.start, "to": span.end, "pool": pool, **wanted[name]}
            taken = {key: value for key, value in given.items() if key in known}
            # not ``ask``: the page names the same counted days beside each table
            answers[name] = printable(connection.table(there[name].sql, there[name].bind(taken)))
    return answers


def _series(rows: list[Row], bins: int) -> tuple[dict[Pool, list[Bin]], list[Bin]]:
    """The bins of each pool, and their sum."""
    watched: dict[str, dict[int, int]] = defaultdict(dict)
    for row in rows:
        if row["pool_id"] is None:
            watched[row["account"]][row["bin"]] = row["watched_hours"]
    pools: dict[Pool, list[Bin]] = {}
    fleet = [Bin() for _ in range(bins)]
    for account, hours in watched.items():
        since = min(hours)
        for place in range(bins):
            if place in hours:
                fleet[place].states = fleet[place].states or {}
            elif place > since and len(watched) > 1:
                fleet[place].missing += 1  # an account, and all its pools
        for row in rows:
            if row["account"] != account or row["pool_id"] is None:
                continue
            key = account, row["pool_id"]
            if key not in pools:
                # where the account was watched and the pool was not there, it has no nodes
                pools[key] = [Bin({} if place in hours else None) for place in range(bins)]
            if row["bin"] < bins:
                pools[key][row["bin"]] = _bin(row)
                fleet[row["bin"]].add(_bin(row))
                fleet[row["bin"]].missing += row["span_hours"] > 0 and not row["listed_hours"]
    ordered = sorted(pools, key=lambda key: (-sum(each.nodes for each in pools[key]), key))
    return {key: pools[key] for key in ordered}, fleet


def _bin(row: Row) -> Bin:
    made = Bin(finished=int(row["tasks_finished"]), failed=int(row["tasks_failed"]))
    if row["listed_hours"]:
        # a pool that was there for a part of the bin counts for that part
        share = row["span_hours"] / row["watched_hours"] / row["listed_hours"]
        made.states = {state: share * row[state] for state in _STATES if row[state]}
        made.slots = share * (row["slot_hours"] or 0)
        made.busy_slots = share * (row["busy_slot_hours"] or 0)
    elif not row["span_hours"] and row["watched_hours"]:
        made.states = {}
    return made


def _node_hours(ask: _Asker, span: Span, last_at: datetime) -> pl.DataFrame:
    """Hours by pool, size and state: those of ``node_hours``, of days that the range cuts in part."""
    first, last = spans.ceil(span.start, spans.DAY), spans.floor(span.end, spans.DAY)
    if last_at < span.end:  # the rest of the last day is unknown
        last = spans.ceil(span.end, spans.DAY)
    parts = []
    if first < last:
        parts.append(ask("node_hours", **{"from": first, "to": last}))
    rests = [(span.start, min(first, span.end)), (max(last, span.start), span.end)]
    if first > last:  # all within a day
        rests = rests[:1]
    keys = ["account", "pool_id", "vm_size", "is_dedicated", "state"]
    for start, end in rests:
        if start < end:
            parts.append(ask("nodes", **{"from": start, "to": end}))
    columns = [*keys, "hours", "certain_hours"]
    return (
        pl.concat([part.select(columns) for part in parts])
        .group_by(keys, maintain_order=True)
        .agg(pl.col("hours", "certain_hours").sum())
        .filter(pl.col("hours") > 0)
    )
