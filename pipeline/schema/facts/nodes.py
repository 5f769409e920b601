"""The facts about nodes: their states, lifetimes, configuration, boots and errors."""

from __future__ import annotations

from pipeline.schema.columns import FLAG, INT, TEXT, TIME
from pipeline.schema.facts.fact import (
    IMAGE,
    IMAGE_KEY,
    INCARNATION_KEY,
    MACHINE,
    NODE,
    SEEN,
    Fact,
    column,
)

# fmt: off
# ruff: noqa: E501 - a column is one line
NODE_STATES = Fact("node_states", "incarnation x state x state_transition_time", "Every state a node was listed in, from when to when.", (
    *NODE,
    column("key", "state", TEXT, "State of the node."),
    column("key", "state_transition_time", TIME, "When the state began: exact, the service's own."),
    *SEEN,
    *MACHINE,
    column("window", "ended_after", TIME, "The state had not ended by then: its last observation."),
    column("window", "ended_before", TIME, "It had ended by then: the next observed state's start, the first complete listing without the node, or the allocation of the next node under its id. Null: not known to have ended."),
    column("window", "next_state", TEXT, "The next state the node was listed in; null where there is none."),
    column("carried", "is_blurred", FLAG, "Whether a row without a state came between its last observation and what came next."),
    column("day", "is_last", FLAG, "Whether the day is the last one that listed it, as far as its window shows."),
    column("day", "is_abnormal", FLAG, "Of those: a state other than idle and running, one that ended in such a state, or one that lasted for 12 hours."),
), first="not is_abnormal", rows_per_group=16_384, version=2)

NODE_INCARNATIONS = Fact("node_incarnations", "incarnation", "Every node that was ever listed: when it was seen, what it was, how it ended.", (
    *NODE,
    *SEEN,
    *MACHINE,
    *IMAGE,
    column("known", "last_state", TEXT, "State it was last listed in."),
    column("known", "total_tasks_run", INT, "Job tasks it had completed when last listed."),
    column("known", "total_tasks_succeeded", INT, "Of those, with exit code 0."),
    column("last", "absent_at", TIME, "Finish of the first complete listing without it, once absence is proven; null before."),
    column("last", "is_pool_absent", FLAG, "Whether that was an account listing without its pool."),
    column("window", "ended_after", TIME, "It was still there then: its last observation. Null while it is not known to have gone."),
    column("window", "ended_before", TIME, "It was gone by then. Null while it is not known to have gone."),
    column("window", "ended_by", TEXT, "What proves it: absent (two complete listings), pool_absent, id_reused; null while it is not known to have gone."),
    column("day", "is_last", FLAG, "Whether the day is the last one that listed it, as far as its window shows."),
    column("day", "is_first", FLAG, "Whether the day is the first one that listed it, as far as its window shows."),
    column("day", "is_interrupted", FLAG, "Whether this day, or one near it, may not see all that is known of the node: it was absent and returned, or rows of it lack a value that others have. Then its days are read together."),
    column("day", "first_total_at", TIME, "First listing of the window that showed how many tasks it had completed."),
    column("day", "first_total", INT, "How many those were."),
    column("day", "last_total_at", TIME, "Last listing of the window that showed how many tasks it had completed."),
    column("day", "first_readable_at", TIME, "First listing of the window that showed it and was not malformed."),
    column("day", "last_readable_at", TIME, "Last listing of the window that showed it and was not malformed."),
    column("day", "is_starting", FLAG, "Whether it was new, or not up yet when the day's listings first showed it. Only then the columns below are filled."),
    column("day", "boot_time", TIME, "Its earliest boot that the window shows."),
    column("day", "boot_image", TEXT, "The image of that boot: an id, or publisher, offer, SKU and version."),
    column("day", "start_task_began_at", TIME, "Start of its earliest start-task run that the window shows."),
    column("day", "start_task_succeeded_at", TIME, "End of its earliest successful run that the window shows."),
    column("day", "up_at", TIME, "Start of its earliest idle or running state that the window shows."),
    INCARNATION_KEY,
), first="not (is_last or is_starting)", rows_per_group=2_048, version=4)

NODE_CONFIG_INTERVALS = Fact("node_config_intervals", "incarnation x configuration x first_observed_at", "What a node was set up with, from when to when it was seen so.", (
    *NODE,
    column("key", "node_agent_version", TEXT, "Version of its agent; null while none has reported."),
    *IMAGE_KEY,
    column("key", "start_task_id", TEXT, "Its start task; joins start_tasks."),
    column("key", "start_task_definition_id", TEXT, "The same without environment values, secrets and signatures."),
    column("key", "scheduling_state", TEXT, "Whether tasks might be scheduled on it."),
    *SEEN,
    *MACHINE,
    column("view", "started_after", TIME, "Last listing that showed other values; null where none did."),
    column("view", "ended_before", TIME, "Next listing that showed other values; null where none did."),
), is_island=True, version=2)

NODE_BOOTS = Fact("node_boots", "incarnation x boot_time", "Every boot of a node that was ever seen.", (
    *NODE,
    column("key", "boot_time", TIME, "When it booted: exact, the service's own."),
    *SEEN,
    *MACHINE,
    *IMAGE,
), version=3)

NODE_ERROR_EPISODES = Fact("node_error_episodes", "incarnation x code x first_observed_at", "A time in which every listing of a node showed an error of one code.", (
    *NODE,
    column("key", "code", TEXT, "Code of the error."),
    *SEEN,
    column("known", "message", TEXT, "Its message when last seen."),
    column("first", "started_after", TIME, "Last listing of the node before that did not show it; null where none did."),
    column("last", "ended_before", TIME, "First listing of the node after that did not show it; null where none did."),
    *MACHINE,
), is_island=True)
# fmt: on
