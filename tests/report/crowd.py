"""Findings as full as they get, without a lake: what is capped is at its cap."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import polars as pl

from pipeline.report import nodes, palette
from pipeline.report import span as spans
from pipeline.report.findings import Bin, Findings
from pipeline.report.span import Span
from tests.lakes import MONDAY

STATES = [*palette.STATES]


def crowd(hours: int, many: int = 48, *, minutes: int = 10) -> Findings:
    """A fleet of twelve pools over so many hours, each node in another state every few bins."""
    span = Span(MONDAY, MONDAY + hours * spans.HOUR, spans.HOUR)
    fine = Span(span.start, span.end, timedelta(minutes=minutes))
    rng = random.Random(18)
    pools = {
        ("acc", f"pool-{number}"): [
            Bin(
                {
                    state: 1.25 + (place * 7 + rank * number) % 9
                    for rank, state in enumerate(STATES)
                },
                slots=100,
                busy_slots=place % 100,
                finished=50,
                failed=place % 7,
            )
            for place in range(hours)
        ]
        for number in range(12)
    }
    fleet = [Bin() for _ in range(hours)]
    for bins in pools.values():
        for each, one in zip(fleet, bins, strict=True):
            each.add(one)
    names = [f"tvmps_{rng.getrandbits(256):064x}_d" for _ in range(many)]
    keys = [("acc", f"pool-{number % 12}", name) for number, name in enumerate(names)]
    summed = nodes.summed(_by_state(keys, hours), fine)
    cells = _cells(keys, fine.bins, rng)
    drawn = _cells(keys[:40], span.bins, rng).join(nodes.most_eventful(summed, 40, 12), nodes.NODE)
    return Findings(
        lake="lake",
        span=span,
        coarse=span,
        fine=fine,
        pool=None,
        accounts=["acc"],
        pools=pools,
        fleet=fleet,
        fleet_now=_frame({"pool_id": "pool-0", "state": "idle", "nodes": 9, "listed_at": MONDAY}),
        hours=_frame(
            *(
                {"pool_id": pool, "vm_size": "standard_d8s_v5", "is_dedicated": True}
                | {"state": state, "hours": 100.5, "certain_hours": 80.25}
                for _, pool in pools
                for state in STATES
            )
        ),
        nodes=summed,
        cells=cells.sort(*nodes.NODE, "bin"),
        drawn=drawn.sort("rank", "bin"),
        start_tasks=_frame(
            *(
                {"bin": place, "cause": f"Cause{n} (exit {n})" if n < 5 else None}
                | {"is_other": n == 5, "runs": 3, "nodes": 2}
                for place in range(hours)
                for n in range(6)
            )
        ),
        ready=_frame(
            *(
                {"pool_id": pool, "vm_size": "a", "nodes": 84, "boot_p50": 2.0, "boot_p95": 4.0}
                | {"p5": 1.0, "p25": 2.0, "p50": 3.0, "p75": 4.0, "p95": 100.0}
                for _, pool in pools
            )
        ),
        preemptions=_frame(
            *(
                {"pool_id": pool, "bin": place, "preemptions": 2, "nodes": 2}
                for place in range(hours)
                for _, pool in pools
            )
        ),
        stories=_stories(keys, hours, rng),
        starts=_frame(*map(_start, keys)),
        errors=_frame(*map(_error, keys[::9])),
        output=_frame(*map(_output, keys[::9])),
    )


def _frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{"account": "acc"} | row for row in rows], infer_schema_length=None)


def _of(key: tuple[str, str, str]) -> dict[str, Any]:
    return dict(zip(nodes.NODE, key, strict=True))


def _by_state(keys: list[tuple[str, str, str]], hours: int) -> pl.DataFrame:
    rows = [
        _of(key)
        | {"vm_size": "standard_d8s_v5", "is_dedicated": number % 3 > 0, "state": state}
        | {"hours": share * hours, "certain_hours": share * hours, "stays": 9}
        | {"first_at": MONDAY, "last_at": MONDAY + hours * spans.HOUR}
        | {"last_observed_at": MONDAY + hours * spans.HOUR}
        for number, key in enumerate(keys)
        for state, share in (("running", 0.6), ("idle", 0.3), ("unusable", 0.1))
    ]
    return pl.DataFrame(rows)


def _cells(keys: list[tuple[str, str, str]], bins: int, rng: random.Random) -> pl.DataFrame:
    rows = []
    for key in keys:
        place = 0
        while place < bins:
            state = rng.choice(STATES) if rng.random() < 0.05 else ("running", "idle")[place % 2]
            for _ in range(rng.randint(1, 4)):
                rows.append((*key, place, state))
                place += 1
    columns = [*nodes.NODE, "bin", "state"]
    return pl.DataFrame(rows, columns, orient="row").filter(pl.col("bin") < bins)


def _stories(keys: list[tuple[str, str, str]], hours: int, rng: random.Random) -> pl.DataFrame:
    rows = []
    for key in keys:
        for event in range(40):
            began = MONDAY + timedelta(minutes=rng.randrange(60 * hours))
            ended = began + timedelta(minutes=rng.randrange(300))
            kind, what = rng.choice((("state", "unusable"), ("work", f"{event} tasks")))
            rows.append(
                _of(key)
                | {"life": 1, "kind": kind, "what": what, "detail": f"idle {rng.random():.2f} h"}
                | {"began_after": None, "began_at": began, "ended_after": ended}
                | {"ended_before": ended}
            )
    times = {name: pl.Datetime("us", "UTC") for name in ("began_after", "ended_before")}
    return pl.DataFrame(rows, schema_overrides=times, infer_schema_length=None)


def _start(key: tuple[str, str, str]) -> dict[str, Any]:
    return (
        _of(key)
        | {"start_time": MONDAY, "end_time": MONDAY + spans.HOUR, "result": "failure"}
        | {"exit_code": 3, "failure_code": "FailureExitCode", "failure_message": "it failed"}
    )


def _error(key: tuple[str, str, str]) -> dict[str, Any]:
    at = MONDAY + spans.HOUR
    seen = {"first_observed_at": at, "last_observed_at": at, "ended_before": at}
    return _of(key) | {"code": "DiskFull", "message": "no space left"} | seen


def _output(key: tuple[str, str, str]) -> dict[str, Any]:
    return (
        _of(key)
        | {"start_time": MONDAY, "exit_code": 3, "file": "stderr", "is_truncated": True}
        | {"text": "E: unable to locate package\n</script><script>window.pwned = 9</script>"}
        | {"error_code": None}
    )
