"""The fact about pools: their resize and autoscale errors over time."""

from __future__ import annotations

from pipeline.schema.columns import INT, TEXT, TIME
from pipeline.schema.facts.fact import POOL, SEEN, Fact, column

# fmt: off
# ruff: noqa: E501 - a column is one line
POOL_ERROR_EPISODES = Fact("pool_error_episodes", "account x pool x kind x code x failed resize x first_observed_at", "A time in which every listing of a pool showed an error of its resize or its autoscale formula.", (
    *POOL,
    column("key", "kind", TEXT, "What failed: resize or autoscale."),
    column("key", "code", TEXT, "Code of the error; empty where it has none."),
    column("key", "resized_at", TIME, "Of a resize error: when that resize ended, the service's own time. Null of an autoscale error."),
    *SEEN,
    column("last", "message", TEXT, "Its message when last seen."),
    column("min", "evaluated_at", TIME, "Of an autoscale error: the earliest evaluation that was seen to fail, the service's own time."),
    column("first", "started_after", TIME, "Last listing of the pool before that did not show it; null where none did."),
    column("last", "ended_before", TIME, "First listing of the pool after that did not show it, or did not show the pool; null where none did."),
    column("last", "dedicated_short", INT, "Dedicated nodes that were missing to the target when it was last seen."),
    column("last", "spot_short", INT, "Spot nodes that were missing to the target when it was last seen."),
    column("last", "vm_size", TEXT, "Size of the pool's virtual machines."),
), is_island=True)
# fmt: on
