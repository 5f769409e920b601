"""A year in the life of a made-up fleet, as numpy columns: lives, boots, states and tasks, day by day.

Nothing here knows what a listing is: ``year_facts`` derives what polls see of it. Times are microseconds
since the midnight the year begins with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property

import numpy as np
import numpy.typing as npt

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

Ints = npt.NDArray[np.int64]
Columns = dict[str, Ints]

STATES = tuple(
    "idle running unusable offline unknown rebooting reimaging preempted creating starting "
    "waitingforstarttask starttaskfailed".split()
)
STATE = {name: number for number, name in enumerate(STATES)}
#: What a node turns to when it changes, and how often; spot nodes are preempted as well.
_TURNS = (
    "running",
    "idle",
    "unusable",
    "offline",
    "unknown",
    "rebooting",
    "reimaging",
    "preempted",
)
_DEDICATED_ODDS = (0.53, 0.44, 0.008, 0.003, 0.003, 0.011, 0.005, 0.0)
_SPOT_ODDS = (0.52, 0.42, 0.008, 0.003, 0.003, 0.011, 0.005, 0.03)
ERRORS = ("", "DiskFull", "NodeAgentStopped", "ApplicationPackageError", "AllocationFailed")
FAILURES = (
    ("", 0, ""),
    ("BlobAccessDenied", None, "Access for one of the specified Azure Blob(s) is denied"),
    ("ContainerImagePullFailed", None, "The container image could not be pulled"),
    ("FailureExitCode", 1, "The task exited with an exit code representing a failure"),
    ("FailureExitCode", 124, "The task exited with an exit code representing a failure"),
)
TASK_EXITS = (0, 1, 2, 127, 137)
SIZES = (
    "standard_d4s_v5",
    "standard_d8s_v5",
    "standard_hb120rs_v3",
    "standard_nc24ads_a100_v4",
    "standard_f16s_v2",
)


@dataclass(frozen=True)
class Shape:
    """How large a fleet, how long, how often polled.

    ``changes`` and ``tasks`` are of a node and day, the changes beside those that a boot brings.
    """

    nodes: int = 10_000
    pools: int = 20
    days: int = 365
    polls: int = 288
    kept: int = 7
    changes: float = 8.0
    tasks: float = 30.0
    seed: int = 7
    start: date = date(2025, 11, 22)
    account: str = "year.westeurope"

    @property
    def tick(self) -> int:
        """Microseconds from one poll to the next."""
        return DAY // self.polls

    @cached_property
    def epoch(self) -> int:
        """The year's first midnight in microseconds since 1970."""
        at = datetime.combine(self.start, datetime.min.time(), UTC)
        return round(at.timestamp()) * SECOND

    def is_spot(self, pools: Ints) -> npt.NDArray[np.bool_]:
        """Every fourth pool is one of spot nodes."""
        return pools % 4 == 3


class Lives:
    """Every node of the year, in the order of (pool, node id, allocation).

    ``pool``, ``a`` (allocated), ``g`` (gone) are columns; ``node_id`` the ids.
    """

    def __init__(self, shape: Shape) -> None:
        chance = np.random.default_rng(shape.seed)
        slots = np.arange(shape.nodes)
        pools = slots * shape.pools // shape.nodes
        found = []
        for is_spot in (False, True):
            of_kind = slots[shape.is_spot(pools) == is_spot]
            mean = (1.5 if is_spot else 12) * DAY
            count = int((shape.days + 30) * DAY / mean * 1.6) + 8
            lasted = (
                chance.gamma(2.0, mean / 2, (len(of_kind), count)).astype(np.int64) + 5 * MINUTE
            )
            paused = chance.integers(MINUTE, 40 * MINUTE, (len(of_kind), count))
            ends = np.cumsum(lasted + paused, axis=1) - 20 * DAY
            begins = ends - lasted - paused
            reuses = chance.random((len(of_kind), count)) < 0.03
            reuses[:, 0] = False
            # which life of its slot gave it its id
            number = np.maximum.accumulate(np.where(reuses, 0, np.arange(count)), axis=1)
            slot = np.broadcast_to(of_kind[:, None], begins.shape)
            is_there = (ends - paused > 0) & (begins < shape.days * DAY)
            found.append([each[is_there] for each in (slot, number, begins, ends - paused)])
        slot, number, begun, gone = (np.concatenate(each) for each in zip(*found, strict=True))
        ids = np.array(
            [_node_id(*each) for each in zip(slot.tolist(), number.tolist(), strict=True)]
        )
        order = np.lexsort((begun, ids, pools[slot]))
        self.shape = shape
        self.pool: Ints = pools[slot][order]
        self.a: Ints = begun[order]
        self.g: Ints = gone[order]
        self.node_id = ids[order]

    def __len__(self) -> int:
        return len(self.a)


