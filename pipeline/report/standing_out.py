"""Turns the answers of questions about trouble into sentences, the worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

from pipeline.report.figures import Line
from pipeline.report.findings import Findings, Row
from pipeline.report.losses import causes
from pipeline.report.text import count, duration, listed, percent, plain, short, short_id


def standing_out(found: Findings) -> list[Line]:
    """A sentence for each question that found something; nothing healthy is named."""
    lines: list[Line] = []
    for question, sentences in _SENTENCES.items():
        answer = found.answers.get(question)
        if answer is not None and answer.height:
            anchor = f"q-{question}"
            lines += [replace(line, anchor=anchor) for line in sentences(found, answer.to_dicts())]
    return sorted(lines, key=lambda line: ("bad", "warn", "plain", "good").index(line.weight))


def _where(found: Findings, rows: list[Row]) -> str:
    """``render (2) and spot (1)``."""
    pools = Counter(plain(found.name(row["account"], row["pool_id"])) for row in rows)
    if len(pools) == 1:
        return next(iter(pools))
    return listed(f"{pool} ({times})" for pool, times in pools.most_common())


def _exit(row: Row) -> str:
    return "no exit code" if row["exit_code"] is None else f"exit {row['exit_code']}"


def _black_holes(found: Findings, rows: list[Row]) -> Iterator[Line]:
    worst = max(rows, key=lambda row: row["short_failures"])
    of = worst["short_failures"]
    alike = worst["exit_code_runs"]
    mix = f"all {_exit(worst)}" if alike == of else f"mostly {_exit(worst)}: {alike:,} of {of:,}"
    yield Line(
        f"{count(len(rows), 'black hole')} in {_where(found, rows)}: nodes that swallow tasks. "
        f"{short_id(worst['node_id'])} failed {count(of, 'short run')} of "
        f"{worst['ended_runs']:,} ({mix}), where other nodes fail "
        f"{percent(worst['others_rate'] or 0, 1)}.",
        "bad",
        node_id=worst["node_id"],
    )


def _flapping(found: Findings, rows: list[Row]) -> Iterator[Line]:
    worst = max(rows, key=lambda row: row["entries"])
    yield Line(
        f"{count(len(rows), 'flapping node')} in {_where(found, rows)}: in and out of trouble. "
        f"{short_id(worst['node_id'])} fell into it {count(worst['entries'], 'time')}, "
        f"{worst['trouble_hours']:,.0f} h in all.",
        "bad",
        node_id=worst["node_id"],
    )


def _stuck(found: Findings, rows: list[Row]) -> Iterator[Line]:
    now = [row for row in rows if row["is_stuck_now"]]
    worst = max(now or rows, key=lambda row: row["certain_minutes"])
    nodes = {(row["account"], row["pool_id"], row["node_id"]) for row in now or rows}
    yield Line(
        f"{count(len(nodes), 'node')} {'still' if now else 'for a while'} stuck in a state that "
        f"should pass, in {_where(found, now or rows)}. {short_id(worst['node_id'])} was "
        f"{plain(str(worst['state']))} for {worst['certain_minutes'] / 60:,.1f} h.",
        "bad" if now else "warn",
        node_id=worst["node_id"],
    )


def _failure_rate(found: Findings, rows: list[Row]) -> Iterator[Line]:
    runs: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for row in rows:
        pool = plain(found.name(row["account"], row["pool_id"]))
        runs[pool] += row["runs"]
        failed[pool] += row["failed_runs"]
    bad = [p for p in failed if failed[p] >= 5 and failed[p] >= 0.1 * runs[p]]
    if bad:
        failing = (
            f"{pool} {percent(failed[pool], runs[pool])} of {count(runs[pool], 'run')}"
            for pool in sorted(bad, key=lambda pool: -failed[pool] / runs[pool])
        )
        why = causes(found)
        whole = sum(times for _, times in why)
        mix = listed(f"{cause} {times:,}" for cause, times in why)
        yield Line(
            f"Start tasks fail often: {listed(failing)}. Causes of all {whole:,}: {mix}."
            if why
            else f"Start tasks fail often: {listed(failing)}.",
            "warn",
        )


def _storms(found: Findings, rows: list[Row]) -> Iterator[Line]:
    worst = max(rows, key=lambda row: row["failed_runs"])
    code = plain(str(worst["failure_code"] or "no code"))
    yield Line(
        f"{count(len(rows), 'storm')} of failing start tasks in {_where(found, rows)}. The worst, "
        f"from {short(worst['started_at'])} on for "
        f"{duration(timedelta(minutes=worst['storm_minutes']))}: {code} on "
        f"{count(worst['nodes'], 'node')}.",
        "bad",
    )


def _pool_errors(what: str, now: str) -> Callable[[Findings, list[Row]], Iterator[Line]]:
    """The sentence about pools that could not resize or scale: rows of code, episodes and ``now``."""

    def sentences(found: Findings, rows: list[Row]) -> Iterator[Line]:
        codes: Counter[str] = Counter()
        for row in rows:
            codes[plain(str(row["code"] or "no code"))] += row["episodes"]
        mix = listed(f"{code} ({count(times, 'time')})" for code, times in codes.most_common())
        still = {found.name(row["account"], row["pool_id"]) for row in rows if row[now]}
        text = f"Pools that could not {what}: {_where(found, rows)}. Why: {mix}."
        if still:
            text += f" Still so in {listed(plain(pool) for pool in sorted(still))}."
        yield Line(text, "bad" if still else "warn")

    return sentences


def _idle(found: Findings, rows: list[Row]) -> Iterator[Line]:
    long = [row for row in rows if row["idle_hours"] >= 6]
    if long:
        worst = max(long, key=lambda row: row["idle_hours"])
        yield Line(
            f"{count(len(long), 'stretch', 'stretches')} of 6 idle hours and more, in "
            f"{_where(found, long)}. {short_id(worst['node_id'])} idled {worst['idle_hours']:,.1f} h.",
            "warn",
            node_id=worst["node_id"],
        )


def _drift(found: Findings, rows: list[Row]) -> Iterator[Line]:
    pools = {(row["account"], row["pool_id"]): row["images"] for row in rows}
    drifting = (f"{plain(found.name(*pool))} ({images})" for pool, images in pools.items())
    yield Line(f"Nodes run several images at once in {listed(drifting)}.")


#: The questions that become sentences, in the order of what hurts most.
_SENTENCES: dict[str, Callable[[Findings, list[Row]], Iterator[Line]]] = {
    "black_hole_nodes": _black_holes,
    "flapping_nodes": _flapping,
    "stuck_nodes": _stuck,
    "start_task_storms": _storms,
    "resize_errors": _pool_errors("be resized", "is_short_now"),
    "autoscale_errors": _pool_errors("scale by their formula", "is_failing_now"),
    "start_task_failure_rate": _failure_rate,
    "idle_streaks": _idle,
    "image_drift": _drift,
}
