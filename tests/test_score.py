"""History against the emulator's truth log: a day in CI, a week and a minute-by-minute day with --long."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.lake import Lake
from tests.score import Record, Score, record

START = datetime(2026, 11, 16, 0, 0, 0, 400_000, tzinfo=UTC)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """A day and two hours of a small fleet, polled every 5 minutes, listings failing now and then."""
    return record(Lake(tmp_path_factory.mktemp("score")), START, hours=26, minutes=5)


def test_a_recorded_day_is_what_happened(day: Record) -> None:
    """Starts exact, ends and hours inside their bounds, nobody gone who was there, no run lost."""
    score = Score(day).all()
    assert score.wrong == []
    # and it was put to the test: there was something of each kind
    for what in (
        "state end bounded",
        "gone when it says",
        "reused ids kept apart",
        "task runs harvested",
        "task runs missed",
        "start task definition right",
        "error episode true",
    ):
        assert score.checked[what] > 0, what
