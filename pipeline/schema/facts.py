"""The history facts: what each row tells, its columns, and how the rows of several days are merged.

A fact's SQL (``sql/history/<fact>.sql``) makes the rows of a day; a day sees the listings around it
too, so one thing is told by several days' rows. ``merge`` says for each column how those become one.
"""

from __future__ import annotations

import pyarrow as pa

from pipeline.schema import nodes
from pipeline.schema.columns import COUNT, FLAG, INT, REAL, TEXT, TIME, Column
from pipeline.schema.fact import AccountDay, Fact, FactColumn, Merge

__all__ = ["FACTS", "AccountDay", "Fact", "FactColumn", "Merge", "versions"]


def _column(merge: Merge, name: str, kind: pa.DataType, doc: str) -> FactColumn:
    return FactColumn(merge, Column(name, kind, None, doc))


# fmt: off
# ruff: noqa: E501 - a column is one line, as in the tables
_POOL = (
    _column("key", "account", TEXT, "Batch account, as in every table."),
    _column("key", "pool_id", TEXT, "Pool the node is in."),
)
_NODE = (
    *_POOL,
    _column("key", "node_id", TEXT, "Id of the node; the service may reuse it."),
    _column("key", "allocation_time", TIME, "When it was allocated: with its id, one incarnation. Null where no listing tells."),
)
_INCARNATION_KEY = _column("last", "incarnation_key", COUNT, "63 bits of an MD5 of account, pool_id, node_id and allocation_time: one number to join and to group incarnations by.")
_SEEN = (
    _column("min", "first_observed_at", TIME, "First listing that showed it, service's clock."),
    _column("max", "last_observed_at", TIME, "Last listing that showed it, service's clock."),
)
_MACHINE = (
    _column("last", "vm_size", TEXT, "Size of its virtual machine."),
    _column("last", "is_dedicated", FLAG, "Dedicated (true), spot (false), or not told (null)."),
)
_IMAGE = tuple(
    _column("last", name, TEXT, doc) for name, doc in (
        ("image_publisher", "Publisher of the image."),
        ("image_offer", "Offer of the image."),
        ("image_sku", "SKU of the image."),
        ("image_exact_version", "Version of the image it was made from."),
        ("image_virtual_machine_image_id", "Id of a custom image, or of one of a shared or community gallery."),
    )
)

NODE_STATES = Fact("node_states", "incarnation x state x state_transition_time", "Every state a node was listed in, from when to when.", (
    *_NODE,
    _column("key", "state", TEXT, "State of the node."),
    _column("key", "state_transition_time", TIME, "When the state began: exact, the service's own."),
    *_SEEN,
    *_MACHINE,
    _column("view", "ended_after", TIME, "The state had not ended by then: its last observation."),
    _column("view", "ended_before", TIME, "It had ended by then: the next observed state's start, the first complete listing without the node, or the allocation of the next node under its id. Null: not known to have ended."),
    _column("view", "next_state", TEXT, "The next state the node was listed in; null where there is none."),
))

NODE_INCARNATIONS = Fact("node_incarnations", "incarnation", "Every node that was ever listed: when it was seen, what it was, how it ended.", (
    *_NODE,
    *_SEEN,
    *_MACHINE,
    *_IMAGE,
    _column("last", "last_state", TEXT, "State it was last listed in."),
    _column("last", "total_tasks_run", INT, "Job tasks it had completed when last listed."),
    _column("last", "total_tasks_succeeded", INT, "Of those, with exit code 0."),
    _column("last", "absent_at", TIME, "Finish of the first complete listing without it, once absence is proven; null before."),
    _column("last", "is_pool_absent", FLAG, "Whether that was an account listing without its pool."),
    _column("view", "ended_after", TIME, "It was still there then: its last observation. Null while it is not known to have gone."),
    _column("view", "ended_before", TIME, "It was gone by then. Null while it is not known to have gone."),
    _column("view", "ended_by", TEXT, "What proves it: absent (two complete listings), pool_absent, id_reused; null while it is not known to have gone."),
), version=2)

