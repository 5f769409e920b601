"""The views over facts: what they are made of, which read which, and what a query names of them.

Of the nodes that some day could not follow over its ends (``interrupted_nodes``) each view of several
facts has a twin, ``whole_<fact>``, which puts the rows of all days together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import chain

from pipeline.query.parsed import parsed
from pipeline.query.sql_files import body, sql_directory, views
from pipeline.schema import facts
from pipeline.schema.facts import Fact

#: The facts, in the order in which they are made.
FACTS: tuple[str, ...] = tuple(facts.FACTS)
#: Facts that are put together from all days for the nodes that some day could not follow.
_TWINS = ("node_states", "node_incarnations", "task_runs", "start_task_runs")


@cache
def source(step: str) -> str:
    """The query of a file of ``sql/history``."""
    return (sql_directory() / "history" / f"{step}.sql").read_text("utf-8").rstrip().rstrip(";")


@cache
def texts() -> dict[str, tuple[str, ...]]:
    """The statements of every view over facts, by its name; those of ``daily_<fact>`` know files."""
    found: dict[str, tuple[str, ...]] = {f"daily_{name}": () for name in facts.FACTS}
    for fact in facts.FACTS.values():
        if not fact.is_daily and not fact.is_island:
            found[f"merged_{fact.name}"] = (_view(f"merged_{fact.name}", merged(fact)),)
            found[fact.name] = (_view(fact.name, f"from merged_{fact.name} select *"),)
    found |= views(over_facts=True)
    for name in (*_TWINS, "task_gaps"):
        found[f"interrupted_{name}"] = (_view(f"interrupted_{name}", _INTERRUPTED.format(name)),)
    for name in _TWINS:
        for each in (f"merged_{name}", name):
            found[f"whole_{each}"] = tuple(re.sub(_TWIN, _twin, text) for text in found[each])
    for kind, rows in (("interrupted", "interrupted"), ("whole", "undated")):
        pieces = re.sub(r"\bmade_", f"{rows}_", source("hour_pieces"))
        found[f"{kind}_hour_pieces"] = (_view(f"{kind}_hour_pieces", pieces),)
    return found


def _view(name: str, query: str) -> str:
    return f"create or replace view {name} as {query}"


#: The nodes that some day could not follow, as ``sql/views`` has them.
INTERRUPTED = """
select distinct account, pool_id, node_id, allocation_time
from daily_node_incarnations
where is_interrupted
"""
#: A fact's rows of the nodes that some day could not follow.
_INTERRUPTED = """
select daily_{0}.*
from daily_{0}
join interrupted_nodes
    on interrupted_nodes.account = daily_{0}.account
    and interrupted_nodes.pool_id = daily_{0}.pool_id
    and interrupted_nodes.node_id = daily_{0}.node_id
    and interrupted_nodes.allocation_time is not distinct from daily_{0}.allocation_time
"""
_TWIN = rf"\b(daily_|merged_)?({'|'.join(_TWINS)})\b"


def _twin(name: re.Match[str]) -> str:
    """The view of those nodes' rows that stands for one of all nodes' rows."""
    kind = name[1] or ""
    return f"interrupted_{name[2]}" if kind == "daily_" else f"whole_{kind}{name[2]}"


@cache
def _reads(view: str) -> tuple[str, ...]:
    """The views over facts that a view reads itself, in no order."""
    names = (parsed(body(statement)).names for statement in texts()[view])
    return tuple(sorted({*chain.from_iterable(names)} & texts().keys() - {view}))


def closure(wanted: Iterable[str]) -> tuple[str, ...]:
    """These views and all they read, each after what it reads."""
    found: dict[str, None] = {}

    def add(name: str) -> None:
        if name not in found:
            for each in _reads(name):
                add(each)
            found[name] = None

    for name in wanted:
        add(name)
    return tuple(found)


def mentioned(query: str) -> tuple[str, ...]:
    """The views over facts that a query reads; all where it asks what views there are."""
    read = parsed(query)
    if read.may_read_all or read.names & _DAYS:
        return tuple(texts())
    return tuple(name for name in texts() if name in read.names)


def read_by(query: str) -> tuple[str, ...]:
    """The facts whose files a query reads: those it names, and those that their views read."""
    read = {*closure(mentioned(query))}
    return tuple(name for name in FACTS if f"daily_{name}" in read)


#: What the views over facts are made with.
_DAYS = {"history_days", "record_days", "wanted_days"}


def merged(fact: Fact) -> str:
    """A fact's rows, those of several days for one key become one."""
    keys = ", ".join(fact.named("key"))
    columns = [keys]
    gathered = [keys]
    for each in fact.columns:
        name = each.column.name
        if each.merge in ("min", "max"):
            columns.append(name)
            gathered.append(f"{each.merge}({name}) as {name}")
        elif each.merge == "known":
            columns.append(name)
            gathered.append(
                f"max_by({name}, row(last_observed_at, date)) "
                f"filter (where {name} is not null) as {name}"
            )
        elif each.merge in ("first", "last", "carried"):
            columns.append(f"{'first' if each.merge == 'first' else 'last'}_row.{name}")
    # Of two days that saw the same observation first, the earlier knows what came before it; of two
    # that saw the same one last, the later knows what came after it.
    for row, names, by in (
        ("first", fact.named("first"), "min_by({}, row(first_observed_at, date))"),
        ("last", fact.named("last", "carried"), "max_by({}, row(last_observed_at, date))"),
    ):
        if names:
            packed = ", ".join(f"{name} := {name}" for name in names)
            gathered.append(by.format(f"struct_pack({packed})") + f" as {row}_row")
    return (
        f"select {', '.join(columns)} from (select {', '.join(gathered)} "  # noqa: S608
        f"from daily_{fact.name} group by {keys})"
    )


#: Every view over facts.
VIEWS: tuple[str, ...] = tuple(texts())
