"""Whatever the polls saw, every fact and question says so, whatever became of the lake since."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulator import world
from tests.simulator.hours import node_hours
from tests.simulator.record import Record
from tests.simulator.trial import Trial
from tests.simulator.truth import true_hours_out_of_bounds

SUITE = (15, 18, 43, 52, 70)
LONG = tuple(range(100, 300))


@pytest.mark.parametrize(
    "seed",
    [*SUITE, *(pytest.param(seed, marks=pytest.mark.long) for seed in LONG)],
)
def test_a_lake_answers_what_the_polls_saw(tmp_path: Path, seed: int) -> None:
    """By rows, by history, with late polls and without the rows that have expired."""
    deviations = Trial(world.make(seed), tmp_path, is_long=seed in LONG).run()
    assert [] == deviations, "\n".join([f"seed {seed}:", *deviations])


@pytest.mark.parametrize("seed", range(20))
def test_true_hours_lie_between_the_bounds(seed: int) -> None:
    """Certain hours are the least, and with all uncertain hours of the nodes the most."""
    made = world.make(seed)
    record = Record(made.polls)
    wrong = true_hours_out_of_bounds(made, record, node_hours(record))
    assert [] == wrong, "\n".join([f"seed {seed}:", *wrong])