NODE_CONFIG_INTERVALS = Fact("node_config_intervals", "incarnation x configuration x first_observed_at", "What a node was set up with, from when to when it was seen so.", (
    *_NODE,
    _column("key", "node_agent_version", TEXT, "Version of its agent; null while none has reported."),
    _column("key", "image_publisher", TEXT, "Publisher of the image."),
    _column("key", "image_offer", TEXT, "Offer of the image."),
    _column("key", "image_sku", TEXT, "SKU of the image."),
    _column("key", "image_exact_version", TEXT, "Version of the image it was made from."),
    _column("key", "image_virtual_machine_image_id", TEXT, "Id of a custom image, or of one of a shared or community gallery."),
    _column("key", "start_task_id", TEXT, "Its start task; joins start_tasks."),
    _column("key", "start_task_definition_id", TEXT, "The same without environment values, secrets and signatures."),
    _column("key", "scheduling_state", TEXT, "Whether tasks might be scheduled on it."),
    *_SEEN,
    *_MACHINE,
    _column("view", "started_after", TIME, "Last listing that showed other values; null where none did."),
    _column("view", "ended_before", TIME, "Next listing that showed other values; null where none did."),
), is_island=True, version=2)

TASK_RUNS = Fact("task_runs", "incarnation x job_id x task_id x subtask_id x start_time", "Every attempt at a task that was ever seen on a node.", (
    *_NODE,
    _column("key", "job_id", TEXT, "Job of the task."),
    _column("key", "task_id", TEXT, "Id of the task."),
    _column("key", "subtask_id", INT, "Subtask, for a multi-instance task."),
    _column("key", "start_time", TIME, "When the attempt began; null while it is provisional."),
    *_SEEN,
    _column("min", "first_completed_at", TIME, "First listing that showed it completed; null where none did."),
    _column("last", "task_state", TEXT, "State of the task when last seen."),
    _column("last", "end_time", TIME, "When the task completed; null for an attempt that was retried or not seen to end."),
    _column("last", "exit_code", INT, "Its exit code."),
    _column("last", "result", TEXT, "success or failure."),
    _column("last", "failure_category", TEXT, "Whose fault a failure was."),
    _column("last", "failure_code", TEXT, "Code of the failure."),
    _column("last", "failure_message", TEXT, "Message of the failure."),
    _column("last", "container_state", TEXT, "State of its container."),
    _column("last", "container_error", TEXT, "Error of its container."),
    _column("last", "retry_count", INT, "Attempts by the service before this one."),
    _column("last", "requeue_count", INT, "Times it had been requeued."),
    *_MACHINE,
    _column("view", "is_provisional", FLAG, "It had no start_time when last seen: it may never have begun."),
))

TASK_GAPS = Fact("task_gaps", "incarnation x after x before", "Where tasks completed on a node that no listing showed completed.", (
    *_NODE,
    _column("key", "after", TIME, "The listing before: they completed after it."),
    _column("key", "before", TIME, "The listing that tells: they completed before it."),
    _column("max", "missed", INT, "How many: the rise of totalTasksRun less the runs first seen completed."),
))

START_TASK_RUNS = Fact("start_task_runs", "incarnation x start_time", "Every run of a start task that was ever seen; a retry is a run.", (
    *_NODE,
    _column("key", "start_time", TIME, "When the run began."),
    *_SEEN,
    _column("first", "start_task_id", TEXT, "The node's start task when the run was first seen; joins start_tasks."),
    _column("first", "start_task_definition_id", TEXT, "The same without environment values, secrets and signatures."),
    _column("first", "is_definition_certain", FLAG, "False where the listing just before showed another definition: the run may be of that one."),
    _column("last", "state", TEXT, "running or completed, when last seen."),
    _column("last", "end_time", TIME, "When the run ended; null if it was not seen to end."),
    _column("last", "exit_code", INT, "Its exit code."),
    _column("last", "result", TEXT, "success or failure."),
    _column("last", "failure_category", TEXT, "Whose fault a failure was."),
    _column("last", "failure_code", TEXT, "Code of the failure."),
    _column("last", "failure_message", TEXT, "Message of the failure."),
    _column("last", "container_state", TEXT, "State of its container."),
    _column("last", "container_error", TEXT, "Error of its container."),
    _column("last", "retry_count", INT, "Retries before this run."),
    *_MACHINE,
    *_IMAGE,
), version=2)

NODE_BOOTS = Fact("node_boots", "incarnation x boot_time", "Every boot of a node that was ever seen.", (
    *_NODE,
    _column("key", "boot_time", TIME, "When it booted: exact, the service's own."),
    *_SEEN,
    *_MACHINE,
    *_IMAGE,
), version=2)