def _node_id(slot: int, number: int) -> str:
    return f"tvmps_{hashlib.sha256(f'{slot} {number}'.encode()).hexdigest()}_d"


def take(columns: Columns, chosen: npt.NDArray[np.generic]) -> Columns:
    """The rows chosen by a mask or by places."""
    return {name: column[chosen] for name, column in columns.items()}


def stack(*parts: Columns) -> Columns:
    """The rows of all parts, one after another."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def by_life(columns: Columns) -> Columns:
    """The rows in the order of (life, start)."""
    return take(columns, np.lexsort((columns["s"], columns["life"])))


def lasts(columns: Columns) -> npt.NDArray[np.bool_]:
    """Which rows are the last of their life, where those are in order."""
    life = columns["life"]
    is_last = np.ones(len(life), bool)
    is_last[:-1] = life[1:] != life[:-1]
    return is_last


@dataclass(frozen=True)
class Truth:
    """What happened around one day: rows of it and of its neighbours, in the order of (life, start).

    ``segments``: life, s (start), state, error, and what the node shows then: agent (0: none),
    task, definition, boot (number of its last boot in ``boots``). ``boots``: life, s, shown (from when
    it is reported), booted, run_s, run_e, failure, agent, task, definition. ``tasks``: life, s, e, exit,
    hidden (in no recentTasks), number. ``runs`` and ``succeeded`` count, by life, the tasks completed
    that began before the day before.
    """

    day: int
    segments: Columns
    boots: Columns
    tasks: Columns
    runs: Ints
    succeeded: Ints


class Year:
    """The days of the year, one after another: each needs what the one before left."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.lives = Lives(shape)
        self._busy_until: Ints = np.full(len(self.lives), -(10**18), np.int64)

    def days(self) -> Iterator[Truth]:
        """Every day's truth, with its neighbours'."""
        runs, succeeded = (np.zeros(len(self.lives), np.int64) for _ in range(2))
        chance = np.random.default_rng([self.shape.seed, 1])
        old = np.flatnonzero(self.lives.a < -DAY)
        past = self._boots(_cuts(old, self.lives.a[old], STATE["creating"]), chance)
        before, now = self._day(-1), self._day(0)
        for day in range(self.shape.days):
            after = self._day(day + 1)
            boots = by_life(stack(past[1], before[1], now[1], after[1]))
            segments = _shown(by_life(stack(past[0], before[0], now[0], after[0])), boots)
            tasks = stack(before[2], now[2], after[2])
            job = tasks["s"] // (6 * HOUR)
            tasks = take(tasks, np.lexsort((tasks["number"], job, tasks["life"])))
            yield Truth(day, segments, boots, tasks, runs, succeeded)
            # of the days before, only each life's last state and boot still matter, and the counts
            left = [by_life(stack(*each)) for each in zip(past, before[:2], strict=True)]
            past = tuple(
                take(each, lasts(each) & (self.lives.g[each["life"]] > day * DAY)) for each in left
            )
            done = take(before[2], before[2]["e"] < self.lives.g[before[2]["life"]])
            runs = runs + np.bincount(done["life"], minlength=len(runs))
            good = done["life"][done["exit"] == 0]
            succeeded = succeeded + np.bincount(good, minlength=len(runs))
            before, now = now, after

    def _day(self, day: int) -> tuple[Columns, Columns, Columns]:
        """The segments, boots and tasks that begin on a day."""
        lives, begins, ends = self.lives, day * DAY, (day + 1) * DAY
        chance = np.random.default_rng([self.shape.seed, day + 10])
        new = np.flatnonzero((lives.a >= begins) & (lives.a < ends))
        first = self._boots(_cuts(new, lives.a[new], STATE["creating"]), chance)
        there = np.flatnonzero((lives.a < ends) & (lives.g > begins))
        cuts = self._turns(there, begins, chance)
        is_boot = cuts["state"] >= STATE["rebooting"]
        plain, again = take(cuts, ~is_boot), take(cuts, is_boot)
        later = self._boots(again, chance, is_timed=True)
        tasks = self._tasks(there, begins, chance)
        return stack(first[0], _plain(plain, chance), later[0]), stack(first[1], later[1]), tasks

    def _turns(self, there: Ints, begins: int, chance: np.random.Generator) -> Columns:
        """When the nodes change on a day, and to what: none while a node boots."""
        lives, shape = self.lives, self.shape
        counts = 1 + chance.poisson(shape.changes - 1, len(there))
        rank = np.repeat(np.arange(len(there)), counts)
        life = there[rank]
        place = np.arange(len(life)) - np.repeat(np.cumsum(counts) - counts, counts)
        s = begins + ((place + chance.random(len(life))) / counts[rank] * DAY).astype(np.int64)
        odds = np.cumsum([_DEDICATED_ODDS, _SPOT_ODDS], axis=1)
        odds = odds[shape.is_spot(lives.pool[life]).astype(int), :-1]
        turn = (chance.random(len(life))[:, None] > odds).sum(axis=1)
        cuts = _cuts(life, s, np.array([STATE[name] for name in _TURNS])[turn])
        cuts |= _boot_times(cuts, chance)
        # the end of the last boot before each one, of the same life
        shift = rank * 8 * DAY
        ready = np.maximum.accumulate(
            np.where(cuts["state"] >= STATE["rebooting"], cuts["ready"], s) + shift
        )
        before = np.concatenate([[-(10**18)], ready[:-1]]) - shift
        is_first = place == 0
        floor = np.maximum(np.where(is_first, -(10**18), before), self._busy_until[life])
        return take(cuts, (s > floor) & (s < lives.g[life]))

    def _boots(
        self, cuts: Columns, chance: np.random.Generator, is_timed: bool = False
    ) -> tuple[Columns, Columns]:
        """The segments and boots of nodes that begin to boot."""
        if not is_timed:
            cuts = cuts | _boot_times(cuts, chance)
        life, s = cuts["life"], cuts["s"]
        np.maximum.at(self._busy_until, life, cuts["ready"])
        pool, day = self.lives.pool[life], s // DAY
        odds = np.where((pool * 31 + day) % 40 == 0, 0.3, 0.02)  # a bad day
        failure = np.where(
            chance.random(len(life)) < odds, 1 + (pool + chance.integers(0, 2, len(life))) % 4, 0
        )
        boots = {
            name: cuts[name] for name in ("life", "s", "shown", "booted", "run_s", "run_e")
        } | {
            "failure": failure,
            "agent": 2 + (day + pool + 1000) // 14,
            "task": (day + 3 * pool + 1000) // 10,
            "definition": (day + 3 * pool + 1000) // 30,
        }
        ready = np.where(failure > 0, STATE["starttaskfailed"], STATE["idle"])
        steps = (
            (s, cuts["state"]),
            (cuts["starts"], np.full_like(s, STATE["starting"])),
            (cuts["shown"], np.full_like(s, STATE["waitingforstarttask"])),
            (cuts["ready"], ready),
        )
        segments = stack(*(_segments(life, at, state) for at, state in steps))
        return segments, boots

    def _tasks(self, there: Ints, begins: int, chance: np.random.Generator) -> Columns:
        """The tasks that begin on a day. All end within the next one."""
        lives = self.lives
        is_hole = there % 2000 == 0
        counts = chance.poisson(np.where(is_hole, 10, 1) * self.shape.tasks, len(there))
        life = np.repeat(there, counts)
        s = begins + chance.integers(0, DAY, len(life))
        lasted = np.minimum(chance.lognormal(6.6, 1.2, len(life)) * SECOND, 18 * HOUR)
        lasted = np.where(np.repeat(is_hole, counts), lasted / 200, lasted).astype(np.int64)
        odds = np.where(np.repeat(is_hole, counts), 0.95, 0.01 + (lives.pool[life] % 5) / 100)
        failed = chance.random(len(life)) < odds
        tasks = {
            "life": life,
            "s": s,
            "e": s + SECOND + lasted,
            "exit": np.where(failed, 1 + lives.pool[life] % 4, 0),
            "hidden": (chance.random(len(life)) < 0.005).astype(np.int64),
            "number": chance.permutation(len(life)),
        }
        is_ready = (s > lives.a[life] + 30 * MINUTE) & (s < lives.g[life])
        return take(tasks, is_ready)


