"""The facts of a day of the made-up year, straight from its truth, without a row of a listing.

Poll k lists pool p at one moment, ``k * tick`` and p's own offset: so what a listing shows, and which
listings a day's facts are made from, is arithmetic. ``tests/bench/test_year.py`` holds these to the
facts that the real path makes from the same truth, row by row.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.schema import facts
from tests.bench.year_columns import (
    RECENT,
    SLOTS,
    Mask,
    Seen,
    Texts,
    first_poll,
    hashes,
    named,
    numbers,
    same,
)
from tests.bench.year_truth import (
    DAY,
    ERRORS,
    FAILURES,
    HOUR,
    STATE,
    STATES,
    Columns,
    Ints,
    Truth,
    take,
)

#: More polls than a life has: numbers a life's polls.
_LIFE = 2**32


class DayFacts:
    """The facts of one day."""

    def __init__(self, truth: Truth, texts: Texts) -> None:
        shape = texts.lives.shape
        self.truth, self.texts, self.lives, self.shape = truth, texts, texts.lives, shape
        last = shape.days * shape.polls - 1
        #: From the last listing before the day to the second one after it.
        self.polls = (
            max(truth.day * shape.polls - 1, 0),
            min((truth.day + 1) * shape.polls + 1, last),
        )
        lives = np.flatnonzero(
            (self.lives.g > (truth.day - 1) * DAY) & (self.lives.a < (truth.day + 2) * DAY)
        )
        row = {"life": lives, "s": self.lives.a[lives], "e": self.lives.g[lives]}
        #: The nodes that were listed, by life.
        self.present = self.seen(row)

    def seen(self, rows: Columns) -> Seen:
        """The rows that polls of the window showed between ``s`` and ``e`` (not at ``e``)."""
        offset, tick = self.texts.offset[rows["life"]], self.shape.tick
        first = np.maximum(first_poll(rows["s"], offset, tick), self.polls[0])
        last = np.minimum(first_poll(rows["e"], offset, tick) - 1, self.polls[1])
        chosen = first <= last
        return Seen(take(rows, chosen), first[chosen], last[chosen])

    def _until_next(self, rows: Columns, begins: str, ends: str) -> Columns:
        """Adds ``e``: where the life's next row begins, or the node is gone. ``begins`` is its ``s``."""
        life = rows["life"]
        ends_at = self.lives.g[life].copy()
        same = life[1:] == life[:-1]
        ends_at[:-1][same] = np.minimum(ends_at[:-1][same], rows[ends][1:][same])
        return rows | {"s": rows[begins], "e": ends_at}

    @cached_property
    def segments(self) -> Seen:
        """The states that were listed."""
        return self.seen(self._until_next(self.truth.segments, "s", "s"))

    @cached_property
    def tasks(self) -> Seen:
        """The runs that recentTasks showed; ``ended`` is when each was over."""
        rows = take(self.truth.tasks, self.truth.tasks["hidden"] == 0)
        gone = self.lives.g[rows["life"]]
        rows = rows | {"ended": rows["e"], "e": np.minimum(rows["e"] + RECENT, gone)}
        return self.seen(rows)

    def _table(self, fact: facts.Fact, seen: Seen, **more: Any) -> pa.Table:
        columns = self.texts.columns(seen.rows["life"])
        life = seen.rows["life"]
        columns["first_observed_at"] = self.texts.time(self.texts.listed_at(seen.first, life))
        columns["last_observed_at"] = self.texts.time(self.texts.listed_at(seen.last, life))
        columns |= more
        arrays = [
            columns[field.name].cast(field.type)
            if field.name in columns
            else pa.nulls(len(life), field.type)
            for field in fact.schema
        ]
        return pa.Table.from_arrays(arrays, schema=fact.schema)

    def tables(self) -> dict[str, pa.Table]:
        """What the truth gives for every fact of the day; ``year_derived.finished`` adds the rest."""
        return {
            "node_states": self.node_states(),
            "node_incarnations": self.node_incarnations(),
            "node_config_intervals": self.node_config_intervals(),
            "task_runs": self.task_runs(),
            "task_gaps": self.task_gaps(),
            "start_task_runs": self.start_task_runs(),
            "node_boots": self.node_boots(),
            "node_error_episodes": self.node_error_episodes(),
            # the year's pools get their nodes
            "pool_error_episodes": facts.POOL_ERROR_EPISODES.schema.empty_table(),
            "pool_hours": self.pool_hours(),
        }

    def node_states(self) -> pa.Table:
        """As ``facts.NODE_STATES`` says."""
        seen = self.segments
        return self._table(
            facts.NODE_STATES,
            seen,
            **self.state(seen.rows),
        )

    def state(self, rows: Columns) -> dict[str, Any]:
        """The columns of states, of segments."""
        return {
            "state": named([*STATES], rows["state"]),
            "state_transition_time": self.texts.time(rows["s"]),
        }

    def error(self, rows: Columns) -> dict[str, Any]:
        """The columns of errors, of segments that show one."""
        texts = [f"{code}: see the documentation" for code in ERRORS]
        return {"code": named([*ERRORS], rows["error"]), "message": named(texts, rows["error"])}

    def totals(self, life: Ints, at: Ints) -> tuple[Ints, Ints]:
        """How many tasks each life had completed at a moment, and how many of them well."""
        tasks, whose = self.truth.tasks, np.full(len(self.lives), -1)
        whose[life] = np.arange(len(life))
        place = whose[tasks["life"]]
        done = (place >= 0) & (tasks["e"] < self.lives.g[tasks["life"]])
        done &= tasks["e"] <= at[place]
        good = done & (tasks["exit"] == 0)
        counted = (np.bincount(place[each], minlength=len(life)) for each in (done, good))
        runs, succeeded = counted
        return self.truth.runs[life] + runs, self.truth.succeeded[life] + succeeded

    def node_incarnations(self) -> pa.Table:
        """As ``facts.NODE_INCARNATIONS`` says."""
        seen, segments = self.present, self.segments
        life = seen.rows["life"]
        state = np.full(len(self.lives), -1)
        state[segments.rows["life"]] = segments.rows["state"]  # the last one of each stands
        first, last = (self.texts.listed_at(poll, life) for poll in (seen.first, seen.last))
        (first_runs, _), (runs, succeeded) = self.totals(life, first), self.totals(life, last)
        is_gone = seen.last <= self.polls[1] - 2
        return self._table(
            facts.NODE_INCARNATIONS,
            seen,
            last_state=named([*STATES], state[life]),
            total_tasks_run=numbers(runs),
            total_tasks_succeeded=numbers(succeeded),
            absent_at=self.texts.time(self.texts.listed_at(seen.last + 1, life), is_gone),
            is_pool_absent=pa.array(np.zeros(len(life), bool), mask=~is_gone),
            first_total_at=self.texts.time(first),
            first_total=numbers(first_runs),
            last_total_at=self.texts.time(last),
            first_readable_at=self.texts.time(first),
            last_readable_at=self.texts.time(last),
        )

    def _islands(self, seen: Seen, value: Ints) -> tuple[Seen, Ints]:
        """Rows of one life that follow each other with one value made one; which row each began with."""
        life = seen.rows["life"]
        is_new = np.ones(len(life), bool)
        is_new[1:] = (
            (life[1:] != life[:-1])
            | (value[1:] != value[:-1])
            | (seen.first[1:] != seen.last[:-1] + 1)
        )
        begins = np.flatnonzero(is_new)
        ends = np.concatenate([begins[1:], [len(life)]]) - 1
        return Seen(
            take(seen.rows, begins), seen.first[begins], seen.last[ends[: len(begins)]]
        ), begins

    def config(self, rows: Columns) -> dict[str, Any]:
        """The columns of what a node is set up with, of segments."""
        agents = [f"1.12.{number}" for number in range(200)]
        is_off = rows["state"] == STATE["offline"]
        pool = self.lives.pool[rows["life"]]
        return {
            "node_agent_version": named(agents, rows["agent"], rows["agent"] > 0),
            "start_task_id": hashes("task", pool * 1000 + rows["task"]),
            "start_task_definition_id": hashes("definition", pool * 1000 + rows["definition"]),
            "scheduling_state": named(["enabled", "disabled"], is_off.astype(np.int64)),
        }

    def node_config_intervals(self) -> pa.Table:
        """As ``facts.NODE_CONFIG_INTERVALS`` says."""
        rows = self.segments.rows
        value = (rows["agent"] * 1000 + rows["task"]) * 2 + (rows["state"] == STATE["offline"])
        seen, _ = self._islands(self.segments, value)
        return self._table(facts.NODE_CONFIG_INTERVALS, seen, **self.config(seen.rows))

    def node_error_episodes(self) -> pa.Table:
        """As ``facts.NODE_ERROR_EPISODES`` says."""
        seen, _ = self._islands(self.segments, self.segments.rows["error"])
        seen = seen.take(seen.rows["error"] > 0)
        life = seen.rows["life"]
        whole = np.zeros((2, len(self.lives)), np.int64)
        whole[:, self.present.rows["life"]] = self.present.first, self.present.last
        before, after = seen.first - 1, seen.last + 1
        return self._table(
            facts.NODE_ERROR_EPISODES,
            seen,
            **self.error(seen.rows),
            started_after=self.texts.time(
                self.texts.listed_at(before, life), before >= whole[0][life]
            ),
            ended_before=self.texts.time(
                self.texts.listed_at(after, life), after <= whole[1][life]
            ),
        )

    def node_boots(self) -> pa.Table:
        """As ``facts.NODE_BOOTS`` says."""
        seen = self.seen(self._until_next(self.truth.boots, "shown", "s"))
        return self._table(facts.NODE_BOOTS, seen, boot_time=self.texts.time(seen.rows["booted"]))

    def start_task_runs(self) -> pa.Table:
        """As ``facts.START_TASK_RUNS`` says."""
        boots = self.truth.boots
        rows = boots | {"began": boots["s"]}
        # what the node carries next, and had before
        same = np.concatenate([rows["life"][1:] == rows["life"][:-1], [False]])
        for name in ("task", "definition"):
            after, before = np.roll(rows[name], -1), np.roll(rows[name], 1)
            rows[f"next_{name}"] = np.where(same, after, rows[name])
            rows[f"last_{name}"] = np.where(np.roll(same, 1), before, rows[name])
        rows["replaced"] = np.where(same, np.roll(rows["s"], -1), 10**18)
        seen = self.seen(self._until_next(rows, "run_s", "run_s"))
        rows, life = seen.rows, seen.rows["life"]
        at = self.texts.listed_at(seen.first, life)
        is_next = at >= rows["replaced"]
        task = np.where(is_next, rows["next_task"], rows["task"])
        definition = np.where(is_next, rows["next_definition"], rows["definition"])
        before = at - self.shape.tick
        was = np.where(before >= rows["replaced"], rows["next_definition"], rows["definition"])
        was = np.where(before < rows["began"], rows["last_definition"], was)
        is_first = (seen.first <= self.polls[0]) | (before < self.lives.a[life])
        is_over = self.texts.listed_at(seen.last, life) >= rows["run_e"]
        pool = self.lives.pool[life]
        columns = self.run_columns(rows, is_over, np.ones(len(life), bool))
        columns |= {
            "start_task_id": hashes("task", pool * 1000 + task),
            "start_task_definition_id": hashes("definition", pool * 1000 + definition),
            "is_definition_certain": pa.array(is_first | (was == definition)),
        }
        return self._table(facts.START_TASK_RUNS, seen, **columns)

    def run_columns(self, rows: Columns, is_over: Mask, has_run: Mask) -> dict[str, Any]:
        """The columns of runs of start tasks, of boots; those that are over with their end."""
        failure, none = rows["failure"], np.zeros_like(rows["failure"])
        failed = is_over & (failure > 0)
        codes = np.array([exit_code or 0 for _, exit_code, _ in FAILURES])
        has_exit = np.array([exit_code is not None for _, exit_code, _ in FAILURES])
        return {
            "start_time": self.texts.time(rows["run_s"], has_run),
            "state": named(["running", "completed"], is_over.astype(np.int64), has_run),
            "end_time": self.texts.time(rows["run_e"], is_over),
            "exit_code": numbers(codes[failure], is_over & has_exit[failure]),
            "result": named(["success", "failure"], (failure > 0).astype(np.int64), is_over),
            "failure_category": named(["usererror"], none, failed),
            "failure_code": named([code for code, *_ in FAILURES], failure, failed),
            "failure_message": named([text for *_, text in FAILURES], failure, failed),
            "retry_count": numbers(none, has_run),
        }

    def task_columns(self, rows: Columns, is_over: Mask) -> dict[str, Any]:
        """The columns of tasks, those that are over with their end."""
        pool, failed = self.lives.pool[rows["life"]], is_over & (rows["exit"] > 0)
        number = rows["number"] + 1_000_000
        job = (rows["s"] // (6 * HOUR) + 1000) * self.shape.pools + pool
        found, inverse = np.unique(job, return_inverse=True)
        jobs = [f"job-{n % self.shape.pools:03}-{n // self.shape.pools:05}" for n in found.tolist()]
        return {
            "job_id": named(jobs, inverse),
            "task_id": pc.binary_join_element_wise("task", pa.array(number).cast(pa.string()), "-"),
            "start_time": self.texts.time(rows["s"]),
            "task_state": named(["running", "completed"], is_over.astype(np.int64)),
            "end_time": self.texts.time(rows["ended"], is_over),
            "exit_code": numbers(rows["exit"], is_over),
            "result": named(["success", "failure"], (rows["exit"] > 0).astype(np.int64), is_over),
            "failure_category": named(["usererror"], np.zeros_like(pool), failed),
            "failure_code": named(["FailureExitCode"], np.zeros_like(pool), failed),
            "failure_message": named(
                ["The task exited with a failure"], np.zeros_like(pool), failed
            ),
            "retry_count": numbers(np.zeros_like(pool)),
            "requeue_count": numbers(np.zeros_like(pool)),
        }

    def task_runs(self) -> pa.Table:
        """As ``facts.TASK_RUNS`` says."""
        seen = self.tasks
        life = seen.rows["life"]
        over = first_poll(seen.rows["ended"], self.texts.offset[life], self.shape.tick)
        over = np.maximum(over, self.polls[0])
        is_over = over <= seen.last
        return self._table(
            facts.TASK_RUNS,
            seen,
            **self.task_columns(seen.rows, is_over),
            first_completed_at=self.texts.time(self.texts.listed_at(over, life), is_over),
        )

    def task_gaps(self) -> pa.Table:
        """As ``facts.TASK_GAPS`` says."""
        rows = self.truth.tasks
        rows = take(rows, rows["e"] < self.lives.g[rows["life"]])
        poll = first_poll(rows["e"], self.texts.offset[rows["life"]], self.shape.tick)
        ends, rises = np.unique(rows["life"] * _LIFE + poll, return_counts=True)
        is_hidden = rows["hidden"] > 0
        rows, poll = take(rows, is_hidden), poll[is_hidden]
        whole = np.full((2, len(self.lives)), [[0], [-1]])
        whole[:, self.present.rows["life"]] = self.present.first, self.present.last
        is_told = (poll - 1 >= whole[0][rows["life"]]) & (poll <= whole[1][rows["life"]])
        pairs, missed = np.unique(
            np.stack([rows["life"][is_told], poll[is_told]]), axis=1, return_counts=True
        )
        seen = Seen({"life": pairs[0]}, pairs[1], pairs[1])
        return self._table(
            facts.TASK_GAPS,
            seen,
            after=self.texts.time(self.texts.listed_at(pairs[1] - 1, pairs[0])),
            before=self.texts.time(self.texts.listed_at(pairs[1], pairs[0])),
            missed=numbers(missed),
            rise=numbers(rises[np.searchsorted(ends, pairs[0] * _LIFE + pairs[1])]),
        )

    def by_poll(self, seen: Seen, group: Ints, groups: int) -> Ints:
        """How many rows of each group every poll of the day itself showed: groups x polls."""
        polls = self.shape.polls
        day = self.truth.day * polls
        steps = np.zeros((groups, polls + 1), np.int64)
        first, last = np.maximum(seen.first - day, 0), np.minimum(seen.last - day + 1, polls)
        there = first < last
        np.add.at(steps, (group[there], first[there]), 1)
        np.add.at(steps, (group[there], last[there]), -1)
        return np.cumsum(steps, axis=1)[:, :polls]

    @cached_property
    def running(self) -> Seen:
        """The tasks in recentTasks while they run."""
        rows = self.tasks.rows
        gone = self.lives.g[rows["life"]]
        return self.seen(rows | {"e": np.minimum(rows["ended"], gone)})

    @cached_property
    def counts(self) -> tuple[Ints, Ints]:
        """Nodes by pool, state and poll of the day; running slots by pool and poll."""
        pools, states = self.shape.pools, len(STATES)
        rows = self.segments.rows
        group = self.lives.pool[rows["life"]] * states + rows["state"]
        nodes = self.by_poll(self.segments, group, pools * states).reshape(pools, states, -1)
        running = self.running
        return nodes, self.by_poll(running, self.lives.pool[running.rows["life"]], pools)

    def pool_hours(self) -> pa.Table:
        """As ``facts.POOL_HOURS`` says."""
        pools, each = self.shape.pools, self.shape.polls // 24
        nodes, running = self.counts
        by_hour = nodes.reshape(pools, len(STATES), 24, each).sum(axis=3)
        total = by_hour.sum(axis=1)
        begins = self.truth.day * DAY
        hour = begins + np.tile(np.arange(24), pools) * HOUR
        columns: dict[str, Any] = {
            "account": same(self.shape.account, pools * 24),
            "pool_id": named(self.texts.pool, np.repeat(np.arange(pools), 24)),
            "hour": self.texts.time(hour),
            "listings": pa.array(np.full(pools * 24, each)),
            "nodes": pa.array(total.ravel() / each),
            "slots": pa.array(total.ravel() * SLOTS / each),
            "running_slots": pa.array(running.reshape(pools, 24, each).sum(axis=2).ravel() / each),
            "tasks_finished": pa.nulls(pools * 24, pa.int64()),
            "tasks_failed": pa.nulls(pools * 24, pa.int64()),
        }
        for name in (*schema.NODE_STATES, "other"):
            hours = by_hour[:, STATE[name]].ravel() if name in STATE else np.zeros(pools * 24)
            columns[f"nodes_{name}"] = pa.array(hours / each)
        arrays = [columns[field.name].cast(field.type) for field in facts.POOL_HOURS.schema]
        return pa.Table.from_arrays(arrays, schema=facts.POOL_HOURS.schema)