NODE_ERROR_EPISODES = Fact("node_error_episodes", "incarnation x code x first_observed_at", "A time in which every listing of a node showed an error of one code.", (
    *_NODE,
    _column("key", "code", TEXT, "Code of the error."),
    *_SEEN,
    _column("last", "message", TEXT, "Its message when last seen."),
    _column("first", "started_after", TIME, "Last listing of the node before that did not show it; null where none did."),
    _column("last", "ended_before", TIME, "First listing of the node after that did not show it; null where none did."),
    *_MACHINE,
), is_island=True)

POOL_ERROR_EPISODES = Fact("pool_error_episodes", "account x pool x kind x code x failed resize x first_observed_at", "A time in which every listing of a pool showed an error of its resize or its autoscale formula.", (
    *_POOL,
    _column("key", "kind", TEXT, "What failed: resize or autoscale."),
    _column("key", "code", TEXT, "Code of the error; empty where it has none."),
    _column("key", "resized_at", TIME, "Of a resize error: when that resize ended, the service's own time. Null of an autoscale error."),
    *_SEEN,
    _column("last", "message", TEXT, "Its message when last seen."),
    _column("min", "evaluated_at", TIME, "Of an autoscale error: the earliest evaluation that was seen to fail, the service's own time."),
    _column("first", "started_after", TIME, "Last listing of the pool before that did not show it; null where none did."),
    _column("last", "ended_before", TIME, "First listing of the pool after that did not show it, or did not show the pool; null where none did."),
    _column("last", "dedicated_short", INT, "Dedicated nodes that were missing to the target when it was last seen."),
    _column("last", "spot_short", INT, "Spot nodes that were missing to the target when it was last seen."),
    _column("last", "vm_size", TEXT, "Size of the pool's virtual machines."),
), is_island=True)

NODE_HOURS = Fact("node_hours", "date x account x pool x vm_size x is_dedicated x state", "Hours of nodes in each state, by day; days add up.", (
    *_POOL,
    _column("key", "vm_size", TEXT, "Size of the virtual machines."),
    _column("key", "is_dedicated", FLAG, "Dedicated (true), spot (false), or not told (null)."),
    _column("key", "state", TEXT, "State, or unobserved: the nodes were there, in a state no listing showed."),
    _column("last", "hours", REAL, "Node-hours, a state taken to last until the next observed one began."),
    _column("last", "certain_hours", REAL, "Of those, between a state's start and its last observation."),
), is_daily=True)

_STAY = (
    *_NODE,
    _column("key", "state", TEXT, "State of the node."),
    _column("key", "state_transition_time", TIME, "When the state began: exact, the service's own."),
    _column("last", "last_observed_at", TIME, "Last listing that showed it, service's clock."),
    *_MACHINE,
    _column("last", "ended_after", TIME, "As in node_states: the state had not ended by then."),
    _column("last", "ended_before", TIME, "As in node_states: it had ended by then; null where it is not known to have ended."),
    _column("last", "next_state", TEXT, "The next state the node was listed in; null where there is none."),
)
NODE_STAYS = Fact("node_stays", "date x incarnation x state x state_transition_time", "Every stay of a node in a state, told once: on the day that listed it last.", _STAY, is_daily=True)

NOTABLE_STAYS = Fact("notable_stays", "date x incarnation x state x state_transition_time", "Of node_stays those that are no ordinary work: in a state other than idle and running, ended by one, or twelve hours long.", _STAY, is_daily=True)

SPOT_ABSENCES = Fact("spot_absences", "date x incarnation x state x state_transition_time", "Of the stays of spot nodes those in which they had no machine, and when they worked again; and of each day and node the first that work ended.", (
    *_STAY,
    _column("last", "recovered_at", TIME, "Of a stay without a machine: when the node was next idle or running, where it was by the end of that day; else null."),
    _INCARNATION_KEY,
), is_daily=True, version=2)

NODE_LIVES = Fact("node_lives", "date x incarnation", "Every node, told once: on the day that listed it last.", (
    *_NODE,
    _column("last", "last_observed_at", TIME, "Last listing that showed it, service's clock."),
    *_MACHINE,
    *_IMAGE,
    _column("last", "last_state", TEXT, "State it was last listed in."),
    _column("last", "total_tasks_run", INT, "Job tasks it had completed when last listed."),
    _column("last", "total_tasks_succeeded", INT, "Of those, with exit code 0."),
    _column("last", "ended_after", TIME, "It was still there then. Null while it is not known to have gone."),
    _column("last", "ended_before", TIME, "It was gone by then. Null while it is not known to have gone."),
    _column("last", "ended_by", TEXT, "What proves it: absent, pool_absent, id_reused, as in node_incarnations; null while it is not known to have gone."),
    _INCARNATION_KEY,
), is_daily=True, version=2)

