"""The history facts by subject; ``FACTS`` has them all, in the order they are built."""

from __future__ import annotations

from pipeline.schema.facts.fact import AccountDay, Fact, FactColumn, Merge
from pipeline.schema.facts.nodes import (
    NODE_BOOTS,
    NODE_CONFIG_INTERVALS,
    NODE_ERROR_EPISODES,
    NODE_INCARNATIONS,
    NODE_STATES,
)
from pipeline.schema.facts.pools import POOL_ERROR_EPISODES
from pipeline.schema.facts.sums import NODE_HOURS, POOL_HOURS, TASK_OUTCOMES
from pipeline.schema.facts.tasks import START_TASK_RUNS, TASK_GAPS, TASK_RUNS

__all__ = [
    "FACTS",
    "NODE_BOOTS",
    "NODE_CONFIG_INTERVALS",
    "NODE_ERROR_EPISODES",
    "NODE_HOURS",
    "NODE_INCARNATIONS",
    "NODE_STATES",
    "POOL_ERROR_EPISODES",
    "POOL_HOURS",
    "START_TASK_RUNS",
    "TASK_GAPS",
    "TASK_OUTCOMES",
    "TASK_RUNS",
    "AccountDay",
    "Fact",
    "FactColumn",
    "Merge",
]

#: Every fact by name, in the order they are built.
FACTS: dict[str, Fact] = {
    fact.name: fact
    for fact in (
        NODE_STATES,
        NODE_INCARNATIONS,
        NODE_CONFIG_INTERVALS,
        TASK_RUNS,
        TASK_GAPS,
        START_TASK_RUNS,
        NODE_BOOTS,
        NODE_ERROR_EPISODES,
        POOL_ERROR_EPISODES,
        NODE_HOURS,
        POOL_HOURS,
        TASK_OUTCOMES,
    )
}
