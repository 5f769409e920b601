"""black_hole_nodes against the same judgement in plain Python, over days, pools and ranges."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from pipeline import query
from pipeline.lake import Lake
from pipeline.maintain import build_facts, compaction
from tests.lakes import MONDAY, at, node, put, task

#: Four listings a day or so; what ends after the last of a day is first listed on the next one.
LISTINGS = ["0 12:00", "0 18:00", "0 23:50", "1 12:00", "1 23:50", "2 12:00"]
RANGES = [
    (None, None),
    ("0 12:30", None),
    (None, "1 11:00"),
    ("0 06:00", "1 15:00"),
    ("1 00:00", "2 00:00"),
]


@dataclass(frozen=True)
class Run:
    """A task's run, and the day (UTC) whose listing first showed it over."""

    pool: str
    node: str
    job: str
    start: datetime
    end: datetime
    code: int
    day: date

    @property
    def is_hit(self) -> bool:
        """Whether it failed within a minute."""
        return self.code != 0 and self.end - self.start <= timedelta(seconds=60)


def drawn(rng: random.Random) -> list[Run]:
    """Three days of two pools with nodes of the same names; some nodes and some days' jobs are bad."""
    found = []
    for pool in ("p", "q"):
        bad = {(job, day) for job in "abc" for day in range(3) if rng.random() < 0.3}
        for name in ("v", "w", "x", "y", "z"):
            is_hole = rng.random() < 0.4
            jobs = [*"abc", *(f"{name}{n}" for n in range(rng.choice((0, 0, 4))))]
            for _ in range(rng.randint(0, 40)):
                begins = rng.uniform(0, 2.45)
                start = MONDAY + timedelta(seconds=int(begins * 86_400))
                end = start + timedelta(seconds=rng.choice((5, 20, 50, 60, 61, 300)))
                job = rng.choice(jobs)
                share = 0.95 if is_hole or (job, int(begins)) in bad else 0.1
                code = rng.choice((1, 1, 2)) if rng.random() < share else 0
                listed = [when for when in map(at, LISTINGS) if when >= end]
                found.append(Run(pool, name, job, start, end, code, listed[0].date()))
    return found


def written(root: Path, runs: list[Run]) -> Lake:
    """A lake whose listings show each run at the first two of them after its end."""
    lake = Lake(root)
    moments = [at(when) for when in LISTINGS]
    for number, when in enumerate(LISTINGS):
        since = MONDAY if number < 2 else moments[number - 2]
        shown: dict[str, list[dict[str, Any]]] = {"p": [], "q": []}
        for pool, nodes in shown.items():
            for name in ("v", "w", "x", "y", "z"):
                tasks = [
                    task(str(i), None, job_id=run.job, task_state="completed")
                    | {"start_time": run.start, "end_time": run.end, "exit_code": run.code}
                    | {"result": "failure" if run.code else "success"}
                    for i, run in enumerate(runs)
                    if (run.pool, run.node) == (pool, name) and since < run.end <= moments[number]
                ]
                nodes.append(node(name, tasks=tasks))
        put(lake, when, dict(shown))
    return lake


def share(runs: list[Run]) -> float:
    """How many of them are short failures."""
    return sum(run.is_hit for run in runs) / len(runs)


def judged(
    runs: list[Run], failures: int, rate: float, others: float
) -> dict[tuple[str, str], dict[str, Any]]:
    """The accused of one pool or several, and what is shown of them."""
    of_job: dict[Any, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    of_day: dict[Any, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    own: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        of_job[run.pool, run.day, run.job][run.node].append(run)
        of_day[run.pool, run.day][run.node].append(run)
        own[run.pool, run.node].append(run)
    found = {}
    for (pool, name), its in own.items():
        codes = Counter(run.code for run in its if run.is_hit)
        code, most = min(codes.items(), key=lambda each: (-each[1], each[0]), default=(0, 0))
        if most < failures or share(its) < rate:
            continue
        shared, lone, lone_jobs = [], [], set()
        for run in its:
            job = of_job[pool, run.day, run.job]
            elsewhere = [share(each) for other, each in job.items() if other != name]
            day = of_day[pool, run.day]
            beside = [share(each) for other, each in day.items() if other != name]
            if elsewhere:
                shared.append(mean(elsewhere))
            elif beside:
                lone.append(mean(beside))
                lone_jobs.add(run.job)
        met = shared + lone if len(lone_jobs) >= 3 else shared
        if met and mean(met) <= others:
            found[pool, name] = {
                "exit_code": code,
                "exit_code_runs": most,
                "short_failures": sum(run.is_hit for run in its),
                "ended_runs": len(its),
                "others_rate": pytest.approx(mean(met), abs=1e-4),
                "other_nodes": max(len(of_day[pool, run.day]) for run in its) - 1,
                "jobs": len({run.job for run in its}),
                "first_start_time": min(run.start for run in its if run.is_hit),
                "last_end_time": max(run.end for run in its if run.is_hit),
            }
    return found


def test_each_is_judged_as_by_hand(tmp_path: Path) -> None:
    """Whatever the range, from rows and from history; some are accused and some are not."""
    counts: Counter[bool] = Counter()
    for seed in range(2):
        runs = drawn(random.Random(seed))
        lake = written(tmp_path / str(seed), runs)
        for is_closed in (False, True):
            if is_closed:
                compaction.compact(
                    lake, clock=lambda: MONDAY + timedelta(days=9), history=build_facts
                )
            with query.connect(lake) as connection:
                for since, until in RANGES:
                    first, last = since and at(since), until and at(until)
                    within = [
                        run
                        for run in runs
                        if (not first or run.end >= first) and (not last or run.end < last)
                    ]
                    given = {"from": first and first.isoformat(), "to": last and last.isoformat()}
                    rows = connection.ask(
                        "black_hole_nodes", failures=3, rate=0.6, others=0.3, **given
                    ).to_pylist()
                    expected = judged(within, 3, 0.6, 0.3)
                    assert {
                        (row["pool_id"], row["node_id"]): {
                            name: row[name] for name in (*next(iter(expected.values()), {}),)
                        }
                        for row in rows
                    } == expected
                    accused = judged(within, 3, 0.6, 1)
                    counts.update(key in expected for key in accused)
    assert counts[True] > 10 < counts[False]
