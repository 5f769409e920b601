"""History against the emulator's truth log: a day in CI; a week, and a day by minutes, with --long."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.lake import Lake
from tests.history import scored
from tests.score import Score, record

START = datetime(2026, 11, 16, 0, 0, 0, 400_000, tzinfo=UTC)


#: What must have been there to be right about.
MET = (
    "state end bounded",
    "gone when it says",
    "reused ids kept apart",
    "task runs harvested",
    "task runs missed",
    "start task definition right",
    "error episode true",
)


@pytest.fixture(scope="module")
def score(tmp_path_factory: pytest.TempPathFactory) -> Score:
    """Of a day and an hour of a small fleet, polled every 5 minutes, listings failing now and then."""
    lake = Lake(tmp_path_factory.mktemp("score"))
    return Score(record(lake, START, hours=25, minutes=5, scale=0.6)).all()


def test_a_recorded_day_is_what_happened(score: Score) -> None:
    """Starts exact, ends and hours inside their bounds, no one gone who was there, no run lost."""
    assert score.wrong == []
    # and it was put to the test: there was something of each kind
    assert [what for what in MET if not score.checked[what]] == []


def _later(row: dict[str, Any], column: str) -> None:
    row[column] += timedelta(seconds=3)


# Within the record, and no moment at which anything happened.
NEVER = START + timedelta(hours=1, microseconds=1)
MISTAKES: dict[str, tuple[str, Callable[[dict[str, Any]], object]]] = {
    "state start exact": ("node_states", lambda row: _later(row, "state_transition_time")),
    "state end inside its bounds": (
        "node_states",
        lambda row: row.update(ended_before=row["state_transition_time"] - timedelta(hours=1)),
    ),
    "gone when it says": (
        "node_incarnations",
        lambda row: row.update(ended_by="absent", ended_after=START, ended_before=START),
    ),
    "task runs harvested": ("task_runs", lambda row: row.update(task_id="another")),
    "task gaps exact": ("task_gaps", lambda row: row.update(missed=row["missed"] + 1)),
    "start task run true": ("start_task_runs", lambda row: row.update(start_time=NEVER)),
    "boot exact": ("node_boots", lambda row: row.update(boot_time=NEVER)),
    "error episode true": (
        "node_error_episodes",
        lambda row: row.update(first_observed_at=START - timedelta(days=2)),
    ),
    "true hours inside the bounds": (
        "node_hours",
        lambda row: row.update(certain_hours=row["hours"] + 1000),
    ),
    "tasks in their hour": ("pool_hours", lambda row: row.update(tasks_finished=99_999)),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_the_score_finds_a_mistake(score: Score, what: str) -> None:
    """One wrong row of a fact, the last, is named."""
    fact, mistake = MISTAKES[what]
    wrong = copy(score)
    wrong.wrong, wrong.checked = [], Counter()
    mistaken = dict(score.facts[fact][-1])
    mistake(mistaken)
    wrong.facts = score.facts | {fact: [*score.facts[fact][:-1], mistaken]}
    assert any(each.startswith(what) for each in wrong.all().wrong)


@pytest.mark.long
@pytest.mark.parametrize("name", scored.RECORDS)
def test_a_long_record_is_what_happened(tmp_path: Path, name: str) -> None:
    """The same over a week at 5 minutes and a day at 1 minute; saves what was compared."""
    hours, minutes, _ = scored.RECORDS[name]
    score = Score(record(Lake(tmp_path), START, hours=hours, minutes=minutes)).all()
    scored.save(name, score)
    assert score.wrong == []
    assert [what for what in MET if not score.checked[what]] == []


def test_the_readme_has_the_results_that_were_saved() -> None:
    """``python -m tests.history.scored`` writes them; every comparison of them was right."""
    text = scored.README.read_text("utf-8")
    assert scored.document(text) == text
    assert scored.table() in text
    results = json.loads(scored.SAVED.read_text("utf-8"))
    assert {name: results[name]["wrong"] for name in scored.RECORDS} == {"week": {}, "day": {}}