def _cuts(life: Ints, s: Ints, state: Ints | int) -> Columns:
    return {"life": life, "s": s, "state": np.broadcast_to(state, s.shape).astype(np.int64)}


def _boot_times(cuts: Columns, chance: np.random.Generator) -> Columns:
    """When the steps of a boot that begins at ``s`` would be."""
    size = len(cuts["s"])
    waits = np.where(cuts["state"] == STATE["preempted"], chance.integers(8, 60, size), 0) * MINUTE
    starts = cuts["s"] + waits + chance.integers(30 * SECOND, 4 * MINUTE, size)
    shown = starts + chance.integers(MINUTE, 4 * MINUTE, size)
    run_s = shown + chance.integers(SECOND, 5 * SECOND, size)
    lasted = np.minimum(chance.lognormal(4.5, 0.8, size) * SECOND, 20 * MINUTE).astype(np.int64)
    return {
        "starts": starts,
        "booted": shown - 20 * SECOND,
        "shown": shown,
        "run_s": run_s,
        "run_e": run_s + lasted,
        "ready": run_s + lasted + SECOND,
    }


def _segments(life: Ints, s: Ints, state: Ints, error: Ints | None = None) -> Columns:
    return {
        "life": life,
        "s": s,
        "state": state,
        "error": np.zeros_like(s) if error is None else error,
    }


def _plain(cuts: Columns, chance: np.random.Generator) -> Columns:
    """The segments of changes that are no boot."""
    state = cuts["state"]
    error = np.where(state == STATE["unusable"], chance.integers(0, len(ERRORS), len(state)), 0)
    return _segments(cuts["life"], cuts["s"], state, error)


def _shown(segments: Columns, boots: Columns) -> Columns:
    """Adds to segments what their boot gives: the last one of the life that began by then."""
    # both in the order of (life, start): a boot's place follows from how many come before it
    both = np.lexsort(
        (
            np.concatenate([np.zeros(len(boots["s"])), np.ones(len(segments["s"]))]),
            np.concatenate([boots["s"], segments["s"]]),
            np.concatenate([boots["life"], segments["life"]]),
        )
    )
    is_boot = both < len(boots["s"])
    boot = (np.cumsum(is_boot) - 1)[~is_boot]
    is_told = segments["s"] >= boots["shown"][boot]
    return segments | {
        "boot": boot,
        "agent": np.where(is_told, boots["agent"][boot], 0),
        "task": boots["task"][boot],
        "definition": boots["definition"][boot],
    }
