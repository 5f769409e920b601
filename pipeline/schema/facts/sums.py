"""The additive facts: node hours, pool hours and task outcomes, by day."""

from __future__ import annotations

from pipeline.schema import nodes
from pipeline.schema.columns import COUNT, FLAG, REAL, TEXT, TIME
from pipeline.schema.facts.fact import INCARNATION_KEY, NODE, POOL, Fact, FactColumn, column

# fmt: off
# ruff: noqa: E501 - a column is one line
NODE_HOURS = Fact("node_hours", "date x account x pool x vm_size x is_dedicated x state", "Hours of nodes in each state, by day; days add up.", (
    *POOL,
    column("key", "vm_size", TEXT, "Size of the virtual machines."),
    column("key", "is_dedicated", FLAG, "Dedicated (true), spot (false), or not known (null)."),
    column("key", "state", TEXT, "State, or unobserved: the nodes were there, in a state no listing showed."),
    column("last", "hours", REAL, "Node-hours, a state taken to last until the next observed one began."),
    column("last", "certain_hours", REAL, "Of those, between a state's start and its last observation."),
), is_daily=True, version=3)

_COUNTED = (*nodes.NODE_STATES, "other")
POOL_HOURS = Fact("pool_hours", "date x hour x account x pool", "A pool hour by hour: its nodes, its slots and its tasks.", (
    *POOL,
    column("key", "hour", TIME, "Start of the hour, UTC."),
    column("last", "listings", COUNT, "Complete listings of its nodes that ended in the hour. With none, only tasks are counted."),
    column("last", "nodes", REAL, "Nodes, mean over those listings."),
    *(column("last", f"nodes_{state}", REAL, f"Nodes {'in another state, or malformed' if state == 'other' else state}, mean over those listings.") for state in _COUNTED),
    column("last", "slots", REAL, "Task slots of all nodes (nodes times the pool's slots per node), mean over those listings."),
    column("last", "running_slots", REAL, "Task slots in use, mean over those listings."),
    column("last", "tasks_finished", COUNT, "Task runs seen to have completed in the hour."),
    column("last", "tasks_failed", COUNT, "Of those, failed."),
), is_daily=True, version=3)

TASK_OUTCOMES = Fact("task_outcomes", "date x incarnation x job_id x failure_code", "How many task runs of each job ended on each node and how, on the day whose listing first showed it.", (
    *NODE,
    column("key", "job_id", TEXT, "Job of the tasks."),
    column("key", "is_failed", FLAG, "Whether they failed: by their result, or without one by an exit code other than 0."),
    column("key", "failure_code", TEXT, "Code of their failure; empty where none is known, null where they did not fail."),
    column("last", "runs", COUNT, "Runs that ended so; days add up."),
    column("last", "first_end_time", TIME, "When the first of them ended."),
    column("last", "last_end_time", TIME, "When the last of them ended."),
    column("last", "failure_message", TEXT, "Message of the last one that has one."),
    column("last", "last_message_at", TIME, "When that one ended."),
    FactColumn("last", INCARNATION_KEY.column),
), is_daily=True, first="not is_failed", version=2)
# fmt: on
