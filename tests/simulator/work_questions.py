"""Questions about tasks, start tasks and their failures: answered from what history keeps."""

from __future__ import annotations

import itertools
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from tests.simulator.asking import (
    Parameters,
    Question,
    grouped,
    is_wanted,
    percentile,
    ratio,
    rounded,
    within,
)
from tests.simulator.facts import Table, node_error_episodes
from tests.simulator.hours import hour_of, pool_hours
from tests.simulator.record import Record, midnight
from tests.simulator.runs import StartTaskRun, start_task_run_list, task_gaps, task_run_list
from tests.simulator.state_questions import first_listing

_POOL = ("account", "pool_id")


def step_of(moment: datetime, step: str) -> datetime:
    """The start of its hour, day or (a Monday's) week."""
    if step == "hour":
        return hour_of(moment)
    day = midnight(moment.date())
    return day - timedelta(days=day.weekday()) if step == "week" else day


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def slot_utilisation(record: Record, asked: Parameters) -> Table:
    """How well each pool's slots are used, step by step, and how many tasks get done."""
    hours = {
        (row["account"], row["pool_id"], row["hour"]): row | {"missed": 0}
        for row in pool_hours(record)
    }
    for gap in task_gaps(record):
        key = (gap["account"], gap["pool_id"], hour_of(gap["before"]))
        empty = {"listings": 0, "tasks_finished": 0, "tasks_failed": 0, "missed": 0}
        row = hours.setdefault(key, empty)
        row["missed"] += gap["missed"]
    step = asked.get("step", "hour")
    shown = [
        (key, row)
        for key, row in hours.items()
        if within(asked, key[2]) and is_wanted(asked, key[1])
    ]
    made = []
    for key, rows in grouped(shown, lambda each: (*each[0][:2], step_of(each[0][2], step))).items():
        own = [row for _, row in rows]
        listed = [row for row in own if row["listings"]]
        sums = {
            name: [row[name] for row in listed if row[name] is not None]
            for name in ("nodes", "slots", "running_slots")
        }
        ready = [
            row["slots"] * (row["nodes_idle"] + row["nodes_running"]) / row["nodes"]
            for row in listed
            if row["nodes"] and row["slots"] is not None
        ]
        running = sum(sums["running_slots"]) if listed else None
        done = sum(row["tasks_finished"] + row["missed"] for row in listed) if listed else None
        made.append(
            dict(zip((*_POOL, "started_at"), key, strict=True))
            | {
                "listed_hours": len(listed),
                "utilisation": rounded(ratio(running, sum(sums["slots"])), 4),
                "ready_utilisation": rounded(ratio(running, sum(ready)), 4),
                "tasks_finished": sum(row["tasks_finished"] for row in own),
                "tasks_failed": sum(row["tasks_failed"] for row in own),
                "tasks_missed": sum(row["missed"] for row in own),
                "tasks_per_node_hour": rounded(ratio(done, sum(sums["nodes"])), 3),
            }
            | {name: rounded(_mean(values), 2) for name, values in sums.items()}
        )
    return made


def _occurrences(record: Record) -> list[dict[str, Any]]:
    """What failed: errors of nodes from their first listing on, runs at their end."""
    made = [
        {"source": "node", "code": row["code"], "at": row["first_observed_at"]}
        | {"message": row["message"], "node": (row["node_id"], row["allocation_time"])}
        | {name: row[name] for name in _POOL}
        for row in node_error_episodes(record)
    ]
    starts = [
        ("start_task", run.node, run.last, run.last.time("endTime") or run.start)
        for run in start_task_run_list(record)
        if run.last.told.get("result") == "failure"
    ]
    tasks = [
        ("task", run.node, run.last, run.last.time("endTime"))
        for run in task_run_list(record)
        if run.has_failed and run.start is not None
    ]
    for source, node, last, at in [*starts, *tasks]:
        failure = last.told.get("failureInfo") or {}
        if at is not None:
            made.append(
                {"source": source, "code": failure.get("code") or "", "at": at}
                | {"message": failure.get("message"), "node": (node.node_id, node.allocation_time)}
                | {name: node.key[name] for name in _POOL}
            )
    return made


def error_codes(record: Record, asked: Parameters) -> Table:
    """Error codes over time: how often, on how many nodes, in how many pools of the account."""
    step = asked.get("step", "day")
    shown = [
        row
        for row in _occurrences(record)
        if within(asked, row["at"]) and asked.get("source") in (None, row["source"])
    ]
    made = []
    for (account, at, source, code), rows in grouped(
        shown, lambda row: (row["account"], step_of(row["at"], step), row["source"], row["code"])
    ).items():
        pools = grouped(rows, lambda row: row["pool_id"])
        if asked.get("pool") is not None and asked["pool"] not in pools:
            continue
        for pool_id, own in pools.items():
            times = [row["at"] for row in own]
            told = {(row["at"], row["message"]) for row in own if row["message"] is not None}
            made.append(
                {
                    "account": account,
                    "started_at": at,
                    "source": source,
                    "code": code,
                    "pools": len(pools),
                    "pool_id": pool_id,
                    "occurrences": len(own),
                    "nodes": len({row["node"] for row in own}),
                    "first_at": min(times),
                    "last_at": max(times),
                    "message": max(told)[1] if told else None,
                }
            )
    return made