_JOB = _column("key", "job_id", TEXT, "Job of the tasks.")
TASK_FAILURES = Fact("task_failures", "date x incarnation x job_id x task_id x subtask_id x start_time", "Every task run that was seen to fail, told once: on the day that first listed it as over.", (
    *_NODE,
    _JOB,
    _column("key", "task_id", TEXT, "Id of the task."),
    _column("key", "subtask_id", INT, "Subtask, for a multi-instance task."),
    _column("key", "start_time", TIME, "When the attempt began."),
    _column("last", "end_time", TIME, "When the task completed."),
    _column("last", "exit_code", INT, "Its exit code."),
    _column("last", "failure_category", TEXT, "Whose fault it was."),
    _column("last", "failure_code", TEXT, "Code of the failure."),
    _column("last", "failure_message", TEXT, "Message of the failure."),
    _column("last", "job_runs", COUNT, "Runs of its job that ended on its node, as its day tells in node_jobs."),
    _column("last", "node_runs", COUNT, "Runs that ended on its node, as its day tells in node_tasks."),
    _INCARNATION_KEY,
), is_daily=True, version=3)

NODE_JOBS = Fact("node_jobs", "date x incarnation x job_id", "How many task runs of each job ended on each node, each told on the day that first listed it as over.", (
    *_NODE,
    _JOB,
    _column("last", "ended_runs", COUNT, "Runs that were seen to end; days add up."),
    _INCARNATION_KEY,
), is_daily=True, version=3)

NODE_TASKS = Fact("node_tasks", "date x incarnation", "How many task runs ended on each node, each told on the day that first listed it as over.", (
    *_NODE,
    _column("last", "ended_runs", COUNT, "Runs that were seen to end; days add up."),
    _INCARNATION_KEY,
), is_daily=True, version=2)

JOB_DAYS = Fact("job_days", "date x account x pool x job_id", "On how many nodes the task runs of a job ended, each told on the day that first listed it as over.", (
    *_POOL,
    _JOB,
    _column("last", "nodes", COUNT, "Nodes on which they ended; days do not add up."),
    _column("last", "pool_nodes", COUNT, "Nodes of the pool on which runs of any job ended; days do not add up."),
    _column("last", "ended_runs", COUNT, "Runs that were seen to end; days add up."),
    _column("last", "first_end_time", TIME, "When the first of them ended."),
    _column("last", "last_end_time", TIME, "When the last of them ended."),
), is_daily=True)

NODE_STARTS = Fact("node_starts", "date x incarnation", "How nodes came up: of a day, those that were new or not up yet when it first listed them.", (
    *_NODE,
    _column("last", "first_observed_at", TIME, "First listing of the day, or the last one before it, that showed the node."),
    _column("last", "last_observed_at", TIME, "Last listing that the day knows of that showed it."),
    *_MACHINE,
    _column("last", "boot_time", TIME, "Its earliest boot that the day's listings showed."),
    *_IMAGE,
    _column("last", "started_at", TIME, "Start of its earliest start-task run that they showed."),
    _column("last", "succeeded_at", TIME, "End of its earliest successful one that they showed."),
    _column("last", "idle_at", TIME, "When it first became idle or running, as they showed it."),
    _INCARNATION_KEY,
), is_daily=True, version=2)

START_TASK_BEGINS = Fact("start_task_begins", "date x incarnation x start_time", "Every run of a start task and its definition, told once: on the day that listed it first.", (
    *_NODE,
    _column("key", "start_time", TIME, "When the run began."),
    _column("last", "first_observed_at", TIME, "First listing that showed it, service's clock."),
    _column("last", "start_task_definition_id", TEXT, "The node's definition when the run was first seen."),
    _column("last", "is_definition_certain", FLAG, "False where the listing just before showed another definition: the run may be of that one."),
    _column("last", "end_time", TIME, "When the run ended, as the day's listings show; null of one that ended later."),
    _column("last", "result", TEXT, "success or failure, as the day's listings show."),
), is_daily=True)

