"""One world through a lake's life: half compacted, compacted, with late polls, expired.

After each step every fact and some questions are compared with what the polls saw.
"""

from __future__ import annotations

import random
from pathlib import Path

from pipeline import query
from pipeline.lake import Lake
from tests.simulator import compare, service
from tests.simulator.asking import Parameters
from tests.simulator.machines import DAY, moment_in
from tests.simulator.record import Record
from tests.simulator.world import Poll, World

#: Questions: where history does not cover every day, which takes longest, and elsewhere in the suite.
_FEW, _SOME = 2, 5
#: Facts compared at each step of a world of the suite.
_FACTS = 6


class Trial:
    """A world's lake, and what it has answered otherwise than the polls saw."""

    def __init__(self, world: World, root: Path, *, is_long: bool = False) -> None:
        self.world = world
        self.is_long = is_long
        self.rng = random.Random(world.seed)
        self.lake = Lake(root / "lake")
        self.names: dict[str, str] = {}
        self.seen: list[Poll] = []
        self.deviations: list[str] = []

    def run(self) -> list[str]:
        """Takes every step; returns a line for each deviation, with the step it was met at."""
        world = self.world
        halfway = moment_in(self.rng, world.polls[0].at, world.end)
        after = world.end + 2 * DAY
        on_time = [poll for poll in world.polls if not poll.is_late]
        self._store([poll for poll in on_time if poll.at < halfway])
        service.compact(self.lake, halfway)
        self._store([poll for poll in on_time if poll.at >= halfway])
        self._check("half compacted", questions=_FEW)
        service.compact(self.lake, after)
        self._check("compacted")
        late = [poll for poll in world.polls if poll.is_late]
        if late:
            self._store(late)
            self._check("late polls came", questions=_FEW)
            service.compact(self.lake, after)
            self._check("late polls compacted")
        last_day = self.world.polls[-1].at.date()
        service.expire(self.lake, after, last_day - self.rng.choice((0, 0, 1)) * DAY)
        self._check("expired", has_rows=False)
        return self.deviations

    def _store(self, polls: list[Poll]) -> None:
        for poll in polls:
            service.store(self.lake, poll)
            self.seen.append(poll)

    def _check(self, step: str, *, questions: int = _SOME, has_rows: bool = True) -> None:
        record = Record(self.seen)
        chosen = [*compare.FACTS] if self.is_long else self.rng.sample([*compare.FACTS], _FACTS)
        facts = {name: compare.FACTS[name](record) for name in chosen}
        asked = self._asked(questions)
        with query.connect(self.lake) as connection:
            if has_rows:
                self.names |= compare.start_task_names(connection)
            found = compare.fact_differences(connection, facts, self.names)
            expected = compare.answers(record, asked)
            found += compare.answer_differences(connection, expected, self.names, has_rows=has_rows)
        self.deviations += [f"{step}: {line}" for line in found]

    def _asked(self, questions: int) -> dict[str, list[Parameters]]:
        """What is asked: so many of the questions, in the long form all, each in one of its ways."""
        names = sorted(compare.QUESTIONS)
        if not self.is_long or questions == _FEW:
            names = self.rng.sample(names, questions)
        return {name: [self.rng.choice(compare.asked(name))] for name in names}