def _begun(record: Record, asked: Parameters) -> list[StartTaskRun]:
    """The runs of start tasks that began in the range."""
    return [
        run
        for run in start_task_run_list(record)
        if within(asked, run.start) and is_wanted(asked, run.node.pool_id)
    ]


def _pool_of(run: StartTaskRun) -> tuple[str, str]:
    return run.node.account, run.node.pool_id


def _has_failed(run: StartTaskRun) -> bool:
    return bool(run.last.told.get("result") == "failure")


def start_task_failures(record: Record, asked: Parameters) -> Table:
    """Why start tasks fail, by failure code and exit code."""
    made = []
    failed = [run for run in _begun(record, asked) if _has_failed(run)]
    for key, runs in grouped(
        failed,
        lambda run: (
            *_pool_of(run),
            run.last.outcome["failure_code"],
            run.last.outcome["exit_code"],
        ),
    ).items():
        runs.sort(key=lambda run: run.start)
        made.append(
            dict(zip((*_POOL, "failure_code", "exit_code"), key, strict=True))
            | {
                "runs": len(runs),
                "nodes": len({run.node.node_id for run in runs}),
                "first_start_time": runs[0].start,
                "last_start_time": runs[-1].start,
                "message": runs[-1].last.outcome["failure_message"],
            }
        )
    return made


def start_task_failure_rate(record: Record, asked: Parameters) -> Table:
    """What share of start-task runs fails, by pool, image and day, and from which causes."""
    begins = {account: first_listing(record, account) for account in record.accounts}
    known = [
        run
        for run in _begun(record, asked)
        if (first := begins[run.node.account]) is not None and run.start >= first
    ]
    made = []
    for key, runs in grouped(
        known, lambda run: (run.node.account, run.start.date(), run.node.pool_id, run.image)
    ).items():
        ended = [run for run in runs if run.last.told.get("result") or run.last.time("endTime")]
        failed = [run for run in runs if _has_failed(run)]
        causes = Counter(
            f"{run.last.outcome['failure_code'] or 'no code'} exit {run.last.outcome['exit_code']}"
            for run in failed
        )
        ranked = sorted(causes.items(), key=lambda cause: (-cause[1], cause[0]))
        ranked += [(None, None)] * 2  # type: ignore[list-item]
        made.append(
            dict(zip(("account", "day", "pool_id", "image"), key, strict=True))
            | {
                "runs": len(ended),
                "failed_runs": len(failed),
                "failure_rate": rounded(ratio(len(failed), len(ended)), 4),
                "unended_runs": len(runs) - len(ended),
                "nodes": len({id(run.node) for run in runs}),
                "failed_nodes": len({id(run.node) for run in failed}),
                "top_cause": ranked[0][0],
                "top_cause_runs": ranked[0][1],
                "second_cause": ranked[1][0],
                "second_cause_runs": ranked[1][1],
            }
        )
    return made


def start_task_durations(record: Record, asked: Parameters) -> Table:
    """How long start tasks run, by definition; runs whose definition is uncertain are counted only."""
    made = []
    for key, runs in grouped(
        _begun(record, asked), lambda run: (*_pool_of(run), run.definition)
    ).items():
        sure = [run for run in runs if run.is_definition_certain]
        results = [run.last.told.get("result") for run in sure]
        seconds = [
            (end - run.start).total_seconds()
            for run in sure
            if run.last.told.get("result") == "success" and (end := run.last.time("endTime"))
        ]
        made.append(
            dict(zip((*_POOL, "start_task_definition_id"), key, strict=True))
            | {
                "first_start_time": min((run.start for run in sure), default=None),
                "last_start_time": max((run.start for run in sure), default=None),
                "runs": len(sure),
                "succeeded": results.count("success"),
                "failed": results.count("failure"),
                "p50_seconds": percentile(seconds, 0.5),
                "p95_seconds": percentile(seconds, 0.95),
                "p50_change_seconds": None,
                "uncertain_runs": len(runs) - len(sure),
            }
        )
    for rows in grouped(made, lambda row: (row["account"], row["pool_id"])).values():
        began = [row for row in rows if row["first_start_time"]]
        began.sort(key=lambda row: row["first_start_time"])
        for before, row in itertools.pairwise(began):
            one, other = before["p50_seconds"], row["p50_seconds"]
            if one is not None and other is not None:
                row["p50_change_seconds"] = other - one
    return made


QUESTIONS = {
    "slot_utilisation": Question(slot_utilisation, (*_POOL, "started_at"), ({}, {"step": "day"})),
    "error_codes": Question(
        error_codes,
        ("account", "started_at", "source", "code", "pool_id"),
        ({}, {"step": "hour"}, {"source": "task"}),
    ),
    "start_task_failures": Question(start_task_failures, (*_POOL, "failure_code", "exit_code")),
    "start_task_failure_rate": Question(
        start_task_failure_rate, ("account", "day", "pool_id", "image")
    ),
    "start_task_durations": Question(start_task_durations, (*_POOL, "start_task_definition_id")),
}