START_TASK_ENDS = Fact("start_task_ends", "date x incarnation x start_time", "Every run of a start task and how it ended, told once: on the day that listed it last.", (
    *_NODE,
    _column("key", "start_time", TIME, "When the run began."),
    _column("last", "last_observed_at", TIME, "Last listing that showed it, service's clock."),
    _column("last", "end_time", TIME, "When the run ended; null if it was not seen to end."),
    _column("last", "result", TEXT, "success or failure."),
    _column("last", "exit_code", INT, "Its exit code."),
    _column("last", "failure_code", TEXT, "Code of the failure."),
    _column("last", "failure_message", TEXT, "Message of the failure."),
    _column("last", "next_start_time", TIME, "When the node's next run on the same image began, as the day's listings show: of the same day always, of later ones not."),
    *_IMAGE,
    _column("last", "run_key", COUNT, "63 bits of an MD5 of the node and start_time: tells runs apart at a tenth of the bytes."),
), is_daily=True, version=2)

LISTED_AGAIN = Fact("listed_again", "date x incarnation x start_time", "Nodes and runs of start tasks that a day lists and the last listings before it did not, though they had begun: an earlier day may have told them already.", (
    *_NODE,
    _column("key", "start_time", TIME, "When the run began; null of the node itself."),
    _column("last", "told_key", COUNT, "incarnation_key of the node in node_lives, or run_key of the run in start_task_ends."),
), is_daily=True)

_SETUP = ("node_agent_version", *(each.column.name for each in _IMAGE))
POOL_SETUPS = Fact("pool_setups", "date x account x pool x node_agent_version x image", "With which agents and images the nodes of a pool were listed, by day.", (
    *_POOL,
    *(each for each in NODE_CONFIG_INTERVALS.columns if each.column.name in _SETUP),
    _column("last", "first_observed_at", TIME, "First listing, of those the day knows of, that showed a node so."),
    _column("last", "last_observed_at", TIME, "Last listing, of those the day knows of, that showed a node so."),
), is_daily=True)

TASK_ERRORS = Fact("task_errors", "date x account x pool x failure_code", "How many task runs of a pool failed with each code, on the day they ended.", (
    *_POOL,
    _column("key", "failure_code", TEXT, "Code of the failure; empty where none was told."),
    _column("last", "failed_runs", COUNT, "Runs that failed with it; days add up."),
    _column("last", "failed_nodes", COUNT, "Nodes they failed on; days do not add up."),
    _column("last", "first_end_time", TIME, "When the first of them ended."),
    _column("last", "last_end_time", TIME, "When the last of them ended."),
    _column("last", "failure_message", TEXT, "Message of the last one that has one."),
), is_daily=True)

_COUNTED = (*nodes.NODE_STATES, "other")
POOL_HOURS = Fact("pool_hours", "date x hour x account x pool", "A pool hour by hour: its nodes, its slots and its tasks.", (
    *_POOL,
    _column("key", "hour", TIME, "Start of the hour, UTC."),
    _column("last", "listings", COUNT, "Complete listings of its nodes that ended in the hour. With none, only tasks are told."),
    _column("last", "nodes", REAL, "Nodes, mean over those listings."),
    *(_column("last", f"nodes_{state}", REAL, f"Nodes {'in another state, or malformed' if state == 'other' else state}, mean over those listings.") for state in _COUNTED),
    _column("last", "slots", REAL, "Task slots of all nodes (nodes times the pool's slots per node), mean over those listings."),
    _column("last", "running_slots", REAL, "Task slots in use, mean over those listings."),
    _column("last", "tasks_finished", COUNT, "Task runs seen to have completed in the hour."),
    _column("last", "tasks_failed", COUNT, "Of those, failed."),
), is_daily=True)

#: Every fact by name, in the order they are made.
FACTS: dict[str, Fact] = {
    fact.name: fact
    for fact in (
        NODE_STATES, NODE_INCARNATIONS, NODE_CONFIG_INTERVALS, TASK_RUNS, TASK_GAPS,
        START_TASK_RUNS, NODE_BOOTS, NODE_ERROR_EPISODES, POOL_ERROR_EPISODES, NODE_HOURS, POOL_HOURS, NODE_STAYS,
        NOTABLE_STAYS, SPOT_ABSENCES, NODE_LIVES, NODE_JOBS, NODE_TASKS, JOB_DAYS,
        TASK_FAILURES, NODE_STARTS, START_TASK_BEGINS, START_TASK_ENDS, LISTED_AGAIN, POOL_SETUPS,
        TASK_ERRORS,
    )
}
# fmt: on

#: Under this key a day's file of ``history/days`` tells which facts were made, and their versions.
MADE = "nodelake.facts"
#: And under this one, which of them have a file of that day.
FILES = "nodelake.files"


def versions() -> str:
    """Every fact and its version: what a day whose history is current was made by."""
    return " ".join(f"{fact.name}:{fact.version}" for fact in FACTS.values())
