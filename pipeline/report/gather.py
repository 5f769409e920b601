"""What a report is made of, asked of the lake: the files of ``sql/report``, and the named questions."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.query.sql_files import sql_directory
from pipeline.report import palette
from pipeline.report import span as spans
from pipeline.report.span import Span
from pipeline.report.text import plain

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.query import Connection

Row = dict[str, Any]
Pool = tuple[str, str]
"""An account and a pool of it."""

#: So many nodes in the picture of nodes and time, of so many pools; so many causes one by one.
_NODES, _POOLS, _CAUSES = 40, 6, 5
_STATES = (*palette.stacked(), "other")


class NothingListed(Exception):
    """No listing of a node's pool lies in what was asked for: there is nothing to draw."""


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
        """Takes in a pool's bin."""
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
    """All that a report shows; every text in it is printable."""

    lake: str
    span: Span
    #: The same time in the bins of ``cells``.
    fine: Span
    pool: str | None
    accounts: list[str]
    #: Each pool bin by bin, that with the most nodes first; and all of them together.
    pools: dict[Pool, list[Bin]]
    fleet: list[Bin]
    fleet_now: list[Row]
    hours: list[Row]
    cells: list[Row]
    start_tasks: list[Row]
    ready: list[Row]
    preemptions: list[Row]
    answers: dict[str, pa.Table] = field(default_factory=dict)

    @cached_property
    def gaps(self) -> list[tuple[int, int]]:
        """Stretches of bins, the second exclusive, in which nothing was watched."""
        return stretches([each.states is None for each in self.fleet])

    def name(self, account: str, pool_id: str | None) -> str:
        """A pool as a person calls it: with its account where there are several."""
        if pool_id is None:
            return account
        return f"{account} / {pool_id}" if len(self.accounts) > 1 else pool_id


def stretches(holds: list[bool]) -> list[tuple[int, int]]:
    """From where to where it holds, the end exclusive."""
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
    """Asks everything.

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
    (bounds,) = ask("bounds", **{"from": start, "to": end})
    if bounds["last_at"] is None:
        raise NothingListed
    apart = timedelta(seconds=bounds["apart_seconds"] or 0)
    span = spans.choose(start, end, bounds["first_at"], bounds["last_at"], apart)
    of = {"from": span.start, "to": span.end, "step": span.step.total_seconds()}
    fine = span.finer(apart)
    rows = ask("hours", **of)
    if not rows:  # history has the days, but not this pool
        raise NothingListed
    pools, fleet = _series(rows, span.bins)
    found = Findings(
        lake=plain(str(connection.lake)),
        span=span,
        fine=fine,
        pool=plain(pool) if pool else None,
        accounts=sorted({row["account"] for row in rows}),
        pools=pools,
        fleet=fleet,
        fleet_now=ask("fleet", to=span.end),
        hours=_node_hours(ask, span),
        cells=ask(
            "cells",
            **{**of, "step": fine.step.total_seconds()},
            bins=fine.bins,
            nodes=_NODES,
            pools=_POOLS,
        ),
        start_tasks=ask("start_tasks", **of, causes=_CAUSES),
        ready=ask("ready", **of),
        preemptions=ask("preemptions", **of),
    )
    found.answers = _answers(connection, span, pool, questions or {})
    return found


class _Asker:
    """Runs the files of ``sql/report``, each with the parameters it names."""

    def __init__(self, connection: Connection, pool: str | None) -> None:
        self._connection = connection
        self._pool = pool

    def __call__(self, name: str, **parameters: object) -> list[Row]:
        text = (sql_directory() / "report" / f"{name}.sql").read_text("utf-8").rstrip()
        given = {**parameters, "pool": self._pool}
        wanted = {key: given[key] for key in set(re.findall(r"\$(\w+)", text))}
        rows: list[Row] = self._connection.table(text.removesuffix(";"), wanted).to_pylist()
        return [{key: _printable(value) for key, value in row.items()} for row in rows]


def _printable(value: object) -> object:
    return plain(value) if isinstance(value, str) else value


def _answers(
    connection: Connection,
    span: Span,
    pool: str | None,
    wanted: Mapping[str, Mapping[str, object]],
) -> dict[str, pa.Table]:
    from pipeline.query import questions

    there = questions()
    answers = {}
    for name in wanted:
        if name in there:
            known = {each.name for each in there[name].parameters}
            given = {"from": span.start, "to": span.end, "pool": pool, **wanted[name]}
            taken = {key: value for key, value in given.items() if key in known}
            # not ``ask``: the page tells beside each table which days it counts, each time alike
            answers[name] = connection.table(there[name].sql, there[name].bind(taken))
    return answers


def _series(rows: list[Row], bins: int) -> tuple[dict[Pool, list[Bin]], list[Bin]]:
    """Each pool bin by bin, and the sum of all."""
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


def _node_hours(ask: _Asker, span: Span) -> list[Row]:
    """Hours by pool, size and state: whole days as history keeps them, their rests from states."""
    first, last = spans.ceil(span.start, spans.DAY), spans.floor(span.end, spans.DAY)
    pieces: list[Row] = []
    if first < last:
        pieces += ask("node_hours", **{"from": first, "to": last})
    rests = [(span.start, min(first, span.end)), (max(last, span.start), span.end)]
    if first > last:  # all within a day
        rests = rests[:1]
    for start, end in rests:
        if start < end:
            pieces += ask("state_hours", **{"from": start, "to": end})
    sums: dict[tuple[Any, ...], Row] = {}
    keys = ("account", "pool_id", "vm_size", "is_dedicated", "state")
    for row in pieces:
        of = tuple(row[key] for key in keys)
        if of in sums:
            sums[of]["hours"] += row["hours"]
            sums[of]["certain_hours"] += row["certain_hours"]
        else:
            sums[of] = row
    return list(sums.values())
