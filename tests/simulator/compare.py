"""Holds what a lake answers against what the record says, row by row."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import zip_longest
from typing import Any

import pyarrow as pa

from pipeline import query
from pipeline.query import Connection
from pipeline.schema import facts as declared
from tests.simulator import (
    facts,
    fleet_questions,
    hours,
    life_questions,
    pool_errors,
    runs,
    state_questions,
    work_questions,
)
from tests.simulator.asking import Parameters, Question, Rounded
from tests.simulator.facts import Table
from tests.simulator.machines import DAY, MONDAY
from tests.simulator.record import Record

#: Every fact that the contract names, by the function that works it out.
FACTS: dict[str, Callable[[Record], Table]] = {
    made.__name__: made
    for made in (
        facts.node_states,
        facts.node_incarnations,
        facts.node_config_intervals,
        runs.task_runs,
        runs.task_gaps,
        runs.start_task_runs,
        facts.node_boots,
        facts.node_error_episodes,
        pool_errors.pool_error_episodes,
        hours.node_hours,
        hours.pool_hours,
    )
}
#: Every question that is worked out.
QUESTIONS: dict[str, Question] = {
    **fleet_questions.QUESTIONS,
    **state_questions.QUESTIONS,
    **work_questions.QUESTIONS,
    **life_questions.QUESTIONS,
}
#: Asked of a record: nothing, a pool, whole days, parts of days.
_RANGES: tuple[Parameters, ...] = (
    {},
    {"pool": "pool1", "from": MONDAY + DAY},
    {"from": MONDAY + 0.4 * DAY, "to": MONDAY + 1.7 * DAY},
)
_MOMENT = MONDAY + 1.3 * DAY
#: How many differences are shown of one table.
_TOLD = 4


def start_task_names(connection: Connection) -> dict[str, str]:
    """The lake's hashes of start tasks and definitions by the names that the record gives them."""
    names = {}
    start_tasks = """
        select distinct start_task_id, start_task_definition_id, command_line, resource_files
        from start_tasks
    """
    for row in connection.table(start_tasks).to_pylist():
        url = row["resource_files"][0]["http_url"]
        names[row["start_task_id"]] = f"{row['command_line']} {url.partition('&')[0]}"
        names[row["start_task_definition_id"]] = row["command_line"]
    return names


def named(table: pa.Table, names: dict[str, str]) -> Table:
    """The rows of an answer, its start tasks by name."""
    rows: Table = table.to_pylist()
    for row in rows:
        for column in ("start_task_id", "start_task_definition_id"):
            if row.get(column) is not None:
                row[column] = names[row[column]]
    return rows


def fact_differences(
    connection: Connection, expected: dict[str, Table], names: dict[str, str]
) -> list[str]:
    """What the lake's facts say otherwise than these tables, a line each."""
    found = []
    for name, rows in expected.items():
        actual = connection.table(f"from {name}")
        columns = [column.column.name for column in declared.FACTS[name].columns]
        daily = ["date"] if declared.FACTS[name].is_daily else []
        key = [*daily, *declared.FACTS[name].named("key")]
        if declared.FACTS[name].is_island:
            key.append("first_observed_at")
        found += differences(name, rows, named(actual, names), [*daily, *columns], key)
    return found


def asked(name: str) -> list[Parameters]:
    """What a question is asked with: of the pool and the range what it takes."""
    question = QUESTIONS[name]
    taken = {parameter.name for parameter in query.question(name).parameters}
    given: list[Parameters] = []
    for ranged in _RANGES:
        own = {key: value for key, value in ranged.items() if key in taken}
        given += [own | more for more in question.asked]
        given += [own | {"moment": _MOMENT}] if question.has_moment else []
    return [each for number, each in enumerate(given) if each not in given[:number]]


def answers(record: Record, chosen: dict[str, list[Parameters]]) -> Answers:
    """The answers of questions, each with what was asked, as worked out from a record."""
    return {
        name: [(given, QUESTIONS[name].answer(record, given)) for given in all_given]
        for name, all_given in chosen.items()
    }


Answers = dict[str, list[tuple[Parameters, Table]]]


def answer_differences(
    connection: Connection, expected: Answers, names: dict[str, str], *, has_rows: bool = True
) -> list[str]:
    """What the lake answers otherwise than these, a line each.

    Without ``has_rows`` the rows of some days have expired: what needs them is not asked.
    """
    found = []
    for name, answered in expected.items():
        question = QUESTIONS[name]
        if question.needs_rows is True and not has_rows:
            continue
        lost = (
            question.needs_rows if isinstance(question.needs_rows, tuple) and not has_rows else ()
        )
        ignored = {*question.ignored, *lost}
        for given, rows in answered:
            answer = connection.ask(name, **given)
            columns = [column for column in answer.column_names if column not in ignored]
            actual = named(answer, names)
            if lost:  # what only rows show makes no row
                told = [column for column in columns if column not in question.key]
                rows = [row for row in rows if any(row[column] for column in told)]
                actual = [row for row in actual if any(row[column] for column in told)]
            title = f"{name} {', '.join(f'{k}={_text(v)}' for k, v in given.items())}"
            found += differences(title, rows, actual, columns, [*question.key])
    return found


def differences(
    name: str, expected: Table, actual: Table, columns: Iterable[str], key: list[str]
) -> list[str]:
    """What two tables have otherwise, a line each, the first few."""
    columns = [*columns]
    wanted, there = _by_key(expected, key), _by_key(actual, key)
    lines = []
    for each in sorted(wanted.keys() | there.keys(), key=repr):
        one, other = wanted.get(each, []), there.get(each, [])
        if len(one) != len(other):
            told = f"{len(one)} expected, {len(other)} found"
            lines.append(f"{name} {_shown(each)}: {told}: {_rows(one)} / {_rows(other)}")
            continue
        # a node may show two errors of one code: two rows of one key
        for wanted_row, row in zip(one, other, strict=True):
            for column in columns:
                if not _alike(wanted_row.get(column), row.get(column)):
                    told = (
                        f"{_text(wanted_row.get(column))} expected, {_text(row.get(column))} found"
                    )
                    lines.append(f"{name} {_shown(each)}: {column}: {told}")
    if len(lines) > _TOLD:
        lines[_TOLD:] = [f"{name}: and {len(lines) - _TOLD} more"]
    return lines


def unequal(one: Table, other: Table) -> list[tuple[Any, Any]]:
    """The rows of two answers that differ, whatever their order; None where one has fewer."""
    left = [*other]
    alone = []
    for row in one:
        match = next((each for each in left if _same(row, each)), None)
        if match is None:
            alone.append(row)
        else:
            left.remove(match)
    return [*zip_longest(alone, left)]


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(_alike(one[name], other[name]) for name in one)


def _by_key(rows: Table, key: list[str]) -> dict[tuple[Any, ...], Table]:
    found: dict[tuple[Any, ...], Table] = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in key), []).append(row)
    return found


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        if one is None or other is None:
            return one is other
        if isinstance(one, Rounded):
            return bool(abs(one - other) <= 0.5 * 10**-one.digits + 1e-6)
        return math.isclose(float(one), float(other), rel_tol=1e-6, abs_tol=2e-4)
    return bool(one == other)


def _shown(key: tuple[Any, ...]) -> str:
    return "(" + ", ".join(_text(value) for value in key) + ")"


def _rows(rows: Table) -> str:
    return "; ".join(str({k: _text(v) for k, v in row.items()}) for row in rows[:2])


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return f"{value:%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
    return "-" if value is None else str(value)
